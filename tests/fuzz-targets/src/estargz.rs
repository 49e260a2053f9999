//! The reader of eStargz blobs: footers, tables of contents, and whether both agree with the tar.

use std::sync::LazyLock;

use accel_domain::{ByteSize, EstargzOptions};
use accel_driver::conformance::{Downloads, Kept};
use accel_driver::{Driver as _, Pool};
use accel_driver_estargz::reader::{CheckedBlob, FormatError, check_blob, read_toc, toc_offset};
use accel_driver_estargz::{Estargz, FOOTER_BYTES, TOC_NAME, footer};
use accel_image::Digest;
use accel_stream::{Limits, TarReader};
use accel_test_support::tar::{dir, file, hardlink, symlink};
use accel_test_support::{compress, tar};

use crate::Target;
use crate::layers::LIMITS;

pub(crate) const BLOB: Target = Target { name: "estargz", run: read_blob, seeds: blobs, words: &["STARGZ", TOC_NAME] };
pub(crate) const TOC: Target = Target { name: "toc", run: read_json, seeds: tocs, words: TOC_WORDS };

const TOC_WORDS: &[&str] = &[
    "\"entries\":[",
    "\"name\":",
    "\"type\":\"reg\"",
    "\"type\":\"chunk\"",
    "\"type\":\"hardlink\"",
    "\"size\":",
    "\"offset\":",
    "\"chunkOffset\":",
    "\"chunkSize\":",
    "\"chunkDigest\":\"sha256:\"",
    "\"innerOffset\":",
    "\"xattrs\":{",
    "\"modtime\":",
    "\"linkName\":",
    "null",
    "[[[[",
    "-1",
    "1e400",
    "18446744073709551616",
    "\\ud800",
    "\"NumLink\":",
];

static SAMPLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let source = tar(&[
        dir("d/"),
        file("d/large", vec![5; 9000]).owner("alice", "users").xattr("user.a", b"1"),
        file("d/small", b"content"),
        file("d/empty", b""),
        hardlink("h", "d/small"),
        symlink("s", "d"),
    ]);
    let options = EstargzOptions { chunk_size: ByteSize(4096), ..EstargzOptions::default() };
    let mut output = Kept::default();
    let made =
        Estargz::new(options, Limits::default()).convert(&Pool::new(1), &mut Downloads::of(&source), &mut output);
    made.expect("it can be represented");
    output.blob
});

fn blobs() -> Vec<Vec<u8>> {
    let blob = SAMPLE.clone();
    vec![blob[toc_at()..].to_vec(), blob[blob.len() - FOOTER_BYTES..].to_vec(), blob, footer(0).to_vec()]
}

fn tocs() -> Vec<Vec<u8>> {
    let mut walker =
        TarReader::new(accel_stream::LayerReader::new(&SAMPLE[toc_at()..], Limits::default()), Limits::default());
    let mut json = vec![0; 64 << 10];
    walker.next_entry().expect("our own TOC");
    let got = walker.read_payload(&mut json).expect("our own TOC");
    json.truncate(got);
    vec![json, br#"{"version":1,"entries":[]}"#.to_vec()]
}

fn toc_at() -> usize {
    let tail = &SAMPLE[SAMPLE.len() - FOOTER_BYTES..];
    let (at, _) = toc_offset(tail, SAMPLE.len() as u64).expect("our own footer");
    usize::try_from(at).expect("an offset within the blob")
}

/// A blob is refused, or is what its TOC and its footer say.
fn read_blob(bytes: &[u8]) -> bool {
    drop(read_toc(bytes, LIMITS, &mut |_| Ok(())));
    let checked = check(bytes, LIMITS);
    if let Ok(checked) = &checked {
        assert_eq!((checked.digest, checked.size), (Digest::of(bytes), bytes.len() as u64));
        assert!(checked.uncompressed_size <= LIMITS.layer_bytes && checked.entries <= LIMITS.entries);
    }
    checked.is_ok()
}

/// The same with a TOC that is any JSON, since hardly any other bytes get through gzip and tar.
fn read_json(json: &[u8]) -> bool {
    let member = compress::gzip(&tar(&[file(TOC_NAME, json)]));
    let blob = [&SAMPLE[..toc_at()], &member, &footer(toc_at() as u64)].concat();
    let mut entries = 0;
    let read = read_toc(&member[..], LIMITS, &mut |_| {
        entries += 1;
        Ok(())
    });
    if let Ok(sums) = read {
        assert_eq!((sums.digest, sums.json_bytes, sums.entries), (Digest::of(json), json.len() as u64, entries));
    }
    let checked = check(&blob, LIMITS);
    if let Ok(checked) = &checked {
        assert_eq!(checked.digest, Digest::of(&blob));
    }
    checked.is_ok()
}

/// What our reader finds out about a blob.
pub(crate) fn check(blob: &[u8], limits: Limits) -> Result<CheckedBlob, FormatError> {
    let tail = &blob[blob.len().saturating_sub(FOOTER_BYTES)..];
    let at = toc_offset(tail, blob.len() as u64)?;
    let toc = usize::try_from(at.0).ok().and_then(|at| blob.get(at..));
    let toc = toc.expect("an offset within the blob");
    check_blob(blob, toc, at, limits, &mut |_, _| ())
}
