//! Writing for people.

/// A size in the largest unit that leaves a digit before the point.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Milliseconds, as seconds where they are many.
pub(crate) fn time(ms: u128) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{:.2} s", ms as f64 / 1000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        let rows =
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (52 << 20, "52.0 MiB"), (u64::MAX, "16777216.0 TiB")];
        for (bytes, text) in rows {
            assert_eq!(size(bytes), text);
        }
        assert_eq!((time(12).as_str(), time(1234).as_str()), ("12 ms", "1.23 s"));
    }
}
