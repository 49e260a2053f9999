//! What a file is besides its content: from a tar entry, held to what the format can say.

use accel_driver::DriverError;
use accel_stream::{Entry, Mtime};

/// Permission bits, set-id and sticky bits.
const MODE_BITS: u32 = 0o7777;
/// The longest name of an attribute, without what its index says.
const MOST_NAME_BYTES: usize = u8::MAX as usize;
/// The longest value.
const MOST_VALUE_BYTES: usize = u16::MAX as usize;
/// What the inode's count of attribute words can say.
const MOST_XATTR_BYTES: usize = XATTR_HEADER_BYTES + 4 * (u16::MAX as usize - 1);
/// What attributes of an inode begin with: zeros, for no attribute is shared.
pub(crate) const XATTR_HEADER_BYTES: usize = 12;

/// Name spaces of attributes and their indexes; a whole name or the beginning of one.
pub(crate) const NAME_SPACES: [(&[u8], u8); 5] = [
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
];

/// Name and value of an extended attribute.
pub(crate) type Xattr = (Vec<u8>, Vec<u8>);

/// Owner, mode, time and extended attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Permission bits, set-id and sticky bits.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Mtime,
    /// Extended attributes as they lie behind the inode; empty if there are none.
    pub(crate) xattrs: Box<[u8]>,
}

impl Attributes {
    /// Those of a directory that no entry made.
    pub(crate) fn implicit() -> Self {
        Self { mode: 0o755, uid: 0, gid: 0, mtime: Mtime::default(), xattrs: Box::default() }
    }

    /// Those of `entry`.
    ///
    /// # Errors
    /// [`DriverError::Unrepresentable`].
    pub(crate) fn of(entry: &Entry) -> Result<Self, DriverError> {
        let id = |id: u64| {
            u32::try_from(id).map_err(|_| unrepresentable(entry, "its owner or group is a number beyond 32 bits"))
        };
        Ok(Self {
            mode: (entry.mode & MODE_BITS) as u16,
            uid: id(entry.uid)?,
            gid: id(entry.gid)?,
            mtime: entry.mtime,
            xattrs: encode(&entry.xattrs).map_err(|reason| unrepresentable(entry, reason))?,
        })
    }
}

fn unrepresentable(entry: &Entry, reason: &'static str) -> DriverError {
    DriverError::unrepresentable(&entry.path, reason)
}

/// The number of a device as the kernel encodes it: 12 bits for the major number, 20 for the minor.
pub(crate) fn device(entry: &Entry) -> Result<u32, DriverError> {
    let (major, minor) = (entry.dev_major, entry.dev_minor);
    if major >= 1 << 12 || minor >= 1 << 20 {
        return Err(unrepresentable(entry, "its device number is beyond 12 and 20 bits"));
    }
    Ok((minor & 0xff) | (major << 8) | ((minor & 0xf_ff00) << 12))
}

/// Major and minor number of a device.
pub(crate) const fn device_parts(device: u32) -> (u32, u32) {
    ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00))
}

/// Attributes in the order of their names. Those of name spaces that Linux does not know are left out, as runtimes do
/// where the kernel refuses them.
pub(crate) fn encode(xattrs: &[Xattr]) -> Result<Box<[u8]>, &'static str> {
    let mut known: Vec<_> = xattrs.iter().filter_map(|(name, value)| Some((split(name)?, value))).collect();
    known.sort_unstable();
    if known.is_empty() {
        return Ok(Box::default());
    }
    let mut bytes = vec![0; XATTR_HEADER_BYTES];
    for ((index, name), value) in known {
        if name.len() > MOST_NAME_BYTES {
            return Err("an extended attribute has a name beyond 255 bytes");
        }
        if value.len() > MOST_VALUE_BYTES {
            return Err("an extended attribute has a value beyond 65,535 bytes");
        }
        bytes.extend([name.len() as u8, index]);
        bytes.extend((value.len() as u16).to_le_bytes());
        bytes.extend(name);
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        if bytes.len() > MOST_XATTR_BYTES {
            return Err("its extended attributes are beyond 256 KiB");
        }
    }
    Ok(bytes.into())
}

