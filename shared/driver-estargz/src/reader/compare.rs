//! What a TOC says of an entry against what the tar says.

use std::collections::{BTreeMap, HashMap};

use accel_stream::{Entry, EntryKind, Mtime};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::layout::is_reserved;
use crate::paths::clean;
use crate::reader::{FormatError, TocEntry, TocKind};

/// Ids whose names are remembered, as readers of a TOC remember them; beyond, an entry has to say its names.
const NAMES_REMEMBERED: usize = 4096;

/// Compares entries in the order of the TOC.
#[derive(Default)]
pub(super) struct Comparison {
    users: HashMap<u64, String>,
    groups: HashMap<u64, String>,
}

impl Comparison {
    /// # Errors
    /// [`FormatError::Entry`], naming the first member that differs.
    pub(super) fn compare(&mut self, toc: &TocEntry, tar: &Entry) -> Result<(), FormatError> {
        let differs = |what: &str| Err(FormatError::entry(&tar.path, format!("the TOC has {what}")));
        if toc.name.as_bytes() != tar.path {
            return differs(&format!("`{}` in its place", super::fault::shown(toc.name.as_bytes())));
        }
        if Some(toc.kind) != kind(tar.kind) {
            return differs("another type");
        }
        let is_link = matches!(tar.kind, EntryKind::Symlink | EntryKind::HardLink);
        let link = if is_link { tar.link.as_slice() } else { b"" };
        let rows = [
            ("another size", toc.size == tar.size),
            ("another mode", toc.mode == tar.mode),
            ("another uid", toc.uid == tar.uid),
            ("another gid", toc.gid == tar.gid),
            ("another link target", toc.link_name.as_bytes() == link),
            ("another device number", (toc.dev_major, toc.dev_minor) == (tar.dev_major, tar.dev_minor)),
            ("another time", same_time(&toc.modtime, tar)),
            ("other extended attributes", same_xattrs(&toc.xattrs, tar)),
            ("another user name", same_name(&mut self.users, tar.uid, &toc.user_name, &tar.user)),
            ("another group name", same_name(&mut self.groups, tar.gid, &toc.group_name, &tar.group)),
        ];
        rows.iter().find(|(_, same)| !same).map_or(Ok(()), |(what, _)| differs(what))
    }
}

const fn kind(kind: EntryKind) -> Option<TocKind> {
    match kind {
        EntryKind::Regular => Some(TocKind::Reg),
        EntryKind::Directory => Some(TocKind::Dir),
        EntryKind::Symlink => Some(TocKind::Symlink),
        EntryKind::HardLink => Some(TocKind::Hardlink),
        EntryKind::CharDevice => Some(TocKind::Char),
        EntryKind::BlockDevice => Some(TocKind::Block),
        EntryKind::Fifo => Some(TocKind::Fifo),
        EntryKind::GlobalHeader | EntryKind::Sparse | EntryKind::Unsupported(_) => None,
    }
}

/// Whether both say the same time. The format's own entries have none in a TOC; of any other, a mount would show the
/// year 1.
fn same_time(text: &str, tar: &Entry) -> bool {
    if text.is_empty() && is_reserved(&clean(&tar.path)) {
        return tar.mtime == Mtime::default();
    }
    time(text) == Some(tar.mtime)
}

fn time(text: &str) -> Option<Mtime> {
    let at: jiff::Timestamp = text.parse().ok()?;
    let nanos = at.as_nanosecond();
    let (seconds, nanos) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    Some(Mtime { seconds: i64::try_from(seconds).ok()?, nanos: u32::try_from(nanos).ok()? })
}

fn same_xattrs(toc: &BTreeMap<String, String>, tar: &Entry) -> bool {
    let same = |(name, value): &(Vec<u8>, Vec<u8>)| {
        let text = std::str::from_utf8(name).ok().and_then(|name| toc.get(name));
        text.and_then(|text| STANDARD.decode(text).ok()).is_some_and(|decoded| decoded == *value)
    };
    toc.len() == tar.xattrs.len() && tar.xattrs.iter().all(same)
}

/// Whether a reader that goes from entry to entry knows `id` by this name now. A tar may leave the name out.
fn same_name(known: &mut HashMap<u64, String>, id: u64, said: &str, tar: &[u8]) -> bool {
    if !said.is_empty() {
        if known.len() < NAMES_REMEMBERED || known.contains_key(&id) {
            known.insert(id, said.to_owned());
        }
        return said.as_bytes() == tar;
    }
    tar.is_empty() || known.get(&id).is_some_and(|name| name.as_bytes() == tar)
}
