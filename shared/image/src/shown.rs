//! Text from outside, as messages may repeat it: bounded, and with nothing in it that commands a terminal or ends a line.

/// At most `most` characters of `text`, the odd ones escaped.
pub(crate) fn shown(text: &str, most: usize) -> String {
    text.chars().take(most).collect::<String>().escape_debug().to_string()
}
