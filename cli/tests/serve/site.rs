//! A site of its own for each test: a directory with a configuration and a store, and a registry.

use std::path::PathBuf;
use std::process::Stdio;

use accel_image::{Digest, Document, Manifest};
use accel_registry_server::Content;
use accel_test_support::{FaultyRegistry, ImageBuilder, PushedImage, Tree, tree};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::service::Service;

/// The repository that images are pushed to.
pub(crate) const REPOSITORY: &str = "team/app";

pub(crate) struct Site {
    dir: TempDir,
    pub(crate) registry: FaultyRegistry,
}

/// Keys of the configuration beside those that every site has.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Keys<'k> {
    /// Of `server`.
    pub(crate) server: &'k str,
    /// Of the registry.
    pub(crate) registry: &'k str,
    /// Of the whole file.
    pub(crate) more: &'k str,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Site {
    /// An open registry, and a configuration that makes eStargz of everything in it.
    pub(crate) async fn new() -> Self {
        Self::with(FaultyRegistry::start().await, Keys::default())
    }

    pub(crate) fn with(registry: FaultyRegistry, keys: Keys<'_>) -> Self {
        let site = Self { dir: tempfile::tempdir().unwrap(), registry };
        site.configure(keys);
        site
    }

    /// Writes the configuration anew.
    pub(crate) fn configure(&self, keys: Keys<'_>) {
        let (state, host) = (self.path("state"), self.registry.host());
        let Keys { server, registry, more } = keys;
        let text = format!(
            "server: {{ listen: \"127.0.0.1:0\", state: {state:?}, log: {{ format: json }}, {server} }}\n\
             registries:\n  \"{host}\": {{ plain_http: true, {registry} }}\n\
             rules:\n  - convert: [{{ format: estargz, target: \"{{repository}}:{{tag}}-esgz\" }}]\n{more}\n"
        );
        self.write("accel.yaml", &text);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn content(&self) -> &Content {
        self.registry.content()
    }

    /// `accelctl` with nothing in its environment but this site.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_accelctl"));
        self.at_home(command.args(args));
        command
    }

    fn at_home(&self, command: &mut Command) {
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
    }

    /// The same on a disk on which no file may grow beyond so many bytes.
    pub(crate) fn command_within(&self, bytes: u64, args: &[&str]) -> Command {
        let limited = "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"";
        let mut command = Command::new("/bin/sh");
        command.args(["-c", limited, "sh", &(bytes / 512).to_string(), env!("CARGO_BIN_EXE_accelctl")]).args(args);
        self.at_home(&mut command);
        command
    }

    /// Runs `accelctl` to its end.
    pub(crate) async fn run(&self, args: &[&str]) -> Ran {
        finish(&mut self.command(args)).await
    }

    /// `accelctl serve`, once it serves.
    pub(crate) async fn serve(&self) -> Service {
        self.serve_with(&[]).await
    }

    /// `accelctl serve` with variables in its environment.
    pub(crate) async fn serve_with(&self, environment: &[(&str, &str)]) -> Service {
        let mut command = self.command(&["serve", "--config", "accel.yaml"]);
        Service::start(command.envs(environment.iter().copied()), None).await
    }

    /// `accelctl serve` where it cannot start.
    pub(crate) async fn refuses_to_serve(&self) -> Ran {
        self.run(&["serve", "--config", "accel.yaml"]).await
    }

    /// Pushes an image of `layers` layers.
    pub(crate) fn image(&self, tag: &str, layers: usize) -> PushedImage {
        ImageBuilder::noisy(tag, layers).push(self.content(), REPOSITORY, Some(tag))
    }

    /// `127.0.0.1:PORT/team/app:TAG`.
    pub(crate) fn name(&self, tag: &str) -> String {
        format!("{}/{REPOSITORY}:{tag}", self.registry.host())
    }

    /// Harbor's event for the push of `tag` as it is now.
    pub(crate) fn event(&self, tag: &str) -> Value {
        let digest = self.content().manifest(REPOSITORY, tag).unwrap().digest;
        json!({
            "type": "PUSH_ARTIFACT",
            "occur_at": 1_756_000_000,
            "operator": "somebody",
            "event_data": {
                "resources": [{ "digest": digest, "tag": tag, "resource_url": self.name(tag) }],
                "repository": { "name": "app", "namespace": "team", "repo_full_name": REPOSITORY },
            },
        })
    }

    /// Whether the target of `tag` is there.
    pub(crate) fn is_accelerated(&self, tag: &str) -> bool {
        self.content().manifest(REPOSITORY, &target(tag)).is_some()
    }

    /// The target of `tag` holds the file system that `tag` holds.
    pub(crate) fn assert_accelerated(&self, tag: &str) {
        let [source, made] = [tag, &target(tag)].map(|tag| {
            let own = ["stargz.index.json", ".no.prefetch.landmark", ".prefetch.landmark"];
            Tree::of_image(self.content(), REPOSITORY, tag).unwrap().without(&own)
        });
        assert_eq!(tree::diff(&source, &made), [""; 0], "{tag}");
    }

    /// `accelctl verify` finds nothing wrong with the target of `tag`.
    pub(crate) async fn assert_verified(&self, tag: &str) {
        let (host, source, target) = (self.registry.host(), self.name(tag), self.name(&target(tag)));
        let ran = self.run(&["verify", "--plain-http", &host, &source, &target]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }

    /// Every target that is there has all of its parts, as they were described.
    pub(crate) fn assert_targets_are_whole(&self) {
        for tag in self.content().tags(REPOSITORY).iter().filter(|tag| tag.ends_with("-esgz")) {
            let manifest = self.manifest(tag);
            for part in manifest.layers.iter().chain([&manifest.config]) {
                let blob = self.content().blob(REPOSITORY, part.digest);
                let blob = blob.unwrap_or_else(|| panic!("{tag} lacks {}", part.digest));
                assert_eq!((Digest::of(&blob), blob.len() as u64), (part.digest, part.size), "{tag}");
            }
        }
    }

    fn manifest(&self, tag: &str) -> Manifest {
        let stored = self.content().manifest(REPOSITORY, tag).unwrap();
        match Document::parse(&stored.bytes, Some(&stored.media_type)).unwrap() {
            Document::Manifest(manifest) => manifest,
            Document::Index(_) => panic!("{tag} is an index"),
        }
    }
}

fn target(tag: &str) -> String {
    format!("{tag}-esgz")
}

/// Runs `command` to its end.
pub(crate) async fn finish(command: &mut Command) -> Ran {
    let output = command.output().await.unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
