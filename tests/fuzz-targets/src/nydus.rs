//! Nydus: the reader of bootstraps, the merge of blobs, and the way from tars to an image.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::LazyLock;

use accel_domain::{ByteSize, NydusOptions};
use accel_driver::conformance::{Downloads, Kept};
use accel_driver::{Blobs, Driver, DriverError, Merge, Part, Pool};
use accel_driver_nydus::Nydus;
use accel_driver_nydus::reader::Bootstrap;
use accel_image::Digest;
use accel_stream::{LayerReader, Limits, TarReader};
use accel_test_support::nydus::{blob_with, ends_as_v5, reseal, v5_blob_with};
use accel_test_support::tar::{dir, file, hardlink, opaque, symlink, whiteout};
use accel_test_support::{nasty_tar, tar};

use crate::layers::{LIMITS, TAR_WORDS, repaired};
use crate::{Target, choose, with_choices};

pub(crate) const BOOTSTRAP: Target =
    Target { name: "bootstrap", run: read_bootstrap, seeds: bootstraps, words: &[".wh.", ".wh..wh..opq", "ALNK"] };
pub(crate) const BLOB: Target = Target {
    name: "nydus_blob",
    run: read_blob,
    seeds: blobs,
    words: &["image.boot", "blob.meta", "blob.meta.header", "rafs.blob.toc"],
};
pub(crate) const NYDUS: Target = Target { name: "nydus", run: convert, seeds: tars, words: TAR_WORDS };

/// What a bootstrap of RAFS v5 begins with.
const V5_MAGIC: [u8; 4] = *b"SFAR";

static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new(1));

/// Blobs in memory, and the version of RAFS that they are of.
struct Store {
    fs_version: u8,
    blobs: HashMap<Digest, Vec<u8>>,
    parts: Vec<Part>,
}

impl Store {
    fn of(fs_version: u8) -> Self {
        Self { fs_version, blobs: HashMap::new(), parts: Vec::new() }
    }

    fn driver(&self) -> Nydus {
        let fs_version = self.fs_version;
        Nydus::new(NydusOptions { fs_version, chunk_size: ByteSize(4096), ..NydusOptions::default() }, LIMITS)
    }

    fn add(&mut self, blob: Vec<u8>) {
        let digest = Digest::of(&blob);
        self.parts.push(Part { source: digest, digest, size: blob.len() as u64 });
        self.blobs.insert(digest, blob);
    }

    fn convert(&mut self, tar: &[u8]) -> Result<(), DriverError> {
        let mut output = Kept::default();
        self.driver().convert(&POOL, &mut Downloads::of(tar), &mut output)?;
        self.add(output.blob);
        Ok(())
    }

    /// The bootstrap of the image that all blobs make.
    fn merge(&mut self) -> Result<Vec<u8>, DriverError> {
        let mut output = Kept::default();
        let parts = self.parts.clone();
        Merge::merge(&self.driver(), &parts, self, &mut output)?;
        let limits = Limits { layer_bytes: 64 << 20, ..Limits::default() };
        let mut walker = TarReader::new(LayerReader::new(&output.blob[..], limits), limits);
        while walker.next_entry().expect("our own layer").is_some_and(|entry| entry.path != b"image/image.boot") {}
        let mut boot = vec![0; walker.entry().size as usize];
        let mut filled = 0;
        while filled < boot.len() {
            filled += walker.read_payload(&mut boot[filled..]).expect("our own layer");
        }
        Ok(boot)
    }
}

impl Blobs for Store {
    fn read(&mut self, part: &Part, from: u64, len: u64) -> io::Result<Box<dyn Read + '_>> {
        let blob = self.blobs.get(&part.digest).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(&blob[from as usize..][..len as usize]))
    }
}

fn lower() -> Vec<u8> {
    tar(&[
        dir("d/"),
        file("d/f", vec![7; 9000]).xattr("user.a", b"1"),
        file("e", b"x"),
        symlink("s", "d/f"),
        hardlink("h", "d/f"),
    ])
}

fn upper() -> Vec<u8> {
    tar(&[whiteout("e"), opaque("d"), file("d/new/g", b"y"), hardlink("below", "h"), file("s", b"")])
}

/// Bootstraps of layers and of an image, of both versions.
fn bootstraps() -> Vec<Vec<u8>> {
    [6, 5].into_iter().flat_map(bootstraps_of).collect()
}

