//! Images whose layers are converted by messages of their own, and put together once.

use std::time::Duration;

use accel_domain::Timestamp;
use accel_domain::task::{RetryPolicy, State, Task, TaskId};
use accel_image::Digest;
use accel_pipeline::Stop;
use accel_tasks::{Message, Received, TaskQueue, TaskStore, enqueue};
use accel_test_support::image::{Compression, Dialect, Layer};
use accel_test_support::{Fault, ImageBuilder, Request, Rule};
use tokio::task::JoinHandle;

use crate::picture::{image, small};
use crate::stage::{APP, Stage};

const LAYERS: u64 = 12;

fn twelve() -> ImageBuilder {
    (0..LAYERS).fold(ImageBuilder::new(), |image, n| image.layer(&small(n)))
}

/// A task for an image of twelve layers that has fanned out: its message is settled, those of its units wait.
async fn fanned_out(image: ImageBuilder) -> (Stage, TaskId, Vec<Digest>) {
    let stage = Stage::new().await.with_fan_out(4);
    let layers = image.push(stage.content(), APP, Some("1")).layers.iter().map(|layer| layer.digest).collect();
    let id = stage.admit(&stage.task()).await;
    assert!(stage.settle_one(&stage.converter()).await);
    let task = stage.get(&id).await;
    assert_eq!((task.state, task.units().len(), task.progress.layers_total), (State::FannedOut, 12, 12));
    assert_eq!(stage.count(Request::BlobGet), 1, "the configuration, and no layer");
    (stage, id, layers)
}

async fn receive(stage: &Stage) -> Received {
    stage.store.receive(Duration::ZERO, Duration::from_secs(60)).await.unwrap().expect("a message waits")
}

/// The message of the unit of `layer`; the others are put back.
async fn message_of(stage: &Stage, layer: Digest) -> Message {
    for _ in 0..LAYERS {
        let Received { message, receipt, .. } = receive(stage).await;
        stage.store.acknowledge(&receipt).await.unwrap();
        if message.layer == Some(layer) {
            return message;
        }
        stage.store.send(&message, Duration::ZERO).await.unwrap();
    }
    panic!("no message for {layer}");
}

/// A worker that hangs in the middle of `layer`.
async fn hanging(stage: &Stage, layer: Digest) -> JoinHandle<()> {
    stage.registry.rule(Rule::on(Request::BlobGet, Fault::Stalled { after: 100 }).path(layer).once());
    let (converter, message) = (stage.converter(), message_of(stage, layer).await);
    let running = tokio::spawn(async move {
        converter.settle(&message, &Stop::new()).await;
    });
    stage.registry.stalled(1).await;
    running
}

fn tags_moved(stage: &Stage) -> usize {
    stage.registry.requests_of(Request::ManifestPut).iter().filter(|seen| seen.path.ends_with("1-esgz")).count()
}

fn assert_whole(stage: &Stage, task: &Task) {
    assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""));
    assert_eq!(tags_moved(stage), 1);
    stage.assert_same_files(APP, "1", "1-esgz");
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_layers_are_converted_by_many_workers_and_put_together_once() {
    let (stage, id, _) = fanned_out(twelve()).await;
    stage.settle_by(4).await;
    let task = stage.get(&id).await;
    assert_whole(&stage, &task);
    let progress = task.progress;
    assert_eq!((progress.layers_total, progress.layers_converted, progress.layers_reused), (12, 12, 0));
    assert!(progress.bytes_read > 12 * 1000 && progress.bytes_written > 12 * 1000, "{progress:?}");
    assert_eq!(stage.content().uploads_open(), 0);
    let downloads = stage.registry.requests_of(Request::BlobGet);
    let again = |seen: &accel_test_support::Seen| downloads.iter().filter(|other| other.path == seen.path).count();
    let layers = downloads.iter().filter(|seen| again(seen) == 1).count();
    assert_eq!(layers, 12, "each layer once; the configuration is what each worker reads");
}

#[tokio::test]
async fn an_image_within_the_limits_is_converted_at_once() {
    let stage = Stage::new().await.with_fan_out(4);
    image().push(stage.content(), APP, Some("1"));
    stage.admit(&stage.task()).await;
    assert!(stage.settle_one(&stage.converter()).await);
    assert_eq!(stage.tasks().await[0].state, State::Completed);
}

