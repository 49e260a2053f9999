//! Blobs of a chunk dictionary that are lost, damaged or out of reach while an image that refers to them is pushed.

use accel_domain::task::State;
use accel_test_support::{Fault, Request, Rule};

use crate::dictionary::{BASE, assert_has_its_blobs, convert, output_with, with_dictionary_elsewhere};
use crate::nydus::assert_verified;
use crate::stage::APP;

#[tokio::test]
async fn what_fails_with_a_blob_of_the_dictionary_names_both() {
    let faults = [
        (Request::BlobGet, Fault::status(404)),
        (Request::BlobGet, Fault::WrongBytes),
        (Request::UploadPut, Fault::status(403)),
    ];
    for (request, fault) in faults {
        let (stage, other, base, output) = with_dictionary_elsewhere().await;
        let blob = base.layers[0].digest;
        let registry = if request == Request::BlobGet { &other } else { &stage.registry };
        registry.rule(Rule::on(request, fault.clone()).path(blob.hex()));
        let task = convert(&stage, "1-nydus", output).await;
        let of_blob = format!("/{BASE}@{}, blob {blob}: ", other.content().manifest(BASE, "1").unwrap().digest);
        assert_eq!(task.state, State::Failed, "{request:?} {fault:?}");
        let named = task.reason.starts_with("chunk dictionary ") && task.reason.contains(&of_blob);
        assert!(named, "{request:?} {fault:?}: {}", task.reason);
    }
}

#[tokio::test]
async fn a_blob_of_the_dictionary_that_was_lost_is_brought_again_and_no_layer_is_done_again() {
    // Asked again, the registry says what is true, or what it said before.
    for (elsewhere, lies) in [(false, false), (false, true), (true, false), (true, true)] {
        let (stage, _other, base, output) = with_dictionary_elsewhere().await;
        let output = if elsewhere { output } else { output_with(&stage, "base/dictionary:1") };
        let blob = &base.layers[0];
        stage
            .registry
            .rule(Rule::on(Request::ManifestPut, Fault::BlobGone(blob.digest)).path("/manifests/sha256:").once());
        if lies {
            let says = Fault::answers(200, &[("content-length", &blob.size.to_string())], "");
            stage.registry.rule(Rule::on(Request::BlobHead, says).path(format!("{APP}/blobs/{}", blob.digest)));
        }
        stage.registry.forget_requests();
        let task = convert(&stage, "1-nydus", output).await;
        let what = format!("elsewhere: {elsewhere}, lies: {lies}");
        assert_eq!((task.state, task.reason.as_str(), task.work.attempts), (State::Completed, "", 0), "{what}");
        let reads = stage.registry.requests_of(Request::BlobGet);
        let source = stage.manifest(APP, "1").layers;
        for layer in &source {
            let of_layer = reads.iter().filter(|seen| seen.path.contains(&layer.digest.to_string()));
            assert_eq!(of_layer.count(), 1, "{what}: {}", layer.digest);
        }
        stage.registry.clear_rules();
        assert_has_its_blobs(&stage, "1-nydus");
        assert_verified(&stage, "1", (APP, "1-nydus")).await;
    }
}

#[tokio::test]
async fn a_layer_that_was_lost_is_done_again_though_the_dictionary_has_lost_its_blob() {
    let (stage, other, base, output) = with_dictionary_elsewhere().await;
    assert_eq!(convert(&stage, "first", output.clone()).await.state, State::Completed);
    let lost = stage.manifest(APP, "first").layers[0].digest;
    stage.registry.rule(Rule::on(Request::ManifestPut, Fault::BlobGone(lost)).path("/manifests/sha256:").once());
    other.content().remove_blob(BASE, base.layers[0].digest);
    let task = convert(&stage, "1-nydus", output).await;
    assert_eq!((task.state, task.reason.as_str(), task.work.attempts), (State::Completed, "", 0));
    assert_eq!((task.progress.layers_converted, task.progress.layers_reused), (3, 0), "no record is believed any more");
    assert_has_its_blobs(&stage, "1-nydus");
    assert_verified(&stage, "1", (APP, "1-nydus")).await;
}

#[tokio::test]
async fn a_dictionary_that_is_out_of_reach_for_a_while_is_waited_for_and_no_layer_is_done_again() {
    let (stage, other, base, output) = with_dictionary_elsewhere().await;
    let blob = base.layers[0].digest;
    stage.registry.rule(Rule::on(Request::ManifestPut, Fault::BlobGone(blob)).path("/manifests/sha256:").once());
    other.rule(Rule::on(Request::BlobGet, Fault::retry_after(429, "120")).path(blob.hex()).nth(2));
    stage.registry.forget_requests();
    let task = convert(&stage, "1-nydus", output).await;
    assert_eq!((task.state, task.reason.as_str(), task.work.attempts), (State::Completed, "", 0));
    assert!(other.requests_of(Request::BlobGet).iter().any(|seen| seen.status == Some(429)));
    let reads = stage.registry.requests_of(Request::BlobGet);
    for layer in stage.manifest(APP, "1").layers {
        assert_eq!(reads.iter().filter(|seen| seen.path.contains(&layer.digest.to_string())).count(), 1);
    }
    assert_verified(&stage, "1", (APP, "1-nydus")).await;
}

#[tokio::test]
async fn a_blob_that_nobody_has_any_more_is_named() {
    let (stage, other, base, output) = with_dictionary_elsewhere().await;
    let blob = &base.layers[0];
    let says = Fault::answers(200, &[("content-length", &blob.size.to_string())], "");
    stage.registry.rule(Rule::on(Request::BlobHead, says).path(format!("{APP}/blobs/{}", blob.digest)));
    other.content().remove_blob(BASE, blob.digest);
    let task = convert(&stage, "1-nydus", output).await;
    assert_eq!((task.state, task.work.attempts), (State::Failed, 0));
    let named = task.reason.starts_with("chunk dictionary ") && task.reason.contains(&blob.digest.to_string());
    assert!(named, "{}", task.reason);
}
