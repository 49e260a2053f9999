//! A stock of buffers that the open layers share. One is left for each open layer that holds none, so that a layer
//! whose upload stands still does not keep the others from going on. A layer that is alone may hold all of them: one
//! that is opened then waits for the first to come back.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What can be used again. Its default is what a holder leaves behind, and holds no memory.
pub(crate) trait Reuse: Default {
    /// A new one, with its memory.
    fn make() -> Self;

    /// Empties it, and keeps its memory.
    fn clear(&mut self);
}

/// All buffers of one kind.
pub(crate) struct Stock<T> {
    most: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    free: Vec<T>,
    made: usize,
    /// How many buffers each open layer holds.
    held: HashMap<u64, usize>,
    next: u64,
}

/// An open layer's claim on the stock; closed when it is dropped.
pub(crate) struct Share<T> {
    stock: Arc<Stock<T>>,
    id: u64,
}

/// A buffer that a layer holds. Returns to the stock when dropped.
pub(crate) struct Lent<T: Reuse> {
    buffer: T,
    home: Arc<Stock<T>>,
    holder: u64,
}

impl<T: Reuse> Stock<T> {
    /// A stock of at most `most` buffers, each made when it is needed first.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let state = State { free: Vec::new(), made: 0, held: HashMap::new(), next: 0 };
        Arc::new(Self { most, state: Mutex::new(state), changed: Condvar::new() })
    }

    /// How many buffers there are at most.
    pub(crate) const fn most(&self) -> usize {
        self.most
    }

    /// A layer is open.
    pub(crate) fn share(self: &Arc<Self>) -> Share<T> {
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        state.held.insert(id, 0);
        Share { stock: Arc::clone(self), id }
    }

    /// Takes a buffer back from layer `id`, which may be closed by now.
    fn give_back(&self, mut buffer: T, id: u64) {
        buffer.clear();
        let mut state = self.lock();
        state.free.push(buffer);
        if let Some(held) = state.held.get_mut(&id) {
            *held -= 1;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Frees the buffers that nobody holds; they are made again when they are needed.
    pub(crate) fn free_unused(&self) {
        let mut state = self.lock();
        state.made -= state.free.len();
        state.free = Vec::new();
    }

    /// Whether all buffers are back within `time`: threads may still work on those of a layer that was given up.
    #[cfg(any(test, feature = "conformance"))]
    pub(crate) fn is_whole_within(&self, time: std::time::Duration) -> bool {
        let out = |state: &mut State<T>| state.free.len() < state.made;
        let (state, _) =
            self.changed.wait_timeout_while(self.lock(), time, out).unwrap_or_else(PoisonError::into_inner);
        state.free.len() == state.made
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// Whether layer `id` may take a buffer of `most`.
    fn may_take(&self, id: u64, most: usize) -> bool {
        let available = self.free.len() + most - self.made;
        let first = self.held.get(&id) == Some(&0);
        let left_for_others = self.held.iter().filter(|(other, held)| **other != id && **held == 0).count();
        available > if first { 0 } else { left_for_others }
    }
}

impl<T: Reuse> Share<T> {
    /// An empty buffer, as soon as the layer may have one.
    pub(crate) fn take(&self) -> Lent<T> {
        let wait = |state: &mut State<T>| !state.may_take(self.id, self.stock.most);
        let state = self.stock.lock();
        let mut state = self.stock.changed.wait_while(state, wait).unwrap_or_else(PoisonError::into_inner);
        let buffer = state.free.pop().unwrap_or_else(|| {
            state.made += 1;
            T::make()
        });
        *state.held.entry(self.id).or_default() += 1;
        Lent { buffer, home: Arc::clone(&self.stock), holder: self.id }
    }
}

impl<T> Drop for Share<T> {
    fn drop(&mut self) {
        self.stock.state.lock().unwrap_or_else(PoisonError::into_inner).held.remove(&self.id);
        self.stock.changed.notify_all();
    }
}

impl<T: Reuse> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.buffer
    }
}

impl<T: Reuse> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.buffer
    }
}

impl<T: Reuse> Drop for Lent<T> {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.buffer), self.holder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Slate(bool);

    impl Reuse for Slate {
        fn make() -> Self {
            Self(true)
        }

        fn clear(&mut self) {}
    }

    #[test]
    fn one_buffer_is_left_for_each_layer_that_holds_none() {
        let stock = Stock::<Slate>::new(3);
        let (greedy, other) = (stock.share(), stock.share());
        let first = greedy.take();
        let second = greedy.take();
        assert!(first.0 && second.0);
        assert!(!stock.lock().may_take(greedy.id, 3), "the last buffer is the other layer's");
        assert!(stock.lock().may_take(other.id, 3));
        drop(other);
        assert!(stock.lock().may_take(greedy.id, 3), "nobody else is open");
        drop((first, second));
        assert_eq!(stock.lock().held[&greedy.id], 0);
    }

    #[test]
    fn what_was_freed_is_made_again() {
        let stock = Stock::<Slate>::new(2);
        let made_and_free = || {
            let state = stock.lock();
            (state.made, state.free.len())
        };
        let share = stock.share();
        let held = share.take();
        drop(share.take());
        stock.free_unused();
        assert_eq!(made_and_free(), (1, 0));
        assert!(share.take().0 && held.0);
        assert_eq!(made_and_free(), (2, 1));
    }

    #[test]
    fn a_layer_waits_until_a_buffer_is_its_own() {
        let stock = Stock::<Slate>::new(1);
        let (one, other) = (stock.share(), stock.share());
        let held = one.take();
        let waiting =
            std::thread::spawn(move || assert!(other.take().0, "what comes back is not what was left behind"));
        assert!(!waiting.is_finished());
        drop(held);
        waiting.join().unwrap();
    }
}
