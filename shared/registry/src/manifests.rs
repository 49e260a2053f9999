//! Manifests: HEAD, GET, PUT, DELETE. Spec: OCI distribution, "Pulling manifests", "Pushing manifests".

use accel_image::{Descriptor, Digest, MAX_DOCUMENT_BYTES, RawDocument, media_type};
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE};

use crate::answer::Answer;
use crate::error::{Object, RegistryError};
use crate::refusal::bounded;
use crate::registries::Repository;
use crate::transport::Request;

const CONTENT_DIGEST: &str = "docker-content-digest";
const OCI_SUBJECT: &str = "oci-subject";

/// What a registry said to a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutReceipt {
    /// The manifest's digest.
    pub digest: Digest,
    /// Whether the registry keeps the `subject` itself. If not, the fallback tag has to be maintained.
    pub subject_acknowledged: bool,
}

impl Repository {
    /// What stands under `key`, a tag or a digest; `None` if nothing does. Does not count as a pull.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn head_manifest(&self, key: &str) -> Result<Option<Descriptor>, RegistryError> {
        let request =
            self.manifest_request(Method::HEAD, key, &[200, 404, 405]).with(ACCEPT, media_type::ACCEPT_MANIFESTS);
        let answer = self.host.send_patiently(&request).await?;
        if answer.status() == 404 {
            return Ok(None);
        }
        match described(&answer) {
            Some(descriptor) if answer.status() == 200 => Ok(Some(descriptor)),
            _ => self.describe_by_reading(key).await,
        }
    }

    /// For registries whose HEAD says too little.
    async fn describe_by_reading(&self, key: &str) -> Result<Option<Descriptor>, RegistryError> {
        match self.get_manifest(key).await {
            Ok(document) => Ok(Some(document.descriptor())),
            Err(RegistryError::ManifestNotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The manifest or index under `key`, a tag or a digest. At most 4 MiB are read; the digest is verified.
    ///
    /// # Errors
    /// [`RegistryError::ManifestNotFound`], [`RegistryError::Document`], [`RegistryError::Mismatch`] and others.
    pub async fn get_manifest(&self, key: &str) -> Result<RawDocument, RegistryError> {
        let request = self.manifest_request(Method::GET, key, &[200]).with(ACCEPT, media_type::ACCEPT_MANIFESTS);
        let mut backoff = self.host.backoff();
        loop {
            match self.read_manifest(&request, key).await {
                Ok(document) => return Ok(document),
                Err(error @ RegistryError::Mismatch { again: false, .. }) => backoff.pause(error).await?,
                Err(error) => backoff.wait(error).await?,
            }
        }
    }

    async fn read_manifest(&self, request: &Request, key: &str) -> Result<RawDocument, RegistryError> {
        let mut answer = self.host.send(request).await?;
        let bytes = answer.body(MAX_DOCUMENT_BYTES as u64).await?;
        let found = Digest::of(&bytes);
        let expected = key.parse().ok().or_else(|| answer.named_header(CONTENT_DIGEST)?.parse().ok());
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            let descriptor = Descriptor::new("", expected, answer.length().unwrap_or(bytes.len() as u64));
            return Err(self.mismatch(answer.action, &descriptor, format!("but the bytes have {found}")));
        }
        let content_type = answer.header(CONTENT_TYPE);
        RawDocument::parse(bytes, content_type).map_err(|source| RegistryError::Document {
            content_type: bounded(content_type.unwrap_or_default()),
            action: Box::new(answer.action.clone()),
            source,
        })
    }

    /// Puts a manifest or an index under `key`, a tag or its digest. Its blobs have to be there.
    ///
    /// # Errors
    /// [`RegistryError::ManifestBlobUnknown`] where a blob is missing, and others.
    pub async fn put_manifest(&self, key: &str, media_type: &str, bytes: Bytes) -> Result<PutReceipt, RegistryError> {
        let digest = Digest::of(&bytes);
        let mut request = self.manifest_request(Method::PUT, key, &[201, 200, 202]).with(CONTENT_TYPE, media_type);
        request.body = Some(bytes);
        let mut backoff = self.host.backoff();
        let (by_tag, mut in_doubt) = (key.parse::<Digest>().is_err(), false);
        let found = PutReceipt { digest, subject_acknowledged: false };
        loop {
            let error = match self.host.send(&request).await {
                Ok(answer) if says_kept(&answer) => return receipt(&answer, digest),
                Ok(answer) => {
                    answer.protocol("the answer does not say that the manifest was kept: is this a registry?")
                }
                Err(error) => error,
            };
            in_doubt |= matches!(
                error,
                RegistryError::Network { .. } | RegistryError::TimedOut { .. } | RegistryError::Protocol { .. }
            );
            // The manifest may have arrived though its answer did not; an immutable tag then refuses the second PUT.
            // By digest it is put again: only an answer tells whether the registry keeps the subject.
            if in_doubt && by_tag && self.has_manifest(key, digest).await {
                return Ok(found);
            }
            if let Err(error) = backoff.wait(error).await {
                return if in_doubt && self.has_manifest(key, digest).await { Ok(found) } else { Err(error) };
            }
        }
    }

    /// Whether `digest` stands under `key`. A failure to ask is a no: the error that led here is the one to tell.
    async fn has_manifest(&self, key: &str, digest: Digest) -> bool {
        self.head_manifest(key).await.is_ok_and(|found| found.is_some_and(|found| found.digest == digest))
    }

    /// Deletes a manifest with all its tags. One that is not there is deleted already.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn delete_manifest(&self, digest: Digest) -> Result<(), RegistryError> {
        let request = self.manifest_request(Method::DELETE, &digest.to_string(), &[202, 200, 204, 404]);
        self.host.send_patiently(&request).await.map(|_| ())
    }

    fn manifest_request(&self, method: Method, key: &str, expected: &'static [u16]) -> Request {
        self.request(method, Object::Manifest(key.to_owned()), &format!("manifests/{key}"), expected)
    }
}

/// What a HEAD says, if it says all of it.
fn described(answer: &Answer) -> Option<Descriptor> {
    let digest = answer.named_header(CONTENT_DIGEST)?.parse().ok()?;
    let media_type = answer.header(CONTENT_TYPE)?.split(';').next()?.trim();
    Some(Descriptor::new(media_type, digest, answer.length()?))
}

/// Whether it is a registry's answer to a manifest that it has kept: a page of a proxy has status 200, too.
fn says_kept(answer: &Answer) -> bool {
    answer.status() == 201 || answer.named_header(CONTENT_DIGEST).is_some()
}

fn receipt(answer: &Answer, digest: Digest) -> Result<PutReceipt, RegistryError> {
    let told = answer.named_header(CONTENT_DIGEST).and_then(|text| text.parse::<Digest>().ok());
    if let Some(told) = told.filter(|told| *told != digest) {
        return Err(answer.protocol(format!("the registry kept {told} instead of {digest}")));
    }
    Ok(PutReceipt { digest, subject_acknowledged: answer.named_header(OCI_SUBJECT).is_some() })
}
