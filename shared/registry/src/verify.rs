//! Bytes that pass by are counted and hashed; a clean end comes only after size and digest agree.

use accel_image::{Descriptor, Digest, Hasher};

/// Watches the bytes of one blob.
#[derive(Debug)]
pub(crate) struct Verifier {
    digest: Digest,
    size: u64,
    position: u64,
    /// None where reading began in the middle: a part has no digest.
    hasher: Option<Hasher>,
}

impl Verifier {
    /// Watches `descriptor`'s bytes from `start` on.
    pub(crate) fn new(descriptor: &Descriptor, start: u64) -> Self {
        let hasher = (start == 0).then(Hasher::default);
        Self { digest: descriptor.digest, size: descriptor.size, position: start, hasher }
    }

    /// The offset of the next byte.
    pub(crate) const fn position(&self) -> u64 {
        self.position
    }

    /// Whether all bytes have passed.
    pub(crate) const fn is_complete(&self) -> bool {
        self.position == self.size
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// In words, if there are more than the descriptor says.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() as u64 > self.size - self.position {
            return Err("but there are more bytes".to_owned());
        }
        self.position += bytes.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        Ok(())
    }

    /// Checks the digest, after the last byte.
    ///
    /// # Errors
    /// In words, if it is another one.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        let found = self.hasher.take().map(Hasher::finish);
        match found.filter(|found| *found != self.digest) {
            Some(found) => Err(format!("but the bytes have {found}")),
            None => Ok(()),
        }
    }
}
