//! Hard links of a layer to files of the layers below, which are in a section of their own.

use accel_stream::Limits;

use super::bytes::Bytes;
use super::directory::is_name;
use super::fault::FormatError;
use super::superblock::Bootstrap;
use crate::names::WHITEOUT;

const WHAT: &str = "section of links";

/// Path and target of a hard link.
pub(crate) type LinkBelow<'b> = (&'b [u8], &'b [u8]);

impl Bootstrap {
    /// Path and target of each link.
    ///
    /// # Errors
    /// The section is wrong, or `limits` are passed.
    pub(crate) fn links_below(&self, limits: Limits) -> Result<Vec<LinkBelow<'_>>, FormatError> {
        let (offset, len) = self.links_below;
        let section = Bytes(self.at().slice(WHAT, offset, len)?);
        let (mut links, mut at) = (Vec::new(), 0);
        while at < section.len() {
            if links.len() as u64 == limits.entries {
                return Err(FormatError::TooManyEntries { limit: limits.entries });
            }
            let (path_len, target_len) = (u64::from(section.u32(WHAT, at)?), u64::from(section.u32(WHAT, at + 4)?));
            let path = section.slice(WHAT, at + 8, path_len)?;
            let target = section.slice(WHAT, at + 8 + path_len, target_len)?;
            check(path, limits)?;
            check(target, limits)?;
            if names(path).any(|name| name.starts_with(WHITEOUT)) {
                return Err(FormatError::part(WHAT, "a link has the name of a whiteout"));
            }
            links.push((path, target));
            at += 8 + path_len + target_len;
        }
        Ok(links)
    }
}

fn check(path: &[u8], limits: Limits) -> Result<(), FormatError> {
    if path.len() as u64 > limits.path_bytes {
        return Err(FormatError::part(WHAT, "a path is longer than the limit"));
    }
    if !names(path).all(|name| is_name(name) && name != b"." && name != b"..") {
        return Err(FormatError::part(WHAT, "a path has a name that no file can have"));
    }
    Ok(())
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
}
