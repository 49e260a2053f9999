//! Workers that die, services that are restarted, people who change their mind.

use std::sync::Arc;
use std::time::Duration;

use accel_converter::Verdict;
use accel_domain::Timestamp;
use accel_domain::task::{LEASE, RetryPolicy, Start, State, Task};
use accel_pipeline::{Stop, StopReason};
use accel_tasks::{TaskQueue, TaskStore};
use accel_test_support::tar::file;
use accel_test_support::{Fault, ImageBuilder, Request, Rule, tar};
use tokio::task::JoinHandle;

use crate::picture::image;
use crate::stage::{APP, PATIENCE, Stage};

/// A worker that has finished the lower layer and hangs in the middle of the upper one.
pub(crate) async fn hanging(stage: &Stage) -> (Arc<Stop>, JoinHandle<()>) {
    let pushed = image().push(stage.content(), APP, Some("1"));
    let upper = pushed.layers[1].digest;
    stage.registry.rule(Rule::on(Request::BlobGet, Fault::Stalled { after: 100 }).path(upper).once());
    stage.admit(&stage.task()).await;
    let (stop, running) = working(stage).await;
    stage.registry.stalled(1).await;
    // The lower layer is finished once its upload is closed and its record is written.
    let lower = accel_tasks::LayerKey {
        host: stage.registry.host(),
        project: "library".to_owned(),
        source: pushed.layers[0].digest,
        format: accel_domain::Format::Estargz,
        version: accel_domain::Format::Estargz.version(),
        options: accel_domain::Format::Estargz.default_options().layer_hash(),
    };
    let finished = async || accel_tasks::LayerCache::find_layer(&*stage.store, &lower, Timestamp::now()).await.unwrap();
    PATIENCE.until("the lower layer is finished", finished).await;
    (stop, running)
}

/// A worker that has taken the next message.
pub(crate) async fn working(stage: &Stage) -> (Arc<Stop>, JoinHandle<()>) {
    let received = stage.store.receive(Duration::ZERO, Duration::from_secs(60)).await;
    let received = received.unwrap().unwrap();
    let (converter, store, stop) = (stage.converter(), Arc::clone(&stage.store), Arc::new(Stop::new()));
    let told = Arc::clone(&stop);
    let running = tokio::spawn(async move {
        assert_eq!(converter.settle(&received.message, &told).await, Verdict::Acknowledge);
        store.acknowledge(&received.receipt).await.unwrap();
    });
    (stop, running)
}

async fn kill(running: JoinHandle<()>) {
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn c18_a_worker_that_dies_leaves_a_task_that_another_finishes() {
    let stage = Stage::new().await;
    let (_, running) = hanging(&stage).await;
    kill(running).await;
    let left = &stage.tasks().await[0];
    assert_eq!(left.state, State::Running);
    let converter = stage.converter();
    stage.settle_all(&converter).await;
    assert_eq!(stage.get(&left.id).await.state, State::Running, "its lease holds: nobody takes it");
    let task = stage.finish(&left.id).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""));
    assert_eq!((task.progress.layers_converted, task.progress.layers_reused), (1, 1), "only what was not finished");
    stage.assert_same_files(APP, "1", "1-esgz");
}

#[tokio::test]
async fn c18_a_restarted_service_goes_on() {
    let stage = Stage::new().await;
    let (_, running) = hanging(&stage).await;
    kill(running).await;
    let stage = stage.restarted();
    let id = stage.tasks().await[0].id.clone();
    assert_eq!(accel_converter::release_leases(&*stage.store, Timestamp::now()).await.unwrap(), 1);
    stage.settle_all(&stage.converter()).await;
    let task = stage.get(&id).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""), "at once: nobody waits for a dead lease");
    stage.assert_same_files(APP, "1", "1-esgz");
}

#[tokio::test]
async fn c18_a_task_whose_message_is_lost_is_swept_up() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    let mut task = stage.task();
    task.created = Timestamp::now().checked_sub(Duration::from_secs(180)).unwrap();
    stage.store.admit(&task).await.unwrap();
    let converter = stage.converter();
    assert!(!stage.settle_one(&converter).await, "whoever wrote it died before it sent a message");
    let policy = RetryPolicy::default();
    let swept = accel_tasks::sweep(&*stage.store, &*stage.store, &policy, 10, Timestamp::now(), |_| ()).await.unwrap();
    assert_eq!((swept.enqueued, swept.failed), (1, 0));
    assert_eq!(stage.finish(&task.id).await.state, State::Completed);
}

