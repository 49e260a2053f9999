//! acceld's keys, all of them, in files as people have them.

use super::*;
use crate::config::Config;
use crate::{FormatOptions, NydusCompressor, NydusOptions};

/// Every key of acceld's, with the eStargz driver.
const ESTARGZ: &str = r#"
server:
  name: API
  uds: /run/acceld.sock
  host: 0.0.0.0
  port: 2077
metric:
  enabled: true
provider:
  source:
    harbor.example.com:
      auth: cm9ib3QkYWNjZWw6aHVudGVyMg==
      insecure: true
      webhook:
        auth_header: Bearer planted-header
    localhost:5000:
      auth:
      insecure: false
    Docker.io:
      auth: not base64 planted
    harbor-core:
      auth: cm9ib3QkYWNjZWw6aHVudGVyMg==
  work_dir: /tmp/work
  gcpolicy:
    threshold: 1000MB
  cache_size: 200
  cache_version: v1
  containerd:
    address: /run/containerd/containerd.sock
    snapshotter: overlayfs
converter:
  worker: 5
  harbor_annotation: true
  platforms: linux/amd64, linux/arm64/v8,nonsense
  driver:
    type: estargz
    config:
      docker2oci: true
      compression: estargz
  rules:
    - tag_suffix: -esgz
    - cache_tag: cache-esgz
    - tag_suffix: -second
strange: 7
"#;

const NYDUS: &str = r#"
provider:
  source:
    harbor.example.com:
      auth: YTpi
  gcpolicy: { threshold: 1000MB }
converter:
  worker: 2
  driver:
    type: nydus
    config:
      work_dir: /tmp
      builder: /usr/bin/nydus-image
      fs_version: 6
      rafs_version: 6
      compressor: zstd
      rafs_compressor: zstd
      oci_ref: false
      with_referrer: true
      merge_manifest: false
      docker2oci: true
      chunk_dict_ref: h.example/dict:1
      fs_align_chunk: false
      fs_chunk_size: 0x100000
      batch_size: "0x100000"
      prefetch_patterns: /
      backend_type: s3
      backend_config: '{"access_key_secret": "planted-key"}'
      backend_force_push: true
      encrypt_recipients: jwe:x
  rules:
    - tag_suffix: -nydus
    - cache_tag: nydus-cache
"#;

fn migrated(text: &str) -> (Migration, Config) {
    let migration = migrate(text, "acceld.yaml").unwrap_or_else(|error| panic!("{error}"));
    let config = parse(&migration.yaml, "accel.yaml").unwrap();
    (migration, config)
}

#[test]
fn takes_over_what_has_a_place_here() {
    let (migration, config) = migrated(ESTARGZ);
    assert_eq!((config.server.listen.to_string().as_str(), config.server.workers), ("0.0.0.0:2077", 5));
    assert_eq!(config.hosts().collect::<Vec<_>>(), ["docker.io", "harbor.example.com", "localhost:5000"]);
    let (user, password) = config.login_for("harbor.example.com", "library/nginx").unwrap();
    assert_eq!((user, password.to_string().as_str()), ("robot$accel", "${env:ACCEL_PASSWORD_HARBOR_EXAMPLE_COM}"));
    let secrets = config.webhook_secrets();
    assert_eq!(secrets.len(), 1);
    assert_eq!(secrets[0].value.to_string(), "${env:ACCEL_WEBHOOK_AUTH_HARBOR_EXAMPLE_COM}");
    let [rule] = config.rules.as_slice() else { panic!("{}", migration.yaml) };
    assert_eq!(rule.platforms.iter().map(ToString::to_string).collect::<Vec<_>>(), ["linux/amd64", "linux/arm64/v8"]);
    assert_eq!(rule.matches.except_tags, ["*-esgz"]);
    let entry = &rule.convert[0];
    assert!(entry.adopt && entry.target.as_str() == "{repository}:{tag}-esgz", "{}", migration.yaml);
    assert!(config.literal_secrets().is_empty());
}

