//! Where tasks, messages and layer records are kept.
