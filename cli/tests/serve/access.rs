//! From the event of each kind of registry to the task list, with a secret to be known everywhere.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use accel_test_support::{Fault, FaultyRegistry, Request, Rule};

use crate::service::{Answer, PATIENCE, Service, send};
use crate::site::{Keys, REPOSITORY, Ran, Site, finish};

const SECRET: &str = "Bearer open-sesame";

async fn site() -> Site {
    let keys = Keys { registry: "webhook_auth: [{ value: \"${env:WEBHOOK_AUTH}\" }]", ..Keys::default() };
    Site::with(FaultyRegistry::start().await, keys)
}

async fn serve(site: &Site) -> Service {
    site.serve_with(&[("WEBHOOK_AUTH", SECRET)]).await
}

async fn known(request: RequestBuilder) -> Answer {
    send(request.header("authorization", SECRET)).await.unwrap()
}

async fn list(service: &Service) -> Vec<Value> {
    known(service.request(Method::GET, "/api/v1/conversions")).await.rows()
}

/// `accelctl task` with the secret in its environment.
async fn task(site: &Site, service: &Service, args: &[&str]) -> Ran {
    let args = [&["task", "--addr", &service.url], args].concat();
    finish(site.command(&args).env("ACCEL_AUTH", SECRET)).await
}

#[tokio::test]
async fn a_stranger_gets_nothing() {
    let site = site().await;
    site.image("v1", 1);
    let service = serve(&site).await;
    let requests = || {
        [
            service.event(&site.event("v1")),
            service.request(Method::GET, "/api/v1/conversions"),
            service.request(Method::DELETE, "/api/v1/conversions/00000000-0000-0000-0000-000000000000"),
        ]
    };
    for request in requests() {
        let answer = send(request).await.unwrap();
        assert!(answer.status == 401 && answer.body.contains("ERR_UNAUTHORIZED"), "{answer:?}");
    }
    for request in requests() {
        let answer = send(request.header("authorization", "Bearer guess")).await.unwrap();
        assert!(answer.status == 401 && answer.tasks.is_empty(), "{answer:?}");
    }
    assert_eq!(list(&service).await, Vec::<Value>::new());
    let said = format!("{:?}", service.log());
    assert!(!said.contains("open-sesame") && !said.contains("guess"), "{said}");
}

#[tokio::test]
async fn anybody_may_ask_how_it_is() {
    let site = site().await;
    site.image("v1", 1);
    let service = serve(&site).await;
    let created = task(&site, &service, &["create", "--sync", &site.name("v1")]).await;
    assert_eq!(created.code, Some(0), "{created:?}");
    let health = service.get("/api/v1/health").await;
    assert_eq!((health.status, health.body.as_str()), (200, "Ok"), "{health:?}");
    let metrics = service.get("/metrics").await;
    assert!(metrics.body.contains("conversion_succeed_total 1"), "{metrics:?}");
    assert!(!metrics.body.contains(REPOSITORY), "{metrics:?}");
}

#[tokio::test]
async fn events_of_every_kind_are_converted() {
    let site = site().await;
    let service = serve(&site).await;
    for (tag, layers) in [("harbor", 1), ("cloudevents", 2), ("distribution", 1)] {
        site.image(tag, layers);
    }
    let digest = |tag: &str| site.content().manifest(REPOSITORY, tag).unwrap().digest;
    let resources =
        json!([{ "digest": digest("cloudevents"), "tag": "cloudevents", "resource_url": site.name("cloudevents") }]);
    let repository = json!({ "name": "app", "namespace": "team", "repo_full_name": REPOSITORY });
    let cloudevents = json!({
        "specversion": "1.0", "id": "4b2f89a6", "source": "/projects/1/webhook/policies/3",
        "type": "harbor.artifact.pushed", "datacontenttype": "application/json", "time": "2025-08-24T01:46:40Z",
        "operator": "somebody", "data": { "resources": resources, "repository": repository },
    });
    let distribution = json!({ "events": [{
        "id": "320678d8", "timestamp": "2025-08-24T01:46:40Z", "action": "push",
        "target": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest("distribution"), "size": 1,
            "repository": REPOSITORY, "tag": "distribution",
            "url": format!("http://{}/v2/{REPOSITORY}/manifests/{}", site.registry.host(), digest("distribution")),
        },
        "request": { "host": site.registry.host(), "method": "PUT" }, "actor": {},
    }] });
    let notification = "application/vnd.docker.distribution.events.v2+json";
    let rows = [
        ("harbor", service.event(&site.event("harbor"))),
        ("cloudevents", service.event_as("application/cloudevents+json", &cloudevents)),
        ("distribution", service.event_as(notification, &distribution)),
    ];
    for (tag, request) in rows {
        let answer = known(request).await;
        assert_eq!(
            (answer.status, answer.tasks.len(), answer.body.as_str()),
            (200, 1, "\"Ok\"\n"),
            "{tag}: {answer:?}"
        );
        let sync = service.request(Method::GET, &format!("/api/v1/conversions/{}", answer.tasks[0]));
        assert!(known(sync).await.body.contains(tag));
        PATIENCE.until("it is converted", async || site.is_accelerated(tag).then_some(())).await;
        site.assert_accelerated(tag);
    }
    assert_eq!(list(&service).await.len(), 3);
}

#[tokio::test]
async fn accelctl_task_does_all_its_verbs() {
    let site = site().await;
    site.image("v1", 1);
    let service = serve(&site).await;

    let refused = site.run(&["task", "--addr", &service.url, "create", &site.name("v1")]).await;
    assert!(refused.code == Some(1) && refused.stderr.contains("ACCEL_AUTH"), "{refused:?}");

    let created = task(&site, &service, &["create", "--sync", &site.name("v1")]).await;
    assert_eq!(created.code, Some(0), "{created:?}");
    site.assert_accelerated("v1");
    let id = created.stdout.trim();
    let listed = task(&site, &service, &["list"]).await;
    assert!(listed.stdout.contains(id) && listed.stdout.contains("COMPLETED"), "{listed:?}");
    let shown = task(&site, &service, &["show", id, "--output", "json"]).await;
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["target"], format!("{}-esgz", site.name("v1")));

    let retried = task(&site, &service, &["retry", id]).await;
    assert_eq!(retried.code, Some(0), "{retried:?}");
    let again = async || list(&service).await.into_iter().find(|task| task["reason"] == "already accelerated");
    let again = PATIENCE.until("it runs again", again).await;
    assert_eq!((again["id"].as_str(), again["status"].as_str()), (Some(id), Some("COMPLETED")));
}

#[tokio::test]
async fn accelctl_task_cancels_what_runs() {
    let site = site().await;
    site.image("v1", 1);
    site.registry.rule(Rule::on(Request::BlobGet, Fault::Stalled { after: 1000 }));
    let service = serve(&site).await;
    let created = task(&site, &service, &["create", &site.name("v1")]).await;
    let id = created.stdout.trim();
    site.registry.stalled(1).await;
    let cancelled = task(&site, &service, &["cancel", id]).await;
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    let ended = async || list(&service).await.into_iter().find(|task| task["status"] == "FAILED");
    let ended = PATIENCE.until("it is cancelled", ended).await;
    assert_eq!((ended["id"].as_str(), ended["reason"].as_str()), (Some(id), Some("cancelled")));
    assert!(!site.is_accelerated("v1"));
}
