//! A small OCI registry in process.
