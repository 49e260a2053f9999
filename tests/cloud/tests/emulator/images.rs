//! A real image in a registry that is not ours, from the event to what `accelctl verify` says of it.

use std::path::Path;
use std::process::Stdio;

use accel_cloud_tests::target::{OPERATOR, PATIENCE};
use accel_cloud_tests::{Ask, Key, Pushed, client, harbor};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::aws::given;
use crate::site::{Stack, accelctl, put_secrets, reference, unique_name};

/// bcrypt of [`Key::Password`].
const PASSWORD_HASH: &str = "$2y$04$x7yT4wOdJN9l/qllcc41v.HvoczqCvNPR1rl1fcIJsWd6BqRJqZfS";
/// The same with its user, as Basic authentication has it: base64 of `robot$accel:registry-word`.
const LOGIN: &str = "cm9ib3QkYWNjZWw6cmVnaXN0cnktd29yZA==";

/// Debian's docker-registry, behind a password.
struct DockerRegistry {
    host: String,
    directory: TempDir,
    _child: Child,
}

impl DockerRegistry {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("htpasswd"), format!("{OPERATOR}:{PASSWORD_HASH}\n")).unwrap();
        let configuration = format!(
            "version: 0.1\nlog: {{ level: info, accesslog: {{ disabled: true }} }}\n\
             storage: {{ filesystem: {{ rootdirectory: {:?} }} }}\nhttp: {{ addr: \"127.0.0.1:0\" }}\n\
             auth: {{ htpasswd: {{ realm: tests, path: {:?} }} }}\n",
            path("content"),
            path("htpasswd"),
        );
        std::fs::write(path("registry.yml"), configuration).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(path("registry.yml")).stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("tests/setup installs docker-registry, tests/cloud/run finds it");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let host = loop {
            let line = lines.next_line().await.unwrap().expect("docker-registry listens");
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect();
            }
        };
        tokio::spawn(async move { while lines.next_line().await.is_ok_and(|line| line.is_some()) {} });
        std::fs::create_dir(path("docker")).unwrap();
        let logins = format!(r#"{{"auths":{{"{host}":{{"auth":"{LOGIN}"}}}}}}"#);
        std::fs::write(path("docker/config.json"), logins).unwrap();
        Self { host, directory, _child: child }
    }

    /// A directory with the login in docker's form.
    fn logins(&self) -> String {
        self.directory.path().join("docker").display().to_string()
    }

    async fn skopeo(&self, args: &[&str]) -> String {
        let file = Path::new(&self.logins()).join("config.json");
        let mut command = Command::new("skopeo");
        command.args(args).env("REGISTRY_AUTH_FILE", file).stdin(Stdio::null());
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "skopeo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

#[tokio::test]
#[ignore = "needs an emulated AWS: run tests/cloud/run"]
async fn from_the_event_of_a_push_to_an_image_that_verifies() {
    let (name, registry) = (unique_name(), DockerRegistry::start().await);
    put_secrets(&name).await;
    let configuration = format!(
        "registries:\n  \"{}\":\n    plain_http: true\n    username: {OPERATOR}\n    password: \"{}\"\n    \
         webhook_auth: [{{ value: \"{}\" }}]\nrules:\n  - convert: [{{ format: estargz }}]\n",
        registry.host,
        reference(&name, Key::Password),
        reference(&name, Key::Hook),
    );
    let stack = Stack::deploy(name, &configuration, &[]).await;
    let url = stack.output("LocalUrl");

    let mut image =
        Pushed { host: registry.host.clone(), repository: "library/app".into(), tag: "v1".into(), digest: None };
    let source = image.name();
    let remote = format!("docker://{source}");
    registry.skopeo(&["copy", "--quiet", "--dest-tls-verify=false", &given("ACCEL_TEST_IMAGE"), &remote]).await;
    let digest = registry.skopeo(&["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &remote]).await;
    image.digest = Some(digest.parse().unwrap());

    let answer = Ask::event(harbor(&[&image], 0)).auth(Key::Hook).send(&client(), url).await;
    assert!(answer.is_ok() && answer.ids().len() == 1, "{answer:?}");
    let id = answer.ids().remove(0);
    let known = [("ACCEL_AUTH", Key::Hook.value())];
    let ended = async || {
        let shown = accelctl(&["task", "--addr", url, "show", &id, "--output", "json"], &known).await;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        (shown["status"] != "PROCESSING").then_some(shown)
    };
    let shown = PATIENCE.until("the image is converted", ended).await;
    assert_eq!((&shown["status"], &shown["attempts"]), (&"COMPLETED".into(), &0.into()), "{shown}");

    let target = format!("{source}-esgz");
    let logins = registry.logins();
    accelctl(&["verify", "--plain-http", &registry.host, &source, &target], &[("DOCKER_CONFIG", &logins)]).await;
    let made = registry.skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{target}")]).await;
    assert!(made.contains("containerd.io/snapshot/stargz/toc.digest"), "{made}");

    // A person who asks for it once more, and waits.
    accelctl(&["task", "--addr", url, "create", "--sync", &source], &known).await;
    let listed = accelctl(&["task", "--addr", url, "list"], &known).await;
    assert!(listed.contains(&id) && listed.matches("COMPLETED").count() == 2, "{listed}");
}
