//! Things that happen to a conversion from outside, at each of its requests in turn: whatever is then being done, nothing
//! is lost, nothing is left, and no tag is ever wrong.

use std::sync::Arc;
use std::time::Duration;

use accel_converter::Verdict;
use accel_domain::Timestamp;
use accel_domain::task::{RetryPolicy, State, TaskId};
use accel_pipeline::{Stop, StopReason};
use accel_tasks::{TaskQueue, TaskStore};
use accel_test_support::{Fault, ImageBuilder, Request, Rule, Seen};
use tokio::task::JoinHandle;

use crate::picture::{made_of, small};
use crate::scenes::{Images, Recording, SOURCE, Scene, play};
use crate::stage::{APP, PATIENCE, Stage};

/// Conversations at a time: some wait for as long as a stop may take.
const AT_ONCE: usize = 64;
const VISIBILITY: Duration = Duration::from_secs(60);

/// A conversion that is held at one of its requests.
struct Interrupted {
    recording: Arc<Recording>,
    stage: Stage,
    id: TaskId,
    stop: Arc<Stop>,
    running: JoinHandle<()>,
    /// Where.
    what: String,
    /// Whether it is held after the target tag has moved.
    tagged: bool,
    held: accel_test_support::Held,
}

impl Interrupted {
    /// `None` if it comes to its end without that request.
    async fn at(recording: Arc<Recording>, images: &Images, (request, nth): (Request, usize)) -> Option<Self> {
        let stage = recording.scene.stage(images, vec![Rule::on(request, Fault::Held).nth(nth)]).await;
        let id = stage.admit(&recording.scene.task(&stage)).await;
        let stop = Arc::new(Stop::new());
        let mut running = start(&stage, &stop).await;
        let held = tokio::select! {
            held = stage.registry.held() => held,
            ended = &mut running => {
                ended.unwrap();
                let task = stage.get(&id).await;
                assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""), "{request:?} {nth}");
                return None;
            }
        };
        let what = format!("{:?}: {request:?} {nth}", recording.scene);
        let tagged = recording.scene.is_tagged(&stage);
        Some(Self { recording, stage, id, stop, running, what, tagged, held })
    }

    /// Whether it may be moving the tag already: then it is too late to cancel it.
    fn is_moving(&self) -> bool {
        let tags = [self.recording.scene.target().1, "1"];
        let of_a_tag = tags.iter().any(|tag| self.held.path.ends_with(&format!("/manifests/{tag}")));
        of_a_tag && manifests_made(&self.stage.registry.requests()) == manifests_made(&self.recording.seen)
    }

    /// Lets the conversion go on to its end.
    async fn go_on(self) -> (Arc<Recording>, Stage, TaskId, String) {
        self.held.go();
        self.running.await.unwrap();
        (self.recording, self.stage, self.id, self.what)
    }
}

/// The manifests that were put under their digests: when all are there, the tag may move.
fn manifests_made(seen: &[Seen]) -> usize {
    let made = |seen: &&Seen| seen.path.contains("/manifests/sha256:") && seen.status == Some(201);
    seen.iter().filter(|seen| seen.request == Request::ManifestPut).filter(made).count()
}

/// Receives the next message and settles it on a task of its own.
async fn start(stage: &Stage, stop: &Arc<Stop>) -> JoinHandle<()> {
    let received = stage.store.receive(Duration::ZERO, VISIBILITY).await.unwrap().unwrap();
    let (converter, store, stop) = (stage.converter(), Arc::clone(&stage.store), Arc::clone(stop));
    tokio::spawn(async move {
        assert_eq!(converter.settle(&received.message, &stop).await, Verdict::Acknowledge);
        store.acknowledge(&received.receipt).await.unwrap();
    })
}

impl Scene {
    fn is_tagged(self, stage: &Stage) -> bool {
        let (repository, tag) = self.target();
        stage.content().manifest(repository, tag).is_some()
    }
}

