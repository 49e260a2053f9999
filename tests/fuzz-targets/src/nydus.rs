//! Nydus: the reader of bootstraps, the merge of blobs, and the way from tars to an image.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, LazyLock};

use accel_domain::{ByteSize, NydusOptions};
use accel_driver::conformance::{Downloads, Kept};
use accel_driver::{Blobs, Driver, DriverError, Merge, Part, Pool};
use accel_driver_nydus::reader::{Bootstrap, check_chunk, check_chunk_of_batch, uncompressed_batch};
use accel_driver_nydus::{ChunkDictionary, DictionaryBuilder, DictionaryImage, Nydus};
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

/// What blobs are made with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    V6,
    V5,
    /// Of RAFS v6, with batches.
    Batched,
}

impl Made {
    const ALL: [Self; 3] = [Self::V6, Self::V5, Self::Batched];

    fn options(self) -> NydusOptions {
        let options = NydusOptions { chunk_size: ByteSize(4096), ..NydusOptions::default() };
        match self {
            Self::V6 => options,
            Self::V5 => NydusOptions { fs_version: 5, ..options },
            Self::Batched => NydusOptions { batch_size: ByteSize(4096), ..options },
        }
    }
}

/// An image to which layers refer.
static BASE: LazyLock<Arc<ChunkDictionary>> = LazyLock::new(|| {
    let mut store = Store::of(Made::V6);
    store.convert(&lower()).expect("it can be represented");
    let boot = store.merge().expect("it can be merged");
    Store::beside(&boot, None).and_then(|store| store.dictionary).expect("our own bootstrap")
});

/// Blobs in memory, and what they are made with.
pub(crate) struct Store {
    options: NydusOptions,
    blobs: HashMap<Digest, Vec<u8>>,
    parts: Vec<Part>,
    /// That to which its layers refer.
    dictionary: Option<Arc<ChunkDictionary>>,
}

impl Store {
    fn of(made: Made) -> Self {
        Self::with(made.options())
    }

    pub(crate) fn with(options: NydusOptions) -> Self {
        Self { options, blobs: HashMap::new(), parts: Vec::new(), dictionary: None }
    }

    /// Of RAFS v6, for layers that refer to the image with the bootstrap `boot` and the file `meta` about each blob's chunks;
    /// none where it cannot be referred to.
    fn beside(boot: &[u8], meta: Option<&[u8]>) -> Option<Self> {
        let store = Self::of(Made::V6);
        let bootstrap = Bootstrap::parse(boot.to_vec()).ok()?;
        let metas = meta.map(|meta| bootstrap.blobs().iter().map(|blob| (blob.id, meta.to_vec())).collect());
        let mut builder = DictionaryBuilder::new(store.options.clone());
        builder.add(DictionaryImage { bootstrap, metas: metas.unwrap_or_default() }).ok()?;
        Some(Self { dictionary: Some(Arc::new(builder.build().ok()?)), ..store })
    }

    fn driver(&self) -> Nydus {
        Nydus::new(self.options.clone(), LIMITS).with_dictionary(self.dictionary.clone())
    }

    fn add(&mut self, source: Digest, blob: Vec<u8>) {
        let digest = Digest::of(&blob);
        self.parts.push(Part { source, digest, size: blob.len() as u64 });
        self.blobs.insert(digest, blob);
    }

    /// The blob that was made last.
    pub(crate) fn last(&self) -> &[u8] {
        &self.blobs[&self.parts.last().expect("a blob was made").digest]
    }

    pub(crate) fn convert(&mut self, layer: &[u8]) -> Result<(), DriverError> {
        let mut output = Kept::default();
        self.driver().convert(&POOL, &mut Downloads::of(layer), &mut output)?;
        self.add(Digest::of(layer), output.blob);
        Ok(())
    }

    /// The bootstrap of the image that all blobs make.
    pub(crate) fn merge(&mut self) -> Result<Vec<u8>, DriverError> {
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
        file("f", b"batched with e"),
        symlink("s", "d/f"),
        hardlink("h", "d/f"),
    ])
}

fn upper() -> Vec<u8> {
    tar(&[whiteout("e"), opaque("d"), file("d/new/g", b"y"), hardlink("below", "h"), file("s", b"")])
}

/// Bootstraps of layers and of an image, of both versions and with batches.
fn bootstraps() -> Vec<Vec<u8>> {
    Made::ALL.into_iter().flat_map(bootstraps_of).collect()
}