fn bootstraps_of(fs_version: u8) -> Vec<Vec<u8>> {
    let mut store = Store::of(fs_version);
    [lower(), upper()].iter().for_each(|tar| store.convert(tar).expect("it can be represented"));
    let of_layer = |blob: &Vec<u8>| {
        if fs_version == 5 {
            // It ends with a digest, and the blob with a header.
            let begin = blob.windows(4).rposition(|bytes| bytes == V5_MAGIC).expect("our own blob");
            return blob[begin..blob.len() - 32 - 512].to_vec();
        }
        // The last entry of the table of contents is that of the bootstrap.
        let entry = &blob[blob.len() - 512 - 128..][..128];
        let number = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().expect("8 bytes")) as usize;
        accel_test_support::compress::unpack(&blob[number(56)..][..number(64)]).expect("our own blob")
    };
    let mut boots: Vec<_> = store.parts.iter().map(|part| of_layer(&store.blobs[&part.digest])).collect();
    boots.push(store.merge().expect("it can be merged"));
    boots
}

/// A bootstrap is refused, or its walk ends within the limits; and a blob that ends with it is refused, or can be merged
/// with others into an image that can be read.
fn read_bootstrap(boot: &[u8]) -> bool {
    let is_accepted = walk(boot);
    let is_v5 = boot.starts_with(&V5_MAGIC);
    let mut store = Store::of(if is_v5 { 5 } else { 6 });
    store.convert(&lower()).expect("it can be represented");
    store.add(if is_v5 { v5_blob_with(boot) } else { blob_with(boot) });
    if let Ok(merged) = store.merge() {
        assert!(walk(&merged), "our own bootstrap is refused");
    }
    is_accepted
}

/// Blobs of layers with and without contents, of both versions.
fn blobs() -> Vec<Vec<u8>> {
    [6, 5].into_iter().flat_map(blobs_of).collect()
}

fn blobs_of(fs_version: u8) -> Vec<Vec<u8>> {
    let mut store = Store::of(fs_version);
    let empty = tar(&[dir("d/"), hardlink("below", "h")]);
    [lower(), upper(), empty].iter().for_each(|tar| store.convert(tar).expect("it can be represented"));
    store.parts.iter().map(|part| store.blobs[&part.digest].clone()).collect()
}

/// A blob whose sections have the digests that it says is refused, or can be merged into an image that
/// can be read.
fn read_blob(bytes: &[u8]) -> bool {
    let mut blob = bytes.to_vec();
    reseal(&mut blob);
    let mut store = Store::of(if ends_as_v5(&blob) { 5 } else { 6 });
    store.convert(&lower()).expect("it can be represented");
    store.add(blob);
    let merged = store.merge();
    assert!(merged.as_ref().map_or(true, |boot| walk(boot)), "our own bootstrap is refused");
    merged.is_ok()
}

/// Whether it can be walked.
fn walk(boot: &[u8]) -> bool {
    let Ok(bootstrap) = Bootstrap::parse(boot.to_vec()) else { return false };
    let mut paths = 0;
    let walked = bootstrap.walk(LIMITS, &mut |path, inode| {
        paths += 1;
        assert!(path.len() as u64 <= LIMITS.path_bytes);
        assert!(inode.chunks.iter().map(|chunk| u64::from(chunk.uncompressed_size)).sum::<u64>() == inode.size);
    });
    assert!(paths <= LIMITS.entries + 1);
    walked.is_ok()
}

fn tars() -> Vec<Vec<u8>> {
    with_choices(4, &[lower(), upper(), nasty_tar(), tar(&[])])
}

/// A tar that can be converted and merged gives an image that our own reader accepts, the same each time.
fn convert(bytes: &[u8]) -> bool {
    let choices = [(false, 6), (true, 6), (false, 5), (true, 5)];
    let Some(((above, fs_version), bytes)) = choose(bytes, &choices) else { return false };
    let tar = repaired(bytes);
    let layers = if above { vec![lower(), tar] } else { vec![tar, upper()] };
    let made = || {
        let mut store = Store::of(fs_version);
        layers.iter().try_for_each(|layer| store.convert(layer))?;
        store.merge()
    };
    match made() {
        Ok(boot) => {
            assert!(walk(&boot), "our own bootstrap is refused");
            assert_eq!(made().ok(), Some(boot), "the same bytes each time");
            true
        }
        Err(DriverError::Damaged { reason, .. }) => panic!("our own blob is refused: {reason}"),
        Err(_) => false,
    }
}
