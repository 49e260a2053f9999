//! Blob uploads: a session, PATCH after PATCH, and a PUT that names the digest. Spec: OCI distribution, "Pushing a blob
//! in chunks".
//!
//! A broken PATCH is taken up again at the offset that the server has; a closing PUT whose answer is lost is looked up.

use std::time::Duration;

use accel_domain::ErrorClass;
use accel_image::Digest;
use bytes::Bytes;
use oci_client::errors::OciErrorCode;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use reqwest::{Method, Url};

use crate::answer::Answer;
use crate::error::{Object, RegistryError};
use crate::registries::Repository;
use crate::token::Access;
use crate::transport::Request;

/// How long a registry may take to forget an upload that it does not close, before its reason is told.
const CANCEL_TIME: Duration = Duration::from_secs(4);

/// An open upload.
pub(crate) struct Session {
    repository: Repository,
    /// Where the next request goes: the server may change it with each answer.
    location: Url,
    /// How many bytes the server has.
    offset: u64,
}

impl Repository {
    pub(crate) async fn start_session(&self) -> Result<Session, RegistryError> {
        let mut request = self.request(Method::POST, Object::Upload, "blobs/uploads/", &[202]);
        request.body = Some(Bytes::new());
        let answer = self.host.send_patiently(&request).await?;
        Session::from_answer(self, &answer)
    }
}

impl Session {
    pub(crate) fn from_answer(repository: &Repository, answer: &Answer) -> Result<Self, RegistryError> {
        let text = answer.header(LOCATION).ok_or_else(|| answer.protocol("an upload without a Location"))?;
        let location = repository.host.policy.upload_location(answer.url(), text);
        let location = location.map_err(|denied| answer.action.denied(denied))?;
        Ok(Self { repository: repository.clone(), location, offset: 0 })
    }

    /// Sends the next bytes in one PATCH, or in more where the connection breaks.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), RegistryError> {
        let (start, end) = (self.offset, self.offset + bytes.len() as u64);
        let mut backoff = self.repository.host.backoff();
        while self.offset < end {
            let rest = usize::try_from(self.offset - start).expect("it is less than the length of `bytes`");
            let Err(error) = self.patch(bytes.slice(rest..), end).await else { continue };
            if status(&error) == Some(416) {
                backoff.pause(self.lost("the registry does not take what follows")).await?;
            } else {
                backoff.wait(self.lost_if_gone(error)).await?;
            }
            self.offset = self.ask_offset(start, end).await?;
        }
        Ok(())
    }

    async fn patch(&mut self, body: Bytes, end: u64) -> Result<(), RegistryError> {
        let range = format!("{}-{}", self.offset, end - 1);
        let mut request = self.request(Method::PATCH, &[202, 201, 204]).with(CONTENT_RANGE, &range);
        request = request.with(CONTENT_TYPE, "application/octet-stream");
        request.body = Some(body);
        let answer = self.repository.host.send(&request).await?;
        self.follow(&answer)?;
        match answer.header(RANGE).map(parse_range_end) {
            None => self.offset = end,
            Some(Some(offset)) if self.offset < offset && offset <= end => self.offset = offset,
            Some(_) => return Err(self.lost("the registry counts other bytes than were sent")),
        }
        Ok(())
    }

    /// How many bytes the server has, after an answer was lost: between `start` and `end`, or the upload is lost.
    async fn ask_offset(&mut self, start: u64, end: u64) -> Result<u64, RegistryError> {
        let request = self.request(Method::GET, &[204, 200, 202]);
        let answer = self.repository.host.send_patiently(&request).await.map_err(|error| self.lost_if_gone(error))?;
        self.follow(&answer)?;
        match answer.header(RANGE).and_then(parse_range_end) {
            // Servers write `0-0` for no byte as well as for one.
            Some(1) if start == 0 => Ok(0),
            Some(offset) if (start..=end).contains(&offset) => Ok(offset),
            None if start == 0 => Ok(0),
            _ => Err(self.lost("the registry has other bytes than were sent")),
        }
    }

    /// Closes the upload. One that the registry refuses to close for good is cancelled; where it may still be at work, it is left.
    pub(crate) async fn finish(self, digest: Digest) -> Result<(), RegistryError> {
        let mut request = self.request(Method::PUT, &[201, 204]);
        request.action.object = Object::UploadOf(digest);
        request.url.query_pairs_mut().append_pair("digest", &digest.to_string());
        request.body = Some(Bytes::new());
        let mut backoff = self.repository.host.backoff();
        loop {
            let Err(error) = self.repository.host.send(&request).await else { return Ok(()) };
            let error = self.lost_if_gone(error);
            let in_doubt = matches!(
                error,
                RegistryError::Network { .. } | RegistryError::TimedOut { .. } | RegistryError::UploadLost { .. }
            );
            if in_doubt && self.has_all_of(digest).await {
                return Ok(());
            }
            if let Err(error) = backoff.wait(error).await {
                if error.class() == ErrorClass::Permanent {
                    drop(tokio::time::timeout(CANCEL_TIME, self.cancel()).await);
                }
                return Err(error);
            }
        }
    }

    async fn has_all_of(&self, digest: Digest) -> bool {
        self.repository.has_blob(digest).await.is_ok_and(|size| size == Some(self.offset))
    }

    /// Gives the upload up. Nobody waits for its outcome: a registry drops abandoned uploads by itself.
    pub(crate) async fn cancel(self) {
        let request = self.request(Method::DELETE, &[204, 200, 202, 404]);
        if let Err(error) = self.repository.host.send(&request).await {
            tracing::debug!(%error, "an upload was not cancelled");
        }
    }

    fn request(&self, method: Method, expected: &'static [u16]) -> Request {
        let mut request = self.repository.request(method, Object::Upload, "", expected);
        request.url = self.location.clone();
        request.scopes = vec![self.repository.scope(Access::Push)];
        request
    }

    /// Takes over the location of an answer, if it names one.
    fn follow(&mut self, answer: &Answer) -> Result<(), RegistryError> {
        if answer.header(LOCATION).is_some() {
            self.location = Self::from_answer(&self.repository, answer)?.location;
        }
        Ok(())
    }

    fn lost(&self, reason: &str) -> RegistryError {
        let action = Box::new(self.repository.action("PATCH", Object::Upload));
        RegistryError::UploadLost { action, reason: reason.to_owned() }
    }

    /// A session that is gone, or bytes that arrived wrongly: only sending them again helps.
    fn lost_if_gone(&self, error: RegistryError) -> RegistryError {
        let Some(refused) = error.refused() else { return error };
        let gone = matches!(
            refused.code,
            Some(OciErrorCode::BlobUploadUnknown | OciErrorCode::BlobUploadInvalid | OciErrorCode::DigestInvalid)
        );
        if refused.status == 404 || gone { self.lost(&format!("status {}", refused.status)) } else { error }
    }
}

fn status(error: &RegistryError) -> Option<u16> {
    error.refused().map(|refused| refused.status)
}

/// The offset after the last byte of `0-last`, with or without `bytes=`.
fn parse_range_end(text: &str) -> Option<u64> {
    let range = text.trim().strip_prefix("bytes=").unwrap_or(text.trim());
    let last: u64 = range.strip_prefix("0-")?.parse().ok()?;
    last.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_how_much_the_server_has() {
        let rows = [
            ("0-0", Some(1)),
            ("0-4194303", Some(4_194_304)),
            ("bytes=0-9", Some(10)),
            ("5-9", None),
            ("0-", None),
            ("", None),
            ("0-18446744073709551615", None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse_range_end(text), expected, "{text}");
        }
    }
}
