//! Answers whose headers lie.

use accel_domain::task::State;
use accel_image::Digest;
use accel_test_support::{Fault, Request, Rule};

use crate::picture::image;
use crate::scenes::play;
use crate::stage::{APP, Stage};

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
    println!("reliability: {} headers that lie", played.len());
}

async fn do_no_harm(request: Request, name: &'static str, value: Option<String>) {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    let what = format!("{request:?} with {name}: {:?}", value.as_ref().map(|value| &value[..value.len().min(50)]));
    stage.registry.rule(Rule::on(request, Fault::Header { name: name.to_owned(), value }));
    let task = stage.run(stage.task()).await;
    match task.state {
        State::Completed => stage.assert_same_files(APP, "1", "1-esgz"),
        State::Superseded => assert_eq!(stage.content().tags(APP), ["1"], "{what}"),
        state => assert_eq!(state, State::Failed, "{what}: {}", task.reason),
    }
    assert!(task.reason.len() < 2000, "{what}: {}", task.reason);
    stage.assert_no_tag_was_incomplete(&what);
}
