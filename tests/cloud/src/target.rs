//! What the cases are tried on: a front door, and the registry of its configuration.

use std::time::Duration;

use accel_image::Digest;
use accel_registry_server::{Auth, Content, Registry, Scheme};
use accel_test_support::{Fault, FaultyRegistry, ImageBuilder, Patience, PushedImage, Request, Rule};
use reqwest::{Client, Url};
use serde_json::Value;

use crate::ask::{Answer, Ask, client};
use crate::events::Pushed;

/// Longer than anything takes that is waited for here.
pub const PATIENCE: Patience = Patience { longest: Duration::from_secs(120), pause: Duration::from_millis(100) };

/// The user that Accel is in the registry.
pub const OPERATOR: &str = "robot$accel";

/// The secrets of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// `server.admin_auth`.
    Admin,
    /// Speaks for all of the registry.
    Hook,
    /// Speaks for its project `library`.
    Library,
    /// Speaks for the other name of the registry, which counts as another one.
    Other,
    /// The password of [`OPERATOR`] in the registry.
    Password,
}

impl Key {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Admin, Self::Hook, Self::Library, Self::Other, Self::Password];

    /// Its name, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Hook => "hook",
            Self::Library => "library",
            Self::Other => "other",
            Self::Password => "password",
        }
    }

    /// Its value.
    #[must_use]
    pub const fn value(self) -> &'static str {
        match self {
            Self::Admin => "Bearer admin-word",
            Self::Hook => "Bearer hook-word",
            Self::Library => "Bearer library-word",
            Self::Other => "Bearer other-word",
            Self::Password => "registry-word",
        }
    }
}

/// Who answers for paths that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nowhere {
    /// Accel.
    Accel,
    /// API Gateway, in our words if it is told them, as `infra/template.yaml` does: the emulators do not listen.
    Gateway,
}

/// A front door.
#[derive(Debug)]
pub struct Target {
    /// What the paths of the API are put after: `http://127.0.0.1:PORT`, with a stage where there is one.
    pub base: String,
    /// The registry of the configuration.
    pub registry: FaultyRegistry,
    /// Who answers for paths that are not there.
    pub nowhere: Nowhere,
    client: Client,
}

impl Target {
    /// The registry that the configuration is about. It asks for [`Key::Password`].
    pub async fn start_registry() -> FaultyRegistry {
        let auth = Auth::new(OPERATOR, Key::Password.value(), Scheme::Basic);
        FaultyRegistry::serve(Registry::new(Content::default()).with_auth(auth)).await
    }

    /// The front door at `base`, whose configuration is that of [`Target::configuration`] for `registry`.
    #[must_use]
    pub fn new(base: impl Into<String>, registry: FaultyRegistry, nowhere: Nowhere) -> Self {
        Self { base: base.into(), registry, nowhere, client: client() }
    }

    /// The configuration that the cases want. `reference` says how a secret is referred to; `server` and `more` are
    /// keys of the section `server` and of the whole file.
    pub fn configuration(
        registry: &FaultyRegistry,
        reference: impl Fn(Key) -> String,
        server: &str,
        more: &str,
    ) -> String {
        let [admin, hook, library, other, password] = Key::ALL.map(reference);
        let (host, second) = (registry.host(), format!("localhost:{}", registry.addr().port()));
        format!(
            "server: {{ admin_auth: \"{admin}\", {server} }}\n\
             registries:\n\
             \x20 \"{host}\":\n\
             \x20   plain_http: true\n\
             \x20   username: {OPERATOR}\n\
             \x20   password: \"{password}\"\n\
             \x20   aliases: [harbor-core]\n\
             \x20   webhook_auth: [{{ value: \"{hook}\" }}, {{ value: \"{library}\", projects: [library] }}]\n\
             \x20 \"{second}\":\n\
             \x20   plain_http: true\n\
             \x20   username: {OPERATOR}\n\
             \x20   password: \"{password}\"\n\
             \x20   webhook_auth: [{{ value: \"{other}\" }}]\n\
             rules:\n\
             \x20 - match: {{ except_tags: [\"*-dev\"] }}\n\
             \x20   convert: [{{ format: estargz, target: \"{{repository}}:{{tag}}-esgz\", delete: true }}]\n\
             {more}\n"
        )
    }

