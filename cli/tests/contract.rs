//! `accelctl serve` answers as every front door of Accel does.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not get what it expects")]

use std::process::Stdio;

use accel_cloud_tests::{Key, Nowhere, Target, cases};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

fn variable(key: Key) -> String {
    format!("ACCEL_TEST_{}", key.name().to_uppercase())
}

/// A service with the configuration of the cases, and where it serves.
async fn serve(directory: &std::path::Path, configuration: &str) -> (Child, String) {
    std::fs::write(directory.join("accel.yaml"), configuration).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_accelctl"))
        .args(["serve", "--config", "accel.yaml"])
        .current_dir(directory)
        .env_clear()
        .envs(Key::ALL.map(|key| (variable(key), key.value())))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        let entry: Value = serde_json::from_str(&line).unwrap_or_default();
        if entry["message"] == "serving" {
            let url = entry["address"].as_str().unwrap().to_owned();
            tokio::spawn(async move { while lines.next_line().await.is_ok_and(|line| line.is_some()) {} });
            return (child, url);
        }
        said.push(line);
    }
    panic!("it does not serve: {said:#?}");
}

#[tokio::test]
async fn every_case_of_the_http_api_holds() {
    let (directory, registry) = (tempfile::tempdir().unwrap(), Target::start_registry().await);
    let server = "listen: \"127.0.0.1:0\", state: state, log: { format: json }, workers: 8";
    let reference = |key| format!("${{env:{}}}", variable(key));
    let configuration = Target::configuration(&registry, reference, server, "");
    let (_child, url) = serve(directory.path(), &configuration).await;
    cases::run(Target::new(url, registry, Nowhere::Accel)).await;
}
