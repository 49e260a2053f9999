//! The survey of a layer, and the plan it gives: which entries are dropped because a later one has the same path, and
//! which come first because a container needs them at its start.

use std::collections::{BTreeSet, HashMap};

use accel_domain::rule::glob;
use accel_driver::DriverError;
use accel_stream::{Entry, EntryKind};

use crate::layout::is_reserved;
use crate::paths::{ByFingerprint, Fingerprint, Paths, clean};

/// Repeated paths are kept as text, to be compared; a layer that repeats more than this stays as it is.
const REPEATED_BYTES: usize = 16 << 20;

/// Looks at the entries of a layer, in order, without their payload.
#[derive(Default)]
pub(crate) struct Survey {
    paths: Paths,
    /// Paths that more than one entry has, each with the ordinal of the latest.
    repeated: ByFingerprint<Vec<(Vec<u8>, u32)>>,
    repeated_bytes: usize,
    /// Hard links by ordinal, with the fingerprint of their target.
    links: HashMap<u32, Fingerprint>,
    link_targets: ByFingerprint<()>,
    /// Fingerprints of the parents of prioritized entries.
    parents: ByFingerprint<()>,
    prioritized: BTreeSet<u32>,
}

/// What became of an entry in the survey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It can be written where it stands.
    InPlace,
    /// Its path was there before, or it has to come first: a plan is needed.
    NeedsPlan,
}

/// What a survey found.
pub(crate) struct Plan {
    paths: Paths,
    repeated: ByFingerprint<Vec<(Vec<u8>, u32)>>,
    prioritized: BTreeSet<u32>,
}

impl Survey {
    /// Looks at entry `ordinal`; in order.
    ///
    /// # Errors
    /// [`DriverError::Unrepresentable`] for what no plan can mend.
    pub(crate) fn see(&mut self, ordinal: u32, entry: &Entry, prefetch: &[String]) -> Result<Seen, DriverError> {
        if entry.kind == EntryKind::GlobalHeader {
            return Ok(Seen::InPlace);
        }
        let cleaned = clean(&entry.path);
        let path = self.paths.fingerprint(&cleaned);
        if entry.kind == EntryKind::HardLink {
            self.see_link(entry, ordinal)?;
        }
        let wanted = self.see_prefetch(&cleaned, ordinal, prefetch);
        let repeated = self.paths.insert(path, ordinal).is_some();
        if repeated {
            self.see_repeated(entry, path, cleaned, ordinal)?;
        }
        Ok(if repeated || wanted { Seen::NeedsPlan } else { Seen::InPlace })
    }

    /// A hard link needs its target before it: readers resolve it by name, some of them in one pass.
    fn see_link(&mut self, entry: &Entry, ordinal: u32) -> Result<(), DriverError> {
        let target = clean(&entry.link);
        let fingerprint = self.paths.fingerprint(&target);
        if is_reserved(&target) || self.paths.get(fingerprint).is_none() {
            return Err(DriverError::unrepresentable(
                &entry.path,
                "it is a hard link to a path that the layer does not have before it",
            ));
        }
        self.links.insert(ordinal, fingerprint);
        self.link_targets.insert(fingerprint, ());
        Ok(())
    }

    fn see_prefetch(&mut self, cleaned: &[u8], ordinal: u32, prefetch: &[String]) -> bool {
        let Ok(name) = std::str::from_utf8(cleaned) else { return false };
        if prefetch.is_empty() || !prefetch.iter().any(|pattern| glob(pattern, &format!("/{name}"))) {
            return false;
        }
        self.prioritize(ordinal);
        let parents = name.match_indices('/').map(|(at, _)| &name[..at]).chain(std::iter::once(""));
        self.parents.extend(parents.map(|parent| (self.paths.fingerprint(parent.as_bytes()), ())));
        true
    }

    /// An entry comes first, and before it what it is a link to.
    fn prioritize(&mut self, ordinal: u32) {
        let mut next = Some(ordinal);
        while let Some(ordinal) = next {
            if !self.prioritized.insert(ordinal) {
                return;
            }
            next = self.links.get(&ordinal).and_then(|target| self.paths.get(*target));
        }
    }

    fn see_repeated(
        &mut self,
        entry: &Entry,
        path: Fingerprint,
        cleaned: Vec<u8>,
        ordinal: u32,
    ) -> Result<(), DriverError> {
        if self.link_targets.contains_key(&path) {
            return Err(DriverError::unrepresentable(
                &entry.path,
                "it replaces a file to which the layer has made a hard link before",
            ));
        }
        self.repeated_bytes += cleaned.len() + 64;
        if self.repeated_bytes > REPEATED_BYTES {
            return Err(DriverError::unrepresentable(&entry.path, "the layer repeats too many paths"));
        }
        let same = self.repeated.entry(path).or_default();
        match same.iter_mut().find(|(known, _)| *known == cleaned) {
            Some((_, latest)) => *latest = ordinal,
            None => same.push((cleaned, ordinal)),
        }
        Ok(())
    }

    /// The plan, once every entry was seen.
    pub(crate) fn plan(mut self) -> Plan {
        for parent in std::mem::take(&mut self.parents).into_keys() {
            if let Some(ordinal) = self.paths.get(parent) {
                self.prioritize(ordinal);
            }
        }
        Plan { paths: self.paths, repeated: self.repeated, prioritized: self.prioritized }
    }
}

impl Plan {
    /// Whether a later entry has the same path, and replaces this one.
    pub(crate) fn drops(&self, ordinal: u32, entry: &Entry) -> bool {
        if self.repeated.is_empty() || entry.kind == EntryKind::GlobalHeader {
            return false;
        }
        let cleaned = clean(&entry.path);
        let same = self.repeated.get(&self.paths.fingerprint(&cleaned));
        same.is_some_and(|same| same.iter().any(|(path, latest)| *path == cleaned && *latest > ordinal))
    }

    /// Whether the entry comes before the landmark.
    pub(crate) fn prioritizes(&self, ordinal: u32) -> bool {
        self.prioritized.contains(&ordinal)
    }

    /// The last entry that comes before the landmark, if any does.
    pub(crate) fn last_prioritized(&self) -> Option<u32> {
        self.prioritized.last().copied()
    }
}
