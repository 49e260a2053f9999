//! A converted blob taken apart, and what must hold of any. Spec: eStargz; the numbers are its reader's demands.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use accel_domain::{ByteSize, EstargzOptions};
use accel_driver::conformance::{Downloads, Kept};
use accel_driver::{Converted, Driver as _, DriverError, Pool};
use accel_driver_estargz::{Estargz, LANDMARK, NO_PREFETCH_LANDMARK, TOC_NAME};
use accel_image::{Digest, media_type};
use accel_stream::{Limits, TarReader};
use accel_test_support::tree::{Kind, Node, diff};
use accel_test_support::{Tree, compress};
use base64::Engine as _;
use flate2::read::{GzDecoder, MultiGzDecoder};
use serde_json::Value;

/// A converted layer and what is in it.
pub(crate) struct Made {
    pub(crate) converted: Converted,
    pub(crate) blob: Vec<u8>,
    /// What the blob decompresses to.
    pub(crate) tar: Vec<u8>,
    /// The TOC's entries.
    pub(crate) entries: Vec<Value>,
    /// Where the TOC's member begins.
    pub(crate) toc_offset: usize,
    /// The downloads that it took, and how often its output began again.
    pub(crate) downloads: usize,
    pub(crate) restarts: usize,
}

pub(crate) fn estargz(options: EstargzOptions) -> Estargz {
    options.check().expect("the test's options are in range");
    Estargz::new(options, Limits::default())
}

pub(crate) fn prefetching(patterns: &[&str]) -> EstargzOptions {
    EstargzOptions { prefetch: patterns.iter().map(ToString::to_string).collect(), ..EstargzOptions::default() }
}

pub(crate) fn chunked(bytes: u64) -> EstargzOptions {
    EstargzOptions { chunk_size: ByteSize(bytes), ..EstargzOptions::default() }
}

pub(crate) fn try_convert(tar: &[u8], options: &EstargzOptions) -> Result<Made, DriverError> {
    let (mut source, mut output) = (Downloads::of(tar), Kept::default());
    let converted = estargz(options.clone()).convert(&Pool::new(2), &mut source, &mut output)?;
    let (blob, mut tar) = (output.blob, Vec::new());
    MultiGzDecoder::new(&blob[..]).read_to_end(&mut tar).expect("the whole blob is gzip");
    let toc_offset = toc_offset(&blob);
    let entries = entries(&blob[toc_offset..], &converted);
    let (downloads, restarts) = (source.opened(), output.restarts);
    Ok(Made { converted, blob, tar, entries, toc_offset, downloads, restarts })
}

/// Converts a layer, and sees that everything holds that must hold of any result.
pub(crate) fn convert(tar: &[u8], options: &EstargzOptions) -> Made {
    let made = try_convert(tar, options).expect("the layer can be represented");
    made.check_sums();
    made.check_chunks(options);
    made.check_names();
    made.check_files(tar);
    made
}

