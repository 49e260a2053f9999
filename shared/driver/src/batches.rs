//! Batches: small chunks that are compressed together, as one member.
//!
//! Which chunks a batch holds depends on which of them are repeats, so all of that is decided before anything is
//! compressed: units hash their chunks side by side, decide one after the other, in the order of the layer, and compress
//! side by side again. A batch ends where its unit ends.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::DriverError;
use crate::unit::{Chunk, Member};

/// The turns of the units of one layer. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The unit whose turn it is.
    next: u32,
    /// A unit was given up before its turn came.
    is_over: bool,
}

/// The turn of one unit. Threads take units in the order in which they were handed over, so all that come before are with
/// threads, too, and the first of them waits for nobody: no deadlock.
pub(crate) struct Turn {
    turns: Turns,
    unit: u32,
    is_taken: bool,
}

impl Turns {
    pub(crate) fn turn(&self, unit: u32) -> Turn {
        Turn { turns: self.clone(), unit, is_taken: false }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Waits until all units before have had their turn, and then does `work`.
    pub(crate) fn take<T>(&mut self, work: impl FnOnce() -> T) -> Result<T, DriverError> {
        let not_yet = |state: &mut State| state.next != self.unit && !state.is_over;
        let state = self.turns.0.changed.wait_while(self.turns.lock(), not_yet).unwrap_or_else(PoisonError::into_inner);
        if state.is_over {
            return Err(DriverError::Codec); // the unit that was given up says why
        }
        drop(state);
        let done = work();
        self.is_taken = true;
        self.turns.lock().next = self.unit + 1;
        self.turns.0.changed.notify_all();
        Ok(done)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_taken {
            self.turns.lock().is_over = true;
            self.turns.0.changed.notify_all();
        }
    }
}

/// Makes members of the chunks of a unit that are not `repeats`: batches of fewer than `most` bytes of those that go into
/// batches and follow each other, and one for each other chunk. What is left is moved together at the beginning of
/// `buffer`. Returns the members and how many bytes they have.
pub(crate) fn arrange(buffer: &mut [u8], chunks: &mut [Chunk], repeats: &[bool], most: usize) -> (Vec<Member>, usize) {
    let mut members: Vec<Member> = Vec::new();
    let (mut end, mut is_batch) = (0, false);
    for (chunk, _) in chunks.iter_mut().zip(repeats).filter(|(_, is_repeat)| !**is_repeat) {
        let fits = |member: &Member| end - member.input + chunk.len < most;
        if !(is_batch && chunk.is_batched && members.last().is_some_and(fits)) {
            members.push(Member { input: end, output: 0 });
        }
        is_batch = chunk.is_batched;
        buffer.copy_within(chunk.input..chunk.input + chunk.len, end);
        (chunk.input, chunk.member) = (end, members.len() - 1);
        end += chunk.len;
    }
    (members, end)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use accel_image::Digest;

    use super::*;

    /// Chunks by their content; in capitals what does not go into a batch. Members that come out, by their content.
    fn arranged(chunks: &[&str], repeats: &[usize], most: usize) -> Vec<String> {
        let mut buffer = chunks.concat().into_bytes();
        let mut input = 0;
        let mut parts: Vec<Chunk> = Vec::new();
        for chunk in chunks {
            let is_batched = chunk.chars().all(char::is_lowercase);
            let digest = Digest::of(chunk.as_bytes());
            parts.push(Chunk { member: parts.len(), input, len: chunk.len(), digest, is_batched });
            input += chunk.len();
        }
        let is_repeat: Vec<bool> = (0..chunks.len()).map(|at| repeats.contains(&at)).collect();
        let (members, end) = arrange(&mut buffer, &mut parts, &is_repeat, most);
        for (part, chunk) in parts.iter().zip(chunks).enumerate().filter(|(at, _)| !is_repeat[*at]).map(|(_, row)| row)
        {
            assert_eq!(&buffer[part.input..part.input + part.len], chunk.as_bytes());
            assert!(members[part.member].input <= part.input);
        }
        let ends = members.iter().skip(1).map(|member| member.input).chain([end]);
        let ranges = members.iter().zip(ends).map(|(member, end)| &buffer[member.input..end]);
        ranges.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).collect()
    }

    /// Chunks, which of them are repeats, what a batch is smaller than, and the members.
    type Row<'r> = (&'r [&'r str], &'r [usize], usize, &'r [&'r str]);

    #[test]
    fn small_chunks_that_follow_each_other_share_a_member() {
        let rows: [Row<'_>; 8] = [
            (&["a", "b", "c"], &[], 10, &["abc"]),
            (&["aa", "bb", "cc"], &[], 5, &["aabb", "cc"]),
            (&["aa", "bb", "cc"], &[], 4, &["aa", "bb", "cc"]),
            (&["a", "B", "c", "d"], &[], 10, &["a", "B", "cd"]),
            (&["A", "B"], &[], 10, &["A", "B"]),
            (&["a", "bb", "c", "D", "e"], &[1, 3], 10, &["ace"]),
            (&["a", "b"], &[0, 1], 10, &[]),
            (&[], &[], 10, &[]),
        ];
        for (chunks, repeats, most, members) in rows {
            assert_eq!(arranged(chunks, repeats, most), members, "{chunks:?} without {repeats:?}");
        }
    }

    #[test]
    fn units_decide_in_their_order() {
        let (turns, done) = (Turns::default(), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for unit in [3, 1, 2, 0] {
                let (mut turn, done) = (turns.turn(unit), &done);
                scope.spawn(move || turn.take(|| done.lock().unwrap().push(unit)).unwrap());
            }
        });
        assert_eq!(*done.lock().unwrap(), [0, 1, 2, 3]);
    }

    #[test]
    fn who_waits_for_a_unit_that_was_given_up_fails() {
        let turns = Turns::default();
        let (first, mut second) = (turns.turn(0), turns.turn(1));
        let waiting = thread::spawn(move || second.take(|| ()));
        drop(first);
        assert!(matches!(waiting.join().unwrap(), Err(DriverError::Codec)));
    }
}
