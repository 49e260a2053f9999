//! Texts: manifests, references, configurations, references to secrets.

use accel_domain::TargetTemplate;
use accel_domain::config::{migrate, parse};
use accel_domain::secret::{SecretPart, SecretRef};
use accel_image::{Digest, Document, ImageConfig, Platform, Reference, media_type};

use crate::{Target, choose, with_choices};

pub(crate) const MANIFEST: Target =
    Target { name: "manifest", run: read_manifest, seeds: manifests, words: MANIFEST_WORDS };
pub(crate) const REFERENCE: Target =
    Target { name: "reference", run: read_reference, seeds: references, words: REFERENCE_WORDS };
pub(crate) const CONFIG: Target = Target { name: "config", run: read_config, seeds: configs, words: CONFIG_WORDS };
pub(crate) const SECRET: Target = Target { name: "secret", run: read_secret, seeds: secrets, words: SECRET_WORDS };

const HEADERS: [Option<&str>; 5] = [
    None,
    Some(media_type::OCI_MANIFEST),
    Some(media_type::OCI_INDEX),
    Some(media_type::DOCKER_MANIFEST),
    Some("application/json; charset=utf-8"),
];
const MANIFEST_WORDS: &[&str] = &[
    "\"schemaVersion\":1",
    "\"mediaType\":",
    "\"config\":{",
    "\"layers\":[",
    "\"manifests\":[",
    "\"digest\":\"sha256:",
    "\"size\":-1",
    "\"size\":18446744073709551615",
    "\"urls\":[\"http://169.254.169.254/\"]",
    "\"subject\":{",
    "\"annotations\":null",
    "\"platform\":{",
    "\"diff_ids\":[",
    "\"rootfs\":",
    "null",
    "[[[[[[[[",
    "{\"a\":",
    "\\ud800",
    "1e999",
];
const REFERENCE_WORDS: &[&str] = &[
    "@sha256:",
    "docker.io/",
    "localhost:5000/",
    "127.0.0.1",
    "[::1]:80/",
    "//",
    "..",
    ":latest",
    "%2f",
    "user:pass@",
    "\n",
    "{repository}",
    "{tag}",
    "{digest}",
    "{host}",
    "{project}",
    "{name}",
    "{",
    "\u{202e}",
    "\0",
];
const CONFIG_WORDS: &[&str] = &[
    "registries:",
    "rules:",
    "match:",
    "convert:",
    "target:",
    "format: estargz",
    "webhook_auth:",
    "${env:X}",
    "${file:",
    "&a ",
    "*a",
    "!!str ",
    "? ",
    "- ",
    "<<: ",
    "|\n",
    "\n  ",
    "\t",
    "%YAML 1.2",
    "---\n",
    "\u{feff}",
    "'",
    "\"",
    "18446744073709551616",
    "1e9",
    "99999d",
];
const SECRET_WORDS: &[&str] = &["${env:", "${file:", "${ssm:", "${secretsmanager:", "}", "$${", "$", "{", ":"];

fn manifests() -> Vec<Vec<u8>> {
    let digest = Digest::of(b"").to_string();
    let blob =
        |kind: &str| format!(r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{digest}","size":9}}"#);
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[{},{}],"annotations":{{"a":"b"}},"x":[1]}}"#,
        blob("config.v1+json"),
        blob("layer.v1.tar+gzip"),
        blob("layer.v1.tar+zstd")
    );
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{{"mediaType":"{}","digest":"{digest}","size":1,"platform":
        {{"os":"linux","architecture":"arm64","variant":"v8"}},"annotations":{{"vnd.docker.reference.type":
        "attestation-manifest","vnd.docker.reference.digest":"{digest}"}}}}],"subject":{}}}"#,
        media_type::OCI_INDEX,
        media_type::OCI_MANIFEST,
        blob("manifest.v1+json")
    );
    let config = format!(
        r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":["{digest}"]}},"history":
        [{{"created_by":"x"}},{{"empty_layer":true}}],"config":{{"Env":["A=b"]}}}}"#
    );
    with_choices(HEADERS.len() as u8, &[manifest, index, config].map(String::into_bytes))
}

fn references() -> Vec<Vec<u8>> {
    let digest = Digest::of(b"");
    [
        "library/nginx:1.29\n{repository}:{tag}-esgz".to_owned(),
        format!("harbor.example.com:8443/team/app/web:v1@{digest}\n{{host}}/fast/{{name}}:{{digest}}"),
        "localhost:5000/a:b\nother.example/{project}/x:{tag}".to_owned(),
        digest.to_string(),
        "linux/arm64/v8".to_owned(),
    ]
    .map(String::into_bytes)
    .to_vec()
}

