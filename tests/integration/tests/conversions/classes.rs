//! The table of error classes: each answer, again and again, at each kind of request that an answer can come to.

use std::sync::Arc;

use accel_domain::Timestamp;
use accel_domain::task::{State, Task};
use accel_test_support::{Fault, Request, Rule};

use crate::scenes::{Images, Recording, Scene, play};
use crate::stage::Stage;

use Request::{BlobGet, BlobHead, ManifestGet, ManifestHead, ManifestPut, Mount, Token};
use Request::{UploadPatch, UploadPut, UploadStart};

const AT_ONCE: usize = 16;

const ALL: &[Request] =
    &[Token, ManifestHead, ManifestGet, ManifestPut, BlobHead, BlobGet, UploadStart, UploadPatch, UploadPut, Mount];
const WRITES: &[Request] = &[ManifestPut, UploadStart, UploadPatch, UploadPut, Mount];
const BODIES: &[Request] = &[ManifestGet, BlobGet];

/// How a task ends that gets the same answer each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// FAILED after so many attempts.
    Failed(u32),
    /// It waits without an attempt used, and completes when the registry has changed its mind.
    Waits,
    /// There is another way.
    Completed,
    /// The source is not there any more.
    Superseded,
}
use Ends::{Completed, Failed, Superseded, Waits};

/// A row of the table.
#[derive(Debug, Clone)]
struct Row {
    fault: Fault,
    at: &'static [Request],
    ends: Ends,
    /// Where it ends otherwise.
    but: &'static [(Request, Ends)],
    /// Part of the reason.
    says: &'static str,
}

const fn row(fault: Fault, at: &'static [Request], ends: Ends, says: &'static str) -> Row {
    Row { fault, at, ends, but: &[], says }
}

impl Row {
    fn but(self, but: &'static [(Request, Ends)]) -> Self {
        Self { but, ..self }
    }

    fn ends_at(&self, request: Request) -> Ends {
        self.but.iter().find(|(at, _)| *at == request).map_or(self.ends, |(_, ends)| *ends)
    }
}

/// First tried again in place, then as attempts.
fn transient() -> Vec<Row> {
    let statuses = [(408, "408"), (425, "425"), (500, "500"), (502, "502"), (503, "503"), (504, "504")];
    let mut rows: Vec<Row> =
        statuses.into_iter().map(|(status, says)| row(Fault::status(status), ALL, Failed(5), says)).collect();
    rows.extend([
        row(Fault::Reset, ALL, Failed(5), ""),
        row(Fault::Hang, ALL, Failed(5), "no answer"),
        row(Fault::ClosedInBody { after: 10 }, BODIES, Failed(5), "body"),
        row(Fault::says(403, "DENIED", "The system is in read only mode."), WRITES, Failed(5), "read-only"),
        // What was sent is there, and found.
        row(Fault::AnswerLost, ALL, Failed(5), "").but(&[
            (Mount, Completed),
            (ManifestPut, Completed),
            (UploadPatch, Completed),
            (UploadPut, Completed),
        ]),
    ]);
    rows
}

/// Budgets of their own.
fn held_back() -> Vec<Row> {
    vec![
        row(Fault::status(429), ALL, Waits, "429"),
        row(Fault::retry_after(429, "120"), ALL, Waits, "429"),
        row(Fault::refusal(412, "PROJECTPOLICYVIOLATION"), ALL, Waits, "scanned"),
    ]
}

