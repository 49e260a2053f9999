//! The versions of RAFS.

use accel_domain::NydusOptions;

/// A version of RAFS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// What only nydusd reads.
    V5,
    /// What the kernel mounts as EROFS, too.
    V6,
}

impl Version {
    /// That of images made with `options`, which were checked.
    pub(crate) const fn of(options: &NydusOptions) -> Self {
        match options.fs_version {
            5 => Self::V5,
            _ => Self::V6,
        }
    }

    /// The number in options, annotations and reports.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V5 => 5,
            Self::V6 => 6,
        }
    }
}
