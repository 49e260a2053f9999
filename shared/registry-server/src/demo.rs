//! The demo image: a realistic image in several layers, made from what the process has. Nothing is downloaded.
//!
//! Everything but the executable is the same every time: times, order, generated files.

mod catalog;
mod layer;

use std::io;

use accel_image::{Annotations, Descriptor, Digest, Manifest, media_type};
use serde_json::{Map, Value, json};

use crate::Content;
use layer::{FinishedLayer, Layer};

/// What the demo image is made of.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The executable that becomes `/usr/bin/accelctl`.
    pub executable: &'a [u8],
    /// Documents by relative path, below `/usr/share/doc/accel`.
    pub documents: &'a [(&'a str, &'a [u8])],
}

/// When the image says it was made.
const CREATED: &str = "2024-01-01T00:00:00Z";

/// Assembles the image, puts it under `tag` of `repository`, and answers the manifest's digest.
///
/// # Errors
/// A document's path is absolute or leads upwards.
pub fn image(content: &Content, repository: &str, tag: &str, parts: Parts<'_>) -> io::Result<Digest> {
    let layers = [
        ("base system and accelctl", base(parts.executable)?),
        ("documentation", documents(parts.documents)?),
        ("generated catalog", catalog::layer()?),
        ("changes to the catalog", changes()?),
    ];
    let config = content.put_blob(repository, config(&layers).to_string());
    let config_size = content.blob(repository, config).map_or(0, |bytes| bytes.len() as u64);
    let descriptors = layers.into_iter().map(|(_, layer)| {
        let size = layer.bytes.len() as u64;
        Descriptor::new(media_type::OCI_LAYER_GZIP, content.put_blob(repository, layer.bytes), size)
    });
    let manifest = Manifest {
        schema_version: 2,
        media_type: media_type::OCI_MANIFEST.to_owned(),
        config: Descriptor::new(media_type::OCI_CONFIG, config, config_size),
        layers: descriptors.collect(),
        subject: None,
        annotations: Annotations::from([("org.opencontainers.image.created".to_owned(), CREATED.to_owned())]),
        other: Map::new(),
    };
    Ok(content.put_manifest(repository, tag, media_type::OCI_MANIFEST, manifest.to_bytes()))
}

/// Directories, accounts, and the executable under three names: a file, a hard link, a symbolic link.
fn base(executable: &[u8]) -> io::Result<FinishedLayer> {
    let mut layer = Layer::new();
    for (path, mode) in [("etc", 0o755), ("home", 0o755), ("root", 0o700), ("srv", 0o755), ("tmp", 0o1777)] {
        layer.dir(path, mode)?;
    }
    for path in ["usr", "usr/bin", "usr/local", "usr/local/bin", "usr/share", "usr/share/doc", "var", "var/log"] {
        layer.dir(path, 0o755)?;
    }
    layer.owned_dir("home/accel", 0o750, 1000)?;
    layer.symlink("bin", "usr/bin")?;
    layer.file("etc/group", 0o644, b"root:x:0:\naccel:x:1000:\n")?;
    layer.file("etc/motd", 0o644, b"This image was made by accelctl.\n")?;
    layer.file("etc/os-release", 0o644, b"NAME=\"Accel demo\"\nID=accel-demo\nVERSION_ID=1\n")?;
    layer.file("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\naccel:x:1000:1000::/home/accel:/bin/sh\n")?;
    layer.file("usr/bin/accelctl", 0o755, executable)?;
    layer.hard_link("usr/bin/accel", "usr/bin/accelctl")?;
    layer.symlink("usr/local/bin/accelctl", "../../bin/accelctl")?;
    layer.finish()
}

fn documents(documents: &[(&str, &[u8])]) -> io::Result<FinishedLayer> {
    let mut layer = Layer::new();
    let root = "usr/share/doc/accel";
    layer.dir(root, 0o755)?;
    let mut written = std::collections::BTreeSet::new();
    for (path, bytes) in documents {
        let parents = path.match_indices('/').map(|(end, _)| &path[..end]);
        for parent in parents.filter(|parent| written.insert(*parent)) {
            layer.dir(&format!("{root}/{parent}"), 0o755)?;
        }
        layer.file(&format!("{root}/{path}"), 0o644, bytes)?;
    }
    layer.finish()
}

/// What a later build step leaves: a changed file, a removed one, a directory with new contents.
fn changes() -> io::Result<FinishedLayer> {
    let mut layer = Layer::new();
    layer.file("etc/motd", 0o644, b"This image was made by accelctl, in four layers.\n")?;
    layer.file("srv/catalog/00/00/.wh.item-0001.json", 0o644, b"")?;
    layer.dir("srv/catalog/19", 0o755)?;
    layer.file("srv/catalog/19/.wh..wh..opq", 0o644, b"")?;
    layer.file("srv/catalog/19/README", 0o644, b"This part of the catalog was replaced.\n")?;
    layer.finish()
}

