//! Bytes only: sniff, decompress, digest, limits, tar, and the bridge between async and blocking.
