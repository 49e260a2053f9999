//! Answers that nobody means well with: the task ends with a reason, no tag moves, nothing is read without bound, and
//! nothing is sent to where it must not go.

use std::time::Duration;

use accel_domain::task::State;
use accel_image::{Descriptor, Digest, media_type};
use accel_registry_server::{Auth, Registry, Scheme};
use accel_test_support::image::{Compression, Dialect, Layer};
use accel_test_support::{Fault, FaultyRegistry, ImageBuilder, IndexBuilder, Request, Rule};
use serde_json::json;

use crate::picture::{TOC_DIGEST, image, small};
use crate::scenes::play;
use crate::stage::{APP, Stage};

/// More than any answer that is read here should be.
const MOST_BYTES: u64 = 16 << 20;

/// What a registry does, to an image that is right otherwise.
struct Row {
    name: &'static str,
    does: fn(&Stage, &FaultyRegistry),
    ends: Ends,
}

/// How the task ends.
enum Ends {
    /// It fails, with this in its reason.
    Failed(&'static str),
    /// It completes, with this as its reason, and makes nothing.
    Skipped(&'static str),
    /// It completes, and the target has the files of its source.
    Converted,
    /// It completes, and of two layers the first, which is not in the registry, is what it was.
    FirstKept,
}

const fn fails(name: &'static str, does: fn(&Stage, &FaultyRegistry), says: &'static str) -> Row {
    Row { name, does, ends: Ends::Failed(says) }
}

const fn converts(name: &'static str, does: fn(&Stage, &FaultyRegistry)) -> Row {
    Row { name, does, ends: Ends::Converted }
}

fn at(stage: &Stage, request: Request, fault: Fault) {
    stage.registry.rule(Rule::on(request, fault));
}

/// Puts `document` under the source tag.
fn source(stage: &Stage, media_type: &str, document: impl Into<Vec<u8>>) {
    stage.content().put_manifest(APP, "1", media_type, document.into());
}

fn manifest_with(stage: &Stage, change: impl FnOnce(&mut accel_image::Manifest)) {
    let mut manifest = stage.manifest(APP, "1");
    change(&mut manifest);
    source(stage, &manifest.media_type.clone(), manifest.to_bytes());
}

fn index_of(entry: &Descriptor) -> String {
    json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [entry]}).to_string()
}

fn an_index_in_an_index(stage: &Stage) {
    let one = image().push(stage.content(), APP, None);
    let inner = IndexBuilder::new().image(&one).push(stage.content(), APP, None);
    source(stage, media_type::OCI_INDEX, index_of(&inner));
}

/// An index whose entry leads back to it: that takes a registry that lies.
fn a_cycle(stage: &Stage) {
    let entry = image().push(stage.content(), APP, None).manifest;
    let index = index_of(&entry);
    source(stage, media_type::OCI_INDEX, index.clone());
    let again = Fault::answers(200, &[("content-type", media_type::OCI_INDEX)], index);
    stage.registry.rule(Rule::on(Request::ManifestGet, again).path(entry.digest));
}

fn foreign_layers(stage: &Stage, trap: &FaultyRegistry) {
    let mut foreign = Layer::foreign(&small(9));
    foreign.descriptor.other.insert("urls".to_owned(), json!([format!("http://{}/layer", trap.host())]));
    let mut urls = Layer::pack(&small(1), Compression::Gzip, Dialect::Docker);
    urls.descriptor.other.insert("urls".to_owned(), json!([format!("http://{}/layer", trap.host())]));
    ImageBuilder::new().docker().with(foreign).with(urls).push(stage.content(), APP, Some("1"));
}

