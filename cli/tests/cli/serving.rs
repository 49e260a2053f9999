//! `accelctl serve` and `accelctl task` together: from the request to the image beside its source.

use std::process::ExitStatus;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr};

use crate::machine::{Machine, REPOSITORY, differences, finish, two_layers};

/// A running server.
struct Served {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    addr: String,
}

impl Served {
    async fn start(machine: &Machine) -> Self {
        Self::making(machine, "estargz").await
    }

    /// One whose rule makes this format.
    async fn making(machine: &Machine, format: &str) -> Self {
        let config = format!(
            "server: {{ listen: 127.0.0.1:0, log: {{ format: json }} }}\n\
             registries:\n  {}: {{ plain_http: true, webhook_auth: [{{ value: \"${{env:AUTH}}\" }}] }}\n\
             rules:\n  - match: {{ repository: {REPOSITORY} }}\n    convert: [{{ format: {format} }}]\n",
            machine.registry.host()
        );
        machine.write("accel.yaml", &config);
        let mut child = machine.command(&["serve", "--config", "accel.yaml"]).env("AUTH", "s3cret").spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let addr = loop {
            let line = log.next_line().await.unwrap().expect("it says where it serves");
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            if let Some(address) = line["address"].as_str() {
                break address.to_owned();
            }
        };
        Self { child, log, addr }
    }

    /// Stops it with SIGTERM; how it ended, and its log since the start.
    async fn stop(mut self) -> (ExitStatus, String) {
        let id = self.child.id().unwrap().to_string();
        finish(tokio::process::Command::new("kill").arg(&id)).await;
        let mut text = String::new();
        while let Some(line) = self.log.next_line().await.unwrap() {
            text.push_str(&line);
            text.push('\n');
        }
        (self.child.wait().await.unwrap(), text)
    }
}

async fn task(machine: &Machine, served: &Served, args: &[&str]) -> crate::machine::Ran {
    let args = [&["task", "--addr", &served.addr], args].concat();
    finish(machine.command(&args).env("ACCEL_AUTH", "s3cret")).await
}

#[tokio::test]
async fn a_task_is_created_watched_and_found_in_the_list() {
    let machine = Machine::new().await;
    two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    let served = Served::start(&machine).await;
    let created = task(&machine, &served, &["create", "--sync", &machine.image("1")]).await;
    assert_eq!(created.code, Some(0), "{created:?}");
    let id = created.stdout.trim();
    assert_eq!(differences(machine.content(), "1", "1-esgz"), Vec::<String>::new());

    let listed = task(&machine, &served, &["list"]).await;
    let rows: Vec<Vec<&str>> = listed.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((rows[1][0], rows[1][3], rows[1][4]), (id, "COMPLETED", machine.image("1").as_str()));
    let shown = task(&machine, &served, &["show", id, "--output", "json"]).await;
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!((&shown["layers_converted"], &shown["phase"]), (&Value::from(2), &Value::from("done")));
    assert_eq!(shown["target"], machine.image("1-esgz"));

    let ended = task(&machine, &served, &["cancel", id]).await;
    assert!(ended.code == Some(1) && ended.stderr.contains("409"), "{ended:?}");
    let again = task(&machine, &served, &["retry", id]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    let (ended, log) = served.stop().await;
    assert_eq!(ended.code(), Some(0), "{log}");
    assert!(!log.contains("s3cret"), "{log}");
    let checked = machine.run(&["store", "check", "accel-state"]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

/// acceld makes a Nydus image in this case and asks `nydusify` to check it.
#[tokio::test]
async fn a1_a_task_that_is_waited_for_leaves_an_image_that_passes_the_check() {
    for (format, suffix) in [("estargz", "-esgz"), ("nydus", "-nydus")] {
        let machine = Machine::new().await;
        two_layers("a").push(machine.content(), REPOSITORY, Some("latest"));
        let served = Served::making(&machine, format).await;
        let source = machine.image("latest");
        let created = task(&machine, &served, &["create", "--sync", &source]).await;
        assert_eq!(created.code, Some(0), "{created:?}");
        let target = machine.image(&format!("latest{suffix}"));
        let checked = machine.run(&["verify", &source, &target, "--plain-http", &machine.registry.host()]).await;
        assert_eq!(checked.code, Some(0), "{checked:?}");
        let (ended, log) = served.stop().await;
        assert!(ended.success() && !log.contains("\"ERROR\"") && !log.contains("panic"), "{log}");
    }
}

#[tokio::test]
async fn what_cannot_be_converted_says_why() {
    let machine = Machine::new().await;
    let served = Served::start(&machine).await;
    let missing = task(&machine, &served, &["create", "--sync", &machine.image("missing")]).await;
    assert!(missing.code == Some(1) && missing.stderr.contains("missing"), "{missing:?}");
    let other = format!("{}/other/app:1", machine.registry.host());
    let unruled = task(&machine, &served, &["create", &other]).await;
    assert!(unruled.code == Some(1) && unruled.stderr.contains("no rule"), "{unruled:?}");
    let unknown = task(&machine, &served, &["create", "elsewhere.example/team/app:1"]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    let anonymous = machine.run(&["task", "list", "--addr", &served.addr]).await;
    assert!(anonymous.code == Some(1) && anonymous.stderr.contains("ACCEL_AUTH"), "{anonymous:?}");
    assert_eq!(served.stop().await.0.code(), Some(0));
}
