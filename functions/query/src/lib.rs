//! Answers questions about tasks.
