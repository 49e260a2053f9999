//! Images that cannot be converted: FAILED once, with a reason that a person understands, and nothing left behind.

use accel_domain::task::State;
use accel_image::{Digest, media_type};
use accel_registry_server::{Auth, Registry, Scheme};
use accel_test_support::image::{Compression, Dialect, Layer};
use accel_test_support::{Fault, FaultyRegistry, ImageBuilder, Request, Rule, compress};
use std::time::Duration;

use crate::picture::{image, large, small};
use crate::stage::{APP, Stage};

/// Runs the task of [`Stage::task`], which has to fail at its first attempt with all of `words` in its reason.
async fn fails(stage: &Stage, words: &[&str]) {
    let tags = stage.content().tags(APP);
    let task = stage.run(stage.task()).await;
    assert_eq!((task.state, task.work.attempts), (State::Failed, 0), "{}", task.reason);
    assert!(words.iter().all(|word| task.reason.contains(word)), "{}: {words:?}", task.reason);
    assert_eq!((stage.content().tags(APP), stage.content().uploads_open()), (tags, 0));
    stage.registry.forget_requests();
    stage.pass_time().await;
    stage.settle_all(&stage.converter()).await;
    assert_eq!(stage.registry.requests().len(), 0, "it is not tried again");
}

#[tokio::test]
async fn c20_a_manifest_that_is_not_there() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    let digest = stage.task().digest.unwrap();
    stage.registry.rule(Rule::on(Request::ManifestGet, Fault::status(404)).path(digest));
    fails(&stage, &["404", APP, &digest.to_string()]).await;
    let unresolved = stage.run(stage.unresolved("library/app:nothing")).await;
    assert_eq!((unresolved.state, unresolved.work.attempts), (State::Failed, 0));
    assert!(unresolved.reason.contains("library/app:nothing does not exist"), "{}", unresolved.reason);
}

#[tokio::test]
async fn c20_a_login_that_is_not_accepted() {
    for scheme in [Scheme::Basic, Scheme::Bearer { token_ttl: Duration::from_secs(300) }] {
        let registry = Registry::default().with_auth(Auth::new("robot$accel", "right", scheme));
        let stage = Stage::on(FaultyRegistry::serve(registry).await).with_login("robot$accel", "wrong");
        image().push(stage.content(), APP, Some("1"));
        fails(&stage, &["401", "login is not accepted"]).await;
    }
}

#[tokio::test]
async fn c20_schema_1_is_refused_by_name() {
    let stage = Stage::new().await;
    let manifest = r#"{"schemaVersion":1,"name":"library/app","tag":"1","fsLayers":[],"history":[],"signatures":[]}"#;
    stage.content().put_manifest(APP, "1", "application/vnd.docker.distribution.manifest.v1+prettyjws", manifest);
    fails(&stage, &["schema 1"]).await;
}

#[tokio::test]
async fn c20_a_layer_that_is_not_what_its_image_says() {
    let pack = || Layer::pack(&small(1), Compression::Gzip, Dialect::Oci);
    let mut diff_id = pack();
    diff_id.diff_id = Digest::of(b"another");
    let mut size = pack();
    size.descriptor.size += 1;
    let cut = compress::gzip(&small(1));
    let cut = Layer::raw(media_type::OCI_LAYER_GZIP, cut[..cut.len() - 9].to_vec(), Digest::of(&small(1)));
    let text = Layer::raw(media_type::OCI_LAYER_GZIP, b"no tar at all".repeat(99), Digest::of(b"x"));
    let rows: [(Layer, &[&str]); 4] = [(diff_id, &["diff id"]), (size, &["bytes"]), (cut, &["gzip"]), (text, &["tar"])];
    for (layer, words) in rows {
        let stage = Stage::new().await;
        let digest = layer.descriptor.digest.to_string();
        ImageBuilder::new().with(layer).push(stage.content(), APP, Some("1"));
        fails(&stage, &[words, &[&digest]].concat()).await;
    }
}

#[tokio::test]
async fn c20_a_layer_that_is_damaged_in_the_registry() {
    for layer in [small(1), large(1)] {
        let stage = Stage::new().await;
        let digest = ImageBuilder::new().layer(&layer).push(stage.content(), APP, Some("1")).layers[0].digest;
        stage.registry.rule(Rule::on(Request::BlobGet, Fault::WrongBytes).path(digest));
        fails(&stage, &[&digest.to_string(), "damaged"]).await;
    }
}

#[tokio::test]
async fn c20_a_manifest_and_a_configuration_that_do_not_belong_together() {
    let stage = Stage::new().await;
    let one = image().push(stage.content(), APP, Some("1"));
    let mut manifest = stage.manifest(APP, "1");
    manifest.layers.pop();
    stage.content().put_manifest(APP, "1", media_type::OCI_MANIFEST, manifest.to_bytes());
    fails(&stage, &["1 layers but 2 diff ids"]).await;
    stage.content().put_blob(APP, "[]");
    manifest.config = accel_image::Descriptor::of(media_type::OCI_CONFIG, b"[]");
    stage.content().put_manifest(APP, "1", media_type::OCI_MANIFEST, manifest.to_bytes());
    fails(&stage, &["configuration", &manifest.config.digest.to_string()]).await;
    assert_ne!(manifest.config.digest, one.config.digest);
}

#[tokio::test]
async fn c20_what_the_target_refuses() {
    let rows = [
        (403, "DENIED", "right"),
        (412, "PRECONDITION", "immutab"),
        (413, "REQUEST_ENTITY_TOO_LARGE", "too large"),
        (400, "MANIFEST_INVALID", "does not accept"),
    ];
    for (status, code, word) in rows {
        let stage = Stage::new().await;
        image().push(stage.content(), APP, Some("1"));
        stage.registry.rule(Rule::on(Request::ManifestPut, Fault::refusal(status, code)));
        fails(&stage, &[word, &status.to_string()]).await;
        assert_eq!(stage.count(Request::ManifestPut), 0, "the log was emptied, and nothing was put since");
    }
}

#[tokio::test]
async fn an_endless_answer_is_bounded() {
    for request in [Request::ManifestGet, Request::BlobGet] {
        let stage = Stage::new().await;
        image().push(stage.content(), APP, Some("1"));
        stage.registry.rule(Rule::on(request, Fault::Endless));
        let task = stage.run(stage.task()).await;
        assert_eq!(task.state, State::Failed, "{request:?}");
        let most = stage.registry.requests().iter().map(|seen| seen.sent_bytes).max().unwrap();
        assert!(most < 64 << 20, "{request:?}: {most} bytes were read");
    }
}
