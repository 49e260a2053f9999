//! Whoever may push an image, send an event or write a configuration chooses the bytes that Accel reads. Here is, one
//! function a parser, what has to hold for any bytes: no panic, no growth past the limits, and what is accepted means
//! the same however it is read.
//!
//! `cargo test -p accel-fuzz-targets` runs each over its seeds and a few thousand deterministic mutations of them;
//! `tests/fuzz` runs them under libFuzzer for as long as one likes.

mod documents;
mod estargz;
mod events;
mod layers;
mod mutation;
mod nydus;
mod nydus_index;

pub use mutation::Mutator;

/// One parser, and where to begin.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is that of its file in `tests/fuzz/fuzz_targets`.
    pub name: &'static str,
    /// Whether the parser accepts these bytes. Panics if something does not hold for them.
    pub run: fn(&[u8]) -> bool,
    /// Inputs to begin with: good ones, so that mutations get far.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words of the format.
    pub words: &'static [&'static str],
}

/// All of them.
pub const TARGETS: [Target; 15] = [
    layers::TAR,
    layers::LAYER,
    layers::CONVERT,
    nydus::NYDUS,
    estargz::BLOB,
    estargz::TOC,
    nydus::BOOTSTRAP,
    nydus::BLOB,
    nydus_index::INDEX,
    nydus_index::GZIP,
    documents::MANIFEST,
    documents::REFERENCE,
    documents::CONFIG,
    documents::SECRET,
    events::WEBHOOK,
];

/// Runs the target of this name.
///
/// # Panics
/// There is none, or something does not hold.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("a target has the name of its file").run)(bytes);
}

/// The first byte chooses among `choices`; the rest is the input.
fn choose<'b, T: Copy>(bytes: &'b [u8], choices: &[T]) -> Option<(T, &'b [u8])> {
    let (first, rest) = bytes.split_first()?;
    let choice = choices.get(usize::from(*first) % choices.len().max(1))?;
    Some((*choice, rest))
}

/// `inputs`, each once for every choice.
fn with_choices(choices: u8, inputs: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let chosen = |choice: u8| inputs.iter().map(move |input| [&[choice], &input[..]].concat());
    (0..choices).flat_map(chosen).collect()
}
