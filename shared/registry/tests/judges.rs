//! Programs that are not ours judge what this crate sends and writes: Debian's docker-registry and skopeo.
//! Run with `cargo test -p accel-registry --test judges -- --ignored`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use accel_image::{Descriptor, Digest, media_type};
use accel_registry::{End, HostSettings, Layout, NoCredentials, Registries};
use bytes::Bytes;
use tempfile::TempDir;

/// A docker-registry on loopback; it stops when dropped.
struct Distribution {
    address: String,
    child: Child,
    _state: TempDir,
}

impl Distribution {
    fn start() -> Self {
        let state = TempDir::new().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = state.path().join("config.yml");
        let root = state.path().join("data").display().to_string();
        let text = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {root} }}, delete: {{ enabled: true }} }}\nhttp: {{ addr: \"{free}\" }}\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        Self { address: free.to_string(), child, _state: state }
    }

    fn end(&self, repository: &str) -> End {
        let registries =
            Registries::new(vec![HostSettings::plain_http(&self.address)], Arc::new(NoCredentials)).unwrap();
        End::Registry(registries.repository(&format!("{}/{repository}:1", self.address).parse().unwrap()).unwrap())
    }
}

impl Drop for Distribution {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at * 31 % 251) as u8 ^ (at >> 13) as u8).collect()
}

async fn read_all(end: &End, descriptor: &Descriptor) -> Bytes {
    let mut stream = end.open_blob(descriptor, 0).await.unwrap();
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    all.into()
}

/// A tar file with one file of `length` bytes in it.
fn layer(length: usize) -> Bytes {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(length as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "file", &pattern(length)[..]).unwrap();
    builder.into_inner().unwrap().into()
}

/// Writes an image with one layer of about 10 MB, in PATCHes of 4 MiB; its manifest's digest.
async fn write_image(end: &End, tag: &str) -> Digest {
    let bytes = layer(10_000_000);
    let diff_id = Digest::of(&bytes);
    let mut upload = end.start_upload().await.unwrap();
    for at in (0..bytes.len()).step_by(4 << 20) {
        upload.write(bytes.slice(at..bytes.len().min(at + (4 << 20)))).await.unwrap();
    }
    upload.finish(diff_id).await.unwrap();
    let config = Bytes::from(format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
    ));
    let described = Descriptor::of(media_type::OCI_CONFIG, &config);
    let mut upload = end.start_upload().await.unwrap();
    upload.write(config).await.unwrap();
    upload.finish(described.digest).await.unwrap();
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}}"#,
        media_type::OCI_MANIFEST,
        serde_json::to_string(&described).unwrap(),
        serde_json::to_string(&Descriptor::of(media_type::OCI_LAYER, &bytes)).unwrap()
    );
    end.put_manifest(tag, media_type::OCI_MANIFEST, manifest.into()).await.unwrap().digest
}

fn skopeo(arguments: &[&str]) -> Output {
    let output = Command::new("skopeo").args(arguments).output().unwrap();
    assert!(output.status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[tokio::test]
#[ignore = "needs docker-registry and skopeo"]
async fn distribution_takes_what_is_pushed_and_gives_it_back() {
    let registry = Distribution::start();
    let end = registry.end("team/app");
    let digest = write_image(&end, "1.0").await;
    assert_eq!(end.head_manifest("1.0").await.unwrap().unwrap().digest, digest);
    let bytes = layer(10_000_000);
    let descriptor = Descriptor::of(media_type::OCI_LAYER, &bytes);
    assert_eq!(end.has_blob(descriptor.digest).await.unwrap(), Some(descriptor.size));
    assert_eq!(read_all(&end, &descriptor).await, bytes);
    assert_eq!(end.read_range(&descriptor, 5_000_000, 100).await.unwrap(), bytes.slice(5_000_000..5_000_100));

    let other = registry.end("other/app");
    assert!(other.mount(descriptor.digest, "team/app").await.unwrap());
    assert!(!other.mount(Digest::of(b"nothing"), "team/app").await.unwrap());
    let receipt = end.put_manifest("2.0", media_type::OCI_MANIFEST, end.get_manifest("1.0").await.unwrap().bytes).await;
    assert!(!receipt.unwrap().subject_acknowledged, "it has no referrers API");
    end.add_referrer_fallback(digest, &Descriptor::new(media_type::OCI_MANIFEST, digest, 1)).await.unwrap();

    let mut abandoned = end.start_upload().await.unwrap();
    abandoned.write(pattern(1000)).await.unwrap();
    abandoned.cancel().await;

    let source = format!("docker://{}/team/app:1.0", registry.address);
    let inspected = skopeo(&["inspect", "--tls-verify=false", &source]);
    assert!(String::from_utf8_lossy(&inspected.stdout).contains(&digest.to_string()));
    end.delete_manifest(digest).await.unwrap();
    assert_eq!(end.head_manifest("1.0").await.unwrap(), None);
}

#[tokio::test]
#[ignore = "needs skopeo"]
async fn skopeo_reads_our_layouts_and_we_read_its() {
    let parent = TempDir::new().unwrap();
    let path = |name: &str| parent.path().join(name);
    let layouts = [
        ("oci", Layout::create_directory(&path("ours")).await.unwrap()),
        ("oci-archive", Layout::create_archive(&path("ours.tar")).await.unwrap()),
    ];
    for (kind, layout) in layouts {
        let digest = write_image(&End::Layout(layout.clone()), "1.0").await;
        layout.finish().await.unwrap();
        for copy in ["oci", "oci-archive"] {
            let target = path(&format!("{kind}-as-{copy}"));
            let (from, to) =
                (format!("{kind}:{}:1.0", layout.path().display()), format!("{copy}:{}:2.0", target.display()));
            skopeo(&["--insecure-policy", "copy", "--preserve-digests", &from, &to]);
            check(copy, &target, digest).await;
        }
    }
}

async fn check(kind: &str, path: &Path, digest: Digest) {
    let opened = if kind == "oci" { Layout::open_directory(path).await } else { Layout::open_archive(path).await };
    let end = End::Layout(opened.unwrap());
    assert_eq!(end.head_manifest("2.0").await.unwrap().unwrap().digest, digest);
    let bytes = layer(10_000_000);
    assert_eq!(read_all(&end, &Descriptor::of(media_type::OCI_LAYER, &bytes)).await, bytes);
}