#[test]
fn names_every_key_that_is_left_out_or_needs_a_hand() {
    let (migration, _) = migrated(ESTARGZ);
    for expected in [
        "server.name: left out",
        "server.uds: left out",
        "metric.enabled: left out: Accel always serves /metrics",
        "provider.source.\"harbor.example.com\".auth: set the environment variable ACCEL_PASSWORD_HARBOR_EXAMPLE_COM",
        "provider.source.\"harbor.example.com\".webhook.auth_header: set the environment variable ACCEL_WEBHOOK_AUTH_",
        "provider.source.\"harbor.example.com\".insecure: Accel never skips",
        "provider.source.\"localhost:5000\".auth: is empty",
        "provider.source.\"Docker.io\".auth: is not base64",
        "provider.source.harbor-core: is not a registry's host",
        "provider.work_dir: left out",
        "provider.gcpolicy.threshold: left out",
        "provider.cache_size: left out",
        "provider.cache_version: left out",
        "provider.containerd.address: left out",
        "converter.harbor_annotation: left out",
        "converter.platforms: `nonsense` is not a platform",
        "converter.driver.config.docker2oci: left out: Accel always writes OCI",
        "converter.rules[1].cache_tag: left out: remembered layers",
        "converter.rules[2].tag_suffix: acceld uses the first",
        "strange: left out: not a key",
    ] {
        assert!(migration.notes.iter().any(|note| note.starts_with(expected)), "{expected}\n{:#?}", migration.notes);
    }
}

/// acceld's own sample of nydus, with every option that makes what Accel makes.
const NYDUS_SAMPLE: &str = r#"
provider:
  source:
    localhost: { auth: YTpi }
converter:
  driver:
    type: nydus
    config:
      work_dir: /tmp
      builder: nydus-image
      rafs_version: 6
      rafs_compressor: lz4_block
      oci_ref: false
      with_referrer: true
      merge_manifest: "0"
      docker2oci: true
      fs_chunk_size: "0x10000"
      batch_size: 0
      prefetch_patterns: |
        /usr/bin
        /etc/nginx
        bin
  rules:
    - tag_suffix: -nydus
"#;

#[test]
fn nydus_becomes_nydus_with_its_options() {
    let (migration, config) = migrated(NYDUS_SAMPLE);
    let entry = &config.rules[0].convert[0];
    let expected = NydusOptions {
        compressor: NydusCompressor::Lz4Block,
        chunk_size: crate::ByteSize(64 << 10),
        prefetch: vec!["/usr/bin".to_owned(), "/etc/nginx".to_owned()],
        ..NydusOptions::default()
    };
    assert_eq!(entry.options, FormatOptions::Nydus(expected), "{}", migration.yaml);
    assert_eq!((entry.target.as_str(), entry.adopt, entry.subject), ("{repository}:{tag}-nydus", true, None));
    let about =
        |key: &str| migration.notes.iter().any(|note| note.starts_with(&format!("converter.driver.config.{key}:")));
    assert!(about("builder") && about("work_dir") && about("docker2oci") && about("prefetch_patterns"));
    assert!(!["rafs_version", "oci_ref", "merge_manifest", "batch_size", "with_referrer"].into_iter().any(about));
}

#[test]
fn a_merged_index_stays_one() {
    let text = "converter: { driver: { type: nydus, config: { merge_manifest: true, with_referrer: true } } }";
    let (migration, config) = migrated(text);
    let FormatOptions::Nydus(options) = &config.rules[0].convert[0].options else { panic!("{}", migration.yaml) };
    assert!(options.merge_manifest);
}

#[test]
fn a_chunk_dictionary_of_a_known_registry_stays_one() {
    let rows = [
        ("bootstrap:registry:h.example/d:1", "", Some("h.example/d:1"), "became `chunk_dictionary`"),
        ("h.example/d:1", "", Some("h.example/d:1"), "became `chunk_dictionary`"),
        ("h.example/d:1", ", fs_version: 5", None, "left out: images of RAFS v5"),
        ("h.example/d:1", ", batch_size: '0x10000'", None, "left out: images with batches"),
        ("o.example/d:1", "", None, "left out: its registry, o.example,"),
        ("bootstrap:local:/var/d.boot", "", None, "left out: `bootstrap:local:/var/d.boot` is not"),
    ];
    for (value, also, expected, noted) in rows {
        let text = format!(
            "{{ provider: {{ source: {{ h.example: {{}} }} }}, converter: {{ driver: {{ type: nydus, config: {{ \
             chunk_dict_ref: '{value}'{also} }} }} }} }}"
        );
        let (migration, config) = migrated(&text);
        let found = config.rules[0].convert[0].options.chunk_dictionary().map(ToString::to_string);
        assert_eq!(found.as_deref(), expected, "{value}");
        let start = format!("converter.driver.config.chunk_dict_ref: {noted}");
        assert!(migration.notes.iter().any(|note| note.starts_with(&start)), "{value}\n{:#?}", migration.notes);
    }
}

