//! The kernel's own EROFS driver mounts what we write. Its devices are the blobs uncompressed, each chunk at its place, as
//! nydusd shows them to it.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use accel_domain::{NydusCompressor, NydusOptions};
use accel_image::Digest;
use accel_test_support::Tree;
use accel_test_support::tar::nasty_tar;
use accel_test_support::tree::{Kind, Node, diff};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::built::{Built, build_beside, build_tars, like, options};

/// A mounted image; unmounted when dropped.
struct Mounted {
    directory: tempfile::TempDir,
}

impl Mounted {
    fn new(built: &Built) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("image.boot"), built.boot()).unwrap();
        let devices = write_devices(built, directory.path());
        fs::create_dir(at("mnt")).unwrap();
        let devices: Vec<String> = devices.iter().map(|path| format!("device={}", path.display())).collect();
        let data = std::ffi::CString::new(devices.join(",")).unwrap();
        mount(at("image.boot"), at("mnt"), "erofs", MountFlags::RDONLY, Some(data.as_c_str())).unwrap();
        Self { directory }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("mnt")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = unmount(self.root(), UnmountFlags::DETACH) {
            eprintln!("{} stays mounted: {error}", self.root().display());
        }
    }
}

/// A file for each blob of the bootstrap, in its order.
fn write_devices(built: &Built, directory: &Path) -> Vec<PathBuf> {
    let bootstrap = built.bootstrap();
    let mut devices: Vec<Vec<u8>> =
        bootstrap.blobs().iter().map(|blob| vec![0; blob.uncompressed_size as usize]).collect();
    let table = chunk_offsets(built.boot());
    for inode in built.inodes().values() {
        for chunk in &inode.chunks {
            let content = built.chunk(&bootstrap, chunk);
            let offset = table[&(chunk.blob, chunk.index)] as usize;
            devices[chunk.blob as usize][offset..][..content.len()].copy_from_slice(&content);
        }
    }
    devices
        .iter()
        .enumerate()
        .map(|(at, device)| {
            let path = directory.join(format!("raw.{at}"));
            fs::write(&path, device).unwrap();
            path
        })
        .collect()
}

/// Where each chunk lies uncompressed, from the table of chunks, read with code of its own.
fn chunk_offsets(boot: &[u8]) -> HashMap<(u32, u32), u64> {
    let u32_at = |at: usize| u32::from_le_bytes(boot[at..at + 4].try_into().unwrap());
    let u64_at = |at: usize| u64::from_le_bytes(boot[at..at + 8].try_into().unwrap());
    let (offset, len) = (u64_at(1152 + 24) as usize, u64_at(1152 + 32) as usize);
    let entries = (offset..offset + len).step_by(80);
    entries.map(|entry| ((u32_at(entry + 32), u32_at(entry + 72)), u64_at(entry + 56))).collect()
}

/// The mounted file system, as its users see it.
pub(crate) fn tree_at(root: &Path) -> Tree {
    let mut nodes = Vec::new();
    let mut names = HashMap::<u64, Vec<Vec<u8>>>::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(path) = open.pop() {
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let (inode, node) = node_at(&path);
        if node.kind == Kind::Dir {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        names.entry(inode).or_default().push(name.clone());
        nodes.push((name, inode, node));
    }
    let with_links = |(name, inode, node): (Vec<u8>, u64, Node)| {
        let mut links = names[&inode].clone();
        links.sort();
        (name, Node { links: if links.len() > 1 { links } else { Vec::new() }, ..node })
    };
    Tree { nodes: nodes.into_iter().map(with_links).collect() }
}

fn node_at(path: &Path) -> (u64, Node) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let file_type = metadata.file_type();
    let kind = match () {
        () if file_type.is_dir() => Kind::Dir,
        () if file_type.is_symlink() => Kind::Symlink,
        () if file_type.is_char_device() => Kind::CharDevice,
        () if file_type.is_block_device() => Kind::BlockDevice,
        () if file_type.is_fifo() => Kind::Fifo,
        () => Kind::File,
    };
    let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
    let device = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
    let content = (kind == Kind::File).then(|| fs::read(path).unwrap());
    let node = Node {
        kind,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid().into(),
        gid: metadata.gid().into(),
        mtime: Some((metadata.mtime(), metadata.mtime_nsec() as u32)),
        size: if kind == Kind::File { metadata.size() } else { 0 },
        digest: content.map(|content| Digest::of(&content)),
        target: if kind == Kind::Symlink {
            fs::read_link(path).unwrap().into_os_string().as_bytes().to_vec()
        } else {
            Vec::new()
        },
        device: is_device.then_some(device),
        xattrs: xattrs_at(path),
        links: Vec::new(),
    };
    (metadata.ino(), node)
}

fn xattrs_at(path: &Path) -> std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
    let mut list = vec![0; 65_536];
    let len = rustix::fs::llistxattr(path, &mut list).unwrap();
    let names = list[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 65_536];
            let len = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
            value.truncate(len);
            (name.to_vec(), value)
        })
        .collect()
}

fn assert_mounts_alike(layers: &[Vec<u8>], options: &NydusOptions) {
    assert_mounted_alike(&build_tars(layers, options).unwrap(), layers);
}

fn assert_mounted_alike(built: &Built, layers: &[Vec<u8>]) {
    let mounted = Mounted::new(built);
    let expected = Tree::from_layers(layers).unwrap();
    let found = tree_at(&mounted.root());
    assert_eq!(diff(&expected, &like(found, &expected)), Vec::<String>::new());
}

#[test]
#[ignore = "needs root and the kernel's EROFS with files for devices (Linux 6.12)"]
fn the_kernel_mounts_odd_layers() {
    for options in [
        NydusOptions::default(),
        options(NydusCompressor::Zstd, 4096),
        options(NydusCompressor::Lz4Block, 65_536),
        options(NydusCompressor::None, 4 << 20),
    ] {
        assert_mounts_alike(&crate::odd::layers(), &options);
        let (dictionary, layers) = crate::dictionary::pair();
        let dictionary = build_tars(&dictionary, &options).unwrap();
        assert_mounted_alike(&build_beside(&dictionary, &layers, &options).unwrap(), &layers);
    }
    assert_mounts_alike(&[nasty_tar()], &NydusOptions::default());
}

/// Real layers, uncompressed tars named by `ACCEL_LAYERS`, lowest first and separated by colons.
#[test]
#[ignore = "needs root, the kernel's EROFS, and layers in ACCEL_LAYERS"]
fn the_kernel_mounts_real_layers() {
    let paths = std::env::var("ACCEL_LAYERS").unwrap();
    let layers: Vec<Vec<u8>> = paths.split(':').map(|path| fs::read(path).unwrap()).collect();
    assert_mounts_alike(&layers, &NydusOptions::default());
}
