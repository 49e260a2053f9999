//! The embedded store passes the suite, and survives what one machine does to it.

use std::time::Duration;

use accel_domain::Timestamp;

use super::{Clock, Embedded};
use crate::conformance::Fixture;

/// A store in a directory of its own, on a clock that stands still.
struct Fresh {
    store: Embedded,
    clock: Clock,
    _directory: tempfile::TempDir,
}

async fn fresh() -> Fresh {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::manual(Timestamp::now());
    let store = Embedded::open_with(directory.path().join("accel.redb"), clock.clone()).unwrap();
    Fresh { store, clock, _directory: directory }
}

impl Fixture for Fresh {
    type Tasks = Embedded;
    type Queue = Embedded;
    type Layers = Embedded;

    fn tasks(&self) -> &Embedded {
        &self.store
    }

    fn queue(&self) -> &Embedded {
        &self.store
    }

    fn layers(&self) -> &Embedded {
        &self.store
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

crate::conformance!(fresh);
