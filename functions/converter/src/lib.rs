//! Settles messages: runs conversions.