#[test]
fn the_version_of_the_file_system_is_taken_over() {
    for (option, version) in [("fs_version: 5", 5), ("rafs_version: 5", 5), ("rafs_version: '6'", 6)] {
        let text = format!(
            "converter: {{ driver: {{ type: nydus, config: {{ {option} }} }}, rules: [{{ tag_suffix: -n }}] }}"
        );
        let (migration, config) = migrated(&text);
        let expected = NydusOptions { fs_version: version, ..NydusOptions::default() };
        assert_eq!(config.rules[0].convert[0].options, FormatOptions::Nydus(expected), "{}", migration.yaml);
    }
}

#[test]
fn batches_are_taken_over_where_they_can_be() {
    let rows = [
        ("batch_size: 0x100000", 1 << 20, None),
        ("batch_size: '65536'", 64 << 10, None),
        ("fs_chunk_size: 0x200000, batch_size: 0x200000", 2 << 20, None),
        ("batch_size: 0", 0, None),
        ("batch_size: many", 0, Some("batch_size: is not a number")),
        ("batch_size: 0x200000", 0, Some("batch_size: 2MiB is not 0 or a power of two")),
        ("fs_version: 5, batch_size: 0x10000", 0, Some("batch_size: RAFS v5 has no batches")),
        ("oci_ref: true, batch_size: 0x10000", 0, Some("batch_size: with `oci_ref` chunks stay where they are")),
    ];
    for (option, expected, named) in rows {
        let text = format!(
            "converter: {{ driver: {{ type: nydus, config: {{ {option} }} }}, rules: [{{ tag_suffix: -n }}] }}"
        );
        let (migration, config) = migrated(&text);
        let FormatOptions::Nydus(options) = &config.rules[0].convert[0].options else { panic!("{}", migration.yaml) };
        assert_eq!(options.batch_size.0, expected, "{}", migration.yaml);
        let note = migration.notes.iter().find(|note| note.contains("batch_size"));
        assert_eq!(note.is_some(), named.is_some(), "{option}: {note:?}");
        assert!(named.is_none_or(|named| note.is_some_and(|note| note.contains(named))), "{option}: {note:?}");
    }
}

#[test]
fn an_image_that_refers_to_its_source_stays_one() {
    let text =
        "converter: { driver: { type: nydus, config: { oci_ref: true, fs_version: 5, compressor: lz4_block } } }";
    let (migration, config) = migrated(text);
    let FormatOptions::Nydus(options) = &config.rules[0].convert[0].options else { panic!("{}", migration.yaml) };
    let expected = NydusOptions { oci_ref: true, ..NydusOptions::default() };
    assert_eq!(*options, expected, "acceld looks at oci_ref alone");
}

#[test]
fn a_default_of_acceld_that_is_not_ours_is_written() {
    let (migration, config) = migrated("converter: { driver: { type: nydus }, rules: [{ tag_suffix: -n }] }");
    let entry = &config.rules[0].convert[0];
    assert_eq!((&entry.options, entry.subject), (&Format::Nydus.default_options(), Some(false)));
    assert!(migration.notes.iter().any(|note| note.contains("with_referrer") && note.contains("accessory")));
}

#[test]
fn what_accel_does_not_make_leaves_no_rule_in_force() {
    let zstd = ESTARGZ.replace("compression: estargz", "compression: zstdchunked");
    let nydus = |option: &str| {
        format!("converter: {{ driver: {{ type: nydus, config: {{ {option} }} }}, rules: [{{ tag_suffix: -n }}] }}")
    };
    let rows = [
        (zstd, "compression: zstdchunked is not available"),
        (nydus("backend_type: oss"), "config.backend_type: Accel pushes"),
        (nydus("encrypt_recipients: jwe:x"), "config.encrypt_recipients: Accel does not"),
    ];
    for (text, named) in rows {
        let (migration, config) = migrated(&text);
        assert!(config.rules.is_empty() && migration.yaml.contains("# rules:\n"), "{}", migration.yaml);
        let note = migration.notes.iter().find(|note| note.contains(named));
        assert!(note.is_some_and(|note| note.contains("uncomment")), "{named}\n{:#?}", migration.notes);
        let uncommented = migration.yaml.replace("# rules", "rules").replace("\n#   ", "\n  ");
        assert_eq!(parse(&uncommented, "x").unwrap().rules.len(), 1, "{uncommented}");
    }
}

