//! The units of a pool, and which layers hold them. One unit is left for each open layer that holds none, so that a
//! layer whose upload stands still does not keep the others from going on.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::unit::{Buffers, Unit};

/// All units of a pool.
pub(crate) struct Units {
    most: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    free: Vec<Buffers>,
    made: usize,
    /// How many units each open layer holds.
    held: HashMap<u64, usize>,
    next: u64,
}

/// An open layer's claim on the units; closed when it is dropped.
pub(crate) struct Share {
    units: Arc<Units>,
    id: u64,
}

impl Units {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, state: Mutex::default(), changed: Condvar::new() })
    }

    /// How many units there are at most.
    pub(crate) const fn most(&self) -> usize {
        self.most
    }

    /// A layer is open.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        state.held.insert(id, 0);
        Share { units: Arc::clone(self), id }
    }

    /// Takes a unit's buffers back from layer `id`, which may be closed by now.
    pub(crate) fn give_back(&self, mut buffers: Buffers, id: u64) {
        buffers.clear();
        let mut state = self.lock();
        state.free.push(buffers);
        if let Some(held) = state.held.get_mut(&id) {
            *held -= 1;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Whether all units are back within `time`: threads may still work on those of a layer that was given up.
    #[cfg(any(test, feature = "conformance"))]
    pub(crate) fn are_whole_within(&self, time: std::time::Duration) -> bool {
        let out = |state: &mut State| state.free.len() < state.made;
        let (state, _) =
            self.changed.wait_timeout_while(self.lock(), time, out).unwrap_or_else(PoisonError::into_inner);
        state.free.len() == state.made
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether layer `id` may take a unit of `most`.
    fn may_take(&self, id: u64, most: usize) -> bool {
        let available = self.free.len() + most - self.made;
        let first = self.held.get(&id) == Some(&0);
        let left_for_others = self.held.iter().filter(|(other, held)| **other != id && **held == 0).count();
        available > if first { 0 } else { left_for_others }
    }
}

impl Share {
    /// An empty unit, as soon as the layer may have one. It returns to the pool when it is dropped.
    pub(crate) fn take(&self) -> Unit {
        let wait = |state: &mut State| !state.may_take(self.id, self.units.most);
        let state = self.units.lock();
        let mut state = self.units.changed.wait_while(state, wait).unwrap_or_else(PoisonError::into_inner);
        let buffers = state.free.pop().unwrap_or_else(|| {
            state.made += 1;
            Buffers::new()
        });
        *state.held.entry(self.id).or_default() += 1;
        Unit::new(buffers, Arc::clone(&self.units), self.id)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.units.lock().held.remove(&self.id);
        self.units.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unit_is_left_for_each_layer_that_holds_none() {
        let units = Units::new(3);
        let (greedy, other) = (units.share(), units.share());
        let first = greedy.take();
        let second = greedy.take();
        assert!(!units.lock().may_take(greedy.id, 3), "the last unit is the other layer's");
        assert!(units.lock().may_take(other.id, 3));
        drop(other);
        assert!(units.lock().may_take(greedy.id, 3), "nobody else is open");
        drop((first, second));
        assert_eq!(units.lock().held[&greedy.id], 0);
    }

    #[test]
    fn a_layer_waits_until_a_unit_is_its_own() {
        let units = Units::new(1);
        let (one, other) = (units.share(), units.share());
        let held = one.take();
        let waiting = std::thread::spawn(move || drop(other.take()));
        assert!(!waiting.is_finished());
        drop(held);
        waiting.join().unwrap();
    }
}
