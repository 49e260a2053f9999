//! The processor time of this process.

use anyhow::Context as _;

/// Ticks of `/proc`'s clock a second: the same on every Linux.
const TICKS: f64 = 100.0;

/// Seconds of processor time so far, of all threads, in user mode and in the kernel.
pub(crate) fn seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    // The second field is the program's name in brackets, which may hold anything.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: Result<Vec<f64>, _> = fields.skip(11).take(2).map(str::parse).collect();
    Ok(ticks.context("/proc/self/stat has no times")?.iter().sum::<f64>() / TICKS)
}

#[cfg(test)]
mod tests {
    #[test]
    fn time_only_grows() {
        let before = super::seconds().unwrap();
        let sum = (0..50_000_000_u64).fold(0, |sum, n| std::hint::black_box(sum ^ n));
        assert!(super::seconds().unwrap() > before, "{sum}");
    }
}
