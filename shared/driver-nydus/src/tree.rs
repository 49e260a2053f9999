//! A tree of files: that of a layer, or that of all layers of an image.
//!
//! Inodes lie in one list and refer to each other by number, so that hard links are just entries with the same number,
//! nothing recurses, and a tree of millions of files is dropped at once. What is removed or replaced stays in the list
//! and is never reached again. About 140 bytes a file.

use std::collections::BTreeMap;
use std::ops::Bound;

use accel_stream::Limits;

use crate::attributes::Attributes;
use crate::names::OPAQUE;

/// The longest name of a file.
pub(crate) const MOST_NAME_BYTES: usize = 255;
/// Names, link targets and extended attributes of all files.
const MOST_BYTES: u64 = 1 << 30;

/// Why nothing more goes into a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooLarge {
    /// [`Limits::entries`].
    Files,
    /// Names, link targets and extended attributes.
    Bytes,
}

impl TooLarge {
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Files => "with it there are more files and directories than the limit `entries`",
            Self::Bytes => "with it names, link targets and extended attributes are beyond 1 GiB",
        }
    }
}

/// An inode of a [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct InodeId(pub(crate) u32);

/// A file, whatever it is.
#[derive(Debug, Clone)]
pub(crate) struct Inode {
    pub(crate) attributes: Attributes,
    pub(crate) body: Body,
}

/// What kind of file, and what it holds.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    Directory(Box<Directory>),
    /// The chunks lie one after the other in a list beside the tree, from `first` on.
    File {
        size: u64,
        first: u32,
    },
    Symlink(Box<[u8]>),
    CharDevice(u32),
    BlockDevice(u32),
    Fifo,
    /// In a layer: a hard link to this path, which the layer itself does not have.
    LinkBelow(Box<[u8]>),
}

/// A directory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Directory {
    children: BTreeMap<Box<[u8]>, InodeId>,
    /// No entry made it: it says nothing about a directory of the layers below.
    pub(crate) implicit: bool,
}

/// The files, from a root.
#[derive(Debug)]
pub(crate) struct Tree {
    inodes: Vec<Inode>,
    is_layer: bool,
    room: Room,
}

/// What a tree may still take. What was removed or replaced counts too, so that a layer which was converted within some
/// limits can be merged within them.
#[derive(Debug, Clone, Copy)]
struct Room {
    files: u64,
    bytes: u64,
}

impl Room {
    fn take_file(&mut self) -> Result<(), TooLarge> {
        self.files = self.files.checked_sub(1).ok_or(TooLarge::Files)?;
        Ok(())
    }

    fn take_bytes(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.bytes = self.bytes.checked_sub(bytes as u64).ok_or(TooLarge::Bytes)?;
        Ok(())
    }
}

impl Tree {
    pub(crate) const ROOT: InodeId = InodeId(0);

    /// The tree of a layer: nothing yet but a root that no entry made.
    pub(crate) fn of_layer(limits: Limits) -> Self {
        Self { is_layer: true, ..Self::of_image(limits) }
    }

    /// The tree of an image without layers.
    pub(crate) fn of_image(limits: Limits) -> Self {
        let room = Room { files: limits.entries, bytes: MOST_BYTES };
        Self { inodes: vec![implicit_directory()], is_layer: false, room }
    }

    pub(crate) fn inode(&self, id: InodeId) -> &Inode {
        &self.inodes[id.0 as usize]
    }

    /// How many inodes there are, those that cannot be reached any more included.
    pub(crate) const fn inodes(&self) -> usize {
        self.inodes.len()
    }