/// Attributes as [`encode`] has made them: each the two parts of its name, and its value.
pub(crate) fn pairs(xattrs: &[u8]) -> impl Iterator<Item = ([&[u8]; 2], &[u8])> {
    let mut rest = xattrs.get(XATTR_HEADER_BYTES..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (&[name, index, low, high], behind) = rest.split_first_chunk()?;
        let (name, behind) = behind.split_at_checked(name.into())?;
        let value = behind.get(..u16::from_le_bytes([low, high]).into())?;
        let (space, _) = NAME_SPACES.iter().find(|space| space.1 == index)?;
        rest = rest.get((4 + name.len() + value.len()).next_multiple_of(4)..).unwrap_or_default();
        Some(([*space, name], value))
    })
}

/// The index of a name's space, and the rest of the name.
fn split(name: &[u8]) -> Option<(u8, &[u8])> {
    NAME_SPACES.iter().find_map(|(space, index)| {
        let rest = name.strip_prefix(*space)?;
        // A list is a whole name, a space the beginning of one.
        (rest.is_empty() != space.ends_with(b".")).then_some((*index, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xattr(name: &str, bytes: usize) -> Xattr {
        (name.into(), vec![b'v'; bytes])
    }

    #[test]
    fn attributes_are_sorted_and_foreign_ones_left_out() {
        let rows: [(&[Xattr], &[u8]); 3] = [
            (&[], b""),
            (&[xattr("com.apple.quarantine", 3), xattr("user.", 1), xattr("system.posix_acl_access2", 1)], b""),
            (
                &[xattr("user.b", 1), xattr("security.a", 3), xattr("user.a", 0), xattr("system.posix_acl_access", 2)],
                b"\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\0\0a\0\0\0\x01\x01\x01\0bv\0\0\0\x02\x02\0vv\0\0\x01\x06\x03\0avvv",
            ),
        ];
        for (xattrs, expected) in rows {
            assert_eq!(encode(xattrs).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_was_encoded_can_be_taken_apart() {
        let xattrs =
            [xattr("security.a", 3), xattr("system.posix_acl_access", 2), xattr("user.", 0), xattr("user.a", 0)];
        let bytes = encode(&xattrs).unwrap();
        let mut found: Vec<Xattr> = pairs(&bytes).map(|(name, value)| (name.concat(), value.to_vec())).collect();
        found.sort();
        assert_eq!(found, [&xattrs[..2], &xattrs[3..]].concat());
        assert_eq!((pairs(b"").count(), pairs(&bytes[..bytes.len() - 4]).count()), (0, 2));
    }

    #[test]
    fn what_is_too_long_is_refused_by_name() {
        let long = format!("user.{}", "n".repeat(256));
        let many: Vec<_> = (0..5).map(|at| xattr(&format!("user.{at}"), 60_000)).collect();
        let rows = [(vec![xattr(&long, 1)], "name"), (vec![xattr("user.a", 65_536)], "value"), (many, "256 KiB")];
        for (xattrs, expected) in rows {
            assert!(encode(&xattrs).unwrap_err().contains(expected));
        }
        assert!(encode(&[xattr(&long[..260], 65_535)]).is_ok());
    }

    #[test]
    fn device_numbers_are_the_kernels() {
        for (major, minor) in [(0, 5), (1, 3), (4095, 1_048_575), (8, 256)] {
            let entry = Entry { dev_major: major, dev_minor: minor, ..Entry::default() };
            assert_eq!(device_parts(device(&entry).unwrap()), (major, minor));
        }
        for (major, minor) in [(4096, 0), (0, 1 << 20)] {
            let entry = Entry { dev_major: major, dev_minor: minor, ..Entry::default() };
            assert!(matches!(device(&entry), Err(DriverError::Unrepresentable { .. })));
        }
    }
}
