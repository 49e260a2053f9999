//! Mutations that are the same on every machine: blind ones, and some that know numbers and words.

use fastrand::Rng;

use crate::Target;

/// Bytes at which counters and tables end.
const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'0', b'7', b'9'];
const MOST_EDITS: usize = 6;
const LONGEST_RUN: usize = 600;
/// What is longer is cut, so that a run stays short.
const LONGEST_INPUT: usize = 256 << 10;

/// Makes inputs out of a target's seeds.
#[derive(Debug)]
pub struct Mutator {
    rng: Rng,
    seeds: Vec<Vec<u8>>,
    words: &'static [&'static str],
}

impl Mutator {
    /// The mutations of `target` that `number` begins.
    #[must_use]
    pub fn new(target: &Target, number: u64) -> Self {
        Self { rng: Rng::with_seed(number), seeds: (target.seeds)(), words: target.words }
    }

    /// The next input.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut bytes = self.seed();
        for _ in 0..self.rng.usize(1..=MOST_EDITS) {
            self.edit(&mut bytes);
        }
        bytes.truncate(LONGEST_INPUT);
        bytes
    }

    fn seed(&mut self) -> Vec<u8> {
        let at = self.rng.usize(..self.seeds.len().max(1));
        self.seeds.get(at).cloned().unwrap_or_default()
    }

    fn edit(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            bytes.push(self.rng.u8(..));
        }
        let at = self.rng.usize(..bytes.len());
        let end = (at + self.rng.usize(1..=LONGEST_RUN)).min(bytes.len());
        match self.rng.u8(..9) {
            0 => bytes[at] ^= 1 << self.rng.u8(..8),
            1 => bytes[at] = EDGES[self.rng.usize(..EDGES.len())],
            2 => bytes[at] = self.rng.u8(..),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let run = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, run));
            }
            5 => bytes.truncate(at),
            6 => self.replace_digits(bytes, at),
            7 => {
                let word = self.words.get(self.rng.usize(..self.words.len().max(1))).copied().unwrap_or_default();
                drop(bytes.splice(at..at, word.bytes()));
            }
            _ => {
                let other = self.seed();
                let from = self.rng.usize(..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }

    /// Puts other digits in the place of the next ones: sizes, offsets, times.
    fn replace_digits(&mut self, bytes: &mut [u8], at: usize) {
        let digits = bytes[at..].iter_mut().skip_while(|byte| !byte.is_ascii_digit());
        for digit in digits.take_while(|byte| byte.is_ascii_digit()).take(20) {
            *digit = if self.rng.bool() { b'7' } else { b'0' + self.rng.u8(..10) };
        }
    }
}