#[test]
fn every_option_of_nydus_is_taken_over_or_named() {
    let (migration, _) = migrated(NYDUS);
    for option in ["work_dir", "builder", "docker2oci", "chunk_dict_ref", "backend_type", "encrypt_recipients"] {
        let start = format!("converter.driver.config.{option}: ");
        assert!(migration.notes.iter().any(|note| note.starts_with(&start)), "{option}\n{:#?}", migration.notes);
    }
    assert!(!migration.notes.iter().any(|note| note.contains("not a key")), "{:#?}", migration.notes);
    let (migration, _) = migrated(&NYDUS.replace("type: nydus", "type: estargz"));
    for option in ["fs_version", "rafs_compressor", "oci_ref", "with_referrer", "fs_chunk_size", "backend_config"] {
        let start = format!("converter.driver.config.{option}: left out: an option of nydus");
        assert!(migration.notes.iter().any(|note| note.starts_with(&start)), "{option}\n{:#?}", migration.notes);
    }
}

#[test]
fn values_of_nydus_that_are_none_get_a_note_and_a_default() {
    for (option, named) in [
        ("compressor: gzip", "compressor: `gzip`"),
        ("fs_chunk_size: many", "fs_chunk_size: is not a number"),
        ("fs_chunk_size: 0x1000000", "fs_chunk_size: 16MiB is not"),
        ("prefetch_patterns: usr", "prefetch_patterns: `usr`"),
        ("fs_version: 7", "fs_version: `7` is no version"),
    ] {
        let text = format!("converter: {{ driver: {{ type: nydus, config: {{ {option} }} }} }}");
        let (migration, config) = migrated(&text);
        let FormatOptions::Nydus(options) = &config.rules[0].convert[0].options else { panic!("{}", migration.yaml) };
        let defaults = NydusOptions::default();
        assert_eq!(options, &NydusOptions { prefetch: options.prefetch.clone(), ..defaults });
        assert!(migration.notes.iter().any(|note| note.contains(named)), "{named}\n{:#?}", migration.notes);
    }
}

#[test]
fn no_secret_comes_out() {
    for text in [ESTARGZ, NYDUS, NYDUS_SAMPLE] {
        let shown = format!("{:?}", migrate(text, "x").unwrap());
        for planted in ["hunter2", "planted", "cm9ib3Q", "YTpi"] {
            assert!(!shown.contains(planted), "{shown}");
        }
    }
}

#[test]
fn two_hosts_never_share_a_variable() {
    let text = "provider: { source: { a.b.example: { auth: YTpi }, a-b.example: { auth: YTpi } } }";
    let (migration, config) = migrated(text);
    let passwords: Vec<_> =
        config.registries.values().map(|entry| entry.password.clone().unwrap().to_string()).collect();
    assert_ne!(passwords[0], passwords[1], "{}", migration.yaml);
}

#[test]
fn a_registry_without_keys_is_one_all_the_same() {
    for text in ["provider: { source: { h.example: {} } }", "provider:\n  source:\n    h.example:\n"] {
        let (migration, config) = migrated(text);
        assert_eq!(config.hosts().collect::<Vec<_>>(), ["h.example"]);
        assert!(!migration.notes.iter().any(|note| note.contains("not a key")), "{:#?}", migration.notes);
    }
}

#[test]
fn small_files_and_odd_values_get_a_note_and_defaults() {
    let text = "server: { port: many }\nconverter: { worker: 0, rules: [{ tag_suffix: \"-{x}\" }] }";
    let (migration, config) = migrated(text);
    assert_eq!(config.server, crate::config::Server::default());
    for key in ["server.port", "converter.worker", "converter.rules[0].tag_suffix", "converter.rules:"] {
        assert!(migration.notes.iter().any(|note| note.starts_with(key)), "{key} {:#?}", migration.notes);
    }
}

#[test]
fn refuses_other_files() {
    for (text, expected) in [("rules: []", "neither `provider`"), ("a: [", "acceld.yaml:"), ("", "neither")] {
        let error = migrate(text, "acceld.yaml").unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
