//! An image in memory, and what our reader says is in it.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::sync::Arc;

use accel_domain::{ByteSize, NydusCompressor, NydusOptions};
use accel_driver::conformance::{Downloads, Kept};
use accel_driver::{Blobs, Converted, Driver, DriverError, Merged, Part, Pool};
use accel_driver_nydus::reader::{
    Bootstrap, ChunkRef, Compressor, Inode, check_chunk, check_chunk_of_batch, uncompressed_batch,
};
use accel_driver_nydus::{ChunkDictionary, DictionaryBuilder, DictionaryFault, DictionaryImage, Nydus};
use accel_image::Digest;
use accel_stream::{EntryKind, LayerReader, Limits, TarReader};
use accel_test_support::tree::{Kind, Node, diff};
use accel_test_support::{Entry, Tree, tar};

/// An image whose layers were converted and merged.
pub(crate) struct Built {
    pub(crate) layers: Vec<Converted>,
    pub(crate) blobs: HashMap<Digest, Vec<u8>>,
    pub(crate) merged: Merged,
    /// The layer that ends the image.
    pub(crate) container: Vec<u8>,
    /// Its files, by path.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

pub(crate) fn options(compressor: NydusCompressor, chunk_size: u64) -> NydusOptions {
    NydusOptions { compressor, chunk_size: ByteSize(chunk_size), ..NydusOptions::default() }
}

/// The same of RAFS v5.
pub(crate) fn v5(options: &NydusOptions) -> NydusOptions {
    NydusOptions { fs_version: 5, batch_size: ByteSize(0), ..options.clone() }
}

/// Chunks of 1 MiB, and batches of this length.
pub(crate) fn batches(compressor: NydusCompressor, batch_size: u64) -> NydusOptions {
    NydusOptions { batch_size: ByteSize(batch_size), ..options(compressor, 1 << 20) }
}

/// Small chunks, so that files have several.
pub(crate) fn small_chunks() -> NydusOptions {
    options(NydusCompressor::Zstd, 4096)
}

/// Builds an image of these layers, each a tar.
pub(crate) fn build_tars(layers: &[Vec<u8>], options: &NydusOptions) -> Result<Built, DriverError> {
    build_with(&Nydus::new(options.clone(), Limits::default()), layers, options)
}

/// As [`build_tars`], of layers that refer to the chunks of `dictionary`.
pub(crate) fn build_beside(
    dictionary: &Built,
    layers: &[Vec<u8>],
    options: &NydusOptions,
) -> Result<Built, DriverError> {
    let chunks = Arc::new(dictionary.as_dictionary(options).unwrap());
    let driver = Nydus::new(options.clone(), Limits::default()).with_dictionary(Some(chunks));
    let mut built = build_with(&driver, layers, options)?;
    for blob in &built.merged.other_blobs {
        built.blobs.insert(*blob, dictionary.blobs[blob].clone());
    }
    Ok(built)
}

fn build_with(driver: &Nydus, layers: &[Vec<u8>], options: &NydusOptions) -> Result<Built, DriverError> {
    assert_eq!(options.check(), Ok(()));
    let pool = Pool::new(2);
    let (mut converted, mut blobs) = (Vec::new(), HashMap::new());
    for layer in layers {
        let mut output = Kept::default();
        let made = driver.convert(&pool, &mut Downloads::of(layer), &mut output)?;
        assert_eq!((made.digest, made.size), (Digest::of(&output.blob), output.blob.len() as u64));
        blobs.insert(made.digest, output.blob);
        if options.oci_ref {
            blobs.insert(made.source.source_digest, layer.clone());
        }
        converted.push(made);
    }
    let parts: Vec<Part> = converted.iter().map(part).collect();
    let mut output = Kept::default();
    let merged = driver.merge().unwrap().merge(&parts, &mut Store(&blobs), &mut output)?;
    assert_eq!((merged.digest, merged.size), (Digest::of(&output.blob), output.blob.len() as u64));
    let files = unpack(&output.blob, &merged);
    Ok(Built { layers: converted, blobs, merged, container: output.blob, files })
}

pub(crate) fn try_build(layers: &[&[Entry]], options: &NydusOptions) -> Result<Built, DriverError> {
    build_tars(&layers.iter().map(|layer| tar(layer)).collect::<Vec<_>>(), options)
}

pub(crate) fn build(layers: &[&[Entry]], options: &NydusOptions) -> Built {
    try_build(layers, options).unwrap()
}

pub(crate) const fn part(layer: &Converted) -> Part {
    Part { source: layer.source.source_digest, digest: layer.digest, size: layer.size }
}

/// Blobs where they were pushed.
pub(crate) struct Store<'b>(pub(crate) &'b HashMap<Digest, Vec<u8>>);

