//! One layer onto the image so far. Spec: OCI image, "Applying Changesets".
//!
//! First what its hard links into the layers below lead to; then what the layer removes from those, wherever it stands in
//! the layer; then what it adds. A directory that no entry made says nothing about one that is there; what is no directory
//! gives way to it.

use std::collections::HashMap;

use accel_driver::{DriverError, Part};
use accel_stream::Limits;

use super::numbers::Numbers;
use crate::bootstrap::{ChunkRef, mode};
use crate::names::{OPAQUE, WHITEOUT};
use crate::reader::{Bootstrap, FormatError, Node, Seen};
use crate::tree::{Body, Inode, InodeId, TooLarge, Tree};

/// A layer that is being applied.
pub(super) struct Overlay<'a> {
    tree: &'a mut Tree,
    refs: &'a mut Vec<ChunkRef>,
    layer: &'a Bootstrap,
    numbers: &'a Numbers,
    part: &'a Part,
    limits: Limits,
    /// Files with several names, by their number in the layer.
    linked: HashMap<u32, InodeId>,
}

/// A hard link to a file of the layers below, resolved.
struct LinkBelow<'a> {
    path: &'a [u8],
    target: InodeId,
}

impl<'a> Overlay<'a> {
    pub(super) fn new(
        tree: &'a mut Tree,
        refs: &'a mut Vec<ChunkRef>,
        layer: &'a Bootstrap,
        numbers: &'a Numbers,
        part: &'a Part,
        limits: Limits,
    ) -> Self {
        Self { tree, refs, layer, numbers, part, limits, linked: HashMap::new() }
    }

    pub(super) fn apply(mut self) -> Result<(), DriverError> {
        let links = self.find_links()?;
        self.remove().map_err(|fault| self.told(fault))?;
        self.add()?;
        for link in links {
            let names = names(link.path);
            let Some((name, parents)) = names.split_last() else { continue };
            let parent = self.tree.make_directories(parents.iter().copied());
            let put = parent.and_then(|parent| self.tree.put(parent, name, link.target));
            put.map_err(|fault| self.full(link.path, fault))?;
        }
        Ok(())
    }

    fn told(&self, fault: FormatError) -> DriverError {
        DriverError::Damaged { digest: self.part.digest, reason: fault.to_string() }
    }

    fn full(&self, path: &[u8], fault: TooLarge) -> DriverError {
        DriverError::unmergeable(self.part.source, path, fault.reason())
    }

    /// Applies whiteouts.
    fn remove(&mut self) -> Result<(), FormatError> {
        let layer = self.layer;
        let mut seen = Seen::new(layer, self.limits);
        let mut open = vec![(layer.root()?, Tree::ROOT)];
        while let Some((node, below)) = open.pop() {
            seen.inode(layer, &node)?;
            for entry in layer.entries(&node) {
                let (name, _) = entry?;
                seen.count()?;
                let Some(directory) = self.tree.directory_mut(below) else { continue };
                if name == OPAQUE {
                    directory.clear();
                } else if let Some(removed) = name.strip_prefix(WHITEOUT) {
                    directory.remove(removed);
                }
            }
            // Only now is it known what is left below.
            for entry in layer.entries(&node) {
                let (name, number) = entry?;
                let child = self.tree.directory(below).and_then(|directory| directory.child(name));
                let Some(child) = child.filter(|child| self.tree.directory(*child).is_some()) else { continue };
                let node = layer.unchecked_node(number)?;
                if node.kind == mode::DIRECTORY {
                    open.push((node, child));
                }
            }
        }
        Ok(())
    }

