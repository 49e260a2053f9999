//! SIGTERM and SIGINT: what runs may finish within its time, or goes on after the next start.

use accel_test_support::{Fault, Request, Rule};

use reqwest::Method;
use serde_json::json;

use crate::service::{PATIENCE, Service, Signal, send};
use crate::site::{Keys, Site};

const SIGNALS: [Signal; 2] = [Signal::Terminate, Signal::Interrupt];

/// A service in the middle of a layer, and its task.
async fn in_the_middle(site: &Site) -> (Service, String) {
    site.image("v1", 2);
    site.registry.rule(Rule::on(Request::BlobGet, Fault::Stalled { after: 1000 }));
    let service = site.serve().await;
    let id = service.push(site, "v1").await;
    site.registry.stalled(1).await;
    (service, id)
}

#[tokio::test]
async fn what_runs_may_finish() {
    for signal in SIGNALS {
        let site = Site::new().await;
        let (mut service, id) = in_the_middle(&site).await;
        service.signal(signal);
        service.logged("stopping").await;
        PATIENCE.until("new connections are refused", async || (!service.listens().await).then_some(())).await;
        site.registry.release();
        assert_eq!(service.exit_code().await, Some(0), "{signal:?}: {:#?}", service.log());
        let ended = service.logged("task ended").await;
        assert_eq!((&ended["task.id"], &ended["status"]), (&json!(id), &json!("COMPLETED")), "the API's word");
        site.assert_accelerated("v1");

        let again = site.serve().await;
        let task = again.completed(&id).await;
        assert_eq!(task["attempts"], 0, "{task}");
    }
}

#[tokio::test]
async fn who_waits_for_a_conversion_that_may_finish_is_answered() {
    let site = Site::new().await;
    site.image("v1", 2);
    site.registry.rule(Rule::on(Request::BlobGet, Fault::Stalled { after: 1000 }));
    let mut service = site.serve().await;
    let waiting = service.request(Method::POST, "/api/v1/conversions?sync=true");
    let waiting = waiting.header("content-type", "application/json").body(site.event("v1").to_string());
    let waiting = tokio::spawn(send(waiting));
    site.registry.stalled(1).await;
    service.signal(Signal::Terminate);
    service.logged("stopping").await;
    site.registry.release();
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "\"Ok\"\n"), "{answer:?}");
    assert_eq!(service.exit_code().await, Some(0));
}

#[tokio::test]
async fn what_cannot_finish_is_handed_back() {
    for signal in SIGNALS {
        let site = Site::new().await;
        site.configure(Keys { server: "shutdown_grace: 0s", ..Keys::default() });
        let (mut service, id) = in_the_middle(&site).await;
        service.signal(signal);
        assert_eq!(service.exit_code().await, Some(0), "{signal:?}: {:#?}", service.log());
        assert!(!site.is_accelerated("v1"));

        site.registry.clear_rules();
        let again = site.serve().await;
        let task = again.completed(&id).await;
        assert_eq!(task["attempts"], 0, "{task}");
        site.assert_accelerated("v1");
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let site = Site::new().await;
    let (mut service, _) = in_the_middle(&site).await;
    service.signal(Signal::Interrupt);
    service.logged("stopping").await;
    service.signal(Signal::Interrupt);
    assert_eq!(service.exit_code().await, Some(130));
}

#[tokio::test]
async fn an_idle_service_ends_at_once_and_says_so() {
    let site = Site::new().await;
    let mut service = site.serve().await;
    service.signal(Signal::Terminate);
    assert_eq!(service.exit_code().await, Some(0));
    service.logged("stopped").await;
}