fn configs() -> Vec<Vec<u8>> {
    let acceld = "server:\n  name: API\n  uds: /x.sock\n  host: 0.0.0.0\n  port: 2077\nmetric:\n  enabled: true\n\
        provider:\n  source:\n    hub.harbor.com:\n      auth: YWRtaW46SGFyYm9yMTIzNDU=\n      insecure: false\n      \
        webhook:\n        auth_header: header\n  work_dir: /tmp\n  gcpolicy:\n    threshold: 1000MB\n  cacheSize: 0\nconverter:\n  \
        worker: 5\n  harbor_annotation: true\n  platforms: linux/amd64\n  rules:\n    - tag_suffix: -esgz\n  driver:\n    \
        type: estargz\n    config:\n      docker2oci: true\n";
    let good = include_bytes!("../../../shared/domain/tests/good.yaml");
    vec![good.to_vec(), acceld.as_bytes().to_vec(), b"rules: [{ convert: [{ format: estargz }] }]".to_vec()]
}

fn secrets() -> Vec<Vec<u8>> {
    let texts =
        ["${env:TOKEN}", "Bearer ${file:/run/secret}", "a$${b}${ssm:/x/y}${secretsmanager:z}", "literal secret"];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

/// What is read and written again is read as the same.
fn read_manifest(bytes: &[u8]) -> bool {
    let Some((header, bytes)) = choose(bytes, &HEADERS) else { return false };
    let document = Document::parse(bytes, header);
    match &document {
        Ok(Document::Manifest(manifest)) => {
            let again = Document::parse(&manifest.to_bytes(), Some(&manifest.media_type));
            assert_eq!(again.ok(), document.as_ref().ok().cloned());
        }
        Ok(Document::Index(index)) => {
            let again = Document::parse(&index.to_bytes(), Some(&index.media_type));
            assert_eq!(again.ok(), document.as_ref().ok().cloned());
        }
        Err(error) => {
            let told = error.to_string();
            assert!(!told.contains(char::is_control) && told.chars().count() < 2000, "{told}");
        }
    }
    let config = ImageConfig::parse(bytes);
    if let Ok(config) = &config {
        drop(config.platform());
        let again = ImageConfig::parse(&config.to_bytes());
        assert_eq!(again.ok().map(|again| again.to_bytes()), Some(config.to_bytes()));
    }
    document.is_ok() || config.is_ok()
}

/// A reference reads as it is written, and has nothing in it that commands a terminal or a path. The second line is a
/// target for it.
fn read_reference(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (first, second) = text.split_once('\n').unwrap_or((text, "{repository}:{tag}"));
    let template = second.parse::<TargetTemplate>();
    let reference = first.parse::<Reference>();
    match &reference {
        Ok(reference) => {
            assert_sound(reference);
            if let Ok(template) = template
                && let Ok(target) = template.expand(reference, Some(Digest::of(b"")))
            {
                assert_sound(&target);
                assert!(template.tag_fits(target.tag().unwrap_or_default()), "{template}: {target}");
            }
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control)),
    }
    let (digest, platform) = (first.parse::<Digest>(), first.parse::<Platform>());
    if let Ok(digest) = &digest {
        assert_eq!(digest.to_string(), first);
    }
    if let Ok(platform) = &platform {
        assert_eq!(platform.to_string().parse::<Platform>().as_ref(), Ok(platform));
    }
    reference.is_ok() || digest.is_ok() || platform.is_ok()
}

fn assert_sound(reference: &Reference) {
    let text = reference.to_string();
    assert_eq!(text.parse::<Reference>().as_ref(), Ok(reference), "{text}");
    assert!(!text.contains(char::is_control) && !text.contains(['%', ' ', '?', '#', '\\']), "{text:?}");
    assert!(reference.repository().split('/').all(|part| !part.is_empty() && part != "." && part != ".."), "{text}");
}

/// A configuration is read, or all its faults are told; what `migrate` writes is read.
fn read_config(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let config = parse(text, "accel.yaml");
    match &config {
        Ok(config) => {
            drop((config.warnings(), config.literal_secrets(), config.retry_policy()));
            for host in config.hosts() {
                assert_eq!(config.host_of(host), Some(host));
                assert!(config.transport(host).is_some());
                config.registries_for(host, "library/x").for_each(|(key, _)| assert_eq!(key.host, host));
            }
        }
        Err(faults) => assert!(!faults.faults().is_empty() && !faults.to_string().is_empty()),
    }
    let migrated = migrate(text, "config.yaml");
    if let Ok(migrated) = &migrated {
        let read = parse(&migrated.yaml, "migrated.yaml");
        assert!(read.is_ok(), "{}\n{}", read.err().map(|faults| faults.to_string()).unwrap_or_default(), migrated.yaml);
    }
    config.is_ok() || migrated.is_ok()
}

/// A reference to a secret shows no literal text.
fn read_secret(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(reference) = text.parse::<SecretRef>() else { return false };
    let shown = [reference.to_string(), format!("{reference:?}")];
    if reference.is_literal() {
        assert!(shown.iter().all(|shown| shown.chars().all(|c| c == '*')), "{shown:?}");
    }
    let literal = |part: &SecretPart| matches!(part, SecretPart::Literal(_));
    if !reference.parts().iter().any(literal) {
        assert_eq!(shown[0].parse::<SecretRef>().ok(), Some(reference));
    }
    true
}
