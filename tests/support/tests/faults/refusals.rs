//! Answers instead of the work, and answers that say something else.

use std::time::Duration;

use accel_image::{Descriptor, media_type};
use accel_registry_server::{Auth, Registry, Scheme};
use accel_test_support::{Fault, FaultyRegistry, ImageBuilder, Request, Rule};

use crate::{call, send, upload, with_blob};

#[tokio::test]
async fn refuses_with_status_code_and_time() {
    let (registry, path) = with_blob(b"x").await;
    registry.rule(Rule::on(Request::BlobGet, Fault::retry_after(429, "7")).once());
    registry.rule(Rule::on(Request::BlobGet, Fault::refusal(412, "PROJECTPOLICYVIOLATION")).nth(2));
    let busy = call(&registry, &format!("GET {path}")).await;
    assert_eq!((busy.status(), busy.header("retry-after").as_deref()), (429, Some("7")));
    assert!(String::from_utf8_lossy(busy.body()).contains("\"TOOMANYREQUESTS\""));
    let policy = call(&registry, &format!("GET {path}")).await;
    assert_eq!((policy.status(), policy.header("retry-after")), (412, None));
    assert!(String::from_utf8_lossy(policy.body()).contains("\"PROJECTPOLICYVIOLATION\""));
    assert_eq!(call(&registry, &format!("GET {path}")).await.status(), 200);
}

#[tokio::test]
async fn answers_a_page_or_a_redirect() {
    let (registry, path) = with_blob(b"x").await;
    registry.rule(Rule::on(Request::BlobGet, Fault::Html).once());
    let to = "http://127.0.0.1:1/elsewhere{path}".to_owned();
    registry.rule(Rule::on(Request::BlobGet, Fault::Redirect { status: 307, to }).nth(2));
    let page = call(&registry, &format!("GET {path}")).await;
    assert_eq!((page.status(), page.header("content-type").as_deref()), (200, Some("text/html; charset=utf-8")));
    let moved = call(&registry, &format!("GET {path}")).await;
    assert_eq!(moved.status(), 307);
    assert_eq!(moved.header("location"), Some(format!("http://127.0.0.1:1/elsewhere{path}")));
}

#[tokio::test]
async fn lacks_what_old_registries_lack() {
    let (registry, path) = with_blob(b"x").await;
    registry.rule(Rule::on(Request::BlobHead, Fault::NoHead));
    registry.rule(Rule::on(Request::Mount, Fault::NoMount));
    registry.rule(Rule::on(Request::Referrers, Fault::NoReferrers));
    registry.rule(Rule::on(Request::ManifestPut, Fault::NoReferrers));
    assert_eq!(call(&registry, &format!("HEAD {path}")).await.status(), 405);
    let digest = path.rsplit('/').next().unwrap();
    let mount = call(&registry, &format!("POST /v2/other/blobs/uploads/?mount={digest}&from=r")).await;
    assert_eq!((mount.status(), registry.content().blobs("other").len()), (202, 0));
    assert_eq!(call(&registry, &format!("GET /v2/r/referrers/{digest}")).await.status(), 404);

    let subject = Descriptor::of(media_type::OCI_MANIFEST, b"{}");
    let image = ImageBuilder::new().subject(subject).push(registry.content(), "r", None);
    let manifest = registry.content().manifest("r", &image.manifest.digest.to_string()).unwrap();
    let kind = format!("content-type: {}\r\n", manifest.media_type);
    let put = send(&registry, "PUT /v2/r/manifests/t", &kind, &manifest.bytes).await;
    assert_eq!((put.status(), put.header("oci-subject")), (201, None));
    registry.clear_rules();
    let put = send(&registry, "PUT /v2/r/manifests/t", &kind, &manifest.bytes).await;
    assert!(put.header("oci-subject").is_some(), "the rule had removed it");
}

#[tokio::test]
async fn expires_tokens() {
    let scheme = Scheme::Bearer { token_ttl: Duration::from_secs(300) };
    let registry = FaultyRegistry::serve(Registry::default().with_auth(Auth::new("u", "p", scheme))).await;
    let credentials = "authorization: Basic dTpw\r\n";
    let token = send(&registry, "GET /token", credentials, b"").await;
    let token: serde_json::Value = serde_json::from_slice(token.body()).unwrap();
    let bearer = format!("authorization: Bearer {}\r\n", token["token"].as_str().unwrap());
    registry.rule(Rule::on(Request::Ping, Fault::TokenExpired).nth(2));
    assert_eq!(send(&registry, "GET /v2/", &bearer, b"").await.status(), 200);
    assert_eq!(send(&registry, "GET /v2/", &bearer, b"").await.status(), 401);
    assert_eq!(send(&registry, "GET /v2/", &bearer, b"").await.status(), 401);
}

#[tokio::test]
async fn deletes_blobs_behind_the_clients_back() {
    let (registry, path) = with_blob(b"x").await;
    registry.rule(Rule::on(Request::BlobHead, Fault::BlobVanishes));
    assert_eq!(call(&registry, &format!("HEAD {path}")).await.status(), 200);
    assert_eq!(call(&registry, &format!("HEAD {path}")).await.status(), 404);

    let image = ImageBuilder::new().layer(b"tar").push(registry.content(), "r", Some("t"));
    let manifest = registry.content().manifest("r", "t").unwrap();
    registry.rule(Rule::on(Request::ManifestPut, Fault::BlobGone(image.layers[0].digest)));
    let kind = format!("content-type: {}\r\n", manifest.media_type);
    let put = send(&registry, "PUT /v2/r/manifests/t", &kind, &manifest.bytes).await;
    assert_eq!(put.status(), 400);
    assert!(String::from_utf8_lossy(put.body()).contains("MANIFEST_BLOB_UNKNOWN"));
}

#[tokio::test]
async fn lies_in_headers() {
    let (registry, path) = with_blob(b"x").await;
    let header = |value: Option<&str>| Fault::Header {
        name: "docker-content-digest".to_owned(),
        value: value.map(str::to_owned),
    };
    registry.rule(Rule::on(Request::BlobGet, header(Some("sha256:0"))).once());
    registry.rule(Rule::on(Request::BlobGet, header(None)).nth(2));
    for expected in [Some("sha256:0"), None] {
        let answer = call(&registry, &format!("GET {path}")).await;
        assert_eq!(answer.header("docker-content-digest").as_deref(), expected);
    }
    registry.rule(Rule::on(Request::UploadStart, Fault::LocationAt("http://127.0.0.1:1".to_owned())));
    assert!(upload(&registry).await.starts_with("http://127.0.0.1:1/v2/r/blobs/uploads/"));
}
