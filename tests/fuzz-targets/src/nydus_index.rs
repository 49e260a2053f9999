//! Nydus images that refer to their original layers: the reader of an index, and the way from a gzip to an index.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use accel_domain::{ByteSize, NydusOptions};
use accel_driver::DriverError;
use accel_driver_nydus::reader::{Bootstrap, ChunkRef, FormatError, check_index};
use accel_test_support::compress::{gzip, gzip_members};
use accel_test_support::tar::{dir, file, hardlink};
use accel_test_support::{nasty_tar, noise, tar};

use crate::layers::{LIMITS, TAR_WORDS, repaired};
use crate::nydus::{Store, walk};
use crate::{Target, choose, with_choices};

pub(crate) const INDEX: Target = Target { name: "nydus_index", run: read_index, seeds: indexes, words: &[] };
pub(crate) const GZIP: Target = Target { name: "nydus_gzip", run: convert, seeds: originals, words: TAR_WORDS };

/// Where a bootstrap says where its table of blobs is, and what an entry says of `blob.meta`: compressor, place and lengths.
const BLOB_TABLE: usize = 1160;
const META: usize = 108;
const HEADER_BYTES: usize = 4096;

/// A layer, the index into it, and the bootstrap of their image.
struct Image {
    original: Vec<u8>,
    index: Vec<u8>,
    boot: Vec<u8>,
}

impl Image {
    fn of(original: Vec<u8>) -> Result<Self, DriverError> {
        let options = NydusOptions { oci_ref: true, chunk_size: ByteSize(4096), ..NydusOptions::default() };
        let mut store = Store::with(options);
        store.convert(&original)?;
        let boot = store.merge()?;
        Ok(Self { original, index: store.last().to_vec(), boot })
    }

    /// What the reader finds wrong.
    fn check(&self) -> Result<Vec<String>, FormatError> {
        let bootstrap = Bootstrap::parse(self.boot.clone())?;
        let mut chunks: BTreeMap<u32, ChunkRef> = BTreeMap::new();
        bootstrap.walk(LIMITS, &mut |_, inode| {
            chunks.extend(inode.chunks.iter().map(|chunk| (chunk.index, *chunk)));
        })?;
        let Some(blob) = bootstrap.blobs().first() else { return Ok(Vec::new()) };
        let mut wrong = Vec::new();
        let mut note = |what| wrong.push(what);
        check_index(blob, &chunks, &mut &self.index[..], &mut &self.original[..], LIMITS, &mut note)?;
        Ok(wrong)
    }

    /// Where the bootstrap says where `blob.meta` is.
    fn meta(&self) -> usize {
        self.number(BLOB_TABLE) + META
    }

    fn number(&self, at: usize) -> usize {
        u64::from_le_bytes(self.boot[at..at + 8].try_into().expect("8 bytes")) as usize
    }

    /// `blob.meta` uncompressed, and its header.
    fn sections(&self) -> Vec<u8> {
        let meta = self.meta();
        let (begin, bytes) = (self.number(meta + 4), self.number(meta + 12));
        let end = begin + bytes;
        let array = accel_test_support::compress::unpack(&self.index[begin..end]).expect("our own index");
        [&array, &self.index[end..end + HEADER_BYTES]].concat()
    }

    /// The same image with other sections, the first not compressed.
    fn with_sections(&self, sections: &[u8]) -> Self {
        let (meta, bytes) = (self.meta(), sections.len().saturating_sub(HEADER_BYTES) as u64);
        let mut boot = self.boot.clone();
        boot[meta..meta + 4].fill(0);
        for (at, number) in [0, bytes, bytes].into_iter().enumerate() {
            boot[meta + 4 + 8 * at..][..8].copy_from_slice(&number.to_le_bytes());
        }
        Self { original: self.original.clone(), index: sections.to_vec(), boot }
    }
}

/// With two spans.
static IMAGE: LazyLock<Image> = LazyLock::new(|| {
    let layer = tar(&[dir("d/"), file("d/large", noise(600_000, 1)), file("e", noise(9000, 2)), hardlink("h", "e")]);
    Image::of(gzip(&layer)).expect("it can be represented")
});

fn indexes() -> Vec<Vec<u8>> {
    vec![IMAGE.sections()]
}

/// An index is refused, or read within its bounds.
fn read_index(bytes: &[u8]) -> bool {
    IMAGE.with_sections(bytes).check().is_ok_and(|wrong| wrong.is_empty())
}

/// A way to make a layer of a tar.
type Pack = fn(&[u8]) -> Vec<u8>;

/// One member, many, and the bytes as they are.
const PACKED: [Pack; 3] = [gzip, |bytes| gzip_members(&bytes.chunks(1000).collect::<Vec<_>>()), <[u8]>::to_vec];

fn originals() -> Vec<Vec<u8>> {
    let tars = [tar(&[dir("d/"), file("d/f", vec![7; 9000]), hardlink("h", "d/f")]), nasty_tar(), tar(&[])];
    let mut seeds = with_choices(2, &tars);
    seeds.extend(tars.map(|tar| [&[2], &gzip(&tar)[..]].concat()));
    seeds
}

/// A gzip is refused, or its index says where everything is, the same each time.
fn convert(bytes: &[u8]) -> bool {
    let Some((pack, bytes)) = choose(bytes, &PACKED) else { return false };
    let original = if bytes.starts_with(&[0x1f, 0x8b]) { bytes.to_vec() } else { pack(&repaired(bytes)) };
    match Image::of(original.clone()) {
        Ok(image) => {
            assert!(walk(&image.boot), "our own bootstrap is refused");
            assert_eq!(image.check().expect("our own index is refused"), Vec::<String>::new());
            assert_eq!(
                Image::of(original).ok().map(|again| again.index),
                Some(image.index),
                "the same bytes each time"
            );
            true
        }
        Err(DriverError::Damaged { reason, .. }) => panic!("our own index is refused: {reason}"),
        Err(_) => false,
    }
}
