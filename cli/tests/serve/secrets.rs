//! Secrets are planted wherever Accel takes one, and everything that comes out is searched for them: logs at the lowest
//! level, task reasons, answers, metrics, the store's file, the output of commands that fail.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use accel_registry_server::{Auth, Content, Registry, Scheme};
use accel_test_support::FaultyRegistry;
use axum::Json;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::json;
use tokio::net::TcpListener;

use crate::service::{PATIENCE, Service, send};
use crate::site::{Keys, REPOSITORY, Ran, Site, finish};

/// All of them have this in them.
const MARK: &str = "s3cret";
const USER: &str = "robot$accel";
const PASSWORD: &str = "reg1stry-s3cret";
const WEBHOOK: &str = "Bearer w3bhook-s3cret";
const ADMIN: &str = "Bearer adm1n-s3cret";
/// It stands in the configuration itself.
const LITERAL: &str = "Bearer l1teral-s3cret";
const PROXY: &str = "http://user:pr0xy-s3cret@127.0.0.1:9";
/// What a stranger tries.
const GUESS: &str = "Bearer gu3ssed-s3cret";
const TOKEN: &str = "t0ken-s3cret";

/// A registry that gives a token for the login, and refuses it, and says what it was sent.
async fn talkative() -> SocketAddr {
    async fn answer(request: Request) -> Response {
        let sent = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        let host = request.headers()["host"].to_str().unwrap();
        match (request.uri().path(), sent) {
            ("/token", _) => Json(json!({"token": TOKEN})).into_response(),
            (_, None) => {
                let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"registry\"");
                (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, challenge)]).into_response()
            }
            (_, Some(sent)) => {
                let message = format!("{sent} may not do this");
                (StatusCode::FORBIDDEN, Json(json!({"errors": [{"code": "DENIED", "message": message}]})))
                    .into_response()
            }
        }
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await.unwrap() });
    addr
}

/// In clear, and as headers carry it.
fn assert_silent(what: &str, said: &str) {
    let carried = [PASSWORD, "wr0ng-s3cret"].map(|password| STANDARD.encode(format!("{USER}:{password}")));
    let proxy = STANDARD.encode("user:pr0xy-s3cret");
    for secret in [MARK, &carried[0][8..], &carried[1][8..], &proxy[8..]] {
        if let Some(at) = said.find(secret) {
            let near: String = said[..at].chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect();
            panic!("{what} holds {secret} after: {near}");
        }
    }
}

async fn site() -> (Site, SocketAddr) {
    let auth = Auth::new(USER, PASSWORD, Scheme::Basic);
    let site =
        Site::with(FaultyRegistry::serve(Registry::new(Content::default()).with_auth(auth)).await, Keys::default());
    let talkative = talkative().await;
    let (host, state) = (site.registry.host(), site.path("state"));
    site.write("password", PASSWORD);
    site.write("admin", ADMIN);
    let text = format!(
        "server: {{ listen: \"127.0.0.1:0\", state: {state:?}, log: {{ format: json, level: trace }}, \
         admin_auth: \"${{file:admin}}\" }}\n\
         tasks: {{ attempts: 1 }}\n\
         registries:\n  \
           \"{host}\": {{ plain_http: true, username: {USER}, password: \"${{file:password}}\", \
             webhook_auth: [{{ value: \"${{env:WEBHOOK_AUTH}}\" }}] }}\n  \
           \"{talkative}\": {{ plain_http: true, username: {USER}, password: \"${{file:password}}\", \
             webhook_auth: [{{ value: \"{LITERAL}\" }}] }}\n  \
           far.example: {{ proxy: \"${{env:PROXY}}\", webhook_auth: [{{ value: \"${{env:WEBHOOK_AUTH}}\" }}] }}\n\
         rules:\n  - convert: [{{ format: estargz }}]\n"
    );
    site.write("accel.yaml", &text);
    (site, talkative)
}

/// Makes a task of `image` and waits for its end; what the API says of it.
async fn tried(service: &Service, header: &str, image: &str) -> String {
    let event = json!({"type": "PUSH_ARTIFACT", "event_data": {"resources": [{"resource_url": image}]}});
    let answer = send(service.event(&event).header("authorization", header)).await.unwrap();
    assert_eq!((answer.status, answer.tasks.len()), (200, 1), "{answer:?}");
    let path = format!("/api/v1/conversions/{}", answer.tasks[0]);
    PATIENCE
        .until("it ends", async || {
            let task = send(service.request(Method::GET, &path).header("authorization", ADMIN)).await.unwrap();
            Some(task.body).filter(|body| !body.contains("PROCESSING"))
        })
        .await
}