/// Plays `then` at every request of a conversation that makes layers alone, and of one that makes a file system of them.
async fn at_every_request<F: Future<Output = ()> + Send + 'static>(then: fn(Interrupted) -> F) {
    let images = Arc::new(Images::new(false));
    for scene in [Scene::Index, Scene::Nydus] {
        at_every_request_of(scene, &images, then).await;
    }
}

async fn at_every_request_of<F: Future<Output = ()> + Send + 'static>(
    scene: Scene,
    images: &Arc<Images>,
    then: fn(Interrupted) -> F,
) {
    let recording = Arc::new(scene.recorded(images).await);
    let cases = recording.positions().into_iter().map(|position| {
        let (recording, images) = (Arc::clone(&recording), Arc::clone(images));
        async move {
            match Interrupted::at(recording, &images, position).await {
                Some(interrupted) => then(interrupted).await,
                None => return false,
            }
            true
        }
    });
    let played = play(AT_ONCE, cases).await;
    let reached = played.iter().filter(|played| **played).count();
    assert!(reached > 30 && reached * 10 >= played.len() * 9, "{scene:?}: only {reached} of {} requests", played.len());
}

/// What a person does who wants a task to end.
async fn cancel(stage: &Stage, id: &TaskId) {
    let (policy, now) = (RetryPolicy::default(), Timestamp::now());
    stage.store.update(id, now, |task| Ok(task.cancel(&policy, now)?)).await.unwrap();
}

