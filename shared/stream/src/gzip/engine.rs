//! What inflates raw deflate data: zlib, or where it matters where blocks end, [`Blocks`].

use flate2::{Decompress, FlushDecompress};

use super::blocks::Blocks;

/// The inflate state of all members.
#[derive(Debug)]
pub(super) enum Engine {
    Zlib(Decompress),
    Blocks(Blocks),
}

/// What one step did.
pub(super) struct Step {
    pub(super) read: usize,
    pub(super) written: usize,
    pub(super) status: Status,
}

pub(super) enum Status {
    /// Input or room for output is used up.
    GoesOn,
    /// A block has ended, and it is not the member's last. Only [`Blocks`] tell.
    BlockEnd,
    /// The member's data have ended.
    MemberEnd,
    /// Those are no deflate data: the decoder's words.
    Failed(String),
}

impl Engine {
    pub(super) fn zlib() -> Self {
        Self::Zlib(Decompress::new(false))
    }

    pub(super) fn blocks() -> Self {
        Self::Blocks(Blocks::new())
    }

    pub(super) fn begin_member(&mut self) {
        match self {
            Self::Zlib(zlib) => zlib.reset(false),
            Self::Blocks(blocks) => blocks.begin_member(),
        }
    }

    /// Inflates `input` into `out`, which is not empty.
    pub(super) fn step(&mut self, input: &[u8], out: &mut [u8]) -> Step {
        match self {
            Self::Zlib(zlib) => step_of_zlib(zlib, input, out),
            Self::Blocks(blocks) => blocks.step(input, out),
        }
    }
}

fn step_of_zlib(zlib: &mut Decompress, input: &[u8], out: &mut [u8]) -> Step {
    let (read_before, written_before) = (zlib.total_in(), zlib.total_out());
    let status = match zlib.decompress(input, out, FlushDecompress::None) {
        Ok(flate2::Status::StreamEnd) => Status::MemberEnd,
        Ok(flate2::Status::Ok | flate2::Status::BufError) => Status::GoesOn,
        Err(error) => Status::Failed(error.to_string()),
    };
    let (read, written) = (zlib.total_in() - read_before, zlib.total_out() - written_before);
    Step { read: read as usize, written: written as usize, status }
}
