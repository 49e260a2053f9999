//! Blobs as a whole or in part, and whether they are there. Spec: OCI distribution, "Pulling blobs".

use accel_image::{Descriptor, Digest};
use bytes::{Bytes, BytesMut};
use reqwest::Method;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, RANGE};

use crate::answer::Answer;
use crate::error::{NetworkError, Object, RegistryError};
use crate::registries::Repository;
use crate::transport::Request;
use crate::verify::Verifier;

impl Repository {
    /// The size in bytes of a blob; `None` if it is not there.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn has_blob(&self, digest: Digest) -> Result<Option<u64>, RegistryError> {
        let head = self.blob_request(Method::HEAD, digest, &[200, 404, 405, 501, 301, 302, 303, 307, 308]);
        let answer = self.host.send_patiently(&head).await?;
        match (answer.status(), answer.length()) {
            (404, _) => Ok(None),
            (200, Some(size)) => Ok(Some(size)),
            _ => self.size_by_reading(digest).await,
        }
    }

    /// For registries without HEAD, and for those that answer it with a redirect.
    async fn size_by_reading(&self, digest: Digest) -> Result<Option<u64>, RegistryError> {
        let request = self.blob_request(Method::GET, digest, FOLLOWED).with(RANGE, "bytes=0-0");
        let answer = self.get_patiently(&request).await?;
        match answer.status() {
            404 => Ok(None),
            416 => Ok(Some(0)),
            206 => content_range(&answer).map(|range| Some(range.total)),
            200 => answer.length().map(Some).ok_or_else(|| answer.protocol("a blob without a Content-Length")),
            _ => Err(answer.into_error().await),
        }
    }

    /// A whole blob of at most `limit` bytes, verified.
    ///
    /// # Errors
    /// [`RegistryError::TooLarge`] by its descriptor, [`RegistryError::BlobNotFound`], [`RegistryError::Mismatch`].
    pub async fn get_small_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Bytes, RegistryError> {
        if descriptor.size > limit {
            let action = self.action("GET", Object::Blob(descriptor.digest));
            return Err(RegistryError::TooLarge { action: Box::new(action), limit });
        }
        let mut backoff = self.host.backoff();
        loop {
            match self.read_small_blob(descriptor).await {
                Ok(bytes) => return Ok(bytes),
                Err(error @ RegistryError::Mismatch { again: false, .. }) => backoff.pause(error).await?,
                Err(error) => backoff.wait(error).await?,
            }
        }
    }

    async fn read_small_blob(&self, descriptor: &Descriptor) -> Result<Bytes, RegistryError> {
        let request = self.blob_request(Method::GET, descriptor.digest, FOLLOWED);
        let mut answer = self.host.send_following(&request).await?.expect(&[200]).await?;
        let mut verifier = Verifier::new(descriptor, 0);
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await? {
            if let Err(found) = verifier.take(&chunk) {
                return Err(self.mismatch(answer.action, descriptor, found));
            }
            body.extend_from_slice(&chunk);
        }
        if !verifier.is_complete() {
            return Err(short(&answer, verifier.position(), descriptor.size));
        }
        verifier.finish().map_err(|found| self.mismatch(answer.action, descriptor, found))?;
        Ok(body.freeze())
    }

    /// `length` bytes of a blob from `offset` on. A part has no digest: the caller checks what it reads.
    ///
    /// # Errors
    /// [`RegistryError::OutOfRange`], [`RegistryError::BlobNotFound`] and others.
    pub async fn read_range(&self, descriptor: &Descriptor, offset: u64, length: u64) -> Result<Bytes, RegistryError> {
        let (end, size) = (offset.saturating_add(length), descriptor.size);
        if end > size {
            let action = Box::new(self.action("GET", Object::Blob(descriptor.digest)));
            return Err(RegistryError::OutOfRange { action, offset, end, size });
        }
        if length == 0 {
            return Ok(Bytes::new());
        }
        let mut backoff = self.host.backoff();
        loop {
            match self.read_range_once(descriptor, offset, end).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => backoff.wait(error).await?,
            }
        }
    }

    async fn read_range_once(&self, descriptor: &Descriptor, offset: u64, end: u64) -> Result<Bytes, RegistryError> {
        let (mut answer, mut skip) = self.open_range(descriptor, offset, Some(end)).await?;
        let mut body = BytesMut::new();
        while (body.len() as u64) < end - offset {
            let Some(mut chunk) = answer.chunk().await? else {
                return Err(short(&answer, body.len() as u64, end - offset));
            };
            skip_front(&mut chunk, &mut skip);
            let wanted = end - offset - body.len() as u64;
            chunk.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// Asks for a blob from `offset` on; the answer, and how many bytes of it have to be skipped because the server
    /// knows no ranges.
    pub(crate) async fn open_range(
        &self,
        descriptor: &Descriptor,
        offset: u64,
        end: Option<u64>,
    ) -> Result<(Answer, u64), RegistryError> {
        let mut request = self.blob_request(Method::GET, descriptor.digest, FOLLOWED);
        if offset > 0 || end.is_some() {
            let last = end.map(|end| (end - 1).to_string()).unwrap_or_default();
            request = request.with(RANGE, &format!("bytes={offset}-{last}"));
        }
        let answer = self.host.send_following(&request).await?.expect(&[200, 206]).await?;
        if answer.status() == 200 {
            return match answer.length() {
                Some(length) if length != descriptor.size => {
                    Err(self.mismatch(answer.action, descriptor, format!("but the blob has {length} bytes")))
                }
                _ => Ok((answer, offset)),
            };
        }
        let range = content_range(&answer)?;
        if range.first != offset || range.total != descriptor.size {
            return Err(answer.protocol(format!(
                "byte {} of {} came where byte {offset} of {} was asked for",
                range.first, range.total, descriptor.size
            )));
        }
        Ok((answer, 0))
    }

    /// Sends a blob GET until there is an answer, redirects followed.
    async fn get_patiently(&self, request: &Request) -> Result<Answer, RegistryError> {
        let mut backoff = self.host.backoff();
        loop {
            match self.host.send_following(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => backoff.wait(error).await?,
            }
        }
    }

    fn blob_request(&self, method: Method, digest: Digest, expected: &'static [u16]) -> Request {
        let request = self.request(method, Object::Blob(digest), &format!("blobs/{digest}"), expected);
        request.with(ACCEPT_ENCODING, "identity")
    }
}

/// What a blob GET may be answered with before its meaning is looked at.
const FOLLOWED: &[u16] = &[200, 206, 301, 302, 303, 307, 308, 404, 416];

/// Takes bytes off the front of `chunk` until `skip` is used up.
pub(crate) fn skip_front(chunk: &mut Bytes, skip: &mut u64) {
    let cut = usize::try_from(*skip).unwrap_or(usize::MAX).min(chunk.len());
    *skip -= cut as u64;
    *chunk = chunk.split_off(cut);
}

pub(crate) fn short(answer: &Answer, found: u64, expected: u64) -> RegistryError {
    let source = NetworkError::Short(found, expected);
    RegistryError::Network { action: Box::new(answer.action.clone()), source }
}

#[derive(Debug, PartialEq, Eq)]
struct ContentRange {
    first: u64,
    total: u64,
}

fn content_range(answer: &Answer) -> Result<ContentRange, RegistryError> {
    let range = answer.header(CONTENT_RANGE).and_then(parse_content_range);
    range.ok_or_else(|| answer.protocol("a part without a Content-Range that can be read"))
}

/// Reads `bytes first-last/total`. Spec: RFC 9110, 14.4.
fn parse_content_range(text: &str) -> Option<ContentRange> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total) = (first.parse().ok()?, last.parse::<u64>().ok()?, total.parse().ok()?);
    (first <= last && last < total).then_some(ContentRange { first, total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_content_ranges() {
        let rows = [
            ("bytes 0-0/10", Some((0, 10))),
            ("bytes 5-9/10", Some((5, 10))),
            ("bytes 5-10/10", None),
            ("bytes 6-5/10", None),
            ("bytes 0-0/*", None),
            ("bytes */10", None),
            ("0-1/2", None),
            ("bytes -1-2/3", None),
        ];
        for (text, expected) in rows {
            let expected = expected.map(|(first, total)| ContentRange { first, total });
            assert_eq!(parse_content_range(text), expected, "{text}");
        }
    }
}
