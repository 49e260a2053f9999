//! The time, as something that can be handed in.

use std::fmt;
use std::sync::Arc;

use accel_domain::Timestamp;

/// The time now, by the machine's clock.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Tells the time: the machine's clock in programs, a hand-set one in tests.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that tells what `now` says.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl Default for Clock {
    /// The machine's clock.
    fn default() -> Self {
        Self::new(now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// A clock that tests set by hand.
#[cfg(test)]
pub(crate) mod by_hand {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone)]
    pub(crate) struct HandClock(Arc<Mutex<Timestamp>>);

    impl HandClock {
        pub(crate) fn new() -> Self {
            Self(Arc::new(Mutex::new(Timestamp::UNIX_EPOCH)))
        }

        pub(crate) fn pass(&self, seconds: i64) {
            *self.0.lock().unwrap() += jiff::SignedDuration::from_secs(seconds);
        }

        pub(crate) fn clock(&self) -> Clock {
            let time = Arc::clone(&self.0);
            Clock::new(move || *time.lock().unwrap())
        }
    }
}