impl Blobs for Store<'_> {
    fn read(&mut self, part: &Part, from: u64, len: u64) -> io::Result<Box<dyn Read + '_>> {
        let blob = self.0.get(&part.digest).ok_or(io::ErrorKind::NotFound)?;
        assert_eq!(blob.len() as u64, part.size);
        Ok(Box::new(&blob[from as usize..][..len as usize]))
    }
}

/// The files of the layer that ends an image.
fn unpack(container: &[u8], merged: &Merged) -> BTreeMap<String, Vec<u8>> {
    let mut walker = TarReader::new(LayerReader::new(container, Limits::default()), Limits::default());
    let mut files = BTreeMap::new();
    while let Some(entry) = walker.next_entry().unwrap() {
        assert_eq!((entry.uid, entry.gid, entry.mtime.seconds), (0, 0, 0));
        let name = String::from_utf8(entry.path.clone()).unwrap();
        let is_file = entry.kind == EntryKind::Regular;
        assert_eq!(entry.mode, if is_file { 0o444 } else { 0o755 });
        let mut content = vec![0; entry.size as usize];
        let mut filled = 0;
        while filled < content.len() {
            filled += walker.read_payload(&mut content[filled..]).unwrap();
        }
        assert!(!is_file || !content.is_empty(), "runtimes refuse empty files");
        files.insert(name, content);
    }
    assert_eq!(walker.into_inner().finish().unwrap().diff_id, merged.diff_id);
    files
}

impl Built {
    pub(crate) fn boot(&self) -> &[u8] {
        &self.files["image/image.boot"]
    }

    pub(crate) fn bootstrap(&self) -> Bootstrap {
        Bootstrap::parse(self.boot().to_vec()).unwrap()
    }

    /// The image as a chunk dictionary of images made with `options`.
    pub(crate) fn as_dictionary(&self, options: &NydusOptions) -> Result<ChunkDictionary, DictionaryFault> {
        let metas = self.files.iter().filter_map(|(name, file)| {
            let hex = name.strip_prefix("image/")?.strip_suffix(".blob.meta")?;
            Some((format!("sha256:{hex}").parse().unwrap(), file.clone()))
        });
        let mut builder = DictionaryBuilder::new(options.clone());
        builder.add(DictionaryImage { bootstrap: self.bootstrap(), metas: metas.collect() })?;
        builder.build()
    }

    /// Every path with its inode, of which all is said under each.
    pub(crate) fn inodes(&self) -> BTreeMap<Vec<u8>, Inode> {
        let (mut inodes, mut first) = (BTreeMap::new(), HashMap::new());
        self.bootstrap()
            .walk(Limits::default(), &mut |path, inode| {
                let inode = first.entry(inode.nid).or_insert_with(|| inode.clone()).clone();
                assert!(inodes.insert(path.to_vec(), inode).is_none(), "no path comes twice");
            })
            .unwrap();
        inodes
    }

    /// The file system, as our reader sees it.
    pub(crate) fn tree(&self) -> Tree {
        let bootstrap = self.bootstrap();
        let inodes = self.inodes();
        let mut names = HashMap::<u64, Vec<Vec<u8>>>::new();
        for (path, inode) in &inodes {
            names.entry(inode.nid).or_default().push(path.clone());
        }
        let nodes = inodes.iter().map(|(path, inode)| {
            let links = names[&inode.nid].clone();
            (path.clone(), self.node(&bootstrap, inode, links))
        });
        Tree { nodes: nodes.collect() }
    }

    fn node(&self, bootstrap: &Bootstrap, inode: &Inode, links: Vec<Vec<u8>>) -> Node {
        let kind = match inode.kind {
            EntryKind::Regular => Kind::File,
            EntryKind::Directory => Kind::Dir,
            EntryKind::Symlink => Kind::Symlink,
            EntryKind::CharDevice => Kind::CharDevice,
            EntryKind::BlockDevice => Kind::BlockDevice,
            EntryKind::Fifo => Kind::Fifo,
            other => panic!("{other:?}"),
        };
        if kind != Kind::Dir {
            assert_eq!(inode.nlink as usize, links.len());
        }
        let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
        Node {
            kind,
            mode: inode.mode,
            uid: inode.uid.into(),
            gid: inode.gid.into(),
            mtime: Some((inode.mtime.seconds, inode.mtime.nanos)),
            size: inode.size,
            digest: (kind == Kind::File).then(|| Digest::of(&self.content(bootstrap, inode))),
            target: inode.link.clone(),
            device: is_device.then_some(inode.dev),
            xattrs: inode.xattrs.iter().cloned().collect(),
            links: if links.len() > 1 { links } else { Vec::new() },
        }
    }

