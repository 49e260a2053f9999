//! What can be said of glob patterns (`*` any text, `?` one character) without a text to match.

/// Longer patterns are refused: comparing two takes time in the product of their lengths.
pub(super) const MAX_PATTERN_CHARS: usize = 256;

/// Whether some text matches both patterns.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    // reached[j]: the patterns from i and from j on can match the same text. Filled from their ends.
    let mut reached = vec![false; other.len() + 1];
    for i in (0..=one.len()).rev() {
        let below = reached.clone(); // the row of i + 1
        for j in (0..=other.len()).rev() {
            let right = j < other.len() && reached[j + 1];
            reached[j] = match (one.get(i), other.get(j)) {
                (None, None) => true,
                (Some('*'), None) => below[j],
                (None, Some('*')) => right,
                (Some('*'), Some(_)) => below[j] || right,
                (Some(_), Some('*')) => right || below[j],
                (Some(a), Some(b)) => (a == b || *a == '?' || *b == '?') && below[j + 1],
                (None, Some(_)) | (Some(_), None) => false,
            };
        }
    }
    reached[0]
}

/// Whether every text that matches `inner` surely matches `outer`.
pub(super) fn covers(outer: &str, inner: &str) -> bool {
    let (outer, inner): (Vec<char>, Vec<char>) = (outer.chars().collect(), inner.chars().collect());
    let mut reached = vec![false; inner.len() + 1];
    for i in (0..=outer.len()).rev() {
        let below = reached.clone();
        for j in (0..=inner.len()).rev() {
            reached[j] = match (outer.get(i), inner.get(j)) {
                (None, None) => true,
                (Some('*'), None) => below[j],
                (Some('*'), Some(_)) => below[j] || reached[j + 1],
                (Some('?'), Some(b)) => *b != '*' && below[j + 1],
                (Some(a), Some(b)) => a == b && below[j + 1],
                (None, Some(_)) | (Some(_), None) => false,
            };
        }
    }
    reached[0]
}

/// A text that matches `pattern`, made by writing `filling` for each star.
pub(super) fn witness(pattern: &str, filling: &str) -> String {
    pattern.replace('*', filling).replace('?', "a")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rule::glob;

    #[test]
    fn tells_whether_patterns_share_a_text() {
        let rows = [
            ("*", "*", true, true),
            ("library/*", "*/nginx", true, false),
            ("library/*", "other/*", false, false),
            ("v1.*", "v?.0", true, false),
            ("*", "*-orig", true, true),
            ("*-orig", "*", true, false),
            ("*-o*", "*-orig", true, true),
            ("?*", "*", true, false),
            ("a", "b", false, false),
            ("", "*", true, false),
            ("a?", "a", false, false),
        ];
        for (one, other, shared, covering) in rows {
            assert_eq!(overlap(one, other), shared, "{one} {other}");
            assert_eq!(overlap(other, one), shared, "{other} {one}");
            assert_eq!(covers(one, other), covering, "{one} covers {other}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_matching(one in "[ab*?]{0,5}", other in "[ab*?]{0,5}", text in "[ab]{0,6}") {
            if glob(&one, &text) && glob(&other, &text) {
                prop_assert!(overlap(&one, &other));
            }
            if covers(&one, &other) && glob(&other, &text) {
                prop_assert!(glob(&one, &text));
            }
            prop_assert!(glob(&one, &witness(&one, &text)));
        }
    }
}
