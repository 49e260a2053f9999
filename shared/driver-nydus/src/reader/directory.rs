//! The entries of a directory.

use super::bytes::Bytes;
use super::fault::FormatError;
use super::inode::Node;
use super::superblock::{Bootstrap, Layout};
use crate::bootstrap::BLOCK_BYTES;
use crate::tree::MOST_NAME_BYTES;

const WHAT: &str = "directory";
const ENTRY_BYTES: u64 = 12;

/// An entry: name and number of the inode.
pub(crate) type DirectoryEntry<'b> = (&'b [u8], u32);

impl Bootstrap {
    /// The entries of a directory, the two dots left out; names ascend, and none is a path.
    pub(crate) fn entries<'b>(
        &'b self,
        node: &Node<'b>,
    ) -> Box<dyn Iterator<Item = Result<DirectoryEntry<'b>, FormatError>> + 'b> {
        if let Layout::V5(records) = &self.layout {
            return Box::new(records.children(self.at(), node));
        }
        let entries = Entries {
            bootstrap: self,
            node: node.clone(),
            next_block: 0,
            block: Block { bytes: Bytes(&[]), next: 0, count: 0 },
            last: &[],
            failed: false,
        };
        Box::new(entries.filter(|entry| !matches!(entry, Ok((b"." | b"..", _)))))
    }
}

struct Entries<'b> {
    bootstrap: &'b Bootstrap,
    node: Node<'b>,
    next_block: u64,
    block: Block<'b>,
    last: &'b [u8],
    failed: bool,
}

/// A block of entries, with names behind them.
struct Block<'b> {
    bytes: Bytes<'b>,
    next: u64,
    count: u64,
}

impl<'b> Iterator for Entries<'b> {
    type Item = Result<DirectoryEntry<'b>, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let entry = self.entry();
        self.failed = entry.is_err();
        entry.transpose()
    }
}

impl<'b> Entries<'b> {
    fn entry(&mut self) -> Result<Option<DirectoryEntry<'b>>, FormatError> {
        if self.block.next == self.block.count {
            if self.next_block * BLOCK_BYTES >= self.node.size {
                return Ok(None);
            }
            self.block = Block::open(Bytes(self.bootstrap.data_block(&self.node, self.next_block)?))?;
            self.next_block += 1;
        }
        let (name, number) = self.block.entry()?;
        if name <= self.last {
            return Err(FormatError::part(WHAT, "its names do not ascend"));
        }
        self.last = name;
        self.check(name, number)?;
        Ok(Some((name, number)))
    }

    fn check(&self, name: &[u8], number: u32) -> Result<(), FormatError> {
        if !is_name(name) {
            return Err(FormatError::part(WHAT, "it has a name that no file can have"));
        }
        if name == b"." && number != self.node.number {
            return Err(FormatError::part(WHAT, "its dot is another directory"));
        }
        Ok(())
    }
}

/// Whether something in a directory can have this name; the two dots too are something.
pub(super) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= MOST_NAME_BYTES && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

impl<'b> Block<'b> {
    fn open(bytes: Bytes<'b>) -> Result<Self, FormatError> {
        let names = u64::from(bytes.u16(WHAT, 8)?);
        if names == 0 || names % ENTRY_BYTES != 0 || names > bytes.len() {
            return Err(FormatError::part(WHAT, "a block of it has an impossible number of entries"));
        }
        Ok(Self { bytes, next: 0, count: names / ENTRY_BYTES })
    }

    fn entry(&mut self) -> Result<DirectoryEntry<'b>, FormatError> {
        let at = self.next * ENTRY_BYTES;
        self.next += 1;
        let number = u32::try_from(self.bytes.u64(WHAT, at)?)
            .map_err(|_| FormatError::part(WHAT, "the number of an inode is too large"))?;
        let start = u64::from(self.bytes.u16(WHAT, at + 8)?);
        let end = match self.next < self.count {
            true => u64::from(self.bytes.u16(WHAT, at + ENTRY_BYTES + 8)?),
            false => self.bytes.len(),
        };
        let len = end.checked_sub(start).filter(|_| start >= self.count * ENTRY_BYTES);
        let len = len.ok_or(FormatError::part(WHAT, "its names do not lie behind its entries"))?;
        let name = self.bytes.slice(WHAT, start, len)?;
        // Zeros fill the block behind its last name.
        let used = name.iter().position(|byte| *byte == 0).filter(|_| self.next == self.count).unwrap_or(name.len());
        Ok((&name[..used], number))
    }
}