    pub(crate) fn content(&self, bootstrap: &Bootstrap, inode: &Inode) -> Vec<u8> {
        let chunks = inode.chunks.iter().flat_map(|chunk| self.chunk(bootstrap, chunk));
        let content: Vec<u8> = chunks.collect();
        assert_eq!(content.len() as u64, inode.size);
        content
    }

    /// A chunk's content, decompressed by code that is not the reader's.
    pub(crate) fn chunk(&self, bootstrap: &Bootstrap, chunk: &ChunkRef) -> Vec<u8> {
        if bootstrap.compressor() == Compressor::Gzip {
            return crate::zran::content(self, &bootstrap.blobs()[chunk.blob as usize], chunk);
        }
        let blob = &self.blobs[&bootstrap.blobs()[chunk.blob as usize].id];
        let stored = &blob[chunk.compressed_offset as usize..][..chunk.compressed_size as usize];
        if let Some(place) = chunk.batch {
            let batch = self.batch(bootstrap, chunk);
            check_chunk_of_batch(&batch, chunk).unwrap();
            return batch[place.offset() as usize..][..chunk.uncompressed_size as usize].to_vec();
        }
        check_chunk(bootstrap.compressor(), stored, chunk).unwrap();
        if chunk.compressed_size == chunk.uncompressed_size {
            return stored.to_vec();
        }
        let content = match bootstrap.compressor() {
            Compressor::Zstd => zstd::decode_all(stored).unwrap(),
            Compressor::Lz4Block => lz4_flex::block::decompress(stored, chunk.uncompressed_size as usize).unwrap(),
            Compressor::None | Compressor::Gzip => panic!("a chunk shrank"),
        };
        assert_eq!(content.len(), chunk.uncompressed_size as usize);
        content
    }
}

impl Built {
    /// The batch that a chunk is in.
    fn batch(&self, bootstrap: &Bootstrap, chunk: &ChunkRef) -> Vec<u8> {
        let blob = &self.blobs[&bootstrap.blobs()[chunk.blob as usize].id];
        let stored = &blob[chunk.compressed_offset as usize..][..chunk.compressed_size as usize];
        let most = bootstrap.chunk_size() as usize;
        let content = match (bootstrap.compressor(), chunk.batch.unwrap().is_compressed()) {
            (_, false) => stored.to_vec(),
            (Compressor::Zstd, true) => zstd::decode_all(stored).unwrap(),
            (Compressor::Lz4Block, true) => lz4_flex::block::decompress(stored, most).unwrap(),
            (Compressor::None | Compressor::Gzip, true) => panic!("a batch shrank"),
        };
        assert_eq!(*uncompressed_batch(bootstrap.compressor(), stored, chunk, most).unwrap(), *content);
        content
    }
}

/// What is different from the layers as the judge applies them.
pub(crate) fn differences(built: &Built, layers: &[Vec<u8>]) -> Vec<String> {
    let expected = Tree::from_layers(layers).unwrap();
    diff(&expected, &like(built.tree(), &expected))
}

/// `found` without the root, if no entry of `expected` names it.
pub(crate) fn like(mut found: Tree, expected: &Tree) -> Tree {
    if !expected.nodes.contains_key(b"".as_slice()) {
        let root = found.nodes.remove(b"".as_slice()).unwrap();
        assert_eq!((root.mode, root.uid, root.gid, root.mtime), (0o755, 0, 0, Some((0, 0))));
    }
    found
}

/// Builds the image and holds it to the judge, and so that of the other version of RAFS.
pub(crate) fn checked(layers: &[&[Entry]], options: &NydusOptions) -> Built {
    checked_tars(&layers.iter().map(|layer| tar(layer)).collect::<Vec<_>>(), options)
}

/// As [`checked`], of tars.
pub(crate) fn checked_tars(layers: &[Vec<u8>], options: &NydusOptions) -> Built {
    let [built, _] = [options.fs_version, 11 - options.fs_version].map(|fs_version| {
        let options = if fs_version == 5 { v5(options) } else { NydusOptions { fs_version, ..options.clone() } };
        let built = build_tars(layers, &options).unwrap();
        assert_eq!(built.bootstrap().version().number(), fs_version);
        assert_eq!(differences(&built, layers), Vec::<String>::new(), "RAFS v{fs_version}");
        built
    });
    built
}
