//! The file system that a source's layers make, applied one onto the other: of each file no more than a digest of all
//! that is said of it. About 150 bytes a path. Spec: OCI image, "Applying Changesets".

use std::collections::{BTreeMap, HashMap};

use accel_stream::{Entry, EntryKind};

use super::facts::{Facts, Sum, implicit_directory};

/// The file system so far.
pub(super) struct Overlay {
    nodes: Vec<Node>,
    files: Vec<File>,
    /// The number of the layer that is applied.
    layer: u32,
    /// How many names that layer may bring, and has brought.
    limit: u64,
    brought: u64,
    /// How many directories were emptied of what layers below have in them.
    #[cfg(test)]
    emptied: usize,
}

/// A name, and below it others if it is a directory.
struct Node {
    file: usize,
    /// The layer that has said last what it is.
    layer: u32,
    /// The layer since which it has nothing of the layers below that one in it.
    emptied: u32,
    below: BTreeMap<Box<[u8]>, usize>,
    found: bool,
}

/// What one or more names are, and the layer that it is from.
struct File {
    sum: Sum,
    is_directory: bool,
    layer: u32,
    /// Who it is in the target, once that is known.
    target: Option<u64>,
}

/// What is different about a path of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Same,
    /// The source has none of this path.
    Extra,
    /// The target had one of this path before.
    Again,
    /// The source's is another.
    Other,
    /// It is one file with other paths than in the source.
    LinkedOtherwise,
}

/// A layer that makes no file system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// No tool can apply this.
    #[error("{0}")]
    Impossible(&'static str),
    /// Names beyond the limit, those of directories that no entry names among them.
    #[error("it brings more names than the limit of {0}")]
    TooMany(u64),
}
use Refused::Impossible;

const ROOT: usize = 0;

impl Overlay {
    /// An empty file system, to which each layer may bring so many names.
    pub(super) fn new(limit: u64) -> Self {
        let root = Node { file: ROOT, layer: 0, emptied: 0, below: BTreeMap::new(), found: false };
        Self {
            nodes: vec![root],
            files: vec![File { sum: implicit_directory(), is_directory: true, layer: 0, target: None }],
            layer: 0,
            limit,
            brought: 0,
            #[cfg(test)]
            emptied: 0,
        }
    }

    /// What comes now lies above all that came before.
    pub(super) fn begin_layer(&mut self) {
        self.layer += 1;
        self.brought = 0;
    }

    /// Applies an entry; `content` is what [`super::facts::Content`] says of a file's.
    ///
    /// # Errors
    /// A layer that no tool can apply, or that brings too much.
    pub(super) fn apply(&mut self, entry: &Entry, content: Option<Sum>) -> Result<(), Refused> {
        let path = components(&entry.path)?;
        let Some((name, parent)) = path.split_last() else {
            self.apply_root(entry);
            return Ok(());
        };
        match name.strip_prefix(b".wh.") {
            Some(b".wh..opq") => self.empty(parent),
            Some(rest) if rest.is_empty() || rest.starts_with(b".wh.") => Ok(()),
            Some(removed) => self.remove(parent, removed),
            None => self.add(parent, name, entry, content),
        }
    }

    fn apply_root(&mut self, entry: &Entry) {
        if entry.kind == EntryKind::Directory {
            let file = self.new_file(Facts::of_entry(entry).sum(None), true);
            self.nodes[ROOT].file = file;
        }
    }

    fn add(&mut self, parent: &[&[u8]], name: &[u8], entry: &Entry, content: Option<Sum>) -> Result<(), Refused> {
        let is_directory = entry.kind == EntryKind::Directory;
        let file = match entry.kind {
            EntryKind::HardLink => self.linked(&entry.link)?,
            _ => self.new_file(Facts::of_entry(entry).sum(content), is_directory),
        };
        let parent = self.make_directories(parent)?;
        let layer = self.layer;
        match self.nodes[parent].below.get(name) {
            Some(&node) if is_directory && self.is_directory(node) => {
                self.nodes[node].file = file;
                self.nodes[node].layer = layer;
            }
            Some(_) | None => {
                let node = self.new_node(file)?;
                self.nodes[parent].below.insert(name.into(), node);
            }
        }
        Ok(())
    }

    /// The file that a hard link is another name of.
    fn linked(&self, link: &[u8]) -> Result<usize, Refused> {
        let target = self.find(&components(link)?).ok_or(Impossible("it is a hard link to nothing"))?;
        if self.is_directory(target) {
            return Err(Impossible("it is a hard link to a directory"));
        }
        Ok(self.nodes[target].file)
    }

    /// The node of a directory; what is missing on the way, or no directory, becomes one.
    fn make_directories(&mut self, path: &[&[u8]]) -> Result<usize, Refused> {
        let mut node = ROOT;
        for name in path {
            node = match self.nodes[node].below.get(*name) {
                Some(&below) if self.is_directory(below) => below,
                Some(_) | None => {
                    let file = self.new_file(implicit_directory(), true);
                    let made = self.new_node(file)?;
                    self.nodes[node].below.insert((*name).into(), made);
                    made
                }
            };
        }
        Ok(node)
    }

