//! Numbers and slices of a bootstrap, each only where there are such bytes.

use super::fault::FormatError;

/// The bytes of a bootstrap.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'b>(pub(super) &'b [u8]);

impl<'b> Bytes<'b> {
    pub(super) const fn len(self) -> u64 {
        self.0.len() as u64
    }

    /// The `len` bytes from `offset` on; `what` they are is for the error.
    pub(super) fn slice(self, what: &'static str, offset: u64, len: u64) -> Result<&'b [u8], FormatError> {
        let outside = || FormatError::Outside { what, offset };
        let end = offset.checked_add(len).ok_or_else(outside)?;
        let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok()).ok_or_else(outside)?;
        self.0.get(range.0..range.1).ok_or_else(outside)
    }

    fn array<const N: usize>(self, what: &'static str, offset: u64) -> Result<[u8; N], FormatError> {
        let mut array = [0; N];
        array.copy_from_slice(self.slice(what, offset, N as u64)?);
        Ok(array)
    }

    pub(super) fn u8(self, what: &'static str, offset: u64) -> Result<u8, FormatError> {
        self.array::<1>(what, offset).map(|[byte]| byte)
    }

    pub(super) fn u16(self, what: &'static str, offset: u64) -> Result<u16, FormatError> {
        self.array(what, offset).map(u16::from_le_bytes)
    }

    pub(super) fn u32(self, what: &'static str, offset: u64) -> Result<u32, FormatError> {
        self.array(what, offset).map(u32::from_le_bytes)
    }

    pub(super) fn u64(self, what: &'static str, offset: u64) -> Result<u64, FormatError> {
        self.array(what, offset).map(u64::from_le_bytes)
    }
}
