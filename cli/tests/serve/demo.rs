//! `accelctl serve --demo`, as a newcomer starts it.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::service::{Signal, client, signal};
use crate::site::Site;

const PATIENCE: Duration = Duration::from_secs(120);

struct Demo {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    said: String,
}

impl Demo {
    fn start(site: &Site) -> Self {
        let mut command = site.command(&["serve", "--demo", "--listen", "127.0.0.1:0"]);
        // The demo talks to itself, whatever the machine's proxy is.
        command.env("http_proxy", "http://127.0.0.1:1").env("HTTP_PROXY", "http://127.0.0.1:1");
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, said: String::new() }
    }

    /// Reads on until a line contains `mark`.
    async fn says(&mut self, mark: &str) {
        let telling = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                self.said.push_str(&line);
                self.said.push('\n');
                if line.contains(mark) {
                    return;
                }
            }
            let mut error = String::new();
            self.child.stderr.take().unwrap().read_to_string(&mut error).await.unwrap();
            panic!("no {mark} in {}{error}", self.said);
        };
        tokio::time::timeout(PATIENCE, telling).await.unwrap();
    }

    /// What it has said after `mark` in the same line.
    fn after(&self, mark: &str) -> &str {
        self.said.lines().find_map(|line| line.split_once(mark)).map_or("", |(_, rest)| rest)
    }

    async fn interrupt(mut self) -> ExitStatus {
        signal(&self.child, Signal::Interrupt);
        tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap()
    }
}

async fn fetched(url: &str) -> Value {
    let accept = "application/vnd.oci.image.manifest.v1+json, */*";
    let answer = client(None).get(url).header("accept", accept).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{url}");
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

/// What lies in the site's directory, which is also where temporary files go.
fn left(site: &Site) -> Vec<PathBuf> {
    let mut names: Vec<_> = std::fs::read_dir(site.path("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn it_converts_an_image_says_where_to_look_and_leaves_nothing() {
    let site = Site::new().await;
    let before = left(&site);
    let mut demo = Demo::start(&site);
    demo.says("Ctrl-C").await;
    let tasks = fetched(demo.after("The task list: ")).await;
    assert_eq!((&tasks[0]["status"], tasks.as_array().map(Vec::len)), (&"COMPLETED".into(), Some(1)), "{tasks}");
    let target = tasks[0]["target"].as_str().unwrap();
    assert!(demo.said.contains(target), "{}", demo.said);
    let (host, rest) = target.split_once('/').unwrap();
    let (repository, tag) = rest.rsplit_once(':').unwrap();
    let made = fetched(&format!("http://{host}/v2/{repository}/manifests/{tag}")).await;
    assert!(made.to_string().contains("containerd.io/snapshot/stargz/toc.digest"), "{made}");

    let source = tasks[0]["source"].as_str().unwrap();
    let verified = site.run(&["verify", "--plain-http", host, source, target]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert_eq!(demo.interrupt().await.code(), Some(0));
    assert_eq!(left(&site), before);
}

#[tokio::test]
async fn an_impatient_person_may_end_it_at_any_time() {
    let site = Site::new().await;
    let before = left(&site);
    for mark in ["A registry of the demo", "Accel serves on", "PUSH_ARTIFACT"] {
        let mut demo = Demo::start(&site);
        demo.says(mark).await;
        assert_eq!(demo.interrupt().await.code(), Some(0), "after {mark}");
        assert_eq!(left(&site), before);
    }
}