    /// The targets of links, as they are before the layer changes anything.
    fn find_links(&self) -> Result<Vec<LinkBelow<'a>>, DriverError> {
        let links = self.layer.links_below(self.limits).map_err(|fault| self.told(fault))?;
        let found = links.into_iter().map(|(path, target)| {
            let refused = |reason: &str| {
                let target = String::from_utf8_lossy(target);
                DriverError::unmergeable(self.part.source, path, format!("it is a hard link to /{target}, {reason}"))
            };
            let target = self.tree.find(names(target)).ok_or_else(|| refused("which no layer below has"))?;
            match self.tree.directory(target) {
                Some(_) => Err(refused("which is a directory")),
                None => Ok(LinkBelow { path, target }),
            }
        });
        found.collect()
    }

    /// Adds what the layer has.
    fn add(&mut self) -> Result<(), DriverError> {
        let layer = self.layer;
        let root = layer.root().map_err(|fault| self.told(fault))?;
        if !root.is_implicit() {
            self.tree.set_directory(Tree::ROOT, root.attributes()).map_err(|fault| self.full(b"/", fault))?;
        }
        let mut seen = Seen::new(layer, self.limits);
        seen.inode(layer, &root).map_err(|fault| self.told(fault))?;
        // With each directory the length of its path, with the slash behind it.
        let mut open = vec![(root, Tree::ROOT, 0)];
        while let Some((node, parent, path_bytes)) = open.pop() {
            for entry in layer.entries(&node) {
                let (name, number) = entry.map_err(|fault| self.told(fault))?;
                let path_bytes = path_bytes + name.len() as u64;
                let child = self.see(&mut seen, number, path_bytes).map_err(|fault| self.told(fault))?;
                if name.starts_with(WHITEOUT) {
                    continue;
                }
                if child.kind == mode::DIRECTORY {
                    let directory = self.directory(parent, name, &child).map_err(|fault| self.full(name, fault))?;
                    open.push((child, directory, path_bytes + 1));
                } else {
                    let id = self.file(name, &child)?;
                    self.tree.put(parent, name, id).map_err(|fault| self.full(name, fault))?;
                }
            }
        }
        Ok(())
    }

    /// The inode of an entry.
    fn see(&self, seen: &mut Seen, number: u32, path_bytes: u64) -> Result<Node<'a>, FormatError> {
        seen.count()?;
        seen.path(path_bytes)?;
        let node = self.layer.node_of_entry(number, seen)?;
        if !seen.inode(self.layer, &node)? && node.links == 1 {
            return Err(FormatError::Part { what: "inode", reason: "a file has more names than it says" });
        }
        Ok(node)
    }

    fn directory(&mut self, parent: InodeId, name: &[u8], node: &Node<'_>) -> Result<InodeId, TooLarge> {
        let there = self.tree.directory(parent).and_then(|directory| directory.child(name));
        match there.filter(|id| node.is_implicit() && self.tree.directory(*id).is_some()) {
            Some(id) => Ok(id),
            None => self.tree.put_directory(parent, name, node.attributes()),
        }
    }

    fn file(&mut self, name: &[u8], node: &Node<'_>) -> Result<InodeId, DriverError> {
        if let Some(id) = self.linked.get(&node.number) {
            return Ok(*id);
        }
        let body = self.body(node).map_err(|fault| self.told(fault))?;
        let inode = Inode { attributes: node.attributes(), body };
        let id = self.tree.add(inode).map_err(|fault| self.full(name, fault))?;
        if node.links > 1 {
            self.linked.insert(node.number, id);
        }
        Ok(id)
    }

    fn body(&mut self, node: &Node<'_>) -> Result<Body, FormatError> {
        Ok(match node.kind {
            mode::SYMLINK => Body::Symlink(self.layer.target(node)?.into()),
            mode::CHAR_DEVICE => Body::CharDevice(node.device()),
            mode::BLOCK_DEVICE => Body::BlockDevice(node.device()),
            mode::FIFO => Body::Fifo,
            _ => {
                let first = u32::try_from(self.refs.len()).map_err(|_| FormatError::Part {
                    what: "table of chunks",
                    reason: "the image has more than 4,294,967,295 chunks",
                })?;
                for chunk in self.layer.file_chunks(node)? {
                    let (chunk, place) = chunk?;
                    self.refs.push(self.numbers.of_image(chunk, &place)?);
                }
                Body::File { size: node.size, first }
            }
        })
    }
}

/// The names of a path.
fn names(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect()
}
