//! What a format has to do, and the sink that compresses, hashes and counts.