    pub(crate) fn directory(&self, id: InodeId) -> Option<&Directory> {
        match &self.inode(id).body {
            Body::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    pub(crate) fn directory_mut(&mut self, id: InodeId) -> Option<&mut Directory> {
        match &mut self.inodes[id.0 as usize].body {
            Body::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// Adds an inode that nothing refers to yet.
    pub(crate) fn add(&mut self, inode: Inode) -> Result<InodeId, TooLarge> {
        let target = match &inode.body {
            Body::Symlink(target) | Body::LinkBelow(target) => target.len(),
            _ => 0,
        };
        self.take_bytes(inode.attributes.xattrs.len() + target)?;
        let id = InodeId(u32::try_from(self.inodes.len()).map_err(|_| TooLarge::Files)?);
        self.inodes.push(inode);
        Ok(id)
    }

    /// Counts bytes that are kept because of the tree.
    pub(crate) fn take_bytes(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.room.take_bytes(bytes)
    }

    /// What `path` is.
    pub(crate) fn find<'p>(&self, path: impl IntoIterator<Item = &'p [u8]>) -> Option<InodeId> {
        path.into_iter().try_fold(Self::ROOT, |id, name| self.directory(id)?.child(name))
    }

    /// Every inode that can be reached from the root, once however many names it has.
    pub(crate) fn reachable(&self) -> impl Iterator<Item = InodeId> {
        let mut seen = vec![false; self.inodes.len()];
        seen[0] = true;
        let mut open = vec![Self::ROOT];
        std::iter::from_fn(move || {
            let id = open.pop()?;
            let children = self.directory(id).into_iter().flat_map(Directory::children);
            open.extend(children.map(|(_, id)| id).filter(|id| !std::mem::replace(&mut seen[id.0 as usize], true)));
            Some(id)
        })
    }

    /// The directory `path`; what is not there or is none becomes one that no entry made.
    pub(crate) fn make_directories<'p>(
        &mut self,
        path: impl IntoIterator<Item = &'p [u8]>,
    ) -> Result<InodeId, TooLarge> {
        path.into_iter().try_fold(Self::ROOT, |parent, name| {
            let child = self.directory(parent).and_then(|directory| directory.child(name));
            match child.filter(|id| self.directory(*id).is_some()) {
                Some(id) => Ok(id),
                None => self.new_directory(parent, name, implicit_directory()),
            }
        })
    }

    /// In a layer, a directory in the place of something else has nothing of the layers below any more: it is marked as
    /// OCI's layers mark such directories.
    fn new_directory(&mut self, parent: InodeId, name: &[u8], inode: Inode) -> Result<InodeId, TooLarge> {
        let replaces = self.is_layer && self.directory(parent).is_some_and(|directory| directory.child(name).is_some());
        let id = self.add(inode)?;
        self.put(parent, name, id)?;
        if replaces {
            let body = Body::File { size: 0, first: 0 };
            let marker = self.add(Inode { attributes: Attributes::implicit(), body })?;
            self.put(id, OPAQUE, marker)?;
            if let Some(directory) = self.directory_mut(id) {
                directory.implicit = false;
            }
        }
        Ok(id)
    }

    /// Makes `id` the file `name` of the directory `parent`, in place of any other.
    pub(crate) fn put(&mut self, parent: InodeId, name: &[u8], id: InodeId) -> Result<(), TooLarge> {
        self.room.take_file()?;
        let Body::Directory(directory) = &mut self.inodes[parent.0 as usize].body else { return Ok(()) };
        match directory.children.get_mut(name) {
            Some(child) => *child = id,
            None => {
                self.room.take_bytes(name.len())?;
                directory.children.insert(name.into(), id);
            }
        }
        Ok(())
    }

    /// Puts a directory with these attributes into `parent`; one that is there keeps its children.
    pub(crate) fn put_directory(
        &mut self,
        parent: InodeId,
        name: &[u8],
        attributes: Attributes,
    ) -> Result<InodeId, TooLarge> {
        let child = self.directory(parent).and_then(|directory| directory.child(name));
        match child.filter(|id| self.directory(*id).is_some()) {
            Some(id) => {
                self.set_directory(id, attributes)?;
                Ok(id)
            }
            None => self.new_directory(parent, name, Inode { attributes, body: Body::Directory(Box::default()) }),
        }
    }

    /// An entry says what the directory `id` is.
    pub(crate) fn set_directory(&mut self, id: InodeId, attributes: Attributes) -> Result<(), TooLarge> {
        self.take_bytes(attributes.xattrs.len())?;
        self.inodes[id.0 as usize].attributes = attributes;
        if let Some(directory) = self.directory_mut(id) {
            directory.implicit = false;
        }
        Ok(())
    }
}

impl Directory {
    pub(crate) fn child(&self, name: &[u8]) -> Option<InodeId> {
        self.children.get(name).copied()
    }

    pub(crate) fn children(&self) -> impl DoubleEndedIterator<Item = (&[u8], InodeId)> {
        self.children.iter().map(|(name, id)| (&**name, *id))
    }

    pub(crate) fn remove(&mut self, name: &[u8]) {
        self.children.remove(name);
    }

    pub(crate) fn clear(&mut self) {
        self.children.clear();
    }

    /// The children and the two dots, sorted as the format wants them.
    pub(crate) fn entries(&self, this: InodeId, parent: InodeId) -> impl Iterator<Item = (&[u8], InodeId)> {
        const DOT: &[u8] = b".";
        const DOTS: &[u8] = b"..";
        let range = |from: Bound<&[u8]>, to: Bound<&[u8]>| {
            self.children.range::<[u8], _>((from, to)).map(|(name, id)| (&**name, *id))
        };
        range(Bound::Unbounded, Bound::Excluded(DOT))
            .chain([(DOT, this)])
            .chain(range(Bound::Excluded(DOT), Bound::Excluded(DOTS)))
            .chain([(DOTS, parent)])
            .chain(range(Bound::Excluded(DOTS), Bound::Unbounded))
    }
}

fn implicit_directory() -> Inode {
    let directory = Directory { implicit: true, ..Directory::default() };
    Inode { attributes: Attributes::implicit(), body: Body::Directory(Box::new(directory)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(path: &str) -> impl Iterator<Item = &[u8]> {
        path.split('/').map(str::as_bytes)
    }

    fn put_file(tree: &mut Tree, parent: InodeId, name: &[u8]) -> InodeId {
        let file =
            tree.add(Inode { attributes: Attributes::implicit(), body: Body::File { size: 0, first: 0 } }).unwrap();
        tree.put(parent, name, file).unwrap();
        file
    }

    #[test]
    fn parents_are_made_and_what_is_no_directory_gives_way() {
        let mut tree = Tree::of_image(Limits::default());
        let parent = tree.make_directories(split("a/b")).unwrap();
        let file = put_file(&mut tree, parent, b"c");
        assert_eq!(tree.find(split("a/b/c")), Some(file));
        assert_eq!(tree.make_directories(split("a/b")).unwrap(), parent, "it is there");
        assert!(tree.directory(parent).unwrap().implicit);
        let below = tree.make_directories(split("a/b/c/d")).unwrap();
        assert_eq!(tree.find(split("a/b/c/d")), Some(below));
        assert!(tree.directory(tree.find(split("a/b/c")).unwrap()).is_some());
        assert_eq!(tree.find(split("a/x/d")), None);
    }

    #[test]
    fn in_a_layer_what_takes_the_place_of_a_file_hides_what_is_below() {
        for (mut tree, marked) in
            [(Tree::of_image(Limits::default()), false), (Tree::of_layer(Limits::default()), true)]
        {
            put_file(&mut tree, Tree::ROOT, b"f");
            let directory = tree.make_directories(split("f")).unwrap();
            assert_eq!(tree.find(split("f/.wh..wh..opq")).is_some(), marked);
            assert_eq!(tree.directory(directory).unwrap().implicit, !marked);
        }
    }

    #[test]
    fn a_directory_that_is_there_keeps_its_children() {
        let mut tree = Tree::of_image(Limits::default());
        let parent = tree.make_directories(split("a")).unwrap();
        let file = put_file(&mut tree, parent, b"f");
        let attributes = Attributes { mode: 0o1777, ..Attributes::implicit() };
        assert_eq!(tree.put_directory(Tree::ROOT, b"a", attributes.clone()), Ok(parent));
        assert_eq!((tree.find(split("a/f")), &tree.inode(parent).attributes), (Some(file), &attributes));
        assert!(!tree.directory(parent).unwrap().implicit);
        let other = tree.put_directory(parent, b"f", attributes).unwrap();
        assert_ne!(other, file, "a file gives way");
    }

    #[test]
    fn what_has_several_names_is_reached_once() {
        let mut tree = Tree::of_image(Limits::default());
        let parent = tree.make_directories(split("a/b")).unwrap();
        let file = put_file(&mut tree, parent, b"1");
        (2..9).for_each(|name| tree.put(Tree::ROOT, &[name], file).unwrap());
        let gone = put_file(&mut tree, parent, b"gone");
        put_file(&mut tree, parent, b"gone");
        let reached: Vec<InodeId> = tree.reachable().collect();
        assert_eq!(reached.len(), 5, "three directories, two files");
        assert!(reached.contains(&file) && !reached.contains(&gone));
    }

    #[test]
    fn what_goes_in_is_counted() {
        let tree = |files, bytes| Tree { room: Room { files, bytes }, ..Tree::of_layer(Limits::default()) };
        assert!(tree(3, 6).make_directories(split("ab/cd/ef")).is_ok());
        assert_eq!(tree(2, 6).make_directories(split("ab/cd/ef")), Err(TooLarge::Files));
        assert_eq!(tree(3, 5).make_directories(split("ab/cd/ef")), Err(TooLarge::Bytes));
        let attributes = |bytes: usize| Attributes { xattrs: vec![0; bytes].into(), ..Attributes::implicit() };
        assert_eq!(tree(1, 40).set_directory(Tree::ROOT, attributes(41)), Err(TooLarge::Bytes));
        assert_eq!(tree(1, 40).put_directory(Tree::ROOT, b"d", attributes(40)), Err(TooLarge::Bytes));
        for (body, fits) in [(Body::Fifo, true), (Body::Symlink([7; 9][..].into()), false)] {
            let added = tree(1, 40).add(Inode { attributes: attributes(32), body });
            assert_eq!(added.is_ok(), fits);
        }
        let mut replaced = tree(4, 100);
        put_file(&mut replaced, Tree::ROOT, b"f");
        assert!(replaced.make_directories(split("f")).is_ok(), "a directory and its marker");
        let file = put_file(&mut replaced, Tree::ROOT, b"f");
        assert_eq!(replaced.put(Tree::ROOT, b"f", file), Err(TooLarge::Files), "what was replaced counts");
    }

    #[test]
    fn entries_are_sorted_bytewise_with_the_dots_among_them() {
        let mut tree = Tree::of_image(Limits::default());
        for name in [&b"z"[..], b"-", b"...", b".\x01", b".a", b"\xff"] {
            put_file(&mut tree, Tree::ROOT, name);
        }
        let root = tree.directory(Tree::ROOT).unwrap();
        let names: Vec<&[u8]> = root.entries(Tree::ROOT, Tree::ROOT).map(|(name, _)| name).collect();
        assert_eq!(names, [&b"-"[..], b".", b".\x01", b"..", b"...", b".a", b"z", b"\xff"]);
    }
}