/// FAILED at once. A mount that is refused becomes an upload.
fn permanent() -> Vec<Row> {
    const MOUNTS: &[(Request, Ends)] = &[(Mount, Completed)];
    // Reading changes no tag: there it is the policy that holds the image back.
    const POLICY: &[(Request, Ends)] = &[
        (Mount, Completed),
        (Token, Waits),
        (ManifestHead, Waits),
        (ManifestGet, Waits),
        (BlobHead, Waits),
        (BlobGet, Waits),
    ];
    const ABSENT: &[(Request, Ends)] = &[
        (Mount, Completed),
        (ManifestHead, Superseded),
        (BlobHead, Completed),
        // The upload is lost: it begins again, and then as after an outage.
        (UploadPatch, Failed(5)),
        (UploadPut, Failed(5)),
    ];
    let exceeds = "adding 1.0 GiB of storage resource, which will exceed the quota";
    vec![
        row(Fault::status(401), ALL, Failed(0), "401").but(MOUNTS),
        row(Fault::status(403), ALL, Failed(0), "403").but(MOUNTS),
        row(Fault::status(404), ALL, Failed(0), "404").but(ABSENT),
        row(Fault::refusal(412, "PRECONDITION"), ALL, Failed(0), "may not be changed").but(POLICY),
        row(Fault::says(403, "DENIED", exceeds), WRITES, Failed(0), "quota").but(MOUNTS),
        row(Fault::refusal(400, "MANIFEST_INVALID"), &[ManifestPut], Failed(0), "does not accept"),
        row(Fault::refusal(413, "SIZE_INVALID"), WRITES, Failed(0), "too large").but(MOUNTS),
        row(Fault::WrongBytes, BODIES, Failed(0), "sha256"),
        row(Fault::refusal(501, "UNSUPPORTED"), WRITES, Failed(0), "501").but(MOUNTS),
    ]
}

/// Records that do not hold: the layers are done again, once, and then as after an outage.
fn lost() -> Row {
    row(Fault::refusal(400, "MANIFEST_BLOB_UNKNOWN"), &[ManifestPut], Failed(5), "lost blobs")
}

async fn ends_as_it_should(recording: Arc<Recording>, images: Arc<Images>, row: Row, request: Request) {
    let scene = recording.scene;
    let what = format!("{request:?}: {row:?}");
    let stage = scene.stage(&images, vec![Rule::on(request, row.fault.clone())]).await.with_patience_for(&row.fault);
    let tags = stage.content().tags(scene.target().0);
    let id = stage.admit(&scene.task(&stage)).await;
    stage.settle_all(&stage.converter()).await;
    let first = stage.get(&id).await;
    assert!(stage.registry.requests().iter().any(|seen| seen.fault.is_some()), "{what}: it was not played");
    let ends = row.ends_at(request);
    if ends == Waits {
        assert_waits(&first, &row, &what);
        stage.registry.clear_rules();
    }
    let task = stage.finish(&id).await;
    match ends {
        Failed(attempts) => {
            assert_eq!((task.state, task.work.attempts), (State::Failed, attempts), "{what}: {}", task.reason);
            assert!(task.reason.contains(row.says), "{what}: {}", task.reason);
            assert_eq!(stage.content().tags(scene.target().0), tags, "{what}");
        }
        Waits | Completed => {
            assert_eq!(task.state, State::Completed, "{what}: {}", task.reason);
            // A mount whose answer is lost is found by the next attempt.
            assert!(task.work.attempts <= u32::from(ends == Completed), "{what}");
            recording.assert_reached(&stage, &what);
        }
        Superseded => assert_eq!(task.state, State::Superseded, "{what}: {}", task.reason),
    }
    assert_no_storm(&stage, &recording, &what);
}

fn assert_waits(task: &Task, row: &Row, what: &str) {
    assert_eq!((task.state, task.work.attempts), (State::Queued, 0), "{what}: {}", task.reason);
    assert!(task.work.not_before.is_some_and(|at| at > Timestamp::now()), "{what}");
    // Elsewhere the same answer says something else.
    assert!(row.ends != Waits || task.reason.contains(row.says), "{what}: {}", task.reason);
}

/// Five attempts of five tries, and what leads to them.
fn assert_no_storm(stage: &Stage, recording: &Recording, what: &str) {
    let (asked, most) = (stage.registry.requests().len(), 5 * recording.seen.len() + 200);
    assert!(asked <= most, "{what}: {asked} requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_has_its_class_at_every_kind_of_request() {
    let images = Arc::new(Images::new(false));
    let index = Arc::new(Scene::Index.recorded(&images).await);
    let elsewhere = Arc::new(Scene::Elsewhere.recorded(&images).await);
    let rows = [transient(), held_back(), permanent(), vec![lost()]].concat();
    let cases = rows.iter().flat_map(|row| row.at.iter().map(|request| (row.clone(), *request)));
    let cases = cases.map(|(row, request)| {
        let recording = if request == Mount { &elsewhere } else { &index };
        ends_as_it_should(Arc::clone(recording), Arc::clone(&images), row, request)
    });
    let played = play(AT_ONCE, cases).await;
    assert!(played.len() > 150, "{}", played.len());
}
