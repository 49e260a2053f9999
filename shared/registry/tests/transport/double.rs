//! A registry on loopback that keeps everything in memory, with a fault before it where a test wants one. Every request
//! is written down.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use accel_image::{Descriptor, Digest, Reference};
use accel_registry::{Credentials, End, HostSettings, NoCredentials, Registries, Retries};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use tokio::task::JoinHandle;

pub(crate) const REPOSITORY: &str = "team/app";

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) authorization: Option<String>,
    pub(crate) range: Option<String>,
    pub(crate) content_range: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) host: String,
    pub(crate) user_agent: String,
    /// Which connection it came on.
    pub(crate) peer: SocketAddr,
    pub(crate) body: Bytes,
}

impl Asked {
    /// `GET /v2/...`, for comparisons.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The first byte that a Range header asks for.
    pub(crate) fn range_start(&self) -> Option<usize> {
        self.range.as_ref()?.strip_prefix("bytes=")?.split('-').next()?.parse().ok()
    }

    fn parameter(&self, name: &str) -> Option<String> {
        let prefix = format!("{name}=");
        let found = self.query.split('&').find_map(|pair| pair.strip_prefix(prefix.as_str()).map(str::to_owned))?;
        Some(found.replace("%3A", ":").replace("%2F", "/"))
    }
}

/// What the registry keeps.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) blobs: HashMap<String, Bytes>,
    pub(crate) manifests: HashMap<String, (String, Bytes)>,
    pub(crate) uploads: HashMap<String, Vec<u8>>,
    next_upload: u32,
}

pub(crate) type Reply = Response<Body>;
type Fault = Box<dyn Fn(&Asked, &mut Memory) -> Option<Reply> + Send + Sync>;

struct Inner {
    memory: Mutex<Memory>,
    log: Mutex<Vec<Asked>>,
    fault: Fault,
}

/// A running double; it stops when dropped.
pub(crate) struct Double {
    pub(crate) address: String,
    inner: Arc<Inner>,
    server: JoinHandle<()>,
}

impl Drop for Double {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub(crate) fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Reply {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).unwrap()
}

pub(crate) fn refuse(status: u16, code: &str, message: &str) -> Reply {
    reply(status, &[], format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#))
}

/// Drops the connection: the answer is lost.
pub(crate) fn lose_answer() -> ! {
    std::panic::resume_unwind(Box::new("the connection is dropped"))
}

/// `bytes` announced, `cut` of them sent, then the connection breaks.
pub(crate) fn cut_body(status: u16, headers: &[(&str, &str)], bytes: &Bytes, cut: usize) -> Reply {
    let sent = futures::stream::iter([Ok(bytes.slice(..cut))]);
    let broken = futures::stream::once(async {
        tokio::task::yield_now().await; // the server sends what it has before it sees the break
        Err(std::io::Error::other("cut"))
    });
    let length = bytes.len().to_string();
    let headers: Vec<_> = headers.iter().copied().chain([("content-length", length.as_str())]).collect();
    reply(status, &headers, Body::from_stream(futures::StreamExt::chain(sent, broken)))
}

impl Double {
    /// A registry without faults.
    pub(crate) async fn start() -> Self {
        Self::with_fault(|_, _| None).await
    }

    /// A registry whose answer is the fault's where it gives one.
    pub(crate) async fn with_fault(
        fault: impl Fn(&Asked, &mut Memory) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let inner = Arc::new(Inner { memory: Mutex::default(), log: Mutex::default(), fault: Box::new(fault) });
        let router = Router::new().fallback(answer).with_state(inner.clone());
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        Self { address, inner, server }
    }

    pub(crate) fn memory<T>(&self, with: impl FnOnce(&mut Memory) -> T) -> T {
        with(&mut self.inner.memory.lock().unwrap())
    }

    /// Keeps a blob.
    pub(crate) fn put_blob(&self, bytes: impl Into<Bytes>) -> Descriptor {
        let bytes = bytes.into();
        let descriptor = Descriptor::of("application/octet-stream", &bytes);
        self.memory(|memory| memory.blobs.insert(descriptor.digest.to_string(), bytes));
        descriptor
    }

    /// All requests so far.
    pub(crate) fn log(&self) -> Vec<Asked> {
        self.inner.log.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.log().iter().map(Asked::line).collect()
    }

    /// Settings without long waits.
    pub(crate) fn settings(&self) -> HostSettings {
        quick(HostSettings::plain_http(&self.address))
    }

    /// The repository `team/app` of this double.
    pub(crate) fn end(&self) -> End {
        self.end_with(self.settings(), Arc::new(NoCredentials))
    }

    pub(crate) fn end_with(&self, settings: HostSettings, credentials: Arc<dyn Credentials>) -> End {
        let reference: Reference = format!("{}/{REPOSITORY}:1", self.address).parse().unwrap();
        let registries = Registries::new(vec![settings], credentials).unwrap();
        End::Registry(registries.repository(&reference).unwrap())
    }
}

pub(crate) fn quick(mut settings: HostSettings) -> HostSettings {
    settings.retries = Retries { count: 4, base: Duration::from_millis(1), longest: Duration::from_secs(2) };
    settings
}

async fn answer(
    State(inner): State<Arc<Inner>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Reply {
    let (parts, body) = request.into_parts();
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let asked = Asked {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        authorization: header("authorization"),
        range: header("range"),
        content_range: header("content-range"),
        content_type: header("content-type"),
        host: header("host").unwrap_or_default(),
        user_agent: header("user-agent").unwrap_or_default(),
        peer,
        body: axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default(),
    };
    inner.log.lock().unwrap().push(asked.clone());
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut memory = inner.memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (inner.fault)(&asked, &mut memory).unwrap_or_else(|| memory.answer(&asked))
    }));
    inner.memory.clear_poison();
    outcome.unwrap_or_else(|dropped| std::panic::resume_unwind(dropped))
}

