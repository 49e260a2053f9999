//! Nydus: what tests convert, and how they look at what it became.

use accel_domain::task::{State, Task};
use accel_domain::{Format, Output};
use accel_image::{Digest, Manifest, media_type};
use accel_pipeline::{Tally, VerifyOptions, VerifyReport, verify_image};
use accel_test_support::tar::{dir, file, hardlink, opaque, whiteout};
use accel_test_support::{ImageBuilder, nasty_tar, tar};
use serde_json::{Value, json};

use crate::stage::{APP, Stage};

const BLOB: &str = "containerd.io/snapshot/nydus-blob";
pub(crate) const BOOTSTRAP: &str = "containerd.io/snapshot/nydus-bootstrap";

/// What a rule makes that says nothing but the format.
pub(crate) fn output() -> Output {
    let format = Format::Nydus;
    Output { subject: format.refers_by_default(), ..Output::new(format.default_options()) }
}

/// Makes `TAG-nydus` of `TAG`, both of `library/app`.
pub(crate) fn task(stage: &Stage, tag: &str) -> Task {
    stage.task_of(&format!("{APP}:{tag}"), &format!("{APP}:{tag}-nydus"), output())
}

/// Converts `library/app:1`, which has to complete.
pub(crate) async fn convert(stage: &Stage) -> Task {
    let task = stage.run(task(stage, "1")).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""));
    task
}

/// Three layers: whiteouts, an opaque directory, a link into a lower layer, parents that no entry names.
pub(crate) fn layered() -> ImageBuilder {
    let base = tar(&[
        dir("etc/").mode(0o700).uid(7),
        file("etc/kept", b"kept"),
        file("etc/gone", b"gone"),
        dir("var/"),
        file("var/old", b"old"),
        file("opt/implicit/parents", b"x"),
    ]);
    let above = tar(&[
        whiteout("etc/gone"),
        opaque("var"),
        file("var/new", b"new"),
        hardlink("etc/again", "etc/kept"),
        file("etc/deep/er", b"into a directory of the layer below"),
    ]);
    ImageBuilder::new().layer(&base).layer(&nasty_tar()).layer(&above)
}

pub(crate) async fn verify(stage: &Stage, source: &str, target: &str) -> VerifyReport {
    verify_with(stage, source, (APP, target), VerifyOptions::default()).await
}

pub(crate) async fn verify_with(
    stage: &Stage,
    source: &str,
    (repository, target): (&str, &str),
    options: VerifyOptions,
) -> VerifyReport {
    let (from, to, watch) = (stage.end(APP), stage.end(repository), Tally::default());
    Box::pin(verify_image((&from, source), (&to, target), &options, &watch)).await.unwrap()
}

/// Asserts that `target`, a tag or digest of its repository, holds the files of `source`, one of `library/app`.
pub(crate) async fn assert_verified(stage: &Stage, source: &str, target: (&str, &str)) -> VerifyReport {
    let report = verify_with(stage, source, target, VerifyOptions::default()).await;
    assert!(report.is_right(), "{:#?}", report.differences);
    report
}

/// Asserts that `target` is a whole Nydus image of `source`, both tags or digests of `library/app`.
pub(crate) async fn assert_is_nydus(stage: &Stage, source: &str, target: &str) {
    let manifest = stage.manifest(APP, target);
    assert_form(stage, &stage.manifest(APP, source), &manifest);
    let report = assert_verified(stage, source, (APP, target)).await;
    assert_eq!(report.layers_checked, manifest.layers.len() as u64 - 1);
}

/// Documents, blobs and annotations, as a runtime looks at them.
pub(crate) fn assert_form(stage: &Stage, source: &Manifest, target: &Manifest) {
    let (last, blobs) = target.layers.split_last().unwrap();
    assert_eq!(blobs.len(), source.layers.len(), "in the source's order, those without data too");
    assert!(blobs.iter().all(|layer| layer.media_type == media_type::NYDUS_BLOB && layer.annotations[BLOB] == "true"));
    assert_eq!((last.media_type.as_str(), last.annotations[BOOTSTRAP].as_str()), (media_type::OCI_LAYER_GZIP, "true"));
    assert_eq!(last.annotations["containerd.io/snapshot/nydus-fs-version"], "6");
    assert_eq!(
        (target.media_type.as_str(), target.config.media_type.as_str()),
        (media_type::OCI_MANIFEST, media_type::OCI_CONFIG)
    );
    let blob = |digest: Digest| stage.content().blob(APP, digest).unwrap();
    let config = |manifest: &Manifest| serde_json::from_slice::<Value>(&blob(manifest.config.digest)).unwrap();
    let (before, after) = (config(source), config(target));
    let diff_ids: Vec<Digest> = serde_json::from_value(after["rootfs"]["diff_ids"].clone()).unwrap();
    assert_eq!(diff_ids.len(), target.layers.len());
    for (layer, diff_id) in target.layers.iter().zip(&diff_ids) {
        assert_eq!((blob(layer.digest).len() as u64, Digest::of(&blob(layer.digest))), (layer.size, layer.digest));
        assert!(layer.annotations.contains_key(BOOTSTRAP) || layer.digest == *diff_id);
    }
    let history = |config: &Value| config["history"].as_array().cloned().unwrap_or_default();
    let added = json!({"created_by": "Nydus Converter", "comment": "Nydus Bootstrap Layer"});
    assert_eq!(history(&after), [history(&before), vec![added]].concat());
}