#[tokio::test]
async fn layers_that_are_remembered_do_not_count() {
    let (stage, id, _) = fanned_out(twelve()).await;
    assert_eq!(stage.finish(&id).await.state, State::Completed);
    twelve().layer(&small(99)).push(stage.content(), APP, Some("2"));
    let again = stage.task_of("library/app:2", "library/app:2-esgz", crate::stage::default_output());
    stage.admit(&again).await;
    assert!(stage.settle_one(&stage.converter()).await);
    let task = stage.get(&again.id).await;
    assert_eq!((task.state, task.progress.layers_converted, task.progress.layers_reused), (State::Completed, 1, 12));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_with_a_layer_leaves_it_to_another() {
    let (stage, id, layers) = fanned_out(twelve()).await;
    let running = hanging(&stage, layers[5]).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    stage.settle_all(&stage.converter()).await;
    let waiting = stage.get(&id).await;
    assert_eq!((waiting.state, waiting.progress.layers_converted), (State::FannedOut, 11));
    stage.pass_time().await;
    let swept =
        accel_tasks::sweep(&*stage.store, &*stage.store, &RetryPolicy::default(), 100, Timestamp::now(), |_| ())
            .await
            .unwrap();
    assert_eq!(swept.enqueued, 1, "the unit whose lease ran out");
    stage.settle_all(&stage.converter()).await;
    assert_whole(&stage, &stage.get(&id).await);
    let unit = accel_domain::task::UnitKey { task: id, generation: 1, layer: layers[5] };
    assert_eq!(stage.store.unit(&unit).await.unwrap().unwrap().work.attempts, 1);
}

#[tokio::test]
async fn a_restarted_service_takes_up_the_layers_of_the_process_before() {
    let (stage, id, layers) = fanned_out(twelve()).await;
    let running = hanging(&stage, layers[5]).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    let stage = stage.restarted();
    assert_eq!(accel_converter::release_leases(&*stage.store, Timestamp::now()).await.unwrap(), 1);
    let policy = RetryPolicy::default();
    accel_tasks::sweep(&*stage.store, &*stage.store, &policy, 100, Timestamp::now(), |_| ()).await.unwrap();
    stage.settle_all(&stage.converter()).await;
    assert_whole(&stage, &stage.get(&id).await);
}

#[tokio::test]
async fn a_layer_that_cannot_be_converted_fails_the_task_with_its_reason() {
    let mut layer = Layer::pack(&small(50), Compression::Gzip, Dialect::Oci);
    layer.diff_id = Digest::of(b"another");
    let others = (1..LAYERS).fold(ImageBuilder::new(), |image, n| image.layer(&small(n)));
    let (stage, id, layers) = fanned_out(others.with(layer)).await;
    let bad = layers[11];
    let message = message_of(&stage, bad).await;
    stage.converter().settle(&message, &Stop::new()).await;
    let task = stage.get(&id).await;
    assert_eq!(task.state, State::Failed);
    assert!(task.reason.contains("diff id") && task.reason.contains(&bad.to_string()), "{}", task.reason);
    stage.registry.forget_requests();
    stage.settle_all(&stage.converter()).await;
    assert_eq!(stage.registry.requests().len(), 0, "the messages of the other units are void");
    assert_eq!((stage.content().tags(APP), stage.content().uploads_open()), (vec!["1".to_owned()], 0));
}

#[tokio::test]
async fn a_layer_that_fails_for_a_while_uses_attempts_of_its_own() {
    let (stage, id, layers) = fanned_out(twelve()).await;
    stage.registry.rule(Rule::on(Request::BlobGet, Fault::status(503)).path(layers[3]).times(5));
    stage.settle_all(&stage.converter()).await;
    let waiting = stage.get(&id).await;
    assert_eq!((waiting.state, waiting.work.attempts, waiting.progress.layers_converted), (State::FannedOut, 0, 11));
    let task = stage.finish(&id).await;
    assert_eq!(task.work.attempts, 0);
    assert_whole(&stage, &task);
}

#[tokio::test]
async fn a_task_that_is_cancelled_while_its_layers_are_converted_moves_no_tag() {
    let (stage, id, layers) = fanned_out(twelve()).await;
    let running = hanging(&stage, layers[5]).await;
    let (policy, now) = (RetryPolicy::default(), Timestamp::now());
    stage.store.update(&id, now, |task| Ok(task.cancel(&policy, now)?)).await.unwrap();
    stage.registry.release();
    running.await.unwrap();
    stage.settle_all(&stage.converter()).await;
    let task = stage.get(&id).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Cancelled, "cancelled"));
    assert_eq!((stage.content().tags(APP), stage.content().uploads_open()), (vec!["1".to_owned()], 0));
}

#[tokio::test]
async fn a_retry_while_layers_are_converted_begins_anew_and_voids_them() {
    let (stage, id, layers) = fanned_out(twelve()).await;
    let running = hanging(&stage, layers[5]).await;
    let now = Timestamp::now();
    let (task, ()) = stage.store.update(&id, now, |task| Ok(task.retry(now)?)).await.unwrap();
    enqueue(&*stage.store, &*stage.store, &task, Duration::ZERO, now).await.unwrap();
    stage.registry.release();
    running.await.unwrap();
    assert_eq!(stage.get(&id).await.state, State::Queued, "the layer of the older generation told it nothing");
    let task = stage.finish(&id).await;
    assert_eq!((task.generation, task.progress.layers_converted, task.progress.layers_reused), (2, 11, 1));
    assert_whole(&stage, &task);
}

#[tokio::test]
async fn a_newer_push_ends_the_task_at_the_next_layer() {
    let (stage, id, _) = fanned_out(twelve()).await;
    image().push(stage.content(), APP, Some("1"));
    stage.settle_all(&stage.converter()).await;
    let task = stage.get(&id).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Superseded, "superseded by a newer push"));
    assert_eq!(stage.content().tags(APP), ["1"]);
}
