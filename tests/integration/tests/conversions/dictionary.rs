//! Chunk dictionaries: images of Nydus whose chunks those made after them do not hold once more.

use accel_domain::task::{State, Task};
use accel_domain::{FormatOptions, NydusCompressor, NydusOptions, Output};
use accel_image::{Digest, Manifest};
use accel_pipeline::{StopReason, Tally, VerifyOptions, verify_image};
use accel_test_support::tar::{file, symlink, whiteout};
use accel_test_support::{Fault, FaultyRegistry, ImageBuilder, IndexBuilder, Request, Rule, noise, tar};

use crate::nydus::{self, assert_verified};
use crate::picture::{image, small};
use crate::stage::{APP, PATIENCE, Stage};

/// The repository that the dictionary is in.
pub(crate) const BASE: &str = "base/dictionary";

/// What a rule makes that names the dictionary `library/base:NAME`.
pub(crate) fn output_with(stage: &Stage, dictionary: &str) -> Output {
    output_of(NydusOptions { chunk_dictionary: Some(stage.reference(dictionary)), ..NydusOptions::default() })
}

fn output_of(options: NydusOptions) -> Output {
    Output { options: FormatOptions::Nydus(options), ..nydus::output() }
}

/// A layer of files that all images have, and of a few that no other number has.
fn shared(number: u64) -> Vec<u8> {
    let own = file(format!("own/{number}"), noise(9_000, number));
    tar(&[file("lib/common", noise(300_000, 77)), file("lib/other", noise(50_000, 78)), own])
}

/// Makes `base/dictionary:TAG` of an image with the shared files.
async fn dictionary(stage: &Stage, tag: &str, number: u64) -> Manifest {
    ImageBuilder::new().layer(&shared(number)).layer(&small(3)).push(stage.content(), BASE, Some("source"));
    let output = Output { adopt: true, ..nydus::output() };
    let task = stage.run(stage.task_of(&format!("{BASE}:source"), &format!("{BASE}:{tag}"), output)).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""));
    stage.manifest(BASE, tag)
}

/// An image whose layers share files with the dictionary: the first some, the second all.
fn beside() -> ImageBuilder {
    ImageBuilder::new().layer(&shared(1)).layer(&small(3)).layer(&tar(&[whiteout("own/1"), file("new", b"new")]))
}

pub(crate) async fn convert(stage: &Stage, target: &str, output: Output) -> Task {
    stage.run(stage.task_of(&format!("{APP}:1"), &format!("{APP}:{target}"), output)).await
}

fn digests(manifest: &Manifest) -> Vec<Digest> {
    manifest.layers.iter().map(|layer| layer.digest).collect()
}

/// Asserts that the target's repository has all that the manifest under `tag` lists.
pub(crate) fn assert_has_its_blobs(stage: &Stage, tag: &str) {
    for layer in stage.manifest(APP, tag).layers {
        let blob = stage.content().blob(APP, layer.digest).unwrap();
        assert_eq!((Digest::of(&blob), blob.len() as u64), (layer.digest, layer.size));
    }
}

#[tokio::test]
async fn what_the_dictionary_has_is_not_uploaded_and_stays_when_the_dictionary_goes() {
    let stage = Stage::new().await;
    let base = dictionary(&stage, "1", 9).await;
    beside().push(stage.content(), APP, Some("1"));
    assert_eq!(convert(&stage, "alone", nydus::output()).await.state, State::Completed);
    stage.registry.forget_requests();
    let task = convert(&stage, "1-nydus", output_with(&stage, "base/dictionary:1")).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""));
    assert_eq!((task.progress.layers_converted, task.progress.layers_reused), (3, 0), "others than without it");
    let (alone, made) = (stage.manifest(APP, "alone"), stage.manifest(APP, "1-nydus"));
    let (alone, made) = (&alone.layers, &made.layers);
    assert_eq!((alone.len(), made.len()), (4, 6), "the dictionary's two blobs before the last");
    assert!(alone[0].size > 350_000 && made[0].size < 20_000, "{} {}", alone[0].size, made[0].size);
    assert!(alone[1].size > 40_000 && made[1].size < 4_000, "{} {}", alone[1].size, made[1].size);
    assert_eq!([made[3].digest, made[4].digest], [base.layers[0].digest, base.layers[1].digest]);
    let written: u64 = task.progress.bytes_written;
    assert!(written < 40_000, "{written} bytes: blobs of the same registry are mounted");
    assert_eq!(assert_verified(&stage, "1", (APP, "1-nydus")).await.layers_checked, 3);
    stage.content().remove_manifest(BASE, "1");
    assert_has_its_blobs(&stage, "1-nydus");
}

