//! Inflate that stops where a block ends, and can begin there again. Spec: RFC 1951.

use std::fmt;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{BlockBoundaryState, DecompressorOxide, decompress};

use super::engine::{Status, Step};

/// How far back deflate data refer.
pub(super) const WINDOW_BYTES: usize = 32 << 10;
/// What is inflated behind the window before the window is moved.
const ROOM_BYTES: usize = 256 << 10;

/// With the buffer never wrapping, a reference to before the member is noticed.
const FLAGS: u32 =
    TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;

/// Inflates one member after the other.
pub(super) struct Blocks {
    inflate: Box<DecompressorOxide>,
    /// The member's last bytes, up to `end`: all of them, or at least a window.
    buffer: Box<[u8]>,
    end: usize,
}

impl Blocks {
    pub(super) fn new() -> Self {
        Self { inflate: Box::default(), buffer: vec![0; WINDOW_BYTES + ROOM_BYTES].into(), end: 0 }
    }

    /// Begins between two blocks: behind a byte of which `bits` bits, the highest of `byte`, belong to the next block, and
    /// behind `window`, of which the last 32 KiB count.
    pub(super) fn resume(bits: u8, byte: u8, window: &[u8]) -> Self {
        let bits = bits & 7;
        let bit_buf = if bits == 0 { 0 } else { byte >> (8 - bits) };
        let state = BlockBoundaryState { num_bits: bits, bit_buf, ..BlockBoundaryState::default() };
        let window = &window[window.len().saturating_sub(WINDOW_BYTES)..];
        let mut blocks =
            Self { inflate: Box::new(DecompressorOxide::from_block_boundary_state(&state)), ..Self::new() };
        blocks.buffer[..window.len()].copy_from_slice(window);
        blocks.end = window.len();
        blocks
    }

    pub(super) fn begin_member(&mut self) {
        self.inflate.init();
        self.end = 0;
    }

    pub(super) fn step(&mut self, input: &[u8], out: &mut [u8]) -> Step {
        // Not before half of it is full: or each of very many small blocks would move the window.
        if self.buffer.len() - self.end < out.len().min(ROOM_BYTES / 2) && self.end > WINDOW_BYTES {
            self.buffer.copy_within(self.end - WINDOW_BYTES..self.end, 0);
            self.end = WINDOW_BYTES;
        }
        let room = (self.buffer.len() - self.end).min(out.len());
        let buffer = &mut self.buffer[..self.end + room];
        let (status, read, written) = decompress(&mut self.inflate, input, buffer, self.end, FLAGS);
        out[..written].copy_from_slice(&buffer[self.end..self.end + written]);
        self.end += written;
        let status = match status {
            TINFLStatus::Done => Status::MemberEnd,
            TINFLStatus::BlockBoundary => Status::BlockEnd,
            TINFLStatus::NeedsMoreInput | TINFLStatus::HasMoreOutput => Status::GoesOn,
            // A fault, all of them; the library may find more kinds.
            _ => Status::Failed("invalid deflate data".to_owned()),
        };
        Step { read, written, status }
    }

    /// Between two blocks, how many bits of the last byte that was read belong to the next block, and those bits where they
    /// are in that byte.
    pub(super) fn bits(&self) -> (u8, u8) {
        match self.inflate.block_boundary_state() {
            Some(state) if state.num_bits > 0 => (state.num_bits, state.bit_buf << (8 - state.num_bits)),
            Some(_) | None => (0, 0),
        }
    }

    /// The last bytes of the member, at most a window.
    pub(super) fn window(&self) -> &[u8] {
        &self.buffer[self.end.saturating_sub(WINDOW_BYTES)..self.end]
    }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks").field("end", &self.end).finish_non_exhaustive()
    }
}
