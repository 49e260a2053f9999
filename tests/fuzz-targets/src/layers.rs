//! Layers: the tar walker, decompression, and the way from a tar to an eStargz blob.

use std::io::{self, Read};
use std::sync::LazyLock;

use accel_domain::{ByteSize, EstargzOptions};
use accel_driver::conformance::{Downloads, Kept};
use accel_driver::{Driver as _, Pool};
use accel_driver_estargz::Estargz;
use accel_image::{Digest, Hasher};
use accel_stream::{Entry, LayerReader, LayerSums, Limits, TarReader};
use accel_test_support::tar::{dir, file, hardlink, symlink};
use accel_test_support::{compress, nasty_tar, sparse_tar, tar};

use crate::estargz::check;
use crate::{Target, choose, with_choices};

pub(crate) const TAR: Target = Target { name: "tar", run: walk, seeds: tars, words: TAR_WORDS };
pub(crate) const LAYER: Target = Target { name: "layer", run: decompress, seeds: layers, words: &[] };
pub(crate) const CONVERT: Target = Target { name: "convert", run: convert, seeds: tars, words: TAR_WORDS };

pub(crate) const TAR_WORDS: &[&str] = &[
    "ustar\x0000",
    "ustar  \0",
    "././@LongLink",
    "12 path=a/b\n",
    "13 size=1000\n",
    "20 mtime=1.5\n",
    "../",
    "\0\0\0\0",
    "30 SCHILY.xattr.user.a=x\n",
    "22 GNU.sparse.major=1\n",
    "25 GNU.sparse.realsize=9\n",
    ".wh..wh..opq",
    ".prefetch.landmark",
    "stargz.index.json",
    "\u{80}\0\0\0",
    "99999999999999999999 path=",
];
const BLOCK_BYTES: usize = 512;

/// Small, so that each of them is met.
pub(crate) const LIMITS: Limits = Limits {
    entries: 200,
    path_bytes: 300,
    pax_bytes: 4096,
    layer_bytes: 1 << 20,
    ratio: 1000,
    zstd_window_bytes: 1 << 20,
};

fn tars() -> Vec<Vec<u8>> {
    let plain = tar(&[
        dir("d/"),
        file("d/f", vec![7; 700]).owner("alice", "users").xattr("user.a", b"1"),
        file("d/f", b"again"),
        symlink("s", "d/f"),
        hardlink("h", "d/f"),
        file("e", b""),
    ]);
    with_choices(4, &[plain, nasty_tar(), sparse_tar(), tar(&[])])
}

fn layers() -> Vec<Vec<u8>> {
    let [small, large] = [tar(&[file("f", b"content")]), tar(&[file("f", vec![0; 100_000])])];
    let (head, tail) = small.split_at(600);
    vec![
        compress::gzip(&small),
        compress::gzip(&large),
        compress::gzip_members(&[head, b"", tail]),
        compress::zstd(&small),
        compress::zstd(&large),
        [compress::zstd(head), b"\x50\x2a\x4d\x18\x04\0\0\0skip".to_vec(), compress::zstd(tail)].concat(),
        small,
        Vec::new(),
    ]
}

/// However it is read, a tar has the same entries or the same fault, and no entry is larger than the limits.
fn walk(bytes: &[u8]) -> bool {
    let Some((repairs, bytes)) = choose(bytes, &[false, true]) else { return false };
    let bytes = if repairs { repaired(bytes) } else { bytes.to_vec() };
    let (whole, pieces) = (walked(&bytes[..], 64 << 10), walked(Trickle::new(&bytes), 7));
    assert_eq!(whole, pieces);
    pieces.0.iter().for_each(check_entry);
    assert!(pieces.0.len() as u64 <= LIMITS.entries);
    pieces.2.is_none()
}

fn check_entry(entry: &Entry) {
    for text in [&entry.path, &entry.link] {
        assert!(text.len() as u64 <= LIMITS.path_bytes);
    }
    assert!(entry.size <= LIMITS.layer_bytes);
    assert!(!entry.raw.is_empty() && entry.raw.len().is_multiple_of(BLOCK_BYTES));
    assert!(entry.raw.len() as u64 <= 8 * LIMITS.pax_bytes + (64 << 10));
}