#[tokio::test]
async fn a_dictionary_that_moved_makes_other_layers() {
    let stage = Stage::new().await;
    beside().push(stage.content(), APP, Some("1"));
    let output = || output_with(&stage, "base/dictionary:1");
    let first = dictionary(&stage, "1", 8).await;
    assert_eq!(convert(&stage, "a", output()).await.progress.layers_converted, 3);
    assert_eq!(convert(&stage, "b", output()).await.progress.layers_reused, 3);
    let named = output_with(&stage, &format!("base/dictionary@{}", stage.digest("base/dictionary:1").unwrap()));
    assert_eq!(convert(&stage, "by-digest", named).await.progress.layers_reused, 3, "the same by its digest");
    let second = dictionary(&stage, "1", 9).await;
    assert_ne!(digests(&first), digests(&second));
    assert_eq!(convert(&stage, "a", output()).await.state, State::AlreadyAccelerated, "what is there holds");
    let moved = convert(&stage, "c", output()).await;
    assert_eq!((moved.progress.layers_converted, moved.progress.layers_reused), (3, 0));
    let blobs = |tag| digests(&stage.manifest(APP, tag));
    assert!(blobs("a").contains(&first.layers[0].digest) && blobs("c").contains(&second.layers[0].digest));
    assert!(!blobs("c").contains(&first.layers[0].digest));
    for tag in ["a", "b", "by-digest", "c"] {
        assert_verified(&stage, "1", (APP, tag)).await;
    }
}

#[tokio::test]
async fn a_dictionary_that_is_none_fails_the_task_by_name() {
    let stage = Stage::new().await;
    dictionary(&stage, "1", 9).await;
    beside().push(stage.content(), APP, Some("1"));
    let chunk_dictionary = Some(stage.reference("base/dictionary:1"));
    let lz4 = NydusOptions { compressor: NydusCompressor::Lz4Block, chunk_dictionary, ..NydusOptions::default() };
    let elsewhere = Some("not-configured.example/d:1".parse().unwrap());
    let unknown = NydusOptions { chunk_dictionary: elsewhere, ..NydusOptions::default() };
    let chart = r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[]}"#;
    stage.content().put_manifest(BASE, "chart", accel_image::media_type::OCI_MANIFEST, chart.to_owned());
    let rows = [
        (output_with(&stage, "base/dictionary:missing"), "base/dictionary:missing: "),
        (output_with(&stage, "base/dictionary:source"), "base/dictionary:source: it is no Nydus image"),
        (output_with(&stage, "base/dictionary:chart"), "base/dictionary:chart: its configuration is of type"),
        (output_of(lz4), "base/dictionary:1: its compressor is zstd, and that of the images made is lz4_block"),
        (output_of(unknown), "registry not-configured.example is not configured"),
    ];
    for (output, expected) in rows {
        stage.registry.forget_requests();
        let task = convert(&stage, "1-nydus", output).await;
        assert_eq!((task.state, task.work.attempts), (State::Failed, 0), "{expected}: {}", task.reason);
        assert!(task.reason.contains(expected), "{}", task.reason);
        assert_eq!(stage.changes(), vec![], "{expected}");
    }
    assert_eq!(stage.digest("library/app:1-nydus"), None);
}

#[tokio::test]
async fn a_registry_that_fails_for_a_while_has_the_dictionary_later() {
    let stage = Stage::new().await;
    dictionary(&stage, "1", 9).await;
    beside().push(stage.content(), APP, Some("1"));
    stage.registry.rule(Rule::on(Request::ManifestGet, Fault::status(503)).path("base/dictionary").times(6));
    let task = convert(&stage, "1-nydus", output_with(&stage, "base/dictionary:1")).await;
    assert_eq!((task.state, task.work.attempts), (State::Completed, 1), "{}", task.reason);
    assert_verified(&stage, "1", (APP, "1-nydus")).await;
}