#[tokio::test]
async fn a_service_says_no_secret_anywhere() {
    let (site, talkative) = site().await;
    site.image("v1", 1);
    let service = site.serve_with(&[("WEBHOOK_AUTH", WEBHOOK), ("PROXY", PROXY)]).await;

    let rows = [
        (WEBHOOK, site.name("v1"), "COMPLETED"),
        (WEBHOOK, site.name("gone"), "FAILED"),
        (LITERAL, format!("{talkative}/team/app:1"), "FAILED"),
        (WEBHOOK, "far.example/team/app:1".to_owned(), "FAILED"),
    ];
    for (header, image, status) in rows {
        let task = tried(&service, header, &image).await;
        assert!(task.contains(status), "{task}");
        assert_silent("a task", &task);
    }
    let digest = site.content().manifest(REPOSITORY, "v1").unwrap().digest;
    let by_digest = format!("{}/{REPOSITORY}@{digest}", site.registry.host());
    let event = json!({"type": "PUSH_ARTIFACT", "event_data": {"resources": [{"resource_url": by_digest}]}});
    let answer = send(service.event(&event).header("authorization", WEBHOOK)).await.unwrap();
    assert_eq!((answer.status, answer.tasks.len()), (200, 0), "it is noted at a low level: {answer:?}");
    site.write("password", "wr0ng-s3cret");
    site.registry.registry().change_password("another");
    let task = tried(&service, WEBHOOK, &site.name("v2")).await;
    assert!(task.contains("FAILED") && task.contains("401"), "the registry has refused the password: {task}");
    assert_silent("a task", &task);
    for refused in [
        service.request(Method::GET, "/api/v1/conversions").header("authorization", GUESS),
        service
            .event(&json!({"type": "PUSH_ARTIFACT", "event_data": {"resources": [
            {"resource_url": format!("user:us3r-s3cret@{}", site.name("v1"))}]}}))
            .header("authorization", WEBHOOK),
        service.event(&json!({"authorization": "b0dy-s3cret", "type": 7})).header("authorization", WEBHOOK),
        service.request(Method::GET, "/api/v1/conversions?cursor=cur-s3cret").header("authorization", ADMIN),
    ] {
        let answer = send(refused).await.unwrap();
        assert!((400..500).contains(&answer.status), "{answer:?}");
        assert_silent("a refusal", &answer.body);
    }
    for path in ["/api/v1/conversions", "/metrics", "/api/v1/health"] {
        let answer = send(service.request(Method::GET, path).header("authorization", ADMIN)).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_silent(path, &answer.body);
    }
    let lines = service.stop().await;
    assert!(lines.iter().any(|line| line["level"] == "DEBUG"), "nothing is logged at any lower level");
    let log = serde_json::to_string(&lines).unwrap();
    assert!(log.contains("far.example") && log.contains("team/app:gone"), "the log tells of all that failed: {log}");
    assert_silent("the log", &log);
    let files = std::fs::read_dir(site.path("state")).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let store = files.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect::<Vec<_>>().concat();
    assert!(store.contains("team/app:gone"), "the store is in {} bytes", store.len());
    assert_silent("the store", &store);
}

#[tokio::test]
async fn commands_say_no_secret() {
    let (site, talkative) = site().await;
    site.image("v1", 1);
    let (host, image) = (site.registry.host(), site.name("v1"));
    let refused = format!("{talkative}/team/app:1");
    let (talkative, environment) = (talkative.to_string(), [("WEBHOOK_AUTH", WEBHOOK), ("PROXY", PROXY)]);
    let run = async |args: &[&str], docker: &str| -> Ran {
        finish(site.command(args).envs(environment).env("DOCKER_CONFIG", site.path(docker))).await
    };
    for (directory, password) in [("right", PASSWORD), ("wrong", "wr0ng-s3cret")] {
        write_docker(&site.path(directory), &[&host, &talkative], password);
    }
    std::fs::create_dir(site.path("broken")).unwrap();
    site.write("broken/config.json", &format!("{{\"auths\": {{\"{host}\": {{\"auth\": [\"d0cker-s3cret\"]}}}}}}"));
    let plain = ["--plain-http", &host];
    let rows: [(&[&str], &str, i32); 11] = [
        (&[&["convert", &image][..], &plain].concat(), "right", 0),
        (&[&["convert", &image, "--no-cache"][..], &plain].concat(), "wrong", 1),
        (&[&["convert", &image][..], &plain].concat(), "broken", 1),
        (&[&["inspect", &image][..], &plain].concat(), "wrong", 1),
        (&[&["verify", &image, &image][..], &plain].concat(), "wrong", 1),
        (&["convert", &refused, "--plain-http", &talkative], "right", 1),
        (&["convert", "far.example/team/app:1", "--proxy", PROXY], "right", 3),
        (&["convert", "far.example/team/app:1", "--config", "accel.yaml"], "right", 3),
        (&["config", "check", "accel.yaml"], "right", 0),
        (&["task", "list", "--addr", "127.0.0.1:9"], "right", 3),
        (&["serve", "--config", "accel.yaml", "--listen", &host], "right", 1),
    ];
    for (args, docker, code) in rows {
        let ran = run(args, docker).await;
        assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
        assert_silent(&format!("{args:?}"), &format!("{}{}", ran.stdout, ran.stderr));
    }
    assert!(site.content().manifest(REPOSITORY, "v1-esgz").is_some());
}

/// docker's logins, as `docker login` writes them.
fn write_docker(directory: &Path, hosts: &[&str], password: &str) {
    std::fs::create_dir(directory).unwrap();
    let auth = STANDARD.encode(format!("{USER}:{password}"));
    let auths: serde_json::Map<_, _> = hosts.iter().map(|host| ((*host).to_owned(), json!({"auth": auth}))).collect();
    std::fs::write(directory.join("config.json"), json!({"auths": auths}).to_string()).unwrap();
}
