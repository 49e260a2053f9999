//! The time of an invocation, and its end: work is stopped while there is still time to cancel uploads and to record how
//! far it has come.

use std::pin::pin;
use std::time::Duration;

use accel_pipeline::{Stop, StopReason};
use tracing::info;

/// What the orderly end of an invocation may take.
const LONGEST_END: Duration = Duration::from_secs(10);

/// How long to work if so much time is left: what the end takes is kept back, a quarter of it at most.
pub(super) fn to_work(left: Duration) -> Duration {
    left - LONGEST_END.min(left / 4)
}

/// `work`, which `stop` tells to stop in time if `left` is left now, and which has to end soon then.
pub(super) async fn stopped_in_time<T>(left: Duration, stop: &Stop, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        done = &mut work => done,
        () = tokio::time::sleep(to_work(left)) => {
            info!("the invocation's time is nearly over: what runs goes on in another one");
            stop.stop(StopReason::Deadline);
            work.await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_takes_ten_seconds_or_a_quarter() {
        let rows = [(900_000, 890_000), (40_000, 30_000), (20_000, 15_000), (4, 3), (0, 0)];
        for (left, expected) in rows {
            assert_eq!(to_work(Duration::from_millis(left)), Duration::from_millis(expected), "{left}");
        }
    }

    #[tokio::test]
    async fn work_is_told_to_stop_in_time_and_ends_itself() {
        let stop = Stop::new();
        let work = async { stop.signal().stopped().await };
        assert_eq!(stopped_in_time(Duration::from_millis(4), &stop, work).await, StopReason::Deadline);
        let stop = Stop::new();
        let quick = async { stop.signal().reason() };
        assert_eq!(stopped_in_time(Duration::from_secs(900), &stop, quick).await, None);
    }
}
