//! `accelctl config`.

use serde_json::{Value, json};

use crate::machine::Machine;

#[tokio::test]
async fn check_prints_every_fault_with_its_place() {
    let machine = Machine::new().await;
    machine.write("bad.yaml", "server:\n  workerz: 3\n  workers: many\nregistries: {}\n");
    let ran = machine.run(&["config", "check", "bad.yaml"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{ran:?}");
    assert!(lines[0].starts_with("bad.yaml:2:3: server.workerz: ") && lines[0].contains("workers"), "{ran:?}");
    assert!(lines[1].starts_with("bad.yaml:3:3: server.workers: "), "{ran:?}");
    assert!(ran.stderr.is_empty(), "{ran:?}");
}

#[tokio::test]
async fn check_answers_programs_in_one_shape() {
    let machine = Machine::new().await;
    machine.write("bad.yaml", "server:\n  workerz: 3\nregistries: {}\n");
    machine.write("open.yaml", "registries:\n  h.example: { username: u, password: hunter2 }\n");
    let check = async |file: &str, code: i32| -> Value {
        let ran = machine.run(&["config", "check", file, "--output", "json"]).await;
        assert!(ran.code == Some(code) && ran.stderr.is_empty() && !ran.stdout.contains("hunter2"), "{ran:?}");
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let (bad, open) = (check("bad.yaml", 1).await, check("open.yaml", 0).await);
    assert!(bad.as_object().unwrap().keys().eq(open.as_object().unwrap().keys()), "{bad} {open}");
    let fault = &bad["faults"][0];
    assert_eq!((&bad["ok"], &fault["line"], &fault["key"]), (&json!(false), &json!(2), &json!("server.workerz")));
    assert!(fault["message"].as_str().unwrap().contains("workers") && bad["faults"][1].is_null(), "{bad}");
    assert_eq!((&open["ok"], &open["faults"], &open["registries"]), (&json!(true), &json!([]), &json!(1)));
    assert_eq!(open["warnings"].as_array().unwrap().len(), 3, "{open}");
}

#[tokio::test]
async fn check_warns_and_says_that_all_is_well() {
    let machine = Machine::new().await;
    machine.write("open.yaml", "registries:\n  h.example: { username: u, password: hunter2 }\n");
    let ran = machine.run(&["config", "check", "open.yaml"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for expected in ["webhook_auth", "password", "no rules", "no faults; registries: 1, rules: 0"] {
        assert!(ran.stdout.contains(expected), "{expected}: {ran:?}");
    }
    assert!(!ran.stdout.contains("hunter2"), "{ran:?}");
    let ran = machine.run(&["config", "check", "missing.yaml"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("missing.yaml"), "{ran:?}");
}

#[tokio::test]
async fn what_migrate_writes_passes_the_check() {
    let machine = Machine::new().await;
    machine.write("acceld.yaml", ACCELD);
    let ran = machine.run(&["config", "migrate", "acceld.yaml", "-o", "accel.yaml"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.is_empty() && ran.stderr.contains("work_dir"), "{ran:?}");
    let checked = machine.run(&["config", "check", "accel.yaml"]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let again = machine.run(&["config", "migrate", "acceld.yaml", "-o", "accel.yaml"]).await;
    assert!(again.code == Some(1) && again.stderr.contains("accel.yaml"), "what is there stays: {again:?}");
    let printed = machine.run(&["config", "migrate", "acceld.yaml"]).await;
    assert_eq!(printed.stdout, std::fs::read_to_string(machine.path("accel.yaml")).unwrap());
}

#[tokio::test]
async fn schema_and_documentation_know_every_section() {
    let machine = Machine::new().await;
    let schema: Value = serde_json::from_str(&machine.run(&["config", "schema"]).await.stdout).unwrap();
    let docs = machine.run(&["config", "docs"]).await.stdout;
    for section in ["server", "tasks", "registries", "rules"] {
        assert!(schema["properties"][section].is_object(), "{section}");
        assert!(docs.contains(section), "{section}");
    }
}

const ACCELD: &str = "
server:
  name: API
  host: 0.0.0.0
  port: 2077
metric:
  enabled: true
provider:
  source:
    hub.harbor.com:
      auth: cm9ib3Q6cGFzcw==
      insecure: false
      webhook:
        auth_header: header
  work_dir: /tmp
  gcpolicy:
    threshold: 1000MB
converter:
  worker: 5
  platforms: linux/amd64
  driver:
    type: estargz
    config:
      docker2oci: true
  rules:
    - tag_suffix: -esgz
";
