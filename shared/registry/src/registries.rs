//! The configured registries, and one repository of one of them.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use accel_image::{Descriptor, Digest, Reference};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Url};

use crate::auth::Auth;
use crate::error::{Action, Object, RegistryError};
use crate::token::{Access, Scope};
use crate::transport::{Host, Request};
use crate::{Credentials, HostSettings, policy};

/// All registries that may be spoken to. Cheap to clone; connections and tokens are shared by all clones.
#[derive(Clone)]
pub struct Registries {
    hosts: Arc<HashMap<String, Arc<Host>>>,
}

impl Registries {
    /// Clients for these hosts and no others.
    ///
    /// # Errors
    /// [`RegistryError::Settings`]: a host's settings cannot be used, or two hosts claim one name.
    pub fn new(hosts: Vec<HostSettings>, credentials: Arc<dyn Credentials>) -> Result<Self, RegistryError> {
        let mut known = HashMap::new();
        for settings in &hosts {
            let host = Arc::new(Host::new(settings, Auth::new(credentials.clone()))?);
            for name in policy::aliases(settings).chain([settings.host.as_str()]) {
                if known.insert(name.to_owned(), host.clone()).is_some() {
                    let reason = format!("the name `{name}` is given to two registries");
                    return Err(RegistryError::Settings { host: settings.host.clone(), reason });
                }
            }
        }
        Ok(Self { hosts: Arc::new(known) })
    }

    /// The repository that a reference names. Nothing is sent.
    ///
    /// # Errors
    /// [`RegistryError::UnknownHost`].
    pub fn repository(&self, reference: &Reference) -> Result<Repository, RegistryError> {
        let unknown = || RegistryError::UnknownHost { host: reference.host().to_owned() };
        let host = self.hosts.get(reference.host()).ok_or_else(unknown)?.clone();
        Ok(Repository { host, name: reference.repository().into() })
    }

    /// The configured name of the host that is known as `name`, an alias perhaps.
    #[must_use]
    pub fn host_name(&self, name: &str) -> Option<&str> {
        self.hosts.get(name).map(|host| host.name.as_str())
    }
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.hosts.keys()).finish()
    }
}

/// One repository of one registry. Cheap to clone.
#[derive(Clone)]
pub struct Repository {
    pub(crate) host: Arc<Host>,
    name: Arc<str>,
}

impl Repository {
    /// Its name, without the host.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.name
    }

    /// Its registry, as the settings name it.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host.name
    }

    /// `host/repository`, for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{}/{}", self.host.name, self.name)
    }

    /// Whether blobs can be mounted from one to the other.
    #[must_use]
    pub fn same_registry(&self, other: &Self) -> bool {
        self.host.name == other.host.name
    }

    pub(crate) fn action(&self, method: &'static str, object: Object) -> Action {
        Action { method, host: self.host.name.clone(), repository: self.name.to_string(), object }
    }

    pub(crate) fn scope(&self, access: Access) -> Scope {
        Scope::new(&self.name, access)
    }

    /// `/v2/<name>/<rest>`. `rest` is made of digests, tags and fixed words only.
    pub(crate) fn url(&self, rest: &str) -> Url {
        let mut url = self.host.policy.base().clone();
        url.set_path(&format!("v2/{}/{rest}", self.name));
        url
    }

    /// A request without body and headers, for `object` at `rest`.
    pub(crate) fn request(&self, method: Method, object: Object, rest: &str, expected: &'static [u16]) -> Request {
        let access = match method {
            Method::GET | Method::HEAD => Access::Pull,
            Method::DELETE => Access::Delete,
            _ => Access::Push,
        };
        Request {
            action: self.action(method_name(&method), object),
            url: self.url(rest),
            method,
            headers: Vec::new(),
            body: None,
            scopes: vec![self.scope(access)],
            expected,
        }
    }

    /// An error for bytes that are not what `descriptor` says. The second time it is Permanent.
    pub(crate) fn mismatch(&self, action: Action, descriptor: &Descriptor, found: String) -> RegistryError {
        let again = !self.host.mismatches.first(descriptor.digest);
        let (expected, size) = (descriptor.digest, descriptor.size);
        RegistryError::Mismatch { action: Box::new(action), expected, size, found, again }
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Repository").field(&self.describe()).finish()
    }
}

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        _ => "DELETE",
    }
}

impl Request {
    /// The same with a header.
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("headers are media types and numbers of ours");
        self.headers.push((name, value));
        self
    }
}

/// The digests that a host has served wrongly. Forgotten when there are too many: the cost is one more try.
#[derive(Default)]
pub(crate) struct Mismatches(Mutex<HashSet<Digest>>);

impl Mismatches {
    /// Notes a wrong read; whether it is the first of this digest.
    fn first(&self, digest: Digest) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= 4096 {
            seen.clear();
        }
        seen.insert(digest)
    }
}
