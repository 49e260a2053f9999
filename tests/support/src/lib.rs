//! What the tests of Accel share: a registry with faults, tars written as lists, images put together from
//! them, and a judge that says whether two images hold the same files.
//!
//! The judge and the tar writer share no code with Accel's own readers and writers, nor with each other.

pub mod faults;

pub mod tar;

pub mod compress;

pub mod image;

pub mod nydus;

pub mod text;

pub mod noise;

pub mod patience;

pub mod tree;

pub use faults::{Fault, FaultyRegistry, Held, Request, Rule, Seen};
pub use image::{ImageBuilder, IndexBuilder, PushedImage};
pub use noise::noise;
pub use patience::Patience;
pub use tar::{Entry, Format, nasty_tar, sparse_tar, tar};
pub use text::text;
pub use tree::Tree;
