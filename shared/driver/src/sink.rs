//! The sink: where a front writes bytes, chunks and records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Sender;

use crate::DriverError;
use crate::batches::Turns;
use crate::codec::Codec;
use crate::layer::Passed;
use crate::pool::Pool;
use crate::repeats::{Order, Repeats};
use crate::stock::{Lent, Share};
use crate::unit::{Compressed, Input, UNIT_BYTES, Unit};

/// Where a chunk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Into a member of its own.
    NewMember,
    /// Into the open member, if the unit has room.
    SameMember,
    /// Into a member with others like it that are near, once those are left out that the layer has had: see
    /// [`Sink::batch`].
    Batch,
}

/// Collects what a front writes into units and hands them to the pool. `R` is the driver's record.
pub struct Sink<R> {
    pool: Pool,
    inputs: Share<Input>,
    outputs: Share<Compressed>,
    codec: Codec,
    batches: Sender<Passed<R>>,
    /// Set by the back when it takes no more.
    stopped: Arc<AtomicBool>,
    open: Option<Lent<Input>>,
    records: Vec<R>,
    repeats: Option<Repeats>,
    /// Turns of units, and what a batch is smaller than.
    batching: Option<(Turns, usize)>,
    /// How many units were handed over.
    units: u32,
}

impl<R> Sink<R> {
    pub(crate) fn new(pool: Pool, codec: Codec, batches: Sender<Passed<R>>, stopped: Arc<AtomicBool>) -> Self {
        let (inputs, outputs) = (pool.inputs().share(), pool.outputs().share());
        Self {
            pool,
            inputs,
            outputs,
            codec,
            batches,
            stopped,
            open: None,
            records: Vec::new(),
            repeats: None,
            batching: None,
            units: 0,
        }
    }

    /// Chunks that the layer has had are not compressed again: `repeats` tells the back which they are. Every chunk is then
    /// a member of its own, and nothing is written but chunks. To be called before the first.
    pub fn leave_out(&mut self, repeats: Repeats) {
        self.repeats = Some(repeats);
    }

    /// Chunks that are cut as [`Cut::Batch`] and follow each other are compressed together, fewer than `bytes` of them. To
    /// be called with [`Sink::leave_out`], before the first.
    pub fn batch(&mut self, bytes: usize) {
        self.batching = Some((Turns::default(), bytes));
    }

    /// Writes bytes that belong to no chunk: headers and padding. They go into the open member.
    ///
    /// # Errors
    /// [`DriverError::Output`] if the back has stopped.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), DriverError> {
        while !bytes.is_empty() {
            let unit = self.unit_with_room(1)?;
            if unit.member_bytes().is_none() {
                unit.begin_member();
            }
            let (now, later) = bytes.split_at(bytes.len().min(unit.room()));
            unit.write(now);
            bytes = later;
        }
        Ok(())
    }

    /// Writes a chunk of `len` bytes (1 to [`UNIT_BYTES`]) that `fill` puts into the given buffer, every one of them: what
    /// the buffer holds before is of another use. Returns the
    /// chunk's index in its unit, by which the back finds it.
    ///
    /// # Errors
    /// Those of `fill`, and [`DriverError::Output`] if the back has stopped.
    pub fn chunk(
        &mut self,
        len: usize,
        cut: Cut,
        fill: impl FnOnce(&mut [u8]) -> Result<(), DriverError>,
    ) -> Result<usize, DriverError> {
        debug_assert!((1..=UNIT_BYTES).contains(&len), "a chunk fits into a unit");
        debug_assert!(self.repeats.is_none() || cut != Cut::SameMember, "a chunk that may be left out is a member");
        let unit = self.unit_with_room(len)?;
        if cut != Cut::SameMember || unit.member_bytes().is_none() {
            unit.begin_member();
        }
        unit.chunk(len, cut == Cut::Batch, fill)
    }

    /// How many bytes the open member has so far.
    #[must_use]
    pub fn member_bytes(&self) -> usize {
        self.open.as_ref().and_then(|unit| unit.member_bytes()).unwrap_or(0)
    }

    /// The bytes of the chunk just written: for digests that span chunks.
    #[must_use]
    pub fn last_chunk(&self) -> &[u8] {
        self.open.as_ref().map_or(&[], |unit| unit.last_chunk())
    }

    /// Adds a record. The back gets it together with the unit of the chunk just written.
    pub fn record(&mut self, record: R) {
        self.records.push(record);
    }

    /// Hands over what is left and says that this was all.
    pub(crate) fn finish(mut self) -> Result<(), DriverError> {
        if self.open.is_some() || !self.records.is_empty() {
            self.hand_over()?;
        }
        self.pass(Passed::End)
    }

    /// The open unit if it has room for `len` bytes more, a new one otherwise.
    fn unit_with_room(&mut self, len: usize) -> Result<&mut Input, DriverError> {
        if self.open.as_ref().is_some_and(|unit| unit.room() < len || unit.is_full()) {
            self.hand_over()?;
        }
        Ok(self.open.get_or_insert_with(|| self.inputs.take()))
    }

    fn hand_over(&mut self) -> Result<(), DriverError> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(gone());
        }
        let input = self.open.take().unwrap_or_else(|| self.inputs.take());
        let unit = self.units;
        let batches = self.batching.as_ref().map(|(turns, bytes)| (turns.turn(unit), *bytes));
        let order = self.repeats.clone().map(|repeats| Order { repeats, unit, batches });
        self.units += 1;
        let pending = self.pool.compress(Unit::new(input, self.outputs.take()), self.codec, order);
        let records = std::mem::take(&mut self.records);
        self.pass(Passed::Batch { records, pending })
    }

    fn pass(&self, passed: Passed<R>) -> Result<(), DriverError> {
        self.batches.send(passed).map_err(|_| gone())
    }
}

/// The back takes no more, and knows why.
fn gone() -> DriverError {
    DriverError::Output(std::io::ErrorKind::BrokenPipe.into())
}
