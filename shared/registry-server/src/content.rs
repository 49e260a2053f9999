//! What the registry holds: repositories with blobs, manifests and tags, and the open uploads. All in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use accel_image::{Descriptor, Digest};
use bytes::Bytes;
use uuid::Uuid;

use crate::referrers;
use crate::session::Session;

/// The most that a registry holds unless it is told otherwise: 8 GiB.
const DEFAULT_LIMIT_BYTES: u64 = 8 << 30;

/// A handle to what a registry holds; clones share it. Tests and the demo read and write past HTTP through it.
#[derive(Debug, Clone)]
pub struct Content {
    state: Arc<Mutex<State>>,
    held_bytes: Arc<AtomicU64>,
    limit_bytes: u64,
}

/// A manifest as it was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    /// The Content-Type of the push.
    pub media_type: String,
    /// The digest of `bytes`.
    pub digest: Digest,
    /// The manifest.
    pub bytes: Bytes,
}

#[derive(Debug, Default)]
struct State {
    blobs: HashMap<Digest, Bytes>,
    repositories: BTreeMap<String, Repository>,
    sessions: HashMap<Uuid, Arc<Mutex<Session>>>,
}

#[derive(Debug, Default)]
struct Repository {
    blobs: BTreeSet<Digest>,
    manifests: BTreeMap<Digest, StoredManifest>,
    tags: BTreeMap<String, Digest>,
}

impl Default for Content {
    fn default() -> Self {
        Self::with_limit(DEFAULT_LIMIT_BYTES)
    }
}

impl Content {
    /// Empty content that takes at most `limit_bytes` by upload.
    #[must_use]
    pub fn with_limit(limit_bytes: u64) -> Self {
        Self { state: Arc::default(), held_bytes: Arc::default(), limit_bytes }
    }

    /// The repositories that hold anything, sorted.
    #[must_use]
    pub fn repositories(&self) -> Vec<String> {
        self.state().repositories.keys().cloned().collect()
    }

    /// The digests of a repository's blobs, sorted.
    #[must_use]
    pub fn blobs(&self, repository: &str) -> Vec<Digest> {
        self.read(repository, |found| found.blobs.iter().copied().collect()).unwrap_or_default()
    }

    /// A blob of a repository.
    #[must_use]
    pub fn blob(&self, repository: &str, digest: Digest) -> Option<Bytes> {
        let state = self.state();
        state.repositories.get(repository)?.blobs.get(&digest)?;
        state.blobs.get(&digest).cloned()
    }

    /// Stores a blob and answers its digest.
    pub fn put_blob(&self, repository: &str, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.held_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.keep_blob(repository, digest, bytes);
        digest
    }

    /// Gives `repository` a blob that `from` has. Whether `from` had it.
    pub fn mount_blob(&self, repository: &str, from: &str, digest: Digest) -> bool {
        let mut state = self.state();
        let found = state.repositories.get(from).is_some_and(|source| source.blobs.contains(&digest));
        if found {
            state.repositories.entry(repository.to_owned()).or_default().blobs.insert(digest);
        }
        found
    }

    /// Removes a blob from a repository, referenced or not. Whether it was there.
    pub fn remove_blob(&self, repository: &str, digest: Digest) -> bool {
        let mut state = self.state();
        let removed = state.repositories.get_mut(repository).is_some_and(|found| found.blobs.remove(&digest));
        if removed && !state.repositories.values().any(|other| other.blobs.contains(&digest)) {
            let size = state.blobs.remove(&digest).map_or(0, |bytes| bytes.len());
            self.release(size);
        }
        removed
    }

    /// The digests of a repository's manifests, sorted.
    #[must_use]
    pub fn manifests(&self, repository: &str) -> Vec<Digest> {
        self.read(repository, |found| found.manifests.keys().copied().collect()).unwrap_or_default()
    }

    /// A manifest by tag or digest.
    #[must_use]
    pub fn manifest(&self, repository: &str, key: &str) -> Option<StoredManifest> {
        self.read(repository, |found| {
            let digest = key.parse().ok().or_else(|| found.tags.get(key).copied())?;
            found.manifests.get(&digest).cloned()
        })?
    }

    /// Stores a manifest without looking at it, and answers its digest. `key` is a tag, or a digest for none.
    pub fn put_manifest(&self, repository: &str, key: &str, media_type: &str, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        let size = bytes.len() as u64;
        let stored = StoredManifest { media_type: media_type.to_owned(), digest, bytes };
        let mut state = self.state();
        let found = state.repositories.entry(repository.to_owned()).or_default();
        if found.manifests.insert(digest, stored).is_none() {
            self.held_bytes.fetch_add(size, Ordering::Relaxed);
        }
        if key.parse::<Digest>().is_err() {
            found.tags.insert(key.to_owned(), digest);
        }
        digest
    }

    /// Removes a tag, or by digest a manifest with its tags. The manifest, if there was one.
    pub fn remove_manifest(&self, repository: &str, key: &str) -> Option<StoredManifest> {
        let mut state = self.state();
        let found = state.repositories.get_mut(repository)?;
        if let Ok(digest) = key.parse() {
            found.tags.retain(|_, tagged| *tagged != digest);
            let removed = found.manifests.remove(&digest)?;
            self.release(removed.bytes.len());
            return Some(removed);
        }
        let digest = found.tags.remove(key)?;
        found.manifests.get(&digest).cloned()
    }