impl Memory {
    /// Answers as a registry without faults would.
    pub(crate) fn answer(&mut self, asked: &Asked) -> Reply {
        let path = asked.path.strip_prefix("/v2/").unwrap_or_default().to_owned();
        if let Some((_, id)) = path.split_once("/blobs/uploads/") {
            return self.upload(asked, &path, id);
        }
        if let Some((_, digest)) = path.split_once("/blobs/") {
            return self.blob(asked, digest);
        }
        match path.split_once("/manifests/") {
            Some((_, key)) => self.manifest(asked, key),
            None => refuse(404, "NAME_UNKNOWN", "no such route"),
        }
    }

    fn blob(&self, asked: &Asked, digest: &str) -> Reply {
        let Some(bytes) = self.blobs.get(digest) else { return refuse(404, "BLOB_UNKNOWN", "no such blob") };
        match asked.range_start() {
            _ if asked.method == "HEAD" => reply(200, &[("content-length", &bytes.len().to_string())], ""),
            None => reply(200, &[], bytes.clone()),
            Some(start) => {
                let range = asked.range.as_deref().unwrap();
                let last = range.rsplit('-').next().unwrap().parse().unwrap_or(bytes.len() - 1).min(bytes.len() - 1);
                let told = format!("bytes {start}-{last}/{}", bytes.len());
                reply(206, &[("content-range", &told)], bytes.slice(start..=last))
            }
        }
    }

    fn upload(&mut self, asked: &Asked, path: &str, id: &str) -> Reply {
        let repository = path.split_once("/blobs/").unwrap().0.to_owned();
        if asked.method == "POST" {
            let mounted = asked.parameter("mount").filter(|digest| self.blobs.contains_key(digest));
            if let Some(digest) = mounted.filter(|_| asked.parameter("from").is_some()) {
                return reply(201, &[("docker-content-digest", &digest)], "");
            }
            self.next_upload += 1;
            let id = self.next_upload.to_string();
            self.uploads.insert(id.clone(), Vec::new());
            return reply(202, &[("location", &format!("/v2/{repository}/blobs/uploads/{id}?_state=s%3D{id}"))], "");
        }
        let Some(upload) = self.uploads.get_mut(id) else {
            return refuse(404, "BLOB_UPLOAD_UNKNOWN", "no such upload");
        };
        let location = format!("/v2/{repository}/blobs/uploads/{id}?_state=s%3D{id}");
        match asked.method.as_str() {
            "PATCH" => {
                let start = asked.content_range.as_ref().and_then(|range| range.split('-').next()?.parse().ok());
                if start != Some(upload.len()) {
                    return refuse(416, "RANGE_INVALID", "out of order");
                }
                upload.extend_from_slice(&asked.body);
                let range = format!("0-{}", upload.len().saturating_sub(1));
                reply(202, &[("location", &location), ("range", &range)], "")
            }
            "GET" => {
                let range = format!("0-{}", upload.len().saturating_sub(1));
                reply(204, &[("location", &location), ("range", &range)], "")
            }
            "PUT" => self.close(asked, id),
            _ => {
                self.uploads.remove(id);
                reply(204, &[], "")
            }
        }
    }

    pub(crate) fn close(&mut self, asked: &Asked, id: &str) -> Reply {
        let mut bytes = self.uploads.remove(id).unwrap();
        bytes.extend_from_slice(&asked.body);
        let digest = Digest::of(&bytes).to_string();
        if asked.parameter("digest").as_ref() != Some(&digest) {
            return refuse(400, "DIGEST_INVALID", "the digest does not match");
        }
        self.blobs.insert(digest.clone(), bytes.into());
        reply(201, &[("docker-content-digest", &digest)], "")
    }

    fn manifest(&mut self, asked: &Asked, key: &str) -> Reply {
        if asked.method == "PUT" {
            let digest = Digest::of(&asked.body).to_string();
            let kept = (asked.content_type.clone().unwrap_or_default(), asked.body.clone());
            self.manifests.insert(digest.clone(), kept.clone());
            self.manifests.insert(key.to_owned(), kept);
            return reply(201, &[("docker-content-digest", &digest)], "");
        }
        let Some((media_type, bytes)) = self.manifests.get(key).cloned() else {
            return refuse(404, "MANIFEST_UNKNOWN", "no such manifest");
        };
        if asked.method == "DELETE" {
            self.manifests.retain(|_, (_, kept)| *kept != bytes);
            return reply(202, &[], "");
        }
        let (digest, length) = (Digest::of(&bytes).to_string(), bytes.len().to_string());
        let headers = [("content-type", media_type.as_str()), ("docker-content-digest", &digest)];
        if asked.method == "HEAD" {
            let headers: Vec<_> = headers.into_iter().chain([("content-length", length.as_str())]).collect();
            return reply(200, &headers, "");
        }
        reply(200, &headers, bytes)
    }
}