/// The task ends as it should, unless its tag had moved before.
async fn assert_cancelled(scene: Scene, stage: &Stage, id: &TaskId, tagged: bool, what: &str) {
    let task = stage.finish(id).await;
    let expected = if tagged { [State::Completed, State::Cancelled] } else { [State::Cancelled; 2] };
    assert!(expected.contains(&task.state), "{what}: {:?} {}", task.state, task.reason);
    assert!(tagged || !scene.is_tagged(stage), "{what}: the tag moved");
    stage.assert_no_tag_was_incomplete(what);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_may_be_cancelled_at_any_request() {
    at_every_request(|interrupted| async move {
        let tagged = interrupted.tagged || interrupted.is_moving();
        cancel(&interrupted.stage, &interrupted.id).await;
        let (recording, stage, id, what) = interrupted.go_on().await;
        assert_cancelled(recording.scene, &stage, &id, tagged, &what).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_conversion_hears_of_its_cancellation_though_the_registry_hangs() {
    at_every_request(|interrupted| async move {
        cancel(&interrupted.stage, &interrupted.id).await;
        // What the next beat of its heart tells it.
        interrupted.stop.stop(StopReason::Cancelled);
        let moving = interrupted.is_moving();
        let tagged = interrupted.tagged || moving;
        let Interrupted { recording, stage, id, running, what, held, .. } = interrupted;
        ends_or_goes_on(running, held, tagged, &what).await;
        assert_cancelled(recording.scene, &stage, &id, tagged, &what).await;
    })
    .await;
}

/// The move of the tag is not broken off: it is three small requests, each with its own time-out.
/// Whatever else is being done is, and nobody is left waiting for an answer.
async fn ends_or_goes_on(mut running: JoinHandle<()>, held: accel_test_support::Held, moving: bool, what: &str) {
    let longest = if moving { Duration::from_secs(5) } else { PATIENCE.longest };
    match tokio::time::timeout(longest, &mut running).await {
        Ok(ended) => {
            ended.unwrap();
            // While a body is not read, nobody sees that the other side has hung up.
            if held.request != Request::UploadPatch {
                let given_up = tokio::time::timeout(PATIENCE.longest, held.given_up()).await;
                assert!(given_up.is_ok(), "{what}: its answer is waited for");
            }
        }
        Err(_) => {
            assert!(moving, "{what}: it did not hear");
            held.go();
            running.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_at_any_request_hands_the_task_back() {
    at_every_request(|interrupted| async move {
        interrupted.stop.stop(StopReason::Shutdown);
        let tagged = interrupted.tagged || interrupted.is_moving();
        let (recording, stage, id, what) = interrupted.go_on().await;
        let (handed_back, open) = (stage.get(&id).await, stage.content().uploads_open());
        assert!(handed_back.work.lease.is_none(), "{what}: {handed_back:?}");
        assert!(tagged || handed_back.state == State::Queued, "{what}: {handed_back:?}");
        let task = stage.finish(&id).await;
        assert!(matches!(task.state, State::Completed | State::AlreadyAccelerated), "{what}: {}", task.reason);
        assert_eq!(task.work.attempts, 0, "{what}");
        assert_eq!(open, 0, "{what}: an upload that was just being opened is waited for and cancelled");
        recording.assert_reached(&stage, &what);
        recording.assert_same_tags(&stage, &what);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_at_any_request_leaves_the_task_to_another() {
    at_every_request(|interrupted| async move {
        let Interrupted { recording, stage, id, running, what, held, .. } = interrupted;
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled(), "{what}");
        held.go();
        accel_converter::release_leases(&*stage.store, Timestamp::now()).await.unwrap();
        let task = stage.finish(&id).await;
        assert!(matches!(task.state, State::Completed | State::AlreadyAccelerated), "{what}: {}", task.reason);
        assert!(task.work.attempts <= 1, "{what}: {}", task.work.attempts);
        recording.assert_reached(&stage, &what);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_lives_on_after_its_lease_has_run_out_changes_nothing() {
    at_every_request(|interrupted| async move {
        let Interrupted { recording, stage, id, running, what, held, .. } = interrupted;
        // Another worker takes the task, and comes as far as the tag's lease lets it.
        assert!(is_taken_over(&stage, &id).await, "{what}: {:?}", stage.get(&id).await);
        let before = stage.get(&id).await;
        held.go();
        running.await.unwrap();
        let after = stage.get(&id).await;
        assert!(before.state.is_live() || before == after, "{what}: {before:?} {after:?}");
        let task = stage.finish(&id).await;
        assert!(matches!(task.state, State::Completed | State::AlreadyAccelerated), "{what}: {}", task.reason);
        recording.assert_reached(&stage, &what);
    })
    .await;
}

/// Lets the lease of a running task run out, and another worker take the task; whether it has, or has even ended it. A
/// beat of the first one's heart may come in between.
async fn is_taken_over(stage: &Stage, id: &TaskId) -> bool {
    let first = stage.get(id).await.work.lease.expect("a task that runs has a lease").owner;
    for _ in 0..5 {
        stage.pass_time().await;
        stage.settle_all(&stage.converter()).await;
        if stage.get(id).await.work.lease.is_none_or(|lease| lease.owner != first) {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c27_a_tag_that_moves_at_any_request_is_followed() {
    at_every_request(|interrupted| async move {
        let newer = ImageBuilder::new().layer(&small(1)).layer(&small(77));
        let newest = newer.push(interrupted.stage.content(), APP, Some("1")).manifest.digest;
        let (recording, stage, id, what) = interrupted.go_on().await;
        let next = stage.admit(&recording.scene.task(&stage)).await;
        let first = stage.finish(&id).await;
        assert!(matches!(first.state, State::Superseded | State::Completed), "{what}: {:?}", first.state);
        let ended = stage.finish(&next).await;
        assert!(matches!(ended.state, State::Completed | State::AlreadyAccelerated), "{what}: {}", ended.reason);
        let manifest = stage.manifest(APP, recording.scene.target().1);
        assert_eq!(made_of(&manifest.annotations), newest, "{what}");
        assert_eq!(stage.digest(SOURCE), Some(newest), "{what}");
        stage.assert_no_tag_was_incomplete(&what);
    })
    .await;
}
