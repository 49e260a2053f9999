//! Latencies, all of them: there are few enough to be kept and sorted.

use std::time::Duration;

#[derive(Debug, Default)]
pub(crate) struct Latencies {
    all: Vec<Duration>,
    /// Events that were not answered with 200.
    pub(crate) refused: usize,
    /// Events that were due before their connection was free.
    pub(crate) late: usize,
}

impl Latencies {
    pub(crate) fn push(&mut self, latency: Duration, accepted: bool) {
        self.all.push(latency);
        self.refused += usize::from(!accepted);
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.all.extend(other.all);
        self.refused += other.refused;
        self.late += other.late;
        self.all.sort_unstable();
    }

    pub(crate) const fn count(&self) -> usize {
        self.all.len()
    }

    /// The latency that `part` (0 to 1) of all events do not exceed.
    pub(crate) fn quantile(&self, part: f64) -> Duration {
        let rank = (part * self.all.len() as f64).ceil() as usize;
        self.all.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_latency_that_was_measured() {
        let mut sums = Latencies::default();
        for ms in (1..=100).rev() {
            let mut one = Latencies::default();
            one.push(Duration::from_millis(ms), ms % 2 == 0);
            sums.add(one);
        }
        for (part, ms) in [(0.0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)] {
            assert_eq!(sums.quantile(part), Duration::from_millis(ms), "{part}");
        }
        assert_eq!((sums.count(), sums.refused), (100, 50));
        assert_eq!(Latencies::default().quantile(0.5), Duration::ZERO);
    }
}