fn toc_offset(blob: &[u8]) -> usize {
    let footer = &blob[blob.len() - 51..];
    assert_eq!(footer[..16], *b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x1a\0SG\x16\0");
    assert_eq!(footer[32..38], *b"STARGZ");
    assert_eq!(footer[38..], *b"\x01\0\0\xff\xff\0\0\0\0\0\0\0\0");
    let hex = std::str::from_utf8(&footer[16..32]).unwrap();
    assert_eq!(hex, hex.to_lowercase());
    usize::from_str_radix(hex, 16).unwrap()
}

/// The entries of the TOC in this member.
fn entries(member: &[u8], converted: &Converted) -> Vec<Value> {
    let mut tar = Vec::new();
    GzDecoder::new(member).read_to_end(&mut tar).unwrap();
    assert_eq!(&tar[..TOC_NAME.len()], TOC_NAME.as_bytes());
    assert_eq!((tar[TOC_NAME.len()], tar[156]), (0, b'0'));
    let size = std::str::from_utf8(&tar[124..135]).unwrap();
    let size = usize::from_str_radix(size, 8).unwrap();
    let (json, end) = tar[512..].split_at(size);
    assert_eq!(end.len(), size.next_multiple_of(512) - size + 1024, "padding and the end of the archive");
    assert!(end.iter().all(|byte| *byte == 0));
    assert_eq!(json.last(), Some(&b'}'), "readers hash what their decoder happened to read");
    let digest = &converted.annotations["containerd.io/snapshot/stargz/toc.digest"];
    assert_eq!(*digest, Digest::of(json).to_string());
    let Value::Object(mut toc) = serde_json::from_slice(json).unwrap() else { panic!("the TOC is an object") };
    assert_eq!(toc.keys().collect::<Vec<_>>(), ["version", "entries"], "the first array has to be the entries");
    assert_eq!(toc["version"], 1);
    match toc.remove("entries") {
        Some(Value::Array(entries)) => entries,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn name(entry: &Value) -> &str {
    entry["name"].as_str().unwrap()
}

pub(crate) fn kind(entry: &Value) -> &str {
    entry["type"].as_str().unwrap()
}

fn number(entry: &Value, key: &str) -> u64 {
    match entry.get(key) {
        None => 0,
        Some(number) => {
            let number = number.as_u64().unwrap();
            assert_ne!(number, 0, "a zero is left out");
            number
        }
    }
}

/// The name as readers know it.
pub(crate) fn cleaned(name: &str) -> String {
    name.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/")
}

const OWN: [&str; 3] = [TOC_NAME, LANDMARK, NO_PREFETCH_LANDMARK];

impl Made {
    /// The entries with this name, chunks left out.
    pub(crate) fn named(&self, wanted: &str) -> Vec<&Value> {
        self.entries.iter().filter(|entry| name(entry) == wanted && kind(entry) != "chunk").collect()
    }

    /// The one entry with this name.
    pub(crate) fn entry(&self, wanted: &str) -> &Value {
        let entries = self.named(wanted);
        assert_eq!(entries.len(), 1, "{wanted}");
        entries[0]
    }

    /// The names in order, chunks left out.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.entries.iter().filter(|entry| kind(entry) != "chunk").map(name).collect()
    }

    /// The file system of what the blob decompresses to, without the format's own files.
    pub(crate) fn tree(&self) -> Tree {
        Tree::from_layers(&[&self.tar]).unwrap().without(&OWN)
    }

    fn check_sums(&self) {
        let Converted { digest, size, diff_id, media_type, annotations, .. } = &self.converted;
        assert_eq!((*digest, *size), (Digest::of(&self.blob), self.blob.len() as u64));
        assert_eq!(*diff_id, Digest::of(&self.tar));
        assert_eq!(*media_type, media_type::OCI_LAYER_GZIP);
        assert_eq!(annotations["io.containers.estargz.uncompressed-size"], self.tar.len().to_string());
        assert_eq!(annotations.len(), 2);
        assert_eq!(self.tar.len() % 512, 0);
    }

    /// What starts at `offset` decompresses, from `inner` on, to these many bytes.
    fn inflate(&self, offset: u64, inner: u64, size: u64) -> Vec<u8> {
        let mut chunk = Vec::new();
        let mut reader = MultiGzDecoder::new(&self.blob[offset as usize..]);
        std::io::copy(&mut (&mut reader).take(inner), &mut std::io::sink()).unwrap();
        reader.take(size).read_to_end(&mut chunk).unwrap();
        chunk
    }

    /// Every chunk is where the TOC says; offsets grow; chunks make up files.
    fn check_chunks(&self, options: &EstargzOptions) {
        let mut last_offset = 0;
        let mut open: Option<(u64, Vec<u8>, Digest)> = None; // size, bytes so far, digest
        let mut at = 0;
        while at < self.entries.len() {
            let entry = &self.entries[at];
            let size = match kind(entry) {
                "reg" => number(entry, "size"),
                "chunk" => {
                    assert!(open.is_some(), "a chunk belongs to the file before it");
                    let keys = ["name", "type", "offset", "innerOffset", "chunkSize", "chunkOffset", "chunkDigest"];
                    assert!(entry.as_object().unwrap().keys().all(|key| keys.contains(&key.as_str())), "{entry}");
                    0
                }
                _ => {
                    assert!(entry.get("offset").is_none() && entry.get("size").is_none(), "{entry}");
                    at += 1;
                    continue;
                }
            };
            if kind(entry) == "reg" {
                let digest: Digest = entry["digest"].as_str().unwrap().parse().unwrap();
                assert!(
                    open.replace((size, Vec::new(), digest)).is_none_or(|(size, bytes, _)| bytes.len() as u64 == size)
                );
                if size == 0 {
                    assert_eq!(digest, Digest::of(b""));
                    assert!(entry.get("offset").is_none() && entry.get("chunkDigest").is_none());
                    at += 1;
                    continue;
                }
            }
            let (size, bytes, digest) = open.as_mut().unwrap();
            let offset = number(entry, "offset");
            let inner = number(entry, "innerOffset");
            if options.min_chunk_size.0 == 0 {
                assert!(offset > last_offset, "offsets are unique and in order: {entry}");
                assert_eq!(inner, 0);
            } else {
                assert!(offset >= last_offset);
            }
            assert!((offset as usize) < self.toc_offset);
            last_offset = offset;
            assert_eq!(number(entry, "chunkOffset"), bytes.len() as u64);
            let left = *size - bytes.len() as u64;
            let chunk_size = left.min(options.chunk_size.0);
            let said = number(entry, "chunkSize");
            assert_eq!(said, if chunk_size == options.chunk_size.0 { chunk_size } else { 0 }, "{entry}");
            let chunk = self.inflate(offset, inner, chunk_size);
            assert_eq!(entry["chunkDigest"], Digest::of(&chunk).to_string(), "{entry}");
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 == *size {
                assert_eq!(*digest, Digest::of(bytes), "{entry}");
            }
            at += 1;
        }
        assert!(open.is_none_or(|(size, bytes, _)| bytes.len() as u64 == size));
    }

    /// Names are there once; a hard link's target comes before it; there is one landmark.
    fn check_names(&self) {
        let mut seen = BTreeSet::new();
        for entry in self.entries.iter().filter(|entry| kind(entry) != "chunk") {
            if kind(entry) == "hardlink" {
                assert!(seen.contains(&cleaned(entry["linkName"].as_str().unwrap())), "{entry}");
            }
            assert!(seen.insert(cleaned(name(entry))), "{entry} twice");
        }
        let landmarks: Vec<&Value> =
            [LANDMARK, NO_PREFETCH_LANDMARK].iter().flat_map(|landmark| self.named(landmark)).collect();
        assert_eq!(landmarks.len(), 1);
        assert_eq!(landmarks[0]["digest"], Digest::of(&[0x0f]).to_string());
        assert!(!seen.contains(TOC_NAME));
    }

    /// The tar inside holds the source's files, and the TOC says of each what the tar says.
    fn check_files(&self, source: &[u8]) {
        let source = Tree::from_layers(&[compress::unpack(source).unwrap()]).unwrap().without(&OWN);
        let ours = self.tree();
        assert_eq!(diff(&source, &ours), Vec::<String>::new());
        let named: BTreeMap<Vec<u8>, &Value> = self
            .entries
            .iter()
            .filter(|entry| kind(entry) != "chunk" && !OWN.contains(&name(entry)))
            .map(|entry| (cleaned(name(entry)).into_bytes(), entry))
            .collect();
        let mut names = Names::default();
        for entry in self.entries.iter().filter(|entry| kind(entry) != "chunk") {
            names.learn(entry);
        }
        for (path, node) in ours.nodes.iter().filter(|(_, node)| node.mtime.is_some()) {
            check_node(&String::from_utf8_lossy(path), node, named[path]);
        }
    }
}

/// Names of users and groups are said once for an id, until they change.
#[derive(Default)]
struct Names(BTreeMap<(&'static str, u64), String>);

impl Names {
    fn learn(&mut self, entry: &Value) {
        for (key, id) in [("userName", "uid"), ("groupName", "gid")] {
            if let Some(name) = entry.get(key) {
                let name = name.as_str().unwrap().to_owned();
                let known = self.0.insert((key, number(entry, id)), name.clone());
                assert_ne!(known, Some(name), "{entry}: readers know that name");
            }
        }
    }
}

fn check_node(path: &str, node: &Node, entry: &Value) {
    let expected = match (kind(entry), node.kind) {
        ("hardlink", _) => return,
        (_, Kind::File) => "reg",
        (_, Kind::Dir) => "dir",
        (_, Kind::Symlink) => "symlink",
        (_, Kind::CharDevice) => "char",
        (_, Kind::BlockDevice) => "block",
        (_, Kind::Fifo) => "fifo",
    };
    assert_eq!(kind(entry), expected, "{path}");
    assert_eq!(number(entry, "mode") as u32 & 0o7777, node.mode, "{path}");
    assert_eq!((number(entry, "uid"), number(entry, "gid")), (node.uid, node.gid), "{path}");
    assert_eq!(number(entry, "size"), if node.kind == Kind::File { node.size } else { 0 }, "{path}");
    assert_eq!(entry.get("digest").map(|digest| digest.as_str().unwrap().parse().unwrap()), node.digest, "{path}");
    let target = entry.get("linkName").map_or(&b""[..], |target| target.as_str().unwrap().as_bytes());
    assert_eq!(target, node.target, "{path}");
    let device = (number(entry, "devMajor") as u32, number(entry, "devMinor") as u32);
    assert_eq!(device, node.device.unwrap_or_default(), "{path}");
    let at: jiff::Timestamp = entry["modtime"].as_str().unwrap().parse().unwrap();
    let nanos = at.as_nanosecond();
    let (seconds, rest) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    assert_eq!(Some((seconds as i64, rest as u32)), node.mtime, "{path}");
    let xattrs: BTreeMap<Vec<u8>, Vec<u8>> = entry.get("xattrs").map_or_else(BTreeMap::new, |xattrs| {
        let value = |value: &Value| base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap();
        xattrs.as_object().unwrap().iter().map(|(key, text)| (key.clone().into_bytes(), value(text))).collect()
    });
    assert_eq!(xattrs, node.xattrs, "{path}");
}

/// The raw header blocks of each entry.
pub(crate) fn raw_headers(tar: &[u8]) -> Vec<Vec<u8>> {
    let mut walker = TarReader::new(tar, Limits::default());
    let mut raw = Vec::new();
    while let Some(entry) = walker.next_entry().unwrap() {
        raw.push(entry.raw.clone());
    }
    raw
}