    /// The host of the registry.
    #[must_use]
    pub fn host(&self) -> String {
        self.registry.host()
    }

    /// The other name of the registry.
    #[must_use]
    pub fn other_host(&self) -> String {
        format!("localhost:{}", self.registry.addr().port())
    }

    /// What the registry holds.
    #[must_use]
    pub fn content(&self) -> &Content {
        self.registry.content()
    }

    /// Pushes an image of `layers` small layers, unlike any other.
    pub fn push(&self, repository: &str, tag: &str, layers: usize) -> PushedImage {
        ImageBuilder::noisy(&format!("{repository}:{tag}"), layers).push(self.content(), repository, Some(tag))
    }

    /// Pushes an image whose one layer is not there, which nobody can convert; what an event says of it.
    pub fn push_broken(&self, repository: &str, tag: &str) -> Pushed {
        let image = self.push(repository, tag, 1);
        assert!(self.content().remove_blob(repository, image.layers[0].digest));
        self.pushed(repository, tag)
    }

    /// What an event says of `tag` as it is in the registry.
    #[must_use]
    pub fn pushed(&self, repository: &str, tag: &str) -> Pushed {
        let stored = self.content().manifest(repository, tag);
        let digest = stored.map_or_else(|| panic!("{repository} has no {tag}"), |stored| stored.digest);
        self.claimed(repository, tag, digest)
    }

    /// What an event says of a tag that the registry need not have.
    #[must_use]
    pub fn claimed(&self, repository: &str, tag: &str, digest: Digest) -> Pushed {
        Pushed { host: self.host(), repository: repository.to_owned(), tag: tag.to_owned(), digest: Some(digest) }
    }

    /// From now on the layers of `repository` come so slowly that nobody waits for them.
    pub fn slow(&self, repository: &str) {
        let fault = Fault::Slow { piece: 64, pause: Duration::from_millis(500) };
        self.registry.rule(Rule::on(Request::BlobGet, fault).path(format!("/v2/{repository}/blobs/")));
    }

    /// Sends a request.
    pub async fn ask(&self, ask: Ask) -> Answer {
        ask.send(&self.client, &self.base).await
    }

    /// Sends an event as Harbor does, with [`Key::Hook`].
    pub async fn tell(&self, event: &Value) -> Answer {
        self.ask(Ask::event(event).auth(Key::Hook)).await
    }

    /// Sends an event that makes one task; its id.
    pub async fn task(&self, event: &Value) -> String {
        let answer = self.tell(event).await;
        assert!(answer.is_ok() && answer.ids().len() == 1, "{answer:?}");
        answer.ids().remove(0)
    }

    /// The task as it is now.
    pub async fn shown(&self, id: &str) -> Value {
        let answer = self.ask(Ask::get(format!("/api/v1/conversions/{id}")).auth(Key::Admin)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// The task once it has ended.
    pub async fn ended(&self, id: &str) -> Value {
        let ended = async || Some(self.shown(id).await).filter(|task| task["status"] != "PROCESSING");
        PATIENCE.until(&format!("task {id} ends"), ended).await
    }

    /// The task once it has completed.
    pub async fn completed(&self, id: &str) -> Value {
        let task = self.ended(id).await;
        assert_eq!(task["status"], "COMPLETED", "{task}");
        task
    }

    /// The tasks that a list shows.
    pub async fn listed(&self, query: &str, key: Key) -> Vec<Value> {
        let answer = self.ask(Ask::get(format!("/api/v1/conversions{query}")).auth(key)).await;
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        answer.json().as_array().unwrap().clone()
    }

    /// Where a reference in an answer to `path` leads to, as a path of the API. Spec: RFC 3986, 5.2.
    #[must_use]
    pub fn resolve(&self, path: &str, reference: &str) -> String {
        let url: Url = format!("{}{path}", self.base).parse().unwrap();
        let url = url.join(reference).unwrap();
        let inside = url.as_str().strip_prefix(&self.base);
        inside.unwrap_or_else(|| panic!("{reference} leads out of {} to {url}", self.base)).to_owned()
    }
}
