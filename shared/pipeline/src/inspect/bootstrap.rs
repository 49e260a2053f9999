//! The bootstrap layer of a Nydus image: what the file system over all layers holds.

use accel_driver_nydus::FS_VERSION;
use accel_driver_nydus::reader::{Blob, Bootstrap, Inode};
use accel_image::Descriptor;
use accel_registry::End;
use accel_stream::{EntryKind, Limits};

use super::report::{BootstrapContents, LargestFile, LayerContents};
use crate::bootstrap::{self, ReadBootstrap};
use crate::error::ConvertError;

/// Looks at a bootstrap layer.
///
/// # Errors
/// Those of the registry.
pub(super) async fn inspect(
    end: &End,
    layer: &Descriptor,
    limits: Limits,
    contents: &mut LayerContents,
) -> Result<(), ConvertError> {
    let counted = match bootstrap::read(end, layer, limits, |_| ()).await? {
        Err(fault) => Err(fault),
        Ok(read) => {
            let counting = tokio::task::spawn_blocking(move || count(&read, limits)).await;
            counting.map_err(|_| ConvertError::Panicked(layer.digest))?
        }
    };
    match counted {
        Err(fault) => contents.problem = Some(fault),
        Ok(counted) => {
            let said = layer.annotations.get(FS_VERSION);
            if said.is_some_and(|said| *said != counted.fs_version.to_string()) {
                contents.problem = Some(format!("it is of another version than annotation `{FS_VERSION}` says"));
            }
            contents.bootstrap = Some(counted);
        }
    }
    Ok(())
}

/// Walks the whole file system: for a thread that may block.
fn count(read: &ReadBootstrap, limits: Limits) -> Result<BootstrapContents, String> {
    let ReadBootstrap { bootstrap, bytes, .. } = read;
    let mut counted = empty(bootstrap, *bytes);
    let walked = bootstrap.walk(limits, &mut |path, inode| {
        if inode.is_again {
            counted.hardlinks += 1;
        } else {
            add(&mut counted, path, inode);
        }
    });
    walked.map(|()| counted).map_err(|fault| fault.to_string())
}

fn empty(bootstrap: &Bootstrap, bytes: u64) -> BootstrapContents {
    BootstrapContents {
        fs_version: bootstrap.version().number().into(),
        size: bytes,
        compressor: bootstrap.compressor().name(),
        chunk_size: bootstrap.chunk_size(),
        batches: bootstrap.blobs().iter().any(Blob::has_batches),
        blobs: bootstrap.blobs().iter().map(|blob| blob.id).collect(),
        chunks: bootstrap.blobs().iter().map(|blob| u64::from(blob.chunk_count)).sum(),
        files: 0,
        directories: 0,
        symlinks: 0,
        hardlinks: 0,
        others: 0,
        file_bytes: 0,
        prefetched: bootstrap.prefetches() as u64,
        largest: None,
    }
}

fn add(counted: &mut BootstrapContents, path: &[u8], inode: &Inode) {
    match inode.kind {
        EntryKind::Directory => counted.directories += 1,
        EntryKind::Symlink => counted.symlinks += 1,
        EntryKind::Regular => {
            counted.files += 1;
            counted.file_bytes = counted.file_bytes.saturating_add(inode.size);
            if counted.largest.as_ref().is_none_or(|largest| inode.size > largest.size) {
                let name = String::from_utf8_lossy(path).into_owned();
                counted.largest = Some(LargestFile { name, size: inode.size });
            }
        }
        _ => counted.others += 1,
    }
}