#[tokio::test]
async fn a_task_whose_workers_have_all_died_is_given_up_told_and_counted() {
    let stage = Stage::new().await;
    let (task, policy) = (stage.task(), RetryPolicy::default());
    stage.admit(&task).await;
    for attempt in (1..=policy.attempts).rev() {
        let at = Timestamp::now().checked_sub(attempt * 2 * LEASE).unwrap();
        let start = |task: &mut Task| Ok(task.start(1, "a dead worker", &policy, at));
        assert_eq!(stage.store.update(&task.id, at, start).await.unwrap().1, Start::Run, "{attempt}");
    }
    stage.converter().sweep(10).await.unwrap();
    assert_eq!(stage.get(&task.id).await.state, State::Failed);
    let page = stage.metrics.render();
    assert!(page.lines().any(|line| line == "conversion_failed_total 1"), "{page}");
}

#[tokio::test]
async fn a_shutdown_hands_the_task_back_without_an_attempt() {
    let stage = Stage::new().await;
    let (stop, running) = hanging(&stage).await;
    stop.stop(StopReason::Shutdown);
    running.await.unwrap();
    let id = stage.tasks().await[0].id.clone();
    let waiting = stage.get(&id).await;
    assert_eq!((waiting.state, waiting.work.attempts, waiting.work.lease), (State::Queued, 0, None));
    let task = stage.finish(&id).await;
    assert_eq!((task.state, task.work.attempts), (State::Completed, 0));
    assert_eq!((task.progress.layers_converted, task.progress.layers_reused), (1, 1));
}

#[tokio::test]
async fn deadlines_that_leave_finished_layers_behind_fail_nothing() {
    // All layers may be open at once: those that stall keep no place from the one that is to be finished.
    let stage = Stage::new().await.with_threads(4);
    let layers = ["a", "b", "c", "d"].map(|name| tar(&[file(name, name)]));
    let image = layers.iter().fold(ImageBuilder::new(), |image, layer| image.layer(layer));
    let pushed = image.push(stage.content(), APP, Some("1"));
    let task = stage.task();
    stage.admit(&task).await;
    for run in 1..=2 {
        stage.registry.clear_rules();
        for layer in &pushed.layers[..4 - run] {
            stage.registry.rule(Rule::on(Request::BlobGet, Fault::Stalled { after: 10 }).path(layer.digest));
        }
        let (stop, running) = working(&stage).await;
        // The renewal of the lease has noted the layer before the time is over.
        let noted = async || (stage.get(&task.id).await.layers_finished as usize == run).then_some(());
        PATIENCE.until("the layer is noted", noted).await;
        stop.stop(StopReason::Deadline);
        running.await.unwrap();
        let waiting = stage.get(&task.id).await;
        assert_eq!((waiting.state, waiting.work.attempts), (State::Queued, 0), "run {run}: {}", waiting.reason);
    }
    stage.registry.clear_rules();
    let task = stage.finish(&task.id).await;
    assert_eq!((task.state, task.work.attempts), (State::Completed, 0));
    assert_eq!((task.progress.layers_converted, task.progress.layers_reused), (2, 2));
}

#[tokio::test]
async fn a_task_that_is_cancelled_moves_no_tag() {
    let stage = Stage::new().await;
    let (_, running) = hanging(&stage).await;
    let id = stage.tasks().await[0].id.clone();
    let (policy, now) = (RetryPolicy::default(), Timestamp::now());
    stage.store.update(&id, now, |task| Ok(task.cancel(&policy, now)?)).await.unwrap();
    stage.registry.release();
    running.await.unwrap();
    let task = stage.get(&id).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Cancelled, "cancelled"));
    assert_eq!(stage.content().tags(APP), ["1"]);
    stage.store.update(&id, now, |task| Ok(task.retry(now)?)).await.unwrap();
    accel_tasks::enqueue(&*stage.store, &*stage.store, &stage.get(&id).await, Default::default(), now).await.unwrap();
    assert_eq!(stage.finish(&id).await.state, State::Completed, "a retry begins anew");
}

#[tokio::test]
async fn a_worker_whose_lease_was_taken_over_moves_no_tag() {
    let stage = Stage::new().await;
    let (_, running) = hanging(&stage).await;
    let (id, now) = (stage.tasks().await[0].id.clone(), Timestamp::now());
    let taken_over = |task: &mut accel_domain::Task| {
        task.work.lease.as_mut().unwrap().until = now;
        Ok(task.start(task.generation, "another worker", &RetryPolicy::default(), now))
    };
    let (_, start) = stage.store.update(&id, now, taken_over).await.unwrap();
    assert_eq!(start, Start::Run);
    stage.registry.release();
    running.await.unwrap();
    assert_eq!(stage.content().tags(APP), ["1"]);
    assert_eq!(stage.get(&id).await.work.lease.unwrap().owner, "another worker");
}
