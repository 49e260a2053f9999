//! Mounting a blob from another repository of the same registry. Spec: OCI distribution, "Mounting a blob".

use accel_domain::ErrorClass;
use accel_image::Digest;
use reqwest::Method;

use crate::error::{Object, RegistryError};
use crate::registries::Repository;
use crate::token::{Access, Scope};
use crate::uploads::Session;

impl Repository {
    /// Takes a blob over from `from`; whether the registry did. A registry that cannot, or lets us not, says no
    /// without an error: the blob is uploaded then, and a true lack of rights shows there.
    ///
    /// # Errors
    /// Transient ones only.
    pub async fn mount(&self, digest: Digest, from: &str) -> Result<bool, RegistryError> {
        let mut request = self.request(Method::POST, Object::Mount(digest), "blobs/uploads/", &[201, 202]);
        request.url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        request.scopes.push(Scope::new(from, Access::Pull));
        request.body = Some(bytes::Bytes::new());
        match self.host.send_patiently(&request).await {
            Ok(answer) if answer.status() == 201 => Ok(true),
            Ok(answer) => {
                // It opened an upload instead.
                if let Ok(session) = Session::from_answer(self, &answer) {
                    session.cancel().await;
                }
                Ok(false)
            }
            Err(error @ RegistryError::Refused(_)) if error.class() == ErrorClass::Permanent => {
                tracing::debug!(%error, "not mounted");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
