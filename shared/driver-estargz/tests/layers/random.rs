//! Random layers.
