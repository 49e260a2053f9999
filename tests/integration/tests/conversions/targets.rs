//! Target tags: which may be replaced, and targets elsewhere.

use accel_domain::Output;
use accel_domain::task::{Sizes, State};
use accel_image::{Digest, media_type};
use accel_test_support::image::Layer;
use accel_test_support::{Fault, FaultyRegistry, ImageBuilder, IndexBuilder, Request, Rule, Tree, sparse_tar, tree};

use crate::picture::{OWN_FILES, assert_whole, image, made_of, small};
use crate::stage::{APP, Stage, default_output};

fn adopting() -> Output {
    Output { adopt: true, ..default_output() }
}

#[tokio::test]
async fn c13_what_is_converted_already_costs_three_small_requests() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    let first = stage.convert().await;
    stage.registry.forget_requests();
    let again = stage.run(stage.task()).await;
    assert_eq!((again.state, again.reason.as_str()), (State::AlreadyAccelerated, "already accelerated"));
    assert_eq!((again.sizes, again.target_digest), (Sizes::default(), first.target_digest));
    let seen: Vec<_> = stage.registry.requests().iter().map(|seen| seen.request).collect();
    let expected = [Request::ManifestGet, Request::ManifestGet, Request::ManifestHead];
    assert_eq!(seen, expected, "the target; then, with its lease, the target and the source tag");
}

#[tokio::test]
async fn c13_a_result_of_ours_is_not_converted() {
    let stage = Stage::new().await;
    let one = image().push(stage.content(), APP, None);
    IndexBuilder::new().image(&one).push(stage.content(), APP, Some("1"));
    stage.convert().await;
    for source in ["library/app:1-esgz", &format!("library/app:{}", "copied")] {
        let stored = stage.content().manifest(APP, "1-esgz").unwrap();
        stage.content().put_manifest(APP, "copied", &stored.media_type, stored.bytes);
        let before = stage.content().tags(APP);
        let task = stage.run(stage.task_of(source, &format!("{source}-esgz"), default_output())).await;
        assert_eq!((task.state, task.sizes), (State::AlreadyAccelerated, Sizes::default()), "{source}");
        assert_eq!(stage.content().tags(APP), before, "{source}");
    }
}

#[tokio::test]
async fn a_tag_that_is_not_ours_is_not_replaced() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    image().push(stage.content(), APP, Some("2"));
    let foreign = ImageBuilder::new().layer(&small(50)).push(stage.content(), APP, Some("1-esgz")).manifest.digest;
    let task = stage.run(stage.task()).await;
    assert_eq!((task.state, task.work.attempts), (State::Failed, 0));
    assert!(task.reason.contains("library/app:1-esgz exists") && task.reason.contains("adopt"), "{}", task.reason);
    assert_eq!((stage.digest("library/app:1-esgz"), stage.changes()), (Some(foreign), vec![]));

    let other_source = stage.run(stage.task_of("library/app:2", "library/app:2-esgz", default_output())).await;
    assert_eq!(other_source.state, State::Completed);
    let taken = stage.run(stage.task_of("library/app:1", "library/app:2-esgz", default_output())).await;
    assert_eq!(taken.state, State::Failed, "ours, but made from another source");
}

#[tokio::test]
async fn a_tag_that_is_no_image_at_all_is_not_replaced() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    stage.content().put_manifest(APP, "1-esgz", "application/vnd.docker.distribution.manifest.v1+json", "{}");
    assert_eq!(stage.run(stage.task()).await.state, State::Failed);
    let adopted = stage.run(stage.task_of("library/app:1", "library/app:1-esgz", adopting())).await;
    assert_eq!((adopted.state, adopted.reason.as_str()), (State::Completed, ""));
    stage.assert_same_files(APP, "1", "1-esgz");
}

#[tokio::test]
async fn a_tag_is_replaced_if_the_rule_adopts_it_or_acceld_made_it() {
    let rows = [("an.annotation", adopting()), ("containerd.io/snapshot/nydus-source-digest", default_output())];
    for (annotation, output) in rows {
        let stage = Stage::new().await;
        image().push(stage.content(), APP, Some("1"));
        image().annotation(annotation, "x").push(stage.content(), APP, Some("1-esgz"));
        let task = stage.run(stage.task_of("library/app:1", "library/app:1-esgz", output)).await;
        assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""), "{annotation}");
        stage.assert_same_files(APP, "1", "1-esgz");
    }
}

#[tokio::test]
async fn overwrite_keeps_the_source_under_a_tag_of_its_own() {
    let stage = Stage::new().await;
    let overwrite = Output { overwrite: true, ..default_output() };
    for number in [1, 2] {
        let source = ImageBuilder::new().layer(&small(number)).push(stage.content(), APP, Some("1")).manifest.digest;
        let task = stage.run(stage.task_of("library/app:1", "library/app:1", overwrite.clone())).await;
        assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""));
        assert_eq!(stage.digest("library/app:1-orig"), Some(source));
        assert_eq!(made_of(&stage.manifest(APP, "1").annotations), source);
        stage.assert_same_files(APP, "1-orig", "1");
        let mut again = stage.task_of("library/app:1", "library/app:1", overwrite.clone());
        again.digest = Some(source);
        assert_eq!(stage.run(again).await.state, State::AlreadyAccelerated, "the same event comes again");
    }
    assert_eq!(stage.content().tags(APP), ["1", "1-orig"]);
}