    /// A whiteout: what the layers below have of a path goes. Its parents are made as those of any entry.
    fn remove(&mut self, parent: &[&[u8]], name: &[u8]) -> Result<(), Refused> {
        let parent = self.make_directories(parent)?;
        if let Some(&node) = self.nodes[parent].below.get(name)
            && !self.keeps_of_this_layer(node)
        {
            self.nodes[parent].below.remove(name);
        }
        Ok(())
    }

    /// An opaque directory: what the layers below have in it goes.
    fn empty(&mut self, directory: &[&[u8]]) -> Result<(), Refused> {
        self.make_directories(directory).map(|node| self.keep_of_this_layer_below(node))
    }

    /// Removes what the layers below have of a node; whether anything of this layer is left.
    fn keeps_of_this_layer(&mut self, node: usize) -> bool {
        self.keep_of_this_layer_below(node);
        let anything = !self.nodes[node].below.is_empty();
        if self.nodes[node].layer < self.layer && anything {
            // The directory was the lower layers'; this layer has put something into it without saying what it is.
            self.nodes[node].file = self.new_file(implicit_directory(), true);
            self.nodes[node].layer = self.layer;
        }
        anything || self.nodes[node].layer == self.layer
    }

    /// Once a layer: what is put into a directory after that is of this layer.
    fn keep_of_this_layer_below(&mut self, node: usize) {
        if std::mem::replace(&mut self.nodes[node].emptied, self.layer) == self.layer {
            return;
        }
        #[cfg(test)]
        {
            self.emptied += 1;
        }
        let below = std::mem::take(&mut self.nodes[node].below);
        let kept = below.into_iter().filter(|(_, node)| self.keeps_of_this_layer(*node)).collect();
        self.nodes[node].below = kept;
    }

    fn find(&self, path: &[&[u8]]) -> Option<usize> {
        path.iter().try_fold(ROOT, |node, name| self.nodes[node].below.get(*name).copied())
    }

    fn is_directory(&self, node: usize) -> bool {
        self.files[self.nodes[node].file].is_directory
    }

    fn new_file(&mut self, sum: Sum, is_directory: bool) -> usize {
        self.files.push(File { sum, is_directory, layer: self.layer, target: None });
        self.files.len() - 1
    }

    fn new_node(&mut self, file: usize) -> Result<usize, Refused> {
        self.brought += 1;
        if self.brought > self.limit {
            return Err(Refused::TooMany(self.limit));
        }
        let layer = self.layer;
        self.nodes.push(Node { file, layer, emptied: layer, below: BTreeMap::new(), found: false });
        Ok(self.nodes.len() - 1)
    }
}

/// The other side of the comparison.
impl Overlay {
    /// Strikes off a path of the target, which says that it is its file `id`, with a digest of all that is said of it.
    pub(super) fn strike(&mut self, path: &[u8], id: u64, sum: Sum, ids: &mut HashMap<u64, usize>) -> Found {
        let Some(node) = components(path).ok().and_then(|path| self.find(&path)) else { return Found::Extra };
        if std::mem::replace(&mut self.nodes[node].found, true) {
            return Found::Again;
        }
        let (owner, file) = (*ids.entry(id).or_insert(self.nodes[node].file), self.nodes[node].file);
        let known = self.files[file].target.unwrap_or(id);
        let is_linked_alike = owner == file && known == id;
        if is_linked_alike {
            self.files[file].target = Some(id);
        }
        match self.files[file].sum == sum {
            false => Found::Other,
            true if is_linked_alike => Found::Same,
            true => Found::LinkedOtherwise,
        }
    }

    /// The layer that the file of a path is from, though one above may have named it so. The lowest is 1.
    pub(super) fn origin(&self, path: &[u8]) -> Option<u32> {
        self.find(&components(path).ok()?).map(|node| self.files[self.nodes[node].file].layer)
    }

    /// How many paths each file has.
    pub(super) fn links(&self) -> HashMap<u64, u32> {
        let mut links = HashMap::new();
        self.walk(&mut |_, node| {
            let file = &self.files[node.file];
            if let Some(id) = file.target.filter(|_| !file.is_directory) {
                *links.entry(id).or_default() += 1;
            }
        });
        links
    }

    /// Shows every path that was not struck off.
    pub(super) fn missing(&self, mut each: impl FnMut(&[u8])) {
        self.walk(&mut |path, node| {
            if !node.found {
                each(path);
            }
        });
    }

    fn walk(&self, each: &mut dyn FnMut(&[u8], &Node)) {
        let mut open = vec![(Vec::new(), ROOT)];
        while let Some((path, node)) = open.pop() {
            let node = &self.nodes[node];
            each(&path, node);
            for (name, below) in node.below.iter().rev() {
                let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
                open.push(([&path, slash, name].concat(), *below));
            }
        }
    }
}

/// The names on the way of a path.
fn components(path: &[u8]) -> Result<Vec<&[u8]>, Refused> {
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").collect();
    if names.contains(&&b".."[..]) { Err(Impossible("its path leads upwards")) } else { Ok(names) }
}

#[cfg(test)]
mod tests;
