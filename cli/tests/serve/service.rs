//! A running `accelctl serve`: what it is asked, what it logs, how it ends.

use std::sync::Arc;
use std::time::Duration;

use accel_test_support::Patience;
use reqwest::{Client, Method, RequestBuilder};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;

use crate::site::Site;

/// Longer than anything takes that is waited for here.
pub(crate) const PATIENCE: Patience = Patience { longest: Duration::from_secs(60), pause: Duration::from_millis(10) };

pub(crate) struct Service {
    child: Child,
    /// `http://127.0.0.1:PORT`
    pub(crate) url: String,
    client: Client,
    log: watch::Receiver<Vec<Value>>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) tasks: Vec<String>,
    /// Where the list's next page is.
    pub(crate) next: Option<String>,
    pub(crate) body: String,
}

/// A signal that ends a service.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signal {
    Terminate,
    Interrupt,
    Kill,
}

impl Service {
    /// Runs `command`, which logs JSON, until it says where it serves. Its certificate may be one of `ca_pem`.
    pub(crate) async fn start(command: &mut Command, ca_pem: Option<&str>) -> Self {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (told, log) = watch::channel(Vec::new());
        let url = PATIENCE.within("it serves", serving(&mut lines, &told)).await;
        tokio::spawn(async move { while note(&mut lines, &told).await.is_some() {} });
        Self { child, url, client: client(ca_pem), log }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await.unwrap()
    }

    /// All pages of a list, one after the other.
    pub(crate) async fn pages(&self, path: &str) -> Vec<Vec<Value>> {
        let (mut pages, mut next) = (Vec::new(), Some(path.to_owned()));
        while let Some(link) = next {
            let here = reqwest::Url::parse(&self.url).unwrap().join(path).unwrap();
            let answer = send(self.client.get(here.join(&link).unwrap())).await.unwrap();
            next = answer.next.clone();
            pages.push(answer.rows());
        }
        pages
    }

    /// How much memory it has, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Sends an event.
    pub(crate) async fn tell(&self, event: &Value) -> Answer {
        send(self.event(event)).await.unwrap()
    }

    pub(crate) fn event(&self, event: &Value) -> RequestBuilder {
        self.event_as("application/json", event)
    }

    pub(crate) fn event_as(&self, media_type: &str, event: &Value) -> RequestBuilder {
        let request = self.request(Method::POST, "/api/v1/conversions");
        request.header("content-type", media_type).body(event.to_string())
    }

    /// Sends Harbor's event for `tag`; the id of its one task.
    pub(crate) async fn push(&self, site: &Site, tag: &str) -> String {
        let answer = self.tell(&site.event(tag)).await;
        assert_eq!((answer.status, answer.tasks.len()), (200, 1), "{answer:?}");
        answer.tasks[0].clone()
    }

    /// All tasks.
    pub(crate) async fn tasks(&self) -> Vec<Value> {
        self.get("/api/v1/conversions").await.rows()
    }

    pub(crate) async fn task(&self, id: &str) -> Value {
        let answer = self.get(&format!("/api/v1/conversions/{id}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    /// The task once it has ended.
    pub(crate) async fn ended(&self, id: &str) -> Value {
        PATIENCE
            .until("a task ends", async || Some(self.task(id).await).filter(|task| task["status"] != "PROCESSING"))
            .await
    }

    /// The task once it has completed.
    pub(crate) async fn completed(&self, id: &str) -> Value {
        let task = self.ended(id).await;
        assert_eq!(task["status"], "COMPLETED", "{task}");
        task
    }

    /// Waits until a line of the log has this message.
    pub(crate) async fn logged(&mut self, message: &str) -> Value {
        let says = |line: &Value| line["message"].as_str().is_some_and(|text| text.contains(message));
        let seen = self.log.wait_for(|lines| lines.iter().any(says));
        let lines = PATIENCE.within(message, seen).await.unwrap();
        lines.iter().find(|line| says(line)).cloned().unwrap()
    }

    /// The log so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.log.borrow().clone()
    }

    /// Whether somebody still listens there.
    pub(crate) async fn listens(&self) -> bool {
        let address = self.url.rsplit('/').next().unwrap();
        tokio::net::TcpStream::connect(address).await.is_ok()
    }

    /// SIGKILL.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) fn signal(&self, name: Signal) {
        signal(&self.child, name);
    }

    /// The exit code, once it has ended by itself.
    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        PATIENCE.within("it ends", self.child.wait()).await.unwrap().code()
    }

    /// Ends it in an orderly way; all that it has logged.
    pub(crate) async fn stop(mut self) -> Vec<Value> {
        self.signal(Signal::Terminate);
        assert_eq!(self.exit_code().await, Some(0), "{:#?}", self.log());
        PATIENCE.within("its log ends", async { while self.log.changed().await.is_ok() {} }).await;
        self.log()
    }
}

impl Answer {
    /// The tasks of a list.
    pub(crate) fn rows(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    let name = match signal {
        Signal::Terminate => "TERM",
        Signal::Interrupt => "INT",
        Signal::Kill => "KILL",
    };
    let process = child.id().unwrap().to_string();
    let sent = std::process::Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &process]).status();
    assert!(sent.unwrap().success());
}

/// Sends a request that the service may also not answer at all.
pub(crate) async fn send(request: RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.timeout(PATIENCE.longest).send().await?;
    let ids = response.headers().get("x-accel-task-id").map(|ids| ids.to_str().unwrap().to_owned());
    let tasks = ids.iter().flat_map(|ids| ids.split(',')).map(str::to_owned).collect();
    let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
    let next = link.and_then(|link| Some(link.strip_prefix('<')?.split_once('>')?.0.to_owned()));
    Ok(Answer { status: response.status().as_u16(), tasks, next, body: response.text().await? })
}

async fn serving(lines: &mut Lines<BufReader<ChildStderr>>, told: &watch::Sender<Vec<Value>>) -> String {
    loop {
        let line = note(lines, told).await.unwrap_or_else(|| panic!("it did not serve: {:#?}", told.borrow()));
        if line["message"] == "serving" {
            return line["address"].as_str().unwrap().to_owned();
        }
    }
}

/// The next line of the log; a line that is not JSON is kept as text.
async fn note(lines: &mut Lines<BufReader<ChildStderr>>, told: &watch::Sender<Vec<Value>>) -> Option<Value> {
    let line = lines.next_line().await.ok()??;
    let value: Value = serde_json::from_str(&line).unwrap_or(Value::String(line));
    told.send_modify(|seen| seen.push(value.clone()));
    Some(value)
}

/// A client that knows the authorities of `ca_pem` and no others.
pub(crate) fn client(ca_pem: Option<&str>) -> Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.unwrap_or_default().as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_root_certificates(roots).with_no_client_auth();
    Client::builder().no_proxy().tls_backend_preconfigured(tls).build().unwrap()
}
