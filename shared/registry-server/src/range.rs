//! The `Range` header of blob requests. Spec: RFC 9110, "Range Requests".

use std::ops::Range;

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Everything: no header, or one that this registry may ignore (other units, several ranges, nonsense).
    Whole,
    /// These bytes, which are there.
    Part(Range<usize>),
    /// Bytes that are not there.
    Unsatisfiable,
}

impl Wanted {
    pub(crate) fn parse(header: Option<&str>, size: usize) -> Self {
        let Some((first, last)) = header.and_then(|h| h.strip_prefix("bytes=")).and_then(|h| h.split_once('-')) else {
            return Self::Whole;
        };
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first > last => Self::Whole,
            (Some(first), Some(last)) => Self::part(first, last.saturating_add(1).min(size), size),
            (Some(first), None) if last.is_empty() => Self::part(first, size, size),
            (None, Some(count)) if first.is_empty() => Self::part(size.saturating_sub(count), size, size),
            _ => Self::Whole,
        }
    }

    fn part(first: usize, end: usize, size: usize) -> Self {
        if first < size { Self::Part(first..end) } else { Self::Unsatisfiable }
    }
}

/// Digits only: `+1` is a number for `FromStr` but not for HTTP.
fn number(text: &str) -> Option<usize> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_shape() {
        let rows = [
            (None, Wanted::Whole),
            (Some("bytes=0-0"), Wanted::Part(0..1)),
            (Some("bytes=2-5"), Wanted::Part(2..6)),
            (Some("bytes=2-"), Wanted::Part(2..10)),
            (Some("bytes=2-99"), Wanted::Part(2..10)),
            (Some("bytes=-3"), Wanted::Part(7..10)),
            (Some("bytes=-99"), Wanted::Part(0..10)),
            (Some("bytes=10-"), Wanted::Unsatisfiable),
            (Some("bytes=-0"), Wanted::Unsatisfiable),
            (Some("bytes=5-2"), Wanted::Whole),
            (Some("bytes=0-1,3-4"), Wanted::Whole),
            (Some("bytes=-"), Wanted::Whole),
            (Some("bytes=+1-2"), Wanted::Whole),
            (Some("lines=1-2"), Wanted::Whole),
        ];
        for (header, expected) in rows {
            assert_eq!(Wanted::parse(header, 10), expected, "{header:?}");
        }
        assert_eq!(Wanted::parse(Some("bytes=0-"), 0), Wanted::Unsatisfiable);
    }
}
