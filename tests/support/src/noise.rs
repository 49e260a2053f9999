//! Bytes that no compression makes smaller, the same for the same seed.

/// So many of them.
#[must_use]
pub fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut noise = vec![0; bytes];
    for eight in noise.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        eight.copy_from_slice(&state.to_le_bytes()[..eight.len()]);
    }
    noise
}

#[cfg(test)]
mod tests {
    use super::noise;

    #[test]
    fn is_the_same_for_a_seed_and_another_for_another_and_does_not_compress() {
        assert_eq!(noise(5001, 1), noise(5001, 1));
        assert_ne!(noise(5001, 1), noise(5001, 2));
        assert_eq!(noise(5001, 1).len(), 5001);
        assert!(crate::compress::gzip(&noise(5001, 3)).len() > 5000);
    }
}
