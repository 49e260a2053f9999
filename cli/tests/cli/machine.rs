//! A machine of its own for each test: a home directory, a registry, and commands that know nothing else.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use accel_image::Digest;
use accel_registry_server::Content;
use accel_test_support::tar::{dir, file};
use accel_test_support::{FaultyRegistry, ImageBuilder, Tree, tar, tree};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// The repository that images are pushed to.
pub(crate) const REPOSITORY: &str = "team/app";

pub(crate) struct Machine {
    dir: TempDir,
    pub(crate) registry: FaultyRegistry,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Machine {
    pub(crate) async fn new() -> Self {
        Self::with(FaultyRegistry::start().await)
    }

    pub(crate) fn with(registry: FaultyRegistry) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        Self { dir, registry }
    }

    /// A path within the machine; commands run at its root.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn content(&self) -> &Content {
        self.registry.content()
    }

    /// `127.0.0.1:PORT/team/app:TAG`.
    pub(crate) fn image(&self, tag: &str) -> String {
        format!("{}/{REPOSITORY}:{tag}", self.registry.host())
    }

    /// `accelctl` with nothing in its environment but this machine.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_accelctl"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.path("home"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Ran {
        finish(&mut self.command(args)).await
    }

    pub(crate) async fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        child.wait_with_output().await.unwrap().into()
    }

    /// `convert ARGS --output json` with plain HTTP to the registry; the report.
    pub(crate) async fn convert(&self, args: &[&str]) -> Value {
        let ran = self.run(&self.convert_args(args)).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// The arguments of [`convert`](Self::convert).
    pub(crate) fn convert_args<'a>(&self, args: &[&'a str]) -> Vec<&'a str> {
        // One leak a test: the arguments outlive the call.
        let host: &'static str = self.registry.host().leak();
        [&["convert"], args, &["--output", "json", "--plain-http", host]].concat()
    }
}

/// Runs `command` to its end.
pub(crate) async fn finish(command: &mut Command) -> Ran {
    command.output().await.unwrap().into()
}

impl From<std::process::Output> for Ran {
    fn from(output: std::process::Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// An image of two layers; `label` changes its configuration alone.
pub(crate) fn two_layers(label: &str) -> ImageBuilder {
    let base = tar(&[dir("etc/"), file("etc/passwd", b"root:x:0:0\n"), file("etc/big", vec![b'x'; 300_000])]);
    let top = tar(&[dir("srv/"), file("srv/app", b"#!/bin/sh\n").mode(0o755)]);
    let config = serde_json::json!({"Cmd": ["/srv/app"], "Labels": {"label": label}});
    ImageBuilder::new().layer(&base).layer(&top).config("config", config)
}

/// A digest in a report.
pub(crate) fn digest(report: &Value, key: &str) -> Digest {
    report[key].as_str().unwrap_or_default().parse().unwrap_or_else(|_| panic!("no {key} in {report}"))
}

/// Files below a directory.
pub(crate) fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

/// How the file systems of two images differ, but for the files that the format adds.
pub(crate) fn differences(content: &Content, left: &str, right: &str) -> Vec<String> {
    let [left, right] = [left, right].map(|tag| {
        let own = ["stargz.index.json", ".no.prefetch.landmark", ".prefetch.landmark"];
        Tree::of_image(content, REPOSITORY, tag).unwrap().without(&own)
    });
    tree::diff(&left, &right)
}