#[tokio::test]
async fn a_target_in_another_project_gets_what_it_needs_by_mounting() {
    let stage = Stage::new().await;
    let source = image().layer(&sparse_tar()).push(stage.content(), APP, Some("1"));
    let sparse = source.layers[2].digest;
    let task = stage.run(stage.task_of("library/app:1", "fast/app:1", default_output())).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""));
    assert_eq!(stage.manifest("fast/app", "1").layers[2].digest, sparse);
    assert_whole(stage.content(), "fast/app", &stage.manifest("fast/app", "1"));
    let mounts = stage.registry.requests_of(Request::Mount);
    assert_eq!(mounts.len(), 1);
    assert!(mounts[0].path.contains(&sparse.hex()) && mounts[0].path.contains("from=library"), "{mounts:?}");
    assert_eq!(stage.content().tags(APP), ["1"], "nothing is put beside the source");
    let put_there = stage.changes().iter().filter(|seen| !seen.path.starts_with("/v2/fast/app/")).count();
    assert_eq!(put_there, 0);
}

#[tokio::test]
async fn what_cannot_be_mounted_is_copied() {
    let stage = Stage::new().await;
    ImageBuilder::new().layer(&sparse_tar()).push(stage.content(), APP, Some("1"));
    stage.registry.rule(Rule::on(Request::Mount, Fault::NoMount));
    let task = stage.run(stage.task_of("library/app:1", "fast/app:1", default_output())).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""));
    assert_whole(stage.content(), "fast/app", &stage.manifest("fast/app", "1"));
    assert_eq!(stage.content().uploads_open(), 0, "the upload that the registry opened instead is used or cancelled");
}

#[tokio::test]
async fn a_target_in_another_registry_gets_everything() {
    let other = FaultyRegistry::start().await;
    let stage = Stage::new().await.with_host(other.host());
    image().layer(&sparse_tar()).push(stage.content(), APP, Some("1"));
    let target = format!("{}/mirror/app:1", other.host()).parse().unwrap();
    let task = stage.run(stage.task_to("library/app:1", target, default_output())).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""));
    let stored = other.content().manifest("mirror/app", "1").unwrap();
    let accel_image::Document::Manifest(manifest) =
        accel_image::Document::parse(&stored.bytes, Some(&stored.media_type)).unwrap()
    else {
        panic!("not a manifest")
    };
    assert_whole(other.content(), "mirror/app", &manifest);
    assert_eq!(made_of(&manifest.annotations), task.digest.unwrap());
    assert_eq!(stage.changes(), [], "nothing is written to the source's registry");
}

#[tokio::test]
async fn a_registry_that_is_not_configured_is_never_asked() {
    let other = FaultyRegistry::start().await;
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    let target = format!("{}/mirror/app:1", other.host()).parse().unwrap();
    let task = stage.run(stage.task_to("library/app:1", target, default_output())).await;
    assert_eq!(task.state, State::Failed);
    assert!(task.reason.contains(&other.host()), "{}", task.reason);
    assert_eq!(other.requests(), []);
}

#[tokio::test]
async fn a_subject_lists_the_target_beside_its_source() {
    for fallback in [false, true] {
        let stage = Stage::new().await;
        let pushed = image().push(stage.content(), APP, None);
        let index = IndexBuilder::new().image(&pushed).push(stage.content(), APP, Some("1"));
        if fallback {
            for request in [Request::ManifestPut, Request::Referrers] {
                stage.registry.rule(Rule::on(request, Fault::NoReferrers));
            }
        }
        let subject = Output { subject: true, ..default_output() };
        let task = stage.run(stage.task_of("library/app:1", "library/app:1-esgz", subject)).await;
        assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""));
        let target = stage.index(APP, "1-esgz");
        let child = stage.manifest(APP, &target.manifests[0].digest.to_string());
        assert_eq!(target.subject.map(|subject| subject.digest), Some(index.digest));
        assert_eq!(child.subject.map(|subject| subject.digest), Some(pushed.manifest.digest));
        let listed = |of: Digest| {
            let tag = of.to_string().replace(':', "-");
            stage.content().manifest(APP, &tag).map(|_| stage.index(APP, &tag).manifests[0].digest)
        };
        let expected = |digest: Option<Digest>| if fallback { digest } else { None };
        assert_eq!(listed(index.digest), expected(task.target_digest));
        assert_eq!(listed(pushed.manifest.digest), expected(Some(target.manifests[0].digest)));
    }
}

#[tokio::test]
async fn a_subject_never_points_into_another_repository() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    let subject = Output { subject: true, ..default_output() };
    let task = stage.run(stage.task_of("library/app:1", "fast/app:1", subject)).await;
    assert_eq!(task.state, State::Completed);
    assert_eq!(stage.manifest("fast/app", "1").subject, None);
}

#[tokio::test]
async fn a_kept_layer_in_a_foreign_format_keeps_the_files_of_its_neighbours() {
    let stage = Stage::new().await;
    let mut encrypted =
        Layer::pack(&small(8), accel_test_support::image::Compression::Gzip, accel_test_support::image::Dialect::Oci);
    encrypted.descriptor.media_type = format!("{}+encrypted", media_type::OCI_LAYER_GZIP);
    ImageBuilder::new().with(encrypted).layer(&small(1)).push(stage.content(), APP, Some("1"));
    let task = stage.convert().await;
    assert_eq!((task.progress.layers_converted, task.progress.layers_kept), (1, 1));
    let files = |key: &str| Tree::of_image(stage.content(), APP, key).unwrap().without(&OWN_FILES);
    assert!(tree::diff(&files("1"), &files("1-esgz")).is_empty());
}
