//! Manifests, referrers and notices.

use std::sync::{Arc, Mutex};

use accel_image::{Digest, media_type};
use accel_registry_server::{Action, Notice, Registry};
use serde_json::{Value, json};

use crate::{Answer, call, send};

/// A manifest over a config and a layer that are in `repository`, with more members.
fn manifest(registry: &Registry, repository: &str, more: &Value) -> String {
    let config = registry.content().put_blob(repository, "{}");
    let layer = registry.content().put_blob(repository, "layer");
    let mut value = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": {"mediaType": media_type::OCI_CONFIG, "digest": config, "size": 2},
        "layers": [{"mediaType": media_type::OCI_LAYER, "digest": layer, "size": 5}],
    });
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    value.to_string()
}

async fn put(registry: &Registry, path: &str, kind: &str, body: String) -> Answer {
    send(registry, &format!("PUT {path}"), &[("content-type", kind)], body).await
}

#[tokio::test]
async fn serves_what_was_put_by_tag_and_by_digest() {
    let registry = Registry::default();
    let body = manifest(&registry, "r", &json!({}));
    let digest = Digest::of(body.as_bytes());
    let created = put(&registry, "/v2/r/manifests/v1", media_type::OCI_MANIFEST, body.clone()).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.header("location"), format!("/v2/r/manifests/{digest}"));
    assert_eq!((created.header("docker-content-digest"), created.header("oci-subject")), (&*digest.to_string(), ""));
    for key in ["v1".to_owned(), digest.to_string()] {
        let got = call(&registry, &format!("GET /v2/r/manifests/{key}")).await;
        assert_eq!((got.status.as_u16(), got.body.as_slice()), (200, body.as_bytes()));
        assert_eq!(got.header("content-type"), media_type::OCI_MANIFEST);
        let head = call(&registry, &format!("HEAD /v2/r/manifests/{key}")).await;
        assert_eq!((head.status.as_u16(), head.header("content-length")), (200, body.len().to_string().as_str()));
        assert_eq!((head.body.len(), head.header("docker-content-digest")), (0, digest.to_string().as_str()));
    }
}

