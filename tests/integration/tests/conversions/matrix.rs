//! Every request of a conversation, and every way in which it can fail once: the conversion ends COMPLETED with the same
//! result, without an attempt used, without a storm of requests, and no tag is ever incomplete.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use accel_domain::task::State;
use accel_image::Digest;
use accel_test_support::{Fault, Request, Rule};

use crate::scenes::{Images, Recording, SCENES, play};
use crate::stage::SHORT;

/// Conversations at a time: most of them wait most of the time.
const AT_ONCE: usize = 8;
/// In the loop of every day, one of so many cases is played. No divisor of the number of faults, so that each fault
/// meets each kind of request.
const STRIDE: usize = 13;

/// A fault, played once at a request.
#[derive(Debug, Clone)]
struct Case {
    request: Request,
    nth: usize,
    fault: Fault,
}

/// A date so many seconds from now on, or before now.
fn date(seconds: i64) -> String {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let now = SystemTime::now();
    httpdate::fmt_http_date(if seconds < 0 { now - distance } else { now + distance })
}

/// What can happen to any request.
fn of_any_request() -> Vec<Fault> {
    let mut faults: Vec<Fault> = [408, 425, 500, 502, 503, 504].map(Fault::status).into();
    faults.extend([Fault::retry_after(429, "0"), Fault::retry_after(429, "120"), Fault::retry_after(503, "0")]);
    faults.extend([Fault::retry_after(429, &date(-5)), Fault::retry_after(429, &date(3600)), Fault::status(429)]);
    faults.extend([Fault::Reset, Fault::AnswerLost, Fault::Hang, Fault::TokenExpired]);
    faults
}

/// What can happen to an answer that has a body, and to that of this request in particular.
fn of_an_answer(request: Request) -> Vec<Fault> {
    let mut faults = vec![
        Fault::ResetInBody { after: 10 },
        Fault::ClosedInBody { after: 10 },
        Fault::Stalled { after: 10 },
        Fault::Slow { piece: 20_000, pause: SHORT / 20 },
    ];
    if request != Request::Token {
        faults.extend([Fault::WrongBytes, Fault::Shorter { by: 1 }, Fault::Longer { by: 1 }]);
    }
    faults
}

fn of_an_upload(request: Request) -> Vec<Fault> {
    let lost = Fault::refusal(404, "BLOB_UPLOAD_UNKNOWN");
    match request {
        Request::UploadPatch => vec![
            Fault::SessionLost,
            lost,
            Fault::ResetInUpload { after: 100 },
            Fault::KeepsPart { bytes: 100, status: 202 },
            Fault::KeepsPart { bytes: 100, status: 416 },
            Fault::refusal(416, "BLOB_UPLOAD_INVALID"),
        ],
        _ => vec![Fault::SessionLost, lost, Fault::refusal(400, "DIGEST_INVALID")],
    }
}

/// Everything that can happen once to a request; `blob` is one that the target names.
fn faults(request: Request, blob: Digest) -> Vec<Fault> {
    let more = match request {
        Request::ManifestGet | Request::BlobGet | Request::Token => of_an_answer(request),
        Request::UploadPatch | Request::UploadPut => of_an_upload(request),
        Request::ManifestPut => vec![Fault::ResetInUpload { after: 100 }, Fault::BlobGone(blob)],
        Request::BlobHead => vec![Fault::BlobVanishes],
        _ => Vec::new(),
    };
    of_any_request().into_iter().chain(more).collect()
}

fn cases(recording: &Recording) -> Vec<Case> {
    let blob = recording.parts[0][1].digest;
    let mut cases = Vec::new();
    for (request, nth) in recording.positions() {
        let position = (request, nth);
        let matters = |fault: &Fault| match fault {
            // What goes after its manifest was taken is the registry's to know.
            Fault::BlobGone(_) => recording.puts_image(position),
            Fault::TokenExpired => !recording.shows_a_fresh_token(position),
            _ => true,
        };
        let faults = faults(request, blob).into_iter().filter(matters);
        cases.extend(faults.map(|fault| Case { request, nth, fault }));
    }
    cases
}

/// Whether the fault was played: how often a request is made is not always the same.
async fn survives(recording: Arc<Recording>, images: Arc<Images>, case: Case) -> bool {
    let Case { request, nth, fault } = case.clone();
    let stage =
        recording.scene.stage(&images, vec![Rule::on(request, fault).nth(nth)]).await.with_patience_for(&case.fault);
    let task = stage.run(recording.scene.task(&stage)).await;
    let what = format!("{:?}: {case:?}", recording.scene);
    let done = matches!(task.state, State::Completed | State::AlreadyAccelerated);
    assert!(done, "{what}: {:?} {}", task.state, task.reason);
    assert_eq!(task.work.attempts, 0, "{what}: {}", task.reason);
    recording.assert_reached(&stage, &what);
    recording.assert_same_tags(&stage, &what);
    let (asked, most) = (stage.registry.requests().len(), 2 * recording.seen.len() + 30);
    assert!(asked <= most, "{what}: {asked} requests");
    stage.registry.requests().iter().any(|seen| seen.fault.as_ref() == Some(&case.fault))
}

/// Plays every `stride`th case; how many requests there are, and how many cases were played.
async fn matrix(stride: usize) -> (usize, usize) {
    let images = Arc::new(Images::new(true));
    let (mut requests, mut all, mut played) = (0, 0, 0);
    for scene in SCENES {
        let recording = Arc::new(scene.recorded(&images).await);
        requests += recording.seen.len();
        let chosen = cases(&recording).into_iter().step_by(stride);
        let survived =
            play(AT_ONCE, chosen.map(|case| survives(Arc::clone(&recording), Arc::clone(&images), case))).await;
        all += survived.len();
        played += survived.iter().filter(|played| **played).count();
    }
    assert!(played * 20 >= all * 19, "only {played} of {all} faults were played");
    (requests, played)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_at_a_request_is_survived() {
    matrix(STRIDE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: just reliability"]
async fn every_fault_at_every_request_is_survived() {
    let (requests, played) = matrix(1).await;
    println!("reliability: {played} faults at {requests} requests survived");
}