/// Bytes that are not what they should be.
fn bodies() -> Vec<Row> {
    vec![
        fails("a blob of another digest", |stage, _| at(stage, Request::BlobGet, Fault::WrongBytes), "sha256:"),
        fails("a manifest of another digest", |stage, _| at(stage, Request::ManifestGet, Fault::WrongBytes), "sha256:"),
        fails("a blob that is too short", |stage, _| at(stage, Request::BlobGet, Fault::Shorter { by: 1 }), "bytes"),
        fails("a blob that is too long", |stage, _| at(stage, Request::BlobGet, Fault::Longer { by: 1 }), "bytes"),
        fails(
            "a manifest that is cut",
            |stage, _| at(stage, Request::ManifestGet, Fault::Shorter { by: 9 }),
            "sha256:",
        ),
        fails("an endless blob", |stage, _| at(stage, Request::BlobGet, Fault::Endless), "but there are more bytes"),
        fails("an endless manifest", |stage, _| at(stage, Request::ManifestGet, Fault::Endless), "4194304"),
        fails("a page for a manifest", |stage, _| at(stage, Request::ManifestGet, Fault::Html), "text/html"),
        fails("a page for a blob", |stage, _| at(stage, Request::BlobGet, Fault::Html), "bytes"),
        fails("a page for an upload", |stage, _| at(stage, Request::UploadStart, Fault::Html), "200"),
        fails("a page for a part of an upload", |stage, _| at(stage, Request::UploadPatch, Fault::Html), "200"),
        fails("a page for the end of an upload", |stage, _| at(stage, Request::UploadPut, Fault::Html), "200"),
        fails("a page for a manifest that is put", |stage, _| at(stage, Request::ManifestPut, Fault::Html), "kept"),
        // What such a HEAD does not say is asked by GET.
        converts("a page for a look at a manifest", |stage, _| at(stage, Request::ManifestHead, Fault::Html)),
        converts("a page for a look at a blob", |stage, _| at(stage, Request::BlobHead, Fault::Html)),
        fails(
            "a manifest of 100 MiB",
            |stage, _| {
                source(stage, media_type::OCI_MANIFEST, vec![b' '; 100 << 20]);
                at(stage, Request::ManifestGet, Fault::Slow { piece: 64 << 10, pause: Duration::ZERO });
            },
            "4194304",
        ),
    ]
}

/// Documents that make no sense.
fn documents() -> Vec<Row> {
    vec![
        fails("an index in an index", |stage, _| an_index_in_an_index(stage), "another index"),
        fails("a cycle", |stage, _| a_cycle(stage), "sha256:"),
        fails(
            "a document that nobody knows",
            |stage, _| source(stage, "application/x-thing", "{}"),
            "application/x-thing",
        ),
        Row {
            name: "a configuration that nobody knows",
            does: |stage, _| {
                manifest_with(stage, |manifest| manifest.config.media_type = "application/x-thing".to_owned());
            },
            ends: Ends::Skipped("not a container image"),
        },
        fails(
            "a layer that nobody knows",
            |stage, _| {
                manifest_with(stage, |manifest| manifest.layers[0].media_type = "application/x-thing".to_owned())
            },
            "unknown media type `application/x-thing`",
        ),
        Row { name: "layers that lie elsewhere", does: foreign_layers, ends: Ends::FirstKept },
        fails(
            "a layer without a diff id",
            |stage, _| {
                manifest_with(stage, |manifest| manifest.layers.push(manifest.layers[0].clone()));
            },
            "3 layers but 2 diff ids",
        ),
        fails(
            "a diff id without a layer",
            |stage, _| {
                manifest_with(stage, |manifest| drop(manifest.layers.pop()));
            },
            "1 layers but 2 diff ids",
        ),
        fails(
            "a layer that claims to be huge",
            |stage, _| {
                manifest_with(stage, |manifest| manifest.layers[0].size = u64::MAX);
            },
            "18446744073709551615 bytes, but the blob has 40440 bytes",
        ),
        fails(
            "a configuration that claims to be huge",
            |stage, _| {
                manifest_with(stage, |manifest| manifest.config.size = 1 << 40);
            },
            "larger than the limit",
        ),
    ]
}

/// Answers that lead elsewhere.
fn ways() -> Vec<Row> {
    vec![
        fails(
            "an upload that leads elsewhere",
            |stage, trap| {
                at(stage, Request::UploadStart, Fault::LocationAt(format!("http://{}", trap.host())));
            },
            "uploads stay",
        ),
        fails(
            "a part of an upload that leads elsewhere",
            |stage, trap| {
                at(stage, Request::UploadPatch, Fault::LocationAt(format!("http://{}", trap.host())));
            },
            "uploads stay",
        ),
        fails(
            "a manifest that lies elsewhere",
            |stage, trap| {
                at(
                    stage,
                    Request::ManifestGet,
                    Fault::Redirect { status: 307, to: format!("http://{}{{path}}", trap.host()) },
                );
            },
            "307",
        ),
        fails(
            "a blob at a metadata address",
            |stage, _| {
                let to = "http://169.254.169.254/latest/meta-data/".to_owned();
                at(stage, Request::BlobGet, Fault::Redirect { status: 302, to });
            },
            "metadata",
        ),
        fails(
            "a blob in another scheme",
            |stage, _| {
                at(stage, Request::BlobGet, Fault::Redirect { status: 302, to: "file:///etc/passwd".to_owned() });
            },
            "not HTTPS",
        ),
    ]
}