#[tokio::test]
async fn refuses_by_name() {
    let registry = Registry::default();
    let good = manifest(&registry, "r", &json!({}));
    let absent = good.replace(&Digest::of(b"layer").to_string(), &Digest::of(b"absent").to_string());
    let index = json!({"schemaVersion": 2, "manifests": [
        {"mediaType": media_type::OCI_MANIFEST, "digest": Digest::of(b"absent"), "size": 1}]});
    let large = format!("{good}{}", " ".repeat(accel_registry_server::MAX_MANIFEST_BYTES));
    let other = format!("/v2/r/manifests/{}", Digest::of(b"other"));
    let rows = [
        ("/v2/r/manifests/v1", absent, 400, "MANIFEST_BLOB_UNKNOWN"),
        ("/v2/r/manifests/v1", index.to_string(), 400, "MANIFEST_BLOB_UNKNOWN"),
        ("/v2/r/manifests/v1", "<html>".to_owned(), 400, "MANIFEST_INVALID"),
        ("/v2/r/manifests/v1", r#"{"schemaVersion":1}"#.to_owned(), 400, "MANIFEST_INVALID"),
        ("/v2/r/manifests/v1", large, 413, "SIZE_INVALID"),
        ("/v2/r/manifests/.v1", good.clone(), 400, "TAG_INVALID"),
        ("/v2/r/manifests/sha256:0", good.clone(), 400, "DIGEST_INVALID"),
        (&other, good, 400, "DIGEST_INVALID"),
    ];
    for (path, body, status, code) in rows {
        let refused = put(&registry, path, "application/json", body).await;
        assert_eq!(refused.refusal(), (status, code.to_owned()), "{path}");
    }
    assert!(registry.content().manifests("r").is_empty());
    let unknown = call(&registry, "GET /v2/r/manifests/v1").await;
    assert_eq!(unknown.refusal(), (404, "MANIFEST_UNKNOWN".to_owned()));
    let unknown = call(&registry, "GET /v2/nobody/manifests/v1").await;
    assert_eq!(unknown.refusal(), (404, "NAME_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn a_foreign_layer_may_be_elsewhere() {
    let registry = Registry::default();
    let foreign = json!({"layers": [{
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "digest": Digest::of(b"elsewhere"), "size": 9, "urls": ["https://elsewhere.example/"]}]});
    let body = manifest(&registry, "r", &foreign);
    assert_eq!(put(&registry, "/v2/r/manifests/v1", media_type::OCI_MANIFEST, body).await.status, 201);
}

#[tokio::test]
async fn an_index_needs_its_manifests() {
    let registry = Registry::default();
    let body = manifest(&registry, "r", &json!({}));
    let digest = Digest::of(body.as_bytes());
    put(&registry, &format!("/v2/r/manifests/{digest}"), media_type::OCI_MANIFEST, body).await;
    assert!(registry.content().tags("r").is_empty(), "a push by digest makes no tag");
    let index = json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [
        {"mediaType": media_type::OCI_MANIFEST, "digest": digest, "size": 1}]});
    assert_eq!(put(&registry, "/v2/r/manifests/all", media_type::OCI_INDEX, index.to_string()).await.status, 201);
    assert_eq!(registry.content().tags("r"), ["all"]);
}

#[tokio::test]
async fn lists_referrers_by_subject_and_type() {
    let registry = Registry::default();
    let subject = Digest::of(b"subject");
    let refers = json!({"mediaType": media_type::OCI_MANIFEST, "digest": subject, "size": 7});
    for kind in ["x/one", "x/two"] {
        let more = json!({"subject": refers, "artifactType": kind, "annotations": {"kind": kind}});
        let body = manifest(&registry, "r", &more);
        let path = format!("/v2/r/manifests/{}", Digest::of(body.as_bytes()));
        let created = put(&registry, &path, media_type::OCI_MANIFEST, body).await;
        assert_eq!((created.status.as_u16(), created.header("oci-subject")), (201, subject.to_string().as_str()));
    }
    let plain = manifest(&registry, "r", &json!({"subject": refers}));
    put(&registry, "/v2/r/manifests/plain", media_type::OCI_MANIFEST, plain).await;

    let all = call(&registry, &format!("GET /v2/r/referrers/{subject}")).await;
    assert_eq!((all.status.as_u16(), all.header("content-type")), (200, media_type::OCI_INDEX));
    assert_eq!((all.json()["manifests"].as_array().unwrap().len(), all.header("oci-filters-applied")), (3, ""));
    for (kind, annotation) in [("x/one", json!({"kind": "x/one"})), (media_type::OCI_CONFIG, Value::Null)] {
        let path = format!("GET /v2/r/referrers/{subject}?artifactType={}", kind.replace('+', "%2B"));
        let found = call(&registry, &path).await;
        assert_eq!(found.header("oci-filters-applied"), "artifactType");
        let manifests = found.json()["manifests"].as_array().unwrap().clone();
        assert_eq!(manifests.len(), 1, "{kind}");
        assert_eq!((&manifests[0]["artifactType"], &manifests[0]["annotations"]), (&json!(kind), &annotation));
    }
    let none = call(&registry, &format!("GET /v2/unknown/referrers/{subject}")).await;
    assert_eq!((none.status.as_u16(), &none.json()["manifests"]), (200, &json!([])));
}

#[tokio::test]
async fn tells_its_owner_what_changed() {
    let told = Arc::new(Mutex::new(Vec::<Notice>::new()));
    let ear = Arc::clone(&told);
    let registry = Registry::default().on_change(move |notice| ear.lock().unwrap().push(notice));
    let body = manifest(&registry, "r", &json!({}));
    let digest = Digest::of(body.as_bytes());
    let by_digest = format!("/v2/r/manifests/{digest}");
    put(&registry, "/v2/r/manifests/v1", media_type::OCI_MANIFEST, body.clone()).await;
    put(&registry, &by_digest, media_type::OCI_MANIFEST, body).await;
    put(&registry, "/v2/r/manifests/v2", media_type::OCI_MANIFEST, "{}".to_owned()).await;
    call(&registry, "DELETE /v2/r/manifests/v1").await;
    assert_eq!(call(&registry, "DELETE /v2/r/manifests/v1").await.status, 404);
    call(&registry, &format!("DELETE {by_digest}")).await;

    let told: Vec<_> = told.lock().unwrap().iter().map(|n| (n.action, n.tag.clone(), n.digest)).collect();
    let v1 = || Some("v1".to_owned());
    let expected = [
        (Action::Push, v1(), digest),
        (Action::Push, None, digest),
        (Action::Delete, v1(), digest),
        (Action::Delete, None, digest),
    ];
    assert_eq!(told, expected);
}
