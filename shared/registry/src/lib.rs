//! The two ends of the pipeline: registries and OCI layouts.