fn config(layers: &[(&str, FinishedLayer)]) -> Value {
    let history =
        layers.iter().map(|(step, _)| json!({"created": CREATED, "created_by": format!("accel demo: {step}")}));
    json!({
        "created": CREATED,
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Env": ["PATH=/usr/local/bin:/usr/bin"],
            "Entrypoint": ["/usr/bin/accelctl"],
            "Cmd": ["--help"],
            "User": "accel",
            "WorkingDir": "/home/accel",
            "Labels": {"org.opencontainers.image.title": "Accel demo"},
        },
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|(_, layer)| layer.diff_id).collect::<Vec<_>>()},
        "history": history.collect::<Vec<_>>(),
    })
}

/// The executable's architecture, in the words of `GOARCH`.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use accel_image::{Document, ImageConfig};
    use flate2::read::GzDecoder;

    use super::*;

    const PARTS: Parts<'_> = Parts {
        executable: b"\x7fELF",
        documents: &[("README.md", b"# Accel"), ("adr/0001.md", b"x"), ("adr/2.md", b"y")],
    };

    fn manifest(content: &Content) -> Manifest {
        let stored = content.manifest("demo/accel", "latest").unwrap();
        match Document::parse(&stored.bytes, Some(&stored.media_type)).unwrap() {
            Document::Manifest(manifest) => manifest,
            Document::Index(_) => panic!("a manifest was put"),
        }
    }

    #[test]
    fn diff_ids_and_sizes_are_true() {
        let content = Content::default();
        image(&content, "demo/accel", "latest", PARTS).unwrap();
        let manifest = manifest(&content);
        let config = content.blob("demo/accel", manifest.config.digest).unwrap();
        assert_eq!(config.len() as u64, manifest.config.size);
        let config = ImageConfig::parse(&config).unwrap();
        assert_eq!((config.diff_ids().len(), manifest.layers.len()), (4, 4));
        for (layer, diff_id) in manifest.layers.iter().zip(config.diff_ids()) {
            let blob = content.blob("demo/accel", layer.digest).unwrap();
            assert_eq!(blob.len() as u64, layer.size);
            let mut tar = Vec::new();
            GzDecoder::new(&blob[..]).read_to_end(&mut tar).unwrap();
            assert_eq!(Digest::of(&tar), *diff_id);
        }
    }

    #[test]
    fn holds_every_kind_of_entry_and_two_thousand_files() {
        let content = Content::default();
        image(&content, "demo/accel", "latest", PARTS).unwrap();
        let mut kinds = BTreeMap::<u8, usize>::new();
        let mut names = Vec::new();
        for layer in manifest(&content).layers {
            let blob = content.blob("demo/accel", layer.digest).unwrap();
            let mut archive = tar::Archive::new(GzDecoder::new(&blob[..]));
            for entry in archive.entries().unwrap() {
                let entry = entry.unwrap();
                *kinds.entry(entry.header().entry_type().as_byte()).or_default() += 1;
                names.push(String::from_utf8(entry.path_bytes().into_owned()).unwrap());
            }
        }
        assert!(kinds[&b'0'] > 2000 && kinds[&b'1'] > 10 && kinds[&b'2'] > 10 && kinds[&b'5'] > 200, "{kinds:?}");
        for name in ["usr/bin/accelctl", "usr/share/doc/accel/adr/0001.md", "srv/catalog/00/00/.wh.item-0001.json"] {
            assert!(names.iter().any(|found| found == name), "{name}");
        }
        assert!(names.iter().any(|name| name == "srv/catalog/00/00/item-0001.json"), "what is removed was there");
        assert_eq!(names.iter().filter(|name| name.ends_with("doc/accel/adr/")).count(), 1, "a parent is written once");
    }

    #[test]
    fn is_the_same_every_time() {
        let digests = [0, 1].map(|_| image(&Content::default(), "r", "t", PARTS).unwrap());
        assert_eq!(digests[0], digests[1]);
        let other = Parts { executable: b"other", ..PARTS };
        assert_ne!(image(&Content::default(), "r", "t", other).unwrap(), digests[0]);
    }

    #[test]
    fn refuses_documents_outside_their_directory() {
        let parts = Parts { executable: b"", documents: &[("../../etc/passwd", b"")] };
        assert!(image(&Content::default(), "r", "t", parts).is_err());
    }
}
