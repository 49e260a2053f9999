//! Places of a gzip where inflating can begin.

use std::fmt;

use super::blocks::Blocks;

/// A block that ends closer to the last point than this, on both sides, makes no new one: so that small blocks, of which there
/// may be very many, cost nothing.
pub(super) const APART_BYTES: u64 = 32 << 10;

/// A place of a gzip where inflating can begin: between two deflate blocks, or at a member's first.
#[derive(Clone, PartialEq, Eq)]
pub struct InflatePoint {
    /// How many bytes of the blob lie before it.
    pub input: u64,
    /// How many bits, the highest, of the last of those bytes belong to what comes: 0 to 7.
    pub bits: u8,
    /// Those bits, where they are in that byte; all others are 0.
    pub byte: u8,
    /// How many bytes of the tar lie before it.
    pub output: u64,
    /// What the member has before it, of that at most the last 32 KiB.
    pub window: Box<[u8]>,
}

/// A point, or the end, that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// How many bytes of the blob lie before it.
    pub input: u64,
    /// How many bytes of the tar lie before it.
    pub output: u64,
}

/// The points of one blob.
#[derive(Debug, Default)]
pub(crate) struct Points {
    /// Bytes of the tar that were inflated.
    output: u64,
    last: Option<Passed>,
    /// The latest point that everything inflated so far went by.
    now: Option<InflatePoint>,
    /// The point where the output ends.
    next: Option<InflatePoint>,
    passed: Vec<Passed>,
}

impl Points {
    pub(super) const fn inflated(&mut self, bytes: usize) {
        self.output += bytes as u64;
    }

    /// `blocks` stand before a block, `input` bytes from the blob's start.
    pub(super) fn note(&mut self, input: u64, blocks: &Blocks) {
        let output = self.output;
        let is_apart = |last: Passed| input - last.input >= APART_BYTES || output - last.output >= APART_BYTES;
        if !self.last.is_none_or(is_apart) {
            return;
        }
        self.pass(input);
        let (bits, byte) = blocks.bits();
        // What was inflated up to the last point was read before this step.
        let point = InflatePoint { input, bits, byte, output, window: blocks.window().into() };
        self.now = self.next.replace(point).or_else(|| self.now.take());
    }

    /// All members have ended, `input` bytes from the blob's start.
    pub(super) fn end(&mut self, input: u64) {
        self.pass(input);
    }

    fn pass(&mut self, input: u64) {
        let passed = Passed { input, output: self.output };
        self.last = Some(passed);
        self.passed.push(passed);
    }

    /// The latest point before byte `position` of the tar, which is not before what was read last. One at that very byte
    /// does not count: whether it is known yet depends on how the blob came.
    pub(crate) fn at(&self, position: u64) -> Option<&InflatePoint> {
        self.next.as_ref().filter(|point| point.output < position).or(self.now.as_ref())
    }

    /// What was passed up to byte `position` of the tar since this was asked last.
    pub(crate) fn passed(&mut self, position: u64) -> impl Iterator<Item = Passed> {
        let count = self.passed.partition_point(|passed| passed.output <= position);
        self.passed.drain(..count)
    }
}

impl fmt::Debug for InflatePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, bits, output, window, .. } = self;
        write!(f, "InflatePoint {{ {input} bytes and {bits} bits to {output}, window {} }}", window.len())
    }
}
