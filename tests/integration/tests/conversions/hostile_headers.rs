//! Answers whose headers lie.

use accel_domain::task::State;
use accel_image::Digest;
use accel_test_support::{Fault, Request, Rule};

use crate::picture::image;
use crate::scenes::play;
use crate::stage::{APP, Stage};

const ROWS: usize = 232;
/// How many of them end as completed, superseded, failed.
const ENDS: [usize; 3] = [219, 1, 12];

/// Headers that make no sense: whatever comes of them, the tag is right or does not move, and the task does not hang.
#[tokio::test]
async fn headers_that_lie_do_no_harm() {
    let another = Digest::of(b"another").to_string();
    let long = "x".repeat(16_000);
    let values: [(&str, &[Option<&str>]); 8] = [
        ("docker-content-digest", &[None, Some("sha256:x"), Some(&another), Some(&long)]),
        ("content-type", &[None, Some(""), Some("text/html; charset=nonsense"), Some(&long)]),
        ("location", &[None, Some(""), Some("://"), Some("/v2/"), Some(&long)]),
        ("range", &[None, Some("0-18446744073709551615"), Some("9-0"), Some("bytes"), Some("0-0")]),
        ("content-range", &[None, Some("bytes 5-1/2"), Some("bytes */*"), Some(&long)]),
        ("retry-after", &[Some("-1"), Some("99999999999999999999"), Some(&long)]),
        ("oci-subject", &[Some("x"), Some(&long)]),
        ("www-authenticate", &[Some("Bearer realm="), Some(&long)]),
    ];
    let requests = [
        Request::ManifestHead,
        Request::ManifestGet,
        Request::ManifestPut,
        Request::BlobHead,
        Request::BlobGet,
        Request::UploadStart,
        Request::UploadPatch,
        Request::UploadPut,
    ];
    let rows = values.into_iter().flat_map(|(name, values)| {
        requests.into_iter().flat_map(move |request| values.iter().map(move |value| (name, request, *value)))
    });
    let rows = rows.map(|(name, request, value)| do_no_harm(request, name, value.map(str::to_owned)));
    let played = play(4, rows.collect::<Vec<_>>()).await;
    let ended = |as_this| played.iter().filter(|state| **state == as_this).count();
    let counts = [State::Completed, State::Superseded, State::Failed].map(ended);
    assert_eq!((played.len(), counts), (ROWS, ENDS), "completed, superseded, failed");
    println!("reliability: {} headers that lie", played.len());
}

/// How the task ends.
async fn do_no_harm(request: Request, name: &'static str, value: Option<String>) -> State {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    let what = format!("{request:?} with {name}: {:?}", value.as_ref().map(|value| &value[..value.len().min(50)]));
    stage.registry.rule(Rule::on(request, Fault::Header { name: name.to_owned(), value }));
    let task = stage.run(stage.task()).await;
    assert!(stage.registry.requests().iter().any(|seen| seen.fault.is_some()), "{what} was never answered");
    let is_tagged = stage.content().manifest(APP, "1-esgz").is_some();
    match task.state {
        State::Completed => assert!(is_tagged && task.reason.is_empty(), "{what}: {}", task.reason),
        State::Superseded => assert!(!is_tagged, "{what}"),
        state => assert!(state == State::Failed && !task.reason.is_empty(), "{what}: {state:?} {}", task.reason),
    }
    if is_tagged {
        stage.assert_same_files(APP, "1", "1-esgz");
    }
    assert!(task.reason.len() < 2000, "{what}: {}", task.reason);
    stage.assert_no_tag_was_incomplete(&what);
    task.state
}
