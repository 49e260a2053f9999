//! Layers onto each other. Spec: OCI image, "Applying Changesets".

use std::collections::BTreeMap;
use std::ops::Bound;

use accel_image::Digest;

use super::read::TarEntry;
use super::{Kind, Node, Tree, TreeError};

/// Files by path; paths with the same number are one file.
#[derive(Default)]
pub(super) struct Files {
    paths: BTreeMap<Vec<u8>, usize>,
    nodes: Vec<Node>,
}

/// What a name says.
enum Name<'a> {
    Path,
    /// Removes this path from the layers below.
    Whiteout(Vec<u8>),
    /// Empties this directory of the layers below.
    Opaque(&'a [u8]),
}

impl Files {
    /// Applies one layer: first what it removes from those below, then what it adds, in order.
    pub(super) fn apply(&mut self, entries: &[TarEntry]) -> Result<(), TreeError> {
        let named: Vec<(Vec<u8>, &TarEntry)> =
            entries.iter().map(|entry| Ok((clean(&entry.name)?, entry))).collect::<Result<_, TreeError>>()?;
        for (path, _) in &named {
            match name(path) {
                Name::Path => {}
                Name::Whiteout(target) => self.remove(&target),
                Name::Opaque(dir) => self.remove_below(dir),
            }
        }
        for (path, entry) in &named {
            match name(path) {
                Name::Path => self.add(path, entry)?,
                // Runtimes make the directory that it is in before they look at its name.
                Name::Whiteout(_) | Name::Opaque(_) => self.add_parents(path),
            }
        }
        Ok(())
    }

    pub(super) fn into_tree(self) -> Tree {
        let mut links = BTreeMap::<usize, Vec<Vec<u8>>>::new();
        for (path, node) in &self.paths {
            links.entry(*node).or_default().push(path.clone());
        }
        links.retain(|_, paths| paths.len() > 1);
        let nodes = self.paths.into_iter().map(|(path, node)| {
            let links = links.get(&node).cloned().unwrap_or_default();
            (path, Node { links, ..self.nodes[node].clone() })
        });
        Tree { nodes: nodes.collect() }
    }

    fn add(&mut self, path: &[u8], entry: &TarEntry) -> Result<(), TreeError> {
        if entry.typeflag == b'1' {
            let target = clean(&entry.link)?;
            let Some(&node) = self.paths.get(&target) else {
                return Err(error("has no target", path));
            };
            if self.nodes[node].kind == Kind::Dir {
                return Err(error("is a hard link to a directory", path));
            }
            if target != path {
                self.remove(path);
                self.add_parents(path);
                self.paths.insert(path.to_vec(), node);
            }
            return Ok(());
        }
        let node = node(path, entry)?;
        // The root is there before any entry names it.
        let was_dir = path.is_empty() || self.paths.get(path).is_some_and(|old| self.nodes[*old].kind == Kind::Dir);
        if !(was_dir && node.kind == Kind::Dir) {
            self.remove(path);
        }
        self.add_parents(path);
        self.insert(path, node);
        Ok(())
    }

    /// Directories that no entry made: 0755, root's, without a time. What is no directory gives way to them.
    fn add_parents(&mut self, path: &[u8]) {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for parent in slashes.map(|at| &path[..at]) {
            if self.paths.get(parent).is_none_or(|node| self.nodes[*node].kind != Kind::Dir) {
                self.insert(parent, Node { mode: 0o755, mtime: None, ..blank(Kind::Dir) });
            }
        }
    }

    fn insert(&mut self, path: &[u8], node: Node) {
        self.paths.insert(path.to_vec(), self.nodes.len());
        self.nodes.push(node);
    }

    fn remove(&mut self, path: &[u8]) {
        self.paths.remove(path);
        self.remove_below(path);
    }

    fn remove_below(&mut self, dir: &[u8]) {
        let below = match dir {
            [] => (Bound::Excluded(Vec::new()), Bound::Unbounded),
            // The slash is the character before the zero.
            dir => (Bound::Included([dir, b"/"].concat()), Bound::Excluded([dir, b"0"].concat())),
        };
        let gone: Vec<Vec<u8>> = self.paths.range(below).map(|(path, _)| path.clone()).collect();
        for path in gone {
            self.paths.remove(&path);
        }
    }
}

/// A path without dots and without slashes at its ends; the root is empty.
fn clean(name: &[u8]) -> Result<Vec<u8>, TreeError> {
    let parts: Vec<&[u8]> = name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    if parts.contains(&b"..".as_slice()) {
        return Err(error("leads upwards", name));
    }
    Ok(parts.join(&b'/'))
}

fn name(path: &[u8]) -> Name<'_> {
    let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (parent, last) = path.split_at(start);
    match last.strip_prefix(b".wh.") {
        Some(b".wh..opq") => Name::Opaque(parent.strip_suffix(b"/").unwrap_or(parent)),
        Some(removed) => Name::Whiteout([parent, removed].concat()),
        None => Name::Path,
    }
}

fn node(path: &[u8], entry: &TarEntry) -> Result<Node, TreeError> {
    let kind = match entry.typeflag {
        0 | b'0' | b'7' if entry.name.ends_with(b"/") => Kind::Dir,
        0 | b'0' | b'7' => Kind::File,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharDevice,
        b'4' => Kind::BlockDevice,
        b'5' => Kind::Dir,
        b'6' => Kind::Fifo,
        _ => return Err(error("has an unknown type", path)),
    };
    let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
    Ok(Node {
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: Some(entry.mtime),
        size: entry.content.len() as u64,
        digest: (kind == Kind::File).then(|| Digest::of(&entry.content)),
        target: if kind == Kind::Symlink { entry.link.clone() } else { Vec::new() },
        device: is_device.then_some(entry.device),
        xattrs: entry.xattrs.clone(),
        ..blank(kind)
    })
}

fn blank(kind: Kind) -> Node {
    Node {
        kind,
        mode: 0,
        uid: 0,
        gid: 0,
        mtime: None,
        size: 0,
        digest: None,
        target: Vec::new(),
        device: None,
        xattrs: BTreeMap::new(),
        links: Vec::new(),
    }
}

fn error(what: &str, path: &[u8]) -> TreeError {
    TreeError(format!("`{}` {what}", path.escape_ascii()))
}
