//! Pushes that come while a conversion runs, and tasks that want the same tag.

use accel_domain::task::{State, Task, TaskId};
use accel_image::Digest;
use accel_test_support::{Fault, ImageBuilder, Request, Rule};

use crate::picture::{image, made_of, small};
use crate::stage::{APP, Stage, default_output};

/// Pushes an image to `library/app:1` that has another layer than the one before.
fn push_newer(stage: &Stage) -> Digest {
    let pushed = ImageBuilder::new().layer(&small(1)).layer(&small(77)).push(stage.content(), APP, Some("1"));
    pushed.manifest.digest
}

/// Runs `task` until `rule` stalls it, calls `meanwhile`, and lets it end; its id.
async fn interfere(stage: &Stage, task: &Task, rule: Rule, meanwhile: impl AsyncFnOnce()) -> TaskId {
    stage.registry.rule(rule);
    let id = stage.admit(task).await;
    let converter = stage.converter();
    let interfering = async {
        stage.registry.stalled(1).await;
        meanwhile().await;
        stage.registry.release();
    };
    tokio::join!(stage.settle_one(&converter), interfering);
    id
}

fn stalled_download() -> Rule {
    Rule::on(Request::BlobGet, Fault::Stalled { after: 100 }).nth(2)
}

/// Asserts that the target was made of what the source tag has now.
fn assert_newest(stage: &Stage, newest: Digest) {
    assert_eq!(made_of(&stage.manifest(APP, "1-esgz").annotations), newest);
    stage.assert_same_files(APP, "1", "1-esgz");
}

#[tokio::test]
async fn c27_a_source_that_is_overwritten_meanwhile_moves_no_tag() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    let id = interfere(&stage, &stage.task(), stalled_download(), async || {
        push_newer(&stage);
    })
    .await;
    let task = stage.get(&id).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Superseded, "superseded by a newer push"));
    assert_eq!(stage.content().tags(APP), ["1"], "the newer push has an event, and a task, of its own");
    assert_eq!(stage.tasks().await.len(), 1);
}

#[tokio::test]
async fn c27_the_newest_push_wins_the_target_tag() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    let older = stage.task();
    let newest = push_newer(&stage);
    let newer = stage.run(stage.task()).await;
    assert_eq!((newer.state, newer.digest), (State::Completed, Some(newest)));
    let late = stage.run(older).await;
    assert_eq!(late.state, State::Superseded, "the older event comes late");
    assert_newest(&stage, newest);
}

#[tokio::test]
async fn c27_a_source_overwritten_while_the_tag_moves_is_converted_after_it() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    let rule = Rule::on(Request::ManifestPut, Fault::Hang).path("/manifests/1-esgz").once();
    let mut newest = None;
    let id = interfere(&stage, &stage.task(), rule, async || newest = Some(push_newer(&stage))).await;
    assert_eq!(stage.get(&id).await.state, State::Superseded);
    let tasks = stage.tasks().await;
    let next = tasks.iter().find(|task| task.id != id).expect("no event told of it: the task did");
    assert_eq!((tasks.len(), next.digest), (2, newest));
    assert_eq!(stage.finish(&next.id).await.state, State::Completed);
    assert_newest(&stage, newest.unwrap());
}

#[tokio::test]
async fn c27_a_newer_task_waits_while_the_tag_moves_and_has_the_last_word() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    let rule = Rule::on(Request::ManifestPut, Fault::Hang).path("/manifests/1-esgz").once();
    let mut newer = None;
    let other = stage.converter();
    let id = interfere(&stage, &stage.task(), rule, async || {
        push_newer(&stage);
        let id = stage.admit(&stage.task()).await;
        stage.settle_one(&other).await;
        let waiting = stage.get(&id).await;
        assert_eq!((waiting.state, waiting.work.attempts), (State::Queued, 0));
        assert!(waiting.reason.contains("another task is moving the tag"), "{}", waiting.reason);
        newer = Some(id);
    })
    .await;
    let newer = newer.unwrap();
    assert_eq!(stage.get(&id).await.state, State::Superseded);
    assert_eq!(stage.tasks().await.len(), 2, "the follow-up joins the task that waits");
    let newer = stage.finish(&newer).await;
    assert_eq!((newer.state, newer.reason.as_str()), (State::Completed, ""));
    assert_newest(&stage, newer.digest.unwrap());
}

#[tokio::test]
async fn c27_a_source_deleted_meanwhile_gets_no_target() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    let delete = async || drop(stage.content().remove_manifest(APP, "1"));
    let id = interfere(&stage, &stage.task(), stalled_download(), delete).await;
    assert_eq!(stage.get(&id).await.state, State::Superseded);
    assert_eq!(stage.content().tags(APP), [""; 0]);
}

#[tokio::test]
async fn c27_an_image_pushed_back_and_forth_is_three_tasks() {
    let stage = Stage::new().await;
    for expected in [State::Completed, State::Completed, State::Completed] {
        image().push(stage.content(), APP, Some("1"));
        assert_eq!(stage.run(stage.task()).await.state, expected);
        let newest = push_newer(&stage);
        assert_eq!(stage.run(stage.task()).await.state, expected);
        assert_newest(&stage, newest);
    }
}

#[tokio::test]
async fn two_rules_for_one_image_each_have_their_target() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    let mut small_chunks = default_output();
    let accel_domain::FormatOptions::Estargz(options) = &mut small_chunks.options else { panic!("not eStargz") };
    options.chunk_size = accel_domain::ByteSize(4096);
    let tasks = [stage.task(), stage.task_of("library/app:1", "library/app:1-chunks", small_chunks)];
    for task in tasks {
        assert_eq!(stage.run(task).await.state, State::Completed);
    }
    stage.assert_same_files(APP, "1", "1-esgz");
    stage.assert_same_files(APP, "1", "1-chunks");
    assert_ne!(stage.manifest(APP, "1-esgz").layers, stage.manifest(APP, "1-chunks").layers);
}
