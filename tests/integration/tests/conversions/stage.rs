//! What the tests stand on: one or two registries, a store whose queue's time the test moves, and converters.

mod running;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use accel_converter::Converter;
use accel_domain::config::{self, Config};
use accel_domain::marker::source_name;
use accel_domain::task::{NewTask, Task, TaskId, TaskKind};
use accel_domain::{Format, Output, Timestamp};
use accel_image::{Digest, Document, Index, Manifest, Reference};
use accel_pipeline::{Engine, Job};
use accel_registry::{End, HostSettings, Login, NoCredentials, Registries, Retries, StaticCredentials, Timeouts};
use accel_registry_server::Content;
use accel_runtime::Metrics;
use accel_tasks::embedded::Clock;
use accel_tasks::{Embedded, StoreError};
use accel_test_support::{Fault, FaultyRegistry, Patience, Request, Seen};

/// The repository that most tests push to.
pub(crate) const APP: &str = "library/app";
/// Longer than a registry on loopback needs for an answer.
pub(crate) const SHORT: Duration = Duration::from_millis(400);
/// What takes longer than this hangs.
pub(crate) const PATIENCE: Patience = Patience { longest: Duration::from_secs(30), pause: Duration::from_millis(5) };

/// A registry, a store, and time.
pub(crate) struct Stage {
    pub(crate) registry: FaultyRegistry,
    pub(crate) store: Arc<Embedded>,
    /// What its converters count.
    pub(crate) metrics: Metrics,
    clock: Clock,
    threads: usize,
    fan_out: Option<u32>,
    format: Format,
    timeouts: Timeouts,
    limits: &'static str,
    logins: Vec<(String, Login)>,
    also: Vec<String>,
    directory: tempfile::TempDir,
}

impl Stage {
    /// An open registry and an empty store.
    pub(crate) async fn new() -> Self {
        Self::on(FaultyRegistry::start().await)
    }

    /// `registry` and an empty store.
    pub(crate) fn on(registry: FaultyRegistry) -> Self {
        let directory = directory();
        let clock = Clock::manual(Timestamp::now());
        let store = Arc::new(Embedded::open_with(file(&directory), clock.clone()).unwrap());
        let (threads, timeouts, limits) = (2, Timeouts::default(), "{}");
        let (logins, also, metrics) = (Vec::new(), Vec::new(), Metrics::new());
        let (fan_out, format) = (None, Format::Estargz);
        Self { registry, store, metrics, clock, threads, fan_out, format, timeouts, limits, logins, also, directory }
    }

    pub(crate) fn with_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Images with more layers than this to convert fan out.
    pub(crate) fn with_fan_out(self, layers: u32) -> Self {
        Self { fan_out: Some(layers), ..self }
    }