#[tokio::test]
async fn a_bootstrap_that_is_another_than_its_manifest_says_is_not_taken() {
    let stage = Stage::new().await;
    let base = dictionary(&stage, "1", 9).await;
    beside().push(stage.content(), APP, Some("1"));
    let last = base.layers.last().unwrap().digest;
    stage.registry.rule(Rule::on(Request::BlobGet, Fault::WrongBytes).path(last));
    let task = convert(&stage, "1-nydus", output_with(&stage, "base/dictionary:1")).await;
    assert_eq!(task.state, State::Failed);
    assert!(task.reason.contains("dictionary") && task.reason.contains(&last.to_string()), "{}", task.reason);
}

#[tokio::test]
async fn a_bootstrap_that_is_damaged_on_its_way_is_read_again() {
    let stage = Stage::new().await;
    // So large that it does not come at once, and the damage is seen long before its end.
    let target = |number| noise(2_000, number).iter().map(|byte| b'a' + byte % 26).collect::<Vec<u8>>();
    let links: Vec<_> = (0..1_500).map(|number| symlink(format!("link-{number}"), target(number))).collect();
    ImageBuilder::new().layer(&shared(9)).layer(&tar(&links)).push(stage.content(), BASE, Some("source"));
    let output = Output { adopt: true, ..nydus::output() };
    stage.run(stage.task_of(&format!("{BASE}:source"), &format!("{BASE}:1"), output)).await;
    let last = stage.manifest(BASE, "1").layers.last().unwrap().clone();
    assert!(last.size > 1 << 20, "{}", last.size);
    beside().push(stage.content(), APP, Some("1"));
    let other = Fault::answers(200, &[], vec![b'x'; last.size as usize]);
    stage.registry.rule(Rule::on(Request::BlobGet, other).path(last.digest).once());
    let task = convert(&stage, "1-nydus", output_with(&stage, "base/dictionary:1")).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""));
}

/// An image to be converted, and the dictionary `base/dictionary:1` at another registry.
pub(crate) async fn with_dictionary_elsewhere() -> (Stage, FaultyRegistry, Manifest, Output) {
    let other = FaultyRegistry::start().await;
    let stage = Stage::new().await.with_host(other.host());
    let base = dictionary(&stage, "1", 9).await;
    for layer in base.layers.iter().chain([&base.config]) {
        other.content().put_blob(BASE, stage.content().blob(BASE, layer.digest).unwrap());
    }
    let stored = stage.content().manifest(BASE, "1").unwrap();
    other.content().put_manifest(BASE, "1", &stored.media_type, stored.bytes);
    beside().push(stage.content(), APP, Some("1"));
    let chunk_dictionary = Some(format!("{}/{BASE}:1", other.host()).parse().unwrap());
    let output = output_of(NydusOptions { chunk_dictionary, ..NydusOptions::default() });
    (stage, other, base, output)
}

#[tokio::test]
async fn blobs_of_a_dictionary_in_another_registry_are_copied() {
    let (stage, _other, base, output) = with_dictionary_elsewhere().await;
    let task = convert(&stage, "1-nydus", output).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""));
    assert!(digests(&stage.manifest(APP, "1-nydus")).contains(&base.layers[0].digest));
    assert_has_its_blobs(&stage, "1-nydus");
    assert_verified(&stage, "1", (APP, "1-nydus")).await;
}

#[tokio::test]
async fn an_image_that_shares_nothing_lists_no_blob_of_the_dictionary() {
    let stage = Stage::new().await;
    dictionary(&stage, "1", 9).await;
    image().push(stage.content(), APP, Some("1"));
    assert_eq!(convert(&stage, "1-nydus", output_with(&stage, "base/dictionary:1")).await.state, State::Completed);
    assert_eq!(convert(&stage, "alone", nydus::output()).await.state, State::Completed);
    assert_eq!(digests(&stage.manifest(APP, "1-nydus")), digests(&stage.manifest(APP, "alone")));
}

