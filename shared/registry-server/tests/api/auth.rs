//! Credentials and tokens.

use std::time::Duration;

use accel_registry_server::{Auth, Registry, Scheme};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{call, send};

fn credentials(password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("robot$accel:{password}")))
}

fn bearer() -> Registry {
    let scheme = Scheme::Bearer { token_ttl: Duration::from_secs(300) };
    Registry::default().with_auth(Auth::new("robot$accel", "secret", scheme))
}

async fn token(registry: &Registry, scopes: &str) -> String {
    let path = format!("GET /token?service=registry{scopes}");
    let answer = send(registry, &path, &[("authorization", &credentials("secret"))], "").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["expires_in"]), (200, &300.into()));
    format!("Bearer {}", answer.json()["token"].as_str().unwrap())
}

#[tokio::test]
async fn basic_opens_everything_to_the_one_user() {
    let registry = Registry::default().with_auth(Auth::new("robot$accel", "secret", Scheme::Basic));
    let refused = call(&registry, "GET /v2/").await;
    assert_eq!(refused.refusal(), (401, "UNAUTHORIZED".to_owned()));
    assert_eq!(refused.header("www-authenticate"), "Basic realm=\"registry\"");
    for (password, status) in [("secret", 200), ("Secret", 401), ("", 401)] {
        let answer = send(&registry, "GET /v2/_catalog", &[("authorization", &credentials(password))], "").await;
        assert_eq!(answer.status, status, "{password}");
    }
    assert_eq!(call(&registry, "GET /token").await.status, 404);
}

#[tokio::test]
async fn a_password_that_was_changed_opens_nothing_any_more() {
    let registry = Registry::default().with_auth(Auth::new("robot$accel", "secret", Scheme::Basic));
    registry.change_password("another");
    for (password, status) in [("secret", 401), ("another", 200)] {
        let answer = send(&registry, "GET /v2/_catalog", &[("authorization", &credentials(password))], "").await;
        assert_eq!(answer.status, status, "{password}");
    }
}

#[tokio::test]
async fn the_challenge_names_every_scope() {
    let registry = bearer();
    let rows = [
        ("GET /v2/", ""),
        ("GET /v2/a/b/manifests/x", ",scope=\"repository:a/b:pull\""),
        ("PUT /v2/a/b/manifests/x", ",scope=\"repository:a/b:pull,push\""),
        ("DELETE /v2/a/manifests/x", ",scope=\"repository:a:delete\""),
        ("GET /v2/_catalog", ",scope=\"registry:catalog:*\""),
        ("POST /v2/a/blobs/uploads/?mount=x&from=b", ",scope=\"repository:a:pull,push repository:b:pull\""),
    ];
    for (request, scope) in rows {
        let refused = call(&registry, request).await;
        let expected = format!("Bearer realm=\"http://registry.example/token\",service=\"registry\"{scope}");
        assert_eq!((refused.status.as_u16(), refused.header("www-authenticate")), (401, expected.as_str()));
    }
}

#[tokio::test]
async fn a_token_opens_its_scopes_until_it_expires() {
    let registry = bearer();
    let digest = registry.content().put_blob("a", "x");
    registry.content().put_blob("b", "x");
    let token = token(&registry, "&scope=repository:a:pull&scope=repository:c:pull,push").await;
    let with = [("authorization", token.as_str())];
    assert_eq!(send(&registry, "GET /v2/", &with, "").await.status, 200);
    assert_eq!(send(&registry, &format!("GET /v2/a/blobs/{digest}"), &with, "").await.status, 200);
    assert_eq!(send(&registry, "POST /v2/c/blobs/uploads/", &with, "").await.status, 202);
    let narrow = send(&registry, &format!("GET /v2/b/blobs/{digest}"), &with, "").await;
    assert_eq!(narrow.status, 401);
    assert!(narrow.header("www-authenticate").ends_with("error=\"insufficient_scope\""));
    registry.expire_tokens();
    assert_eq!(send(&registry, &format!("GET /v2/a/blobs/{digest}"), &with, "").await.status, 401);
}

#[tokio::test]
async fn tokens_are_for_those_who_know_the_password() {
    let registry = bearer();
    let wrong = send(&registry, "GET /token", &[("authorization", &credentials("wrong"))], "").await;
    assert_eq!(wrong.status, 401);
    let anonymous = call(&registry, "GET /token?scope=repository:a:pull").await;
    assert_eq!(anonymous.status, 200);
    let token = format!("Bearer {}", anonymous.json()["token"].as_str().unwrap());
    assert_eq!(send(&registry, "GET /v2/", &[("authorization", &token)], "").await.status, 401);

    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = "grant_type=password&username=robot%24accel&password=secret&scope=repository%3Aa%3Apull+x";
    let posted = send(&registry, "POST /token", &form, body).await;
    let token = format!("Bearer {}", posted.json()["access_token"].as_str().unwrap());
    assert_eq!(send(&registry, "GET /v2/", &[("authorization", &token)], "").await.status, 200);
    assert_eq!(send(&registry, "POST /token", &form, body.replace("secret", "wrong")).await.status, 401);
    assert_eq!(send(&registry, "POST /token", &form, body.replace("=password", "=refresh_token")).await.status, 401);
}

#[tokio::test]
async fn an_identity_token_is_exchanged() {
    let scheme = Scheme::Bearer { token_ttl: Duration::from_secs(300) };
    let registry = Registry::default().with_auth(Auth::new("u", "secret", scheme).or_identity_token("i1"));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = "grant_type=refresh_token&service=registry&client_id=x&refresh_token=i1&scope=repository%3Aa%3Apull";
    let posted = send(&registry, "POST /token", &form, body).await;
    let token = format!("Bearer {}", posted.json()["access_token"].as_str().unwrap());
    assert_eq!(send(&registry, "GET /v2/", &[("authorization", &token)], "").await.status, 200);
    for wrong in [body.replace("i1", "i2"), body.replace("i1", ""), body.replace("grant_type=refresh_token", "")] {
        assert_eq!(send(&registry, "POST /token", &form, wrong.clone()).await.status, 401, "{wrong}");
    }
}

#[test]
fn prints_no_password() {
    let printed = format!("{:?}", Auth::new("robot", "secret", Scheme::Basic).or_identity_token("secret"));
    assert!(printed.contains("robot") && !printed.contains("secret"), "{printed}");
}
