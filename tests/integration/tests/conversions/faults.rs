//! Registries that fail and recover.

use std::time::Duration;

use accel_domain::Timestamp;
use accel_domain::task::State;
use accel_registry_server::{Auth, Registry, Scheme};
use accel_test_support::{Fault, FaultyRegistry, ImageBuilder, Request, Rule};

use crate::interruptions::hanging;
use crate::picture::{image, large, small};
use crate::stage::{APP, Stage};

/// An image whose first layer needs several requests to be uploaded.
fn push_large(stage: &Stage) {
    ImageBuilder::new().layer(&large(1)).layer(&small(2)).push(stage.content(), APP, Some("1"));
}

#[tokio::test]
async fn c19_a_fault_in_the_middle_is_overcome_in_place() {
    let rows = [
        Rule::on(Request::ManifestGet, Fault::status(503)).once(),
        Rule::on(Request::ManifestHead, Fault::Reset).times(2),
        Rule::on(Request::BlobGet, Fault::status(500)).times(2),
        Rule::on(Request::BlobGet, Fault::Reset).once(),
        Rule::on(Request::BlobGet, Fault::retry_after(429, "0")).times(3),
        Rule::on(Request::BlobGet, Fault::ResetInBody { after: 3 << 20 }).times(2),
        Rule::on(Request::BlobGet, Fault::ClosedInBody { after: 1000 }).times(3),
        Rule::on(Request::BlobGet, Fault::WrongBytes).path("sha256").nth(2),
        Rule::on(Request::UploadStart, Fault::status(502)).once(),
        Rule::on(Request::UploadPatch, Fault::Reset).nth(2),
        Rule::on(Request::UploadPatch, Fault::ResetInUpload { after: 1 << 20 }).nth(2),
        Rule::on(Request::UploadPatch, Fault::AnswerLost).nth(2),
        Rule::on(Request::UploadPatch, Fault::KeepsPart { bytes: 999, status: 202 }).nth(1),
        Rule::on(Request::UploadPatch, Fault::status(504)).times(2),
        Rule::on(Request::UploadPatch, Fault::retry_after(429, "0")).times(2),
        Rule::on(Request::UploadPatch, Fault::SessionLost).nth(2),
        Rule::on(Request::UploadPut, Fault::AnswerLost).once(),
        Rule::on(Request::UploadPut, Fault::status(500)).once(),
        Rule::on(Request::ManifestPut, Fault::status(502)).once(),
        Rule::on(Request::ManifestPut, Fault::AnswerLost).once(),
    ];
    for rule in rows {
        let stage = Stage::new().await;
        push_large(&stage);
        let said = format!("{rule:?}");
        stage.registry.rule(rule);
        let task = stage.run(stage.task()).await;
        assert_eq!((task.state, task.work.attempts, task.reason.as_str()), (State::Completed, 0, ""), "{said}");
        assert!(stage.registry.requests().iter().any(|seen| seen.fault.is_some()), "{said} was played");
        stage.assert_same_files(APP, "1", "1-esgz");
        assert_eq!(stage.content().uploads_open(), 0, "{said}");
    }
}

#[tokio::test]
async fn c19_a_token_that_expires_in_the_middle_of_an_upload_is_fetched_anew() {
    let bearer = Scheme::Bearer { token_ttl: Duration::from_secs(300) };
    for (request, nth) in [(Request::UploadPatch, 2), (Request::UploadPut, 1), (Request::ManifestPut, 1)] {
        let registry = Registry::default().with_auth(Auth::new("robot$accel", "secret", bearer));
        let stage = Stage::on(FaultyRegistry::serve(registry).await).with_login("robot$accel", "secret");
        push_large(&stage);
        stage.registry.rule(Rule::on(request, Fault::TokenExpired).nth(nth));
        let task = stage.run(stage.task()).await;
        assert_eq!((task.state, task.work.attempts), (State::Completed, 0), "{request:?}: {}", task.reason);
        assert!(stage.count(Request::Token) >= 2, "{request:?}");
        stage.assert_same_files(APP, "1", "1-esgz");
    }
}