/// The entries of a tar, the digest of all payloads, and what is wrong with it.
fn walked(reader: impl Read, piece: usize) -> (Vec<Entry>, Digest, Option<String>) {
    let mut walker = TarReader::new(reader, LIMITS);
    let (mut entries, mut payloads, mut block) = (Vec::new(), Hasher::default(), vec![0; piece]);
    let fault = loop {
        match walker.next_entry() {
            Ok(Some(entry)) => entries.push(entry.clone()),
            Ok(None) => break None,
            Err(error) => break Some(error.to_string()),
        }
        let fault = loop {
            match walker.read_payload(&mut block) {
                Ok(0) => break None,
                Ok(got) => payloads.update(&block[..got]),
                Err(error) => break Some(error.to_string()),
            }
        };
        if fault.is_some() {
            // How much of a payload came before it breaks off depends on the size of the reads.
            payloads = Hasher::default();
            break fault;
        }
    };
    (entries, payloads.finish(), fault)
}

/// However it is read, a layer decompresses to the same bytes or is refused, within the limits.
fn decompress(bytes: &[u8]) -> bool {
    let (whole, pieces) = (decompressed(bytes, 256 << 10), decompressed(Trickle::new(bytes), 1021));
    assert_eq!(whole, pieces);
    if let Some((diff_id, sums)) = &whole {
        assert_eq!((sums.source_digest, sums.source_bytes), (Digest::of(bytes), bytes.len() as u64));
        assert_eq!(sums.diff_id, *diff_id);
        assert!(sums.uncompressed_bytes <= LIMITS.layer_bytes);
    }
    whole.is_some()
}

/// `None` is a fault. Of several, which is met first depends on the size of the reads.
fn decompressed(reader: impl Read, piece: usize) -> Option<(Digest, LayerSums)> {
    let mut reader = LayerReader::new(reader, LIMITS);
    let (mut hasher, mut block) = (Hasher::default(), vec![0; piece]);
    loop {
        let got = reader.read_bytes(&mut block).ok()?;
        if got == 0 {
            break;
        }
        hasher.update(&block[..got]);
        assert!(hasher.bytes() <= LIMITS.layer_bytes);
    }
    let sums = reader.finish().ok()?;
    Some((hasher.finish(), sums))
}

/// A tar that can be converted gives a blob that our own reader accepts, the same each time.
fn convert(bytes: &[u8]) -> bool {
    static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new(1));
    let small = EstargzOptions { chunk_size: ByteSize(4096), level: 1, ..EstargzOptions::default() };
    let options = [
        EstargzOptions { level: 1, ..EstargzOptions::default() },
        small.clone(),
        EstargzOptions { min_chunk_size: ByteSize(4096), ..small.clone() },
        EstargzOptions { prefetch: vec!["/**/f".to_owned(), "/s".to_owned()], ..small },
    ];
    let Some((at, bytes)) = choose(bytes, &[0, 1, 2, 3]) else { return false };
    let tar = repaired(bytes);
    let made = || {
        let mut output = Kept::default();
        let converted = Estargz::new(options[at].clone(), LIMITS).convert(&POOL, &mut Downloads::of(&tar), &mut output);
        converted.map(|converted| (converted, output.blob))
    };
    let Ok((converted, blob)) = made() else { return false };
    let checked = check(&blob, Limits { layer_bytes: 4 << 20, entries: 1000, ..LIMITS });
    let checked = checked.unwrap_or_else(|fault| panic!("our own blob is refused: {fault}"));
    assert_eq!((checked.digest, checked.diff_id, checked.size), (converted.digest, converted.diff_id, converted.size));
    assert_eq!(Digest::of(&blob), converted.digest);
    let again = made().map(|(converted, _)| converted.digest);
    assert_eq!(again.ok(), Some(converted.digest), "the same bytes each time");
    true
}

/// `bytes` with the checksums of all blocks that look like headers put right, so that more than the checksum is tried.
pub(crate) fn repaired(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.as_chunks_mut::<BLOCK_BYTES>().0 {
        if block[257..].starts_with(b"ustar") {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    bytes
}

/// Gives its bytes a few at a time.
struct Trickle<'b> {
    rest: &'b [u8],
    turn: usize,
}

impl<'b> Trickle<'b> {
    const fn new(rest: &'b [u8]) -> Self {
        Self { rest, turn: 0 }
    }
}

impl Read for Trickle<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.turn = self.turn % 97 + 1;
        let room = out.len().min(self.turn);
        self.rest.read(&mut out[..room])
    }
}