fn bootstraps_of(made: Made) -> Vec<Vec<u8>> {
    let mut store = Store::of(made);
    [lower(), upper()].iter().for_each(|tar| store.convert(tar).expect("it can be represented"));
    let of_layer = |blob: &Vec<u8>| {
        if matches!(made, Made::V5) {
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
    let mut store = Store::of(if is_v5 { Made::V5 } else { Made::Batched });
    store.convert(&lower()).expect("it can be represented");
    store.add(Digest::of(boot), if is_v5 { v5_blob_with(boot) } else { blob_with(boot) });
    if let Ok(merged) = store.merge() {
        assert!(walk(&merged), "our own bootstrap is refused");
    }
    for meta in [None, Some(&boot[boot.len() / 2..])] {
        refer_to(boot, meta);
    }
    is_accepted
}

/// A bootstrap cannot be referred to; or layers that do so can be merged into an image that can be read, or are refused for
/// what they are together, since the blobs of the other image may be as large as it says.
fn refer_to(boot: &[u8], meta: Option<&[u8]>) {
    let Some(mut store) = Store::beside(boot, meta) else { return };
    let made = [lower(), upper()].iter().try_for_each(|tar| store.convert(tar)).and_then(|()| store.merge());
    match made {
        Ok(merged) => assert!(walk(&merged), "our own bootstrap is refused"),
        Err(DriverError::Damaged { reason, .. }) => panic!("our own blob is refused: {reason}"),
        Err(_) => {}
    }
}

/// Blobs of layers with and without contents, of both versions and with batches, and one that refers to another image.
fn blobs() -> Vec<Vec<u8>> {
    Made::ALL.into_iter().flat_map(blobs_of).chain([blob_beside_base()]).collect()
}

/// A layer with chunks of its own and of the dictionary.
fn blob_beside_base() -> Vec<u8> {
    let mut store = Store { dictionary: Some(Arc::clone(&BASE)), ..Store::of(Made::V6) };
    let layer = tar(&[file("own", b"own"), file("f", vec![7; 9000]), file("g", b"x")]);
    store.convert(&layer).expect("it can be represented");
    store.blobs.into_values().next().expect("it was converted")
}

fn blobs_of(made: Made) -> Vec<Vec<u8>> {
    let mut store = Store::of(made);
    let empty = tar(&[dir("d/"), hardlink("below", "h")]);
    [lower(), upper(), empty].iter().for_each(|tar| store.convert(tar).expect("it can be represented"));
    store.parts.iter().map(|part| store.blobs[&part.digest].clone()).collect()
}

/// A blob whose sections have the digests that it says is refused, or can be merged into an image that
/// can be read.
fn read_blob(bytes: &[u8]) -> bool {
    let mut blob = bytes.to_vec();
    reseal(&mut blob);
    let mut store = Store::of(if ends_as_v5(&blob) { Made::V5 } else { Made::Batched });
    store.convert(&lower()).expect("it can be represented");
    store.dictionary = (store.options.fs_version != 5).then(|| Arc::clone(&BASE));
    store.add(Digest::of(bytes), blob);
    let merged = store.merge();
    assert!(merged.as_ref().map_or(true, |boot| walk(boot)), "our own bootstrap is refused");
    merged.is_ok_and(|boot| {
        compare_chunks(boot, &store);
        true
    })
}

/// Reads what a bootstrap says of chunks, as `verify` does, whatever is there.
fn compare_chunks(boot: Vec<u8>, store: &Store) {
    let bootstrap = Bootstrap::parse(boot).expect("our own bootstrap");
    let (compressor, most) = (bootstrap.compressor(), bootstrap.chunk_size() as usize);
    let compared = bootstrap.walk(LIMITS, &mut |_, inode| {
        for chunk in &inode.chunks {
            // Blobs of the dictionary are not there.
            let Some(blob) = store.blobs.get(&bootstrap.blobs()[chunk.blob as usize].id) else { continue };
            let stored = usize::try_from(chunk.compressed_offset).ok().and_then(|begin| blob.get(begin..));
            let Some(stored) = stored.and_then(|rest| rest.get(..chunk.compressed_size as usize)) else { continue };
            // Only that nothing panics: what a hostile blob holds may be anything.
            drop(match chunk.batch {
                None => check_chunk(compressor, stored, chunk),
                Some(_) => uncompressed_batch(compressor, stored, chunk, most).and_then(|batch| {
                    assert!(batch.len() <= most);
                    check_chunk_of_batch(&batch, chunk)
                }),
            });
        }
    });
    assert!(compared.is_ok(), "our own bootstrap is refused");
}

/// Whether it can be walked.
pub(crate) fn walk(boot: &[u8]) -> bool {
    let Ok(bootstrap) = Bootstrap::parse(boot.to_vec()) else { return false };
    let mut paths = 0;
    let walked = bootstrap.walk(LIMITS, &mut |path, inode| {
        paths += 1;
        assert!(path.len() as u64 <= LIMITS.path_bytes);
        let bytes: u64 = inode.chunks.iter().map(|chunk| u64::from(chunk.uncompressed_size)).sum();
        assert_eq!(bytes, if inode.is_again { 0 } else { inode.size });
    });
    assert!(paths <= LIMITS.entries + 1);
    walked.is_ok()
}

fn tars() -> Vec<Vec<u8>> {
    with_choices(6, &[lower(), upper(), nasty_tar(), tar(&[])])
}

/// A tar that can be converted and merged gives an image that our own reader accepts, the same each time.
fn convert(bytes: &[u8]) -> bool {
    let choices = [false, true].map(|above| Made::ALL.map(|made| (above, made))).concat();
    let Some(((above, made_with), bytes)) = choose(bytes, &choices) else { return false };
    let tar = repaired(bytes);
    let layers = if above { vec![lower(), tar] } else { vec![tar, upper()] };
    let made = || {
        let mut store = Store::of(made_with);
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
