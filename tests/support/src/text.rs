//! Bytes that compress about as well as source code does, the same for the same seed: for what is timed.

/// Words that text is made of.
const WORDS: [&str; 16] = [
    "let", "mut", "self", "return", "layer", "digest", "if", "else", "while", "chunk", "offset", "bytes", "fn",
    "match", "Result", "struct",
];

/// Some text of `len` bytes: words, and names and numbers that do not come again.
#[must_use]
pub fn text(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut out = Vec::with_capacity(len + 32);
    while out.len() < len {
        // Knuth's MMIX generator; its upper bits are good enough for words.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = state >> 33;
        match random % 8 {
            0 => out.extend_from_slice(format!("x{random:x} = ").as_bytes()),
            1 => out.extend_from_slice(b";\n    "),
            _ => {
                out.extend_from_slice(WORDS[(random >> 3) as usize % WORDS.len()].as_bytes());
                out.push(b' ');
            }
        }
    }
    out.truncate(len);
    out
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn is_the_same_for_a_seed_and_another_for_another() {
        assert_eq!(text(1, 5000), text(1, 5000));
        assert_ne!(text(1, 5000), text(2, 5000));
        assert_eq!(text(3, 777).len(), 777);
    }
}
