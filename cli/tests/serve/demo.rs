//! `accelctl serve --demo`, as a newcomer starts it.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use crate::service::client;
use crate::site::Site;

const PATIENCE: Duration = Duration::from_secs(120);

async fn fetched(url: &str) -> serde_json::Value {
    let accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*";
    let answer = client(None).get(url).header("accept", accept).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{url}");
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn the_demo_converts_an_image_says_where_to_look_and_leaves_nothing() {
    let site = Site::new().await;
    let before = left(&site);
    let mut command = site.command(&["serve", "--demo", "--listen", "127.0.0.1:0"]);
    // The demo talks to itself, whatever the machine's proxy is.
    let mut child =
        command.env("http_proxy", "http://127.0.0.1:1").env("HTTP_PROXY", "http://127.0.0.1:1").spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = String::new();
    let telling = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            said.push_str(&line);
            said.push('\n');
            if line.starts_with("Ctrl-C") {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, telling).await.unwrap();
    let after = |mark: &str| said.lines().find_map(|line| line.split_once(mark)).map(|(_, rest)| rest.to_owned());
    let Some(list) = after("The task list: ") else {
        let mut error = String::new();
        child.stderr.take().unwrap().read_to_string(&mut error).await.unwrap();
        panic!("{said}{error}");
    };
    let tasks = fetched(&list).await;
    assert_eq!((&tasks[0]["status"], tasks.as_array().map(Vec::len)), (&"COMPLETED".into(), Some(1)), "{tasks}");
    assert!(said.contains(tasks[0]["target"].as_str().unwrap()), "{said}");
    let (host, rest) = tasks[0]["target"].as_str().unwrap().split_once('/').unwrap();
    let (repository, tag) = rest.rsplit_once(':').unwrap();
    let made = fetched(&format!("http://{host}/v2/{repository}/manifests/{tag}")).await;
    assert!(made.to_string().contains("toc.digest"), "{made}");

    let process = child.id().unwrap().to_string();
    let sent = std::process::Command::new("sh").args(["-c", "kill -s INT \"$0\"", &process]).status();
    assert!(sent.unwrap().success());
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0));
    assert_eq!(left(&site), before);
}

/// What lies in the site's directory, which is also where temporary files go.
fn left(site: &Site) -> Vec<std::path::PathBuf> {
    let mut names: Vec<_> = std::fs::read_dir(site.path("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}
