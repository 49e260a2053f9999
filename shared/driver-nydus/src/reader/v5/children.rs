//! The entries of a directory: records whose numbers follow each other.

use super::records::Records;
use crate::reader::bytes::Bytes;
use crate::reader::directory::{DirectoryEntry, is_name};
use crate::reader::{FormatError, Node};

const WHAT: &str = "directory";

impl Records {
    /// The entries of a directory; names ascend, and none is a path.
    pub(in crate::reader) fn children<'b>(
        &'b self,
        at: Bytes<'b>,
        node: &Node<'_>,
    ) -> impl Iterator<Item = Result<DirectoryEntry<'b>, FormatError>> + use<'b> {
        let (parent, first, count) = (node.number, node.union, node.count);
        let mut last: &[u8] = &[];
        let mut failed = false;
        let children = (0..count).map(move |child| {
            // Larger numbers than that of the directory: so nothing goes around in circles.
            let number = first.checked_add(child).filter(|number| *number > parent);
            let number = number.ok_or(FormatError::part(WHAT, "its children are before it"))?;
            let record = self.record(at, number)?;
            if record.parent()? != u64::from(parent) {
                return Err(FormatError::part(WHAT, "it has a child of another"));
            }
            if !is_name(record.name) {
                return Err(FormatError::part(WHAT, "it has a name that no file can have"));
            }
            if record.name <= last || matches!(record.name, b"." | b"..") {
                return Err(FormatError::part(WHAT, "its names do not ascend"));
            }
            last = record.name;
            Ok((record.name, number))
        });
        children.take_while(move |child| !std::mem::replace(&mut failed, child.is_err()))
    }
}