    /// A repository's tags, sorted.
    #[must_use]
    pub fn tags(&self, repository: &str) -> Vec<String> {
        self.read(repository, |found| found.tags.keys().cloned().collect()).unwrap_or_default()
    }

    /// Descriptors of the manifests whose subject is `digest`.
    #[must_use]
    pub fn referrers(&self, repository: &str, digest: Digest) -> Vec<Descriptor> {
        self.read(repository, |found| {
            found.manifests.values().filter_map(|stored| referrers::descriptor(stored, digest)).collect()
        })
        .unwrap_or_default()
    }

    /// How many upload sessions are open.
    #[must_use]
    pub fn uploads_open(&self) -> usize {
        self.state().sessions.len()
    }

    /// Drops every open upload session, as a registry does that was restarted.
    pub fn forget_uploads(&self) {
        let sessions: Vec<_> = self.state().sessions.drain().map(|(_, session)| session).collect();
        for session in sessions {
            self.release(lock(&session).take().1.len());
        }
    }

    /// Whether anything was ever put into `repository`.
    pub(crate) fn knows(&self, repository: &str) -> bool {
        self.state().repositories.contains_key(repository)
    }

    pub(crate) fn has_blob(&self, repository: &str, digest: Digest) -> bool {
        self.read(repository, |found| found.blobs.contains(&digest)).unwrap_or_default()
    }

    pub(crate) fn has_manifest(&self, repository: &str, digest: Digest) -> bool {
        self.read(repository, |found| found.manifests.contains_key(&digest)).unwrap_or_default()
    }

    pub(crate) fn open_session(&self, repository: &str) -> Uuid {
        let id = Uuid::new_v4();
        self.state().sessions.insert(id, Arc::new(Mutex::new(Session::new(repository))));
        id
    }

    /// The session, if it is one of this repository's.
    pub(crate) fn session(&self, repository: &str, id: Uuid) -> Option<Arc<Mutex<Session>>> {
        let session = self.state().sessions.get(&id).cloned()?;
        let own = lock(&session).repository() == repository;
        own.then_some(session)
    }

    /// Accounts for bytes about to be appended to a session. Whether there is room.
    pub(crate) fn admit(&self, bytes: usize) -> bool {
        let held = self.held_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let room = held.saturating_add(bytes as u64) <= self.limit_bytes;
        if !room {
            self.release(bytes);
        }
        room
    }

    pub(crate) fn release(&self, bytes: usize) {
        self.held_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// Ends a session: its content and digest. It counts as held until it is kept or released.
    pub(crate) fn close_session(&self, id: Uuid) -> Option<(Digest, Bytes)> {
        let session = self.state().sessions.remove(&id)?;
        let content = lock(&session).take();
        Some(content)
    }

    /// Keeps bytes that are accounted for already.
    pub(crate) fn keep_blob(&self, repository: &str, digest: Digest, bytes: Bytes) {
        let mut state = self.state();
        state.repositories.entry(repository.to_owned()).or_default().blobs.insert(digest);
        let size = bytes.len();
        if state.blobs.insert(digest, bytes).is_some() {
            self.release(size);
        }
    }

    fn read<T>(&self, repository: &str, read: impl FnOnce(&Repository) -> T) -> Option<T> {
        self.state().repositories.get(repository).map(read)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A panic in another request leaves nothing half done, so a poisoned lock is as good as another.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Content {
        fn held(&self) -> u64 {
            self.held_bytes.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_blob_belongs_to_its_repositories() {
        let content = Content::default();
        let digest = content.put_blob("a", "bytes");
        assert_eq!(content.blob("b", digest), None);
        assert!(content.mount_blob("b", "a", digest));
        assert!(!content.mount_blob("b", "a", Digest::of(b"other")));
        assert!(content.remove_blob("a", digest));
        assert_eq!(content.blob("a", digest), None);
        assert_eq!(content.blob("b", digest).unwrap(), "bytes");
        assert_eq!(content.held(), 5);
        assert!(content.remove_blob("b", digest));
        assert_eq!(content.held(), 0);
    }

    #[test]
    fn a_tag_goes_and_its_manifest_stays() {
        let content = Content::default();
        let digest = content.put_manifest("r", "t", "x/y", "{}");
        content.put_manifest("r", "u", "x/y", "{}");
        assert_eq!(content.tags("r"), ["t", "u"]);
        assert_eq!(content.remove_manifest("r", "t").unwrap().digest, digest);
        assert_eq!(content.manifest("r", "t"), None);
        assert_eq!(content.manifest("r", &digest.to_string()).unwrap().bytes, "{}");
        content.remove_manifest("r", &digest.to_string()).unwrap();
        assert_eq!((content.tags("r").len(), content.held()), (0, 0));
    }

    #[test]
    fn counts_what_it_holds() {
        let content = Content::with_limit(10);
        assert!(content.admit(6));
        assert!(!content.admit(6));
        assert!(content.admit(4));
        content.release(10);
        content.put_blob("r", "same");
        content.put_blob("s", "same");
        assert_eq!(content.held(), 4);
    }
}
