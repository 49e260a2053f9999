//! The HTTP side of this crate against small servers on loopback: one behaviour or one fault each.

mod double;

mod main_path;