async fn ends_as_it_should(Row { name, does, ends }: Row) {
    let (stage, trap) = (Stage::new().await, FaultyRegistry::start().await);
    image().push(stage.content(), APP, Some("1"));
    does(&stage, &trap);
    let task = stage.run(stage.task()).await;
    let ended = (task.state, task.reason.as_str());
    match ends {
        Ends::Failed(says) => {
            assert!(task.state == State::Failed && !says.is_empty() && task.reason.contains(says), "{name}: {ended:?}");
        }
        Ends::Skipped(says) => assert_eq!(ended, (State::Completed, says), "{name}"),
        Ends::Converted => {
            assert_eq!(ended, (State::Completed, ""), "{name}");
            stage.assert_same_files(APP, "1", "1-esgz");
        }
        Ends::FirstKept => {
            assert_eq!(ended, (State::Completed, ""), "{name}");
            assert_first_kept(&stage, name);
        }
    }
    if matches!(ends, Ends::Failed(_) | Ends::Skipped(_)) {
        assert_eq!(stage.content().tags(APP), ["1"], "{name}");
    }
    stage.assert_no_tag_was_incomplete(name);
    assert_eq!(trap.requests(), [], "{name}");
    let most = stage.registry.requests().iter().map(|seen| seen.sent_bytes).max().unwrap();
    assert!(most < MOST_BYTES, "{name}: {most} bytes were read");
}

fn assert_first_kept(stage: &Stage, name: &str) {
    let [source, target] = ["1", "1-esgz"].map(|tag| stage.manifest(APP, tag).layers);
    assert_eq!((source.len(), target.len()), (2, 2), "{name}");
    assert_eq!((source[0].digest, &source[0].other), (target[0].digest, &target[0].other), "{name}");
    let converted = stage.content().blob(APP, target[1].digest).unwrap();
    assert_eq!(Digest::of(&converted), target[1].digest, "{name}");
    assert!(target[1].annotations.contains_key(TOC_DIGEST), "{name}");
    assert!(target[1].other.is_empty(), "{name}: the source's URLs have another blob: {:?}", target[1].other);
}

#[tokio::test]
async fn a_hostile_answer_ends_the_task_with_its_reason() {
    let played = play(4, [bodies(), documents(), ways()].into_iter().flatten().map(ends_as_it_should)).await;
    println!("reliability: {} hostile answers", played.len());
}

#[tokio::test]
async fn no_login_goes_where_a_registry_points() {
    let trap = FaultyRegistry::start().await;
    let to = format!("http://{}/blob", trap.host());
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"x\"", trap.host());
    let asks = Fault::answers(401, &[("www-authenticate", &realm)], "");
    let rows = [
        (Request::BlobGet, Fault::Redirect { status: 307, to }, "404"),
        (Request::ManifestGet, asks.clone(), "token_realms"),
        (Request::UploadPatch, asks, "token_realms"),
    ];
    for scheme in [Scheme::Basic, Scheme::Bearer { token_ttl: Duration::from_secs(300) }] {
        for (request, fault, says) in rows.clone() {
            let registry = Registry::default().with_auth(Auth::new("robot$accel", "secret", scheme));
            let stage = Stage::on(FaultyRegistry::serve(registry).await).with_login("robot$accel", "secret");
            image().push(stage.content(), APP, Some("1"));
            at(&stage, request, fault);
            let task = stage.run(stage.task()).await;
            assert_eq!(task.state, State::Failed, "{request:?}: {}", task.reason);
            assert!(task.reason.contains(says), "{request:?}: {}", task.reason);
            assert_eq!(stage.content().tags(APP), ["1"]);
        }
    }
    let came = trap.requests();
    assert!(!came.is_empty(), "redirects of blobs are followed");
    assert!(came.iter().all(|seen| !seen.authorized && seen.request != Request::Token), "{came:?}");
}