#[tokio::test]
async fn every_platform_refers_to_the_same_dictionary() {
    let stage = Stage::new().await;
    let platforms = ["linux/amd64", "linux/arm64"];
    let index = |repository: &'static str, first: u64| {
        let images = [0, 1].map(|at: usize| {
            let image = ImageBuilder::new().platform(platforms[at]).layer(&shared(first + at as u64));
            image.push(stage.content(), repository, None)
        });
        images.iter().fold(IndexBuilder::new(), IndexBuilder::image).push(stage.content(), repository, Some("1"));
    };
    index(BASE, 10);
    index(APP, 20);
    let made = stage.run(stage.task_of("base/dictionary:1", "base/dictionary:1-nydus", nydus::output())).await;
    assert_eq!(made.state, State::Completed);
    let merged = NydusOptions {
        merge_manifest: true,
        chunk_dictionary: Some(stage.reference("base/dictionary:1-nydus")),
        ..NydusOptions::default()
    };
    for (target, output) in
        [("1-nydus", output_with(&stage, "base/dictionary:1-nydus")), ("1-merged", output_of(merged))]
    {
        let task = convert(&stage, target, output).await;
        assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""), "{target}");
        let report = assert_verified(&stage, "1", (APP, target)).await;
        assert_eq!(report.platforms, platforms, "{target}");
    }
    let made = stage.index(APP, "1-nydus");
    let layers = made.manifests.iter().map(|entry| stage.manifest(APP, &entry.digest.to_string()).layers.len());
    assert_eq!(layers.collect::<Vec<_>>(), [3, 3], "its own, one of the dictionary's, the last");
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_others_have_converted_refer_to_the_same_dictionary() {
    let stage = Stage::new().await.with_fan_out(2);
    dictionary(&stage, "1", 9).await;
    (0..4).fold(ImageBuilder::new(), |image, n| image.layer(&shared(n))).push(stage.content(), APP, Some("1"));
    let task = stage.task_of("library/app:1", "library/app:1-nydus", output_with(&stage, "base/dictionary:1"));
    let id = stage.admit(&task).await;
    assert!(stage.settle_one(&stage.converter()).await);
    assert_eq!(stage.get(&id).await.state, State::FannedOut);
    let task = stage.finish(&id).await;
    assert_eq!((task.state, task.reason.as_str(), task.progress.layers_converted), (State::Completed, "", 4));
    assert_verified(&stage, "1", (APP, "1-nydus")).await;
}

/// Another layer in the image under `tag`, before that of this number: tag `1-stray`.
fn insert(stage: &Stage, tag: &str, at: usize, stray: &accel_image::Descriptor) {
    let mut manifest = stage.manifest(APP, tag);
    manifest.layers.insert(at, stray.clone());
    let mut config: serde_json::Value =
        serde_json::from_slice(&stage.content().blob(APP, manifest.config.digest).unwrap()).unwrap();
    config["rootfs"]["diff_ids"].as_array_mut().unwrap().insert(at, stray.digest.to_string().into());
    let config = config.to_string().into_bytes();
    manifest.config = accel_image::Descriptor::of(&manifest.config.media_type, &config);
    stage.content().put_blob(APP, config);
    stage.content().put_manifest(APP, "1-stray", accel_image::media_type::OCI_MANIFEST, manifest.to_bytes());
}

#[tokio::test]
async fn no_layer_hides_beside_blobs_of_the_dictionary() {
    let stage = Stage::new().await;
    dictionary(&stage, "1", 9).await;
    let other = dictionary(&stage, "2", 8).await;
    beside().push(stage.content(), APP, Some("1"));
    for (tag, output) in [("1-nydus", output_with(&stage, "base/dictionary:1")), ("alone", nydus::output())] {
        assert_eq!(convert(&stage, tag, output).await.state, State::Completed);
        assert_verified(&stage, "1", (APP, tag)).await;
    }
    let (made, alone) = (stage.manifest(APP, "1-nydus").layers, stage.manifest(APP, "alone").layers);
    let strays = [&other.layers[0], &alone[0], &alone[2], &made[0], &made[1], &made[3]];
    stage.content().put_blob(APP, stage.content().blob(BASE, other.layers[0].digest).unwrap());
    for (stray, at) in strays.into_iter().flat_map(|stray| (0..made.len()).map(move |at| (stray, at))) {
        insert(&stage, "1-nydus", at, stray);
        let found = nydus::verify(&stage, "1", "1-stray").await.differences;
        let is_named = found.iter().any(|what| what.contains("no layer of") || what.contains("does not stand for"));
        assert!(is_named, "{} at {at}: {found:#?}", stray.digest);
    }
}