#[tokio::test]
async fn c19_a_longer_outage_costs_an_attempt_and_no_finished_layer() {
    let stage = Stage::new().await;
    let (_, running) = hanging(&stage).await;
    stage.registry.rule(Rule::on(Request::UploadPut, Fault::status(503)).times(5));
    stage.registry.release();
    running.await.unwrap();
    let id = stage.tasks().await[0].id.clone();
    let waiting = stage.get(&id).await;
    assert_eq!((waiting.state, waiting.work.attempts), (State::Queued, 1));
    assert!(
        waiting.reason.contains("503") && waiting.work.not_before.unwrap() > Timestamp::now(),
        "{}",
        waiting.reason
    );
    let task = stage.finish(&id).await;
    assert_eq!((task.state, task.work.attempts, task.reason.as_str()), (State::Completed, 1, ""));
    assert_eq!((task.progress.layers_converted, task.progress.layers_reused), (1, 1));
    stage.assert_same_files(APP, "1", "1-esgz");
}

#[tokio::test]
async fn c19_an_outage_without_end_fails_with_the_last_reason() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    stage.registry.rule(Rule::on(Request::BlobGet, Fault::status(503)));
    let task = stage.run(stage.task()).await;
    assert_eq!((task.state, task.work.attempts), (State::Failed, 5));
    assert!(task.reason.contains("503"), "{}", task.reason);
    assert_eq!(stage.count(Request::BlobGet), 5 * 5, "five attempts of five tries each");
    assert_eq!(stage.content().tags(APP), ["1"]);
}

#[tokio::test]
async fn c19_a_registry_that_wants_a_pause_gets_it_and_no_attempt_is_used() {
    let rows = [
        (Fault::retry_after(429, "120"), 1..=120, "429"),
        (Fault::refusal(412, "PROJECTPOLICYVIOLATION"), 1..=120, "scanned"),
    ];
    for (fault, seconds, word) in rows {
        let stage = Stage::new().await;
        image().push(stage.content(), APP, Some("1"));
        stage.registry.rule(Rule::on(Request::ManifestGet, fault).once());
        let id = stage.admit(&stage.task()).await;
        stage.settle_all(&stage.converter()).await;
        let waiting = stage.get(&id).await;
        assert_eq!((waiting.state, waiting.work.attempts), (State::Queued, 0), "{}", waiting.reason);
        let pause = waiting.work.not_before.unwrap().duration_since(Timestamp::now()).as_secs();
        assert!(seconds.contains(&pause), "{pause}");
        assert!(waiting.reason.contains(word), "{}", waiting.reason);
        assert_eq!(stage.finish(&id).await.state, State::Completed);
        stage.assert_same_files(APP, "1", "1-esgz");
    }
}

#[tokio::test]
async fn c22_a_registry_that_is_not_reached_over_tls_is_never_asked_in_plain_http() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let first_bytes = tokio::spawn(async move {
        let (mut kept, mut bytes) = (Vec::new(), Vec::new());
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut first = [0; 1];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut first).await.unwrap();
            bytes.push(first[0]);
            kept.push(stream);
            if bytes.len() == 2 {
                break;
            }
        }
        bytes
    });
    let converter = stage.converter_over_tls(&[stage.registry.host(), silent.to_string()]);
    let mut silent_task = stage.task();
    silent_task.source = format!("{silent}/library/app:1").parse().unwrap();
    silent_task.target = format!("{silent}/library/app:1-esgz").parse().unwrap();
    for task in [stage.task(), silent_task] {
        let id = stage.admit(&task).await;
        stage.settle_all(&converter).await;
        let task = stage.get(&id).await;
        assert_ne!(task.state, State::Completed);
        assert!(!task.reason.is_empty());
    }
    let first_bytes = tokio::time::timeout(Duration::from_secs(30), first_bytes).await.expect("it was asked twice");
    assert_eq!(first_bytes.unwrap(), [0x16, 0x16], "a TLS handshake each time");
    assert_eq!(stage.registry.requests(), []);
}