    /// What the rule of the configuration makes.
    pub(crate) fn making(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// Where `fault` is one that only a time-out ends, nobody waits long. Anything else is worth any wait: a busy machine
    /// answers late.
    pub(crate) fn with_patience_for(self, fault: &Fault) -> Self {
        match fault {
            Fault::Hang | Fault::Stalled { .. } | Fault::Slow { .. } => self.with_patience(SHORT),
            _ => self,
        }
    }

    /// Nobody waits longer than this for an answer, or for the next part of one.
    pub(crate) fn with_patience(self, longest: Duration) -> Self {
        Self { timeouts: Timeouts { connect: longest, answer: longest, idle: longest }, ..self }
    }

    /// What the configuration allows of layers.
    pub(crate) fn with_limits(self, limits: &'static str) -> Self {
        Self { limits, ..self }
    }

    /// The name and the password for the registry.
    pub(crate) fn with_login(mut self, username: &str, password: &str) -> Self {
        self.logins.push((self.registry.host(), Login::password(username, password)));
        self
    }

    /// A queue whose time runs on, for tests with several workers.
    pub(crate) fn with_running_clock(self) -> Self {
        Self { clock: Clock::system(), ..self }.restarted()
    }

    /// Another registry that may be spoken to.
    pub(crate) fn with_host(mut self, host: String) -> Self {
        self.also.push(host);
        self
    }

    pub(crate) fn content(&self) -> &Content {
        self.registry.content()
    }

    /// The configuration: the registries, and a rule for every tag that makes eStargz, if nothing else is said.
    pub(crate) fn config(&self) -> Arc<Config> {
        let entry = |host: &String| format!("  \"{host}\": {{ plain_http: true, limits: {} }}\n", self.limits);
        let hosts = self.also.iter().chain([&self.registry.host()]).map(entry).collect::<String>();
        let (format, suffix) = (self.format, self.format.tag_suffix());
        let rules =
            format!("rules:\n  - convert: [{{ format: {format}, target: \"{{repository}}:{{tag}}{suffix}\" }}]\n");
        let tasks =
            self.fan_out.map(|layers| format!("tasks: {{ fan_out: {{ layers: {layers} }} }}\n")).unwrap_or_default();
        Arc::new(config::parse(&format!("registries:\n{hosts}{tasks}{rules}"), "test.yaml").unwrap())
    }

    /// A process that converts: its leases are its own.
    pub(crate) fn converter(&self) -> Converter<Embedded, Embedded> {
        let timeouts = self.timeouts;
        let settings = |host| HostSettings { timeouts, ..HostSettings::plain_http(host) };
        self.converter_for(self.also.iter().chain([&self.registry.host()]).map(settings).collect())
    }

    /// A process that speaks TLS to `hosts`, and is not patient.
    pub(crate) fn converter_over_tls(&self, hosts: &[String]) -> Converter<Embedded, Embedded> {
        let short = Duration::from_millis(200);
        let timeouts = Timeouts { connect: short, answer: short, idle: short };
        self.converter_for(hosts.iter().map(|host| HostSettings { timeouts, ..HostSettings::new(host) }).collect())
    }

    fn converter_for(&self, hosts: Vec<HostSettings>) -> Converter<Embedded, Embedded> {
        let retries = Retries { count: 4, base: Duration::from_millis(1), longest: Duration::from_millis(50) };
        let hosts = hosts.into_iter().map(|host| HostSettings { retries, ..host }).collect();
        let registries = Registries::new(hosts, Arc::new(StaticCredentials::new(self.logins.clone()))).unwrap();
        let engine = Engine::new(self.threads);
        let (store, queue) = (Arc::clone(&self.store), Arc::clone(&self.store));
        Converter::new(self.config(), store, queue, registries, engine, self.metrics.clone())
    }

    /// A reference into the registry.
    pub(crate) fn reference(&self, name: &str) -> Reference {
        format!("{}/{name}", self.registry.host()).parse().unwrap()
    }

    /// The digest of what `name` points at.
    pub(crate) fn digest(&self, name: &str) -> Option<Digest> {
        let (repository, tag) = name.rsplit_once(':').unwrap();
        self.content().manifest(repository, tag).map(|stored| stored.digest)
    }

    pub(crate) fn document(&self, repository: &str, key: &str) -> Document {
        let stored = self.content().manifest(repository, key).unwrap();
        Document::parse(&stored.bytes, Some(&stored.media_type)).unwrap()
    }

    pub(crate) fn manifest(&self, repository: &str, key: &str) -> Manifest {
        match self.document(repository, key) {
            Document::Manifest(manifest) => manifest,
            Document::Index(_) => panic!("{repository}/{key} is an index"),
        }
    }

    pub(crate) fn index(&self, repository: &str, key: &str) -> Index {
        match self.document(repository, key) {
            Document::Index(index) => index,
            Document::Manifest(_) => panic!("{repository}/{key} is a manifest"),
        }
    }

    /// A task for `library/app:1` that makes `library/app:1-esgz` of the digest that it has now.
    pub(crate) fn task(&self) -> Task {
        self.task_of(&format!("{APP}:1"), &format!("{APP}:1-esgz"), default_output())
    }

    /// A task for `source`, at the digest that it has now, in the same registry.
    pub(crate) fn task_of(&self, source: &str, target: &str, output: Output) -> Task {
        self.task_to(source, self.reference(target), output)
    }

    pub(crate) fn task_to(&self, source: &str, target: Reference, output: Output) -> Task {
        let digest = self.digest(source);
        self.any_task(TaskKind::Convert, source, digest, target, output)
    }

    /// A task without a digest, as `accelctl task create` makes it.
    pub(crate) fn unresolved(&self, source: &str) -> Task {
        let target = self.reference(&format!("{source}-esgz"));
        self.any_task(TaskKind::Convert, source, None, target, default_output())
    }

    pub(crate) fn any_task(
        &self,
        kind: TaskKind,
        source: &str,
        digest: Option<Digest>,
        target: Reference,
        output: Output,
    ) -> Task {
        let source = self.reference(source);
        let new = NewTask {
            id: TaskId::try_from(uuid::Uuid::new_v4().to_string()).unwrap(),
            kind,
            written: source_name(&source),
            source,
            digest,
            rule_hash: output.rule_hash(&target.to_string()),
            target,
            output,
            delivery: None,
        };
        Task::new(new, Timestamp::now())
    }

    /// A repository of the registry.
    pub(crate) fn end(&self, repository: &str) -> End {
        let settings = HostSettings::plain_http(self.registry.host());
        let registries = Registries::new(vec![settings], Arc::new(NoCredentials)).unwrap();
        registries.repository(&self.reference(&format!("{repository}:1"))).unwrap().into()
    }

    /// The conversion of [`Stage::task`] as one that no service runs.
    pub(crate) fn job(&self) -> Job {
        let (source, output) = (self.reference(&format!("{APP}:1")), default_output());
        Job {
            source: self.end(APP),
            source_key: "1".to_owned(),
            source_name: source_name(&source),
            digest: None,
            target: self.end(APP),
            target_key: "1-esgz".to_owned(),
            dictionary: None,
            rule_hash: output.rule_hash("t"),
            output,
            limits: accel_stream::Limits::default(),
        }
    }

    /// The same registry with the store closed and opened again, as a process does that starts. A run that was killed may
    /// leave a look into the store behind, which ends by itself on its own thread: until then the file is in use.
    pub(crate) fn restarted(self) -> Self {
        let Self { store, directory, clock, .. } = self;
        drop(Arc::into_inner(store).expect("nobody else has the store"));
        let started = std::time::Instant::now();
        let opened = loop {
            match Embedded::open_with(file(&directory), clock.clone()) {
                Err(StoreError::InUse(_)) if started.elapsed() < PATIENCE.longest => std::thread::yield_now(),
                opened => break opened.unwrap(),
            }
        };
        Self { store: Arc::new(opened), directory, clock, ..self }
    }

    /// What lies in the state directory, in bytes.
    pub(crate) fn store_bytes(&self) -> u64 {
        let files = std::fs::read_dir(self.directory.path()).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    }

    /// The requests of one kind since the log was emptied.
    pub(crate) fn count(&self, request: Request) -> usize {
        self.registry.requests_of(request).len()
    }

    /// The requests that change something, in order.
    pub(crate) fn changes(&self) -> Vec<Seen> {
        let mut seen = self.registry.requests();
        seen.retain(|seen| seen.method != "GET" && seen.method != "HEAD" && seen.request != Request::Token);
        seen
    }
}

/// What a rule makes that says nothing but the format.
pub(crate) fn default_output() -> Output {
    Output::new(Format::Estargz.default_options())
}

/// In memory, where there is such a place: what a store does to a disk is tested elsewhere, and to wait for one would be
/// most of the time here.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn file(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("accel.redb")
}

/// The tasks that a listener has heard of.
#[derive(Clone, Default)]
pub(crate) struct Notices(Arc<Mutex<Vec<accel_registry_server::Notice>>>);

impl Notices {
    pub(crate) fn hear(&self) -> impl Fn(accel_registry_server::Notice) + Send + Sync + 'static {
        let heard = Arc::clone(&self.0);
        move |notice| heard.lock().unwrap().push(notice)
    }

    /// What was heard since the last time.
    pub(crate) fn take(&self) -> Vec<accel_registry_server::Notice> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}