#[tokio::test]
async fn a_stop_while_a_blob_of_the_dictionary_is_copied_leaves_nothing_open() {
    let (stage, other, base, output) = with_dictionary_elsewhere().await;
    other.rule(Rule::on(Request::BlobGet, Fault::Stalled { after: 10 }).path(base.layers[0].digest));
    stage.admit(&stage.task_of("library/app:1", "library/app:1-nydus", output)).await;
    let (stop, running) = crate::interruptions::working(&stage).await;
    let blob = base.layers[0].digest.to_string();
    let is_asked = || other.requests_of(Request::BlobGet).iter().any(|seen| seen.path.contains(&blob));
    let copying = async || (is_asked() && stage.content().uploads_open() == 1).then_some(());
    PATIENCE.until("the blob is being copied", copying).await;
    stop.stop(StopReason::Shutdown);
    running.await.unwrap();
    assert_eq!(stage.content().uploads_open(), 0);
    other.clear_rules();
    let id = stage.tasks().await.into_iter().find(|task| task.state.is_live()).unwrap().id;
    let task = stage.finish(&id).await;
    assert_eq!((task.state, task.work.attempts, task.progress.layers_reused), (State::Completed, 0, 3));
    assert_verified(&stage, "1", (APP, "1-nydus")).await;
}

#[tokio::test]
async fn conversions_at_the_same_time_read_the_dictionary_once() {
    let stage = Stage::new().await;
    let base = dictionary(&stage, "1", 9).await;
    beside().push(stage.content(), APP, Some("1"));
    let last = base.layers.last().unwrap().digest.to_string();
    stage.registry.forget_requests();
    let count = |request, part: &str| {
        let seen = stage.registry.requests_of(request);
        seen.iter().filter(|seen| seen.path.contains(part)).count()
    };
    for target in ["a", "b"] {
        let output = output_with(&stage, "base/dictionary:1");
        stage.admit(&stage.task_of(&format!("{APP}:1"), &format!("{APP}:{target}"), output)).await;
    }
    stage.registry.rule(Rule::on(Request::BlobGet, Fault::Held).path(&last).once());
    let converter = stage.converter();
    let holding = async {
        let held = stage.registry.held().await;
        let both = async || (count(Request::ManifestGet, "base/dictionary") == 2).then_some(());
        PATIENCE.until("both know the dictionary's digest", both).await;
        held.go();
    };
    let settled = tokio::join!(stage.settle_one(&converter), stage.settle_one(&converter), holding);
    assert_eq!((settled.0, settled.1), (true, true));
    assert_eq!(count(Request::BlobGet, &last), 1);
    for target in ["a", "b"] {
        assert_verified(&stage, "1", (APP, target)).await;
    }
    let task = stage.task_of(&format!("{APP}:1"), &format!("{APP}:c"), output_with(&stage, "base/dictionary:1"));
    let id = stage.admit(&task).await;
    assert!(stage.settle_one(&converter).await);
    assert_eq!(stage.get(&id).await.state, State::Completed);
    assert_eq!(count(Request::BlobGet, &last), 2, "nobody used it any more");
}

#[tokio::test]
async fn a_blob_that_holds_nothing_and_is_wrong_is_one_difference() {
    let stage = Stage::new().await;
    dictionary(&stage, "1", 9).await;
    beside().push(stage.content(), APP, Some("1"));
    assert_eq!(convert(&stage, "1-nydus", output_with(&stage, "base/dictionary:1")).await.state, State::Completed);
    let blob = stage.manifest(APP, "1-nydus").layers[1].digest;
    let rule = |fault: &Fault| Rule::on(Request::BlobGet, fault.clone()).path(blob);
    let gone = Fault::status(404);
    // The last one: where it is read once more, for what it says of itself.
    let rules = [rule(&Fault::Shorter { by: 10 }), rule(&Fault::WrongBytes), rule(&gone), rule(&gone).from(2)];
    for rule in rules {
        stage.registry.clear_rules();
        stage.registry.rule(rule.clone());
        let found = nydus::verify(&stage, "1", "1-nydus").await.differences;
        assert!(found.len() == 1 && found[0].contains(&blob.to_string()), "{rule:?}: {found:#?}");
    }
    for rule in [rule(&Fault::status(403)), rule(&Fault::status(403)).from(2)] {
        stage.registry.clear_rules();
        stage.registry.rule(rule.clone());
        let (end, watch, options) = (stage.end(APP), Tally::default(), VerifyOptions::default());
        let verified = verify_image((&end, "1"), (&end, "1-nydus"), &options, &watch).await;
        assert!(verified.is_err(), "{rule:?}: a registry that refuses says nothing of the blob");
    }
}
