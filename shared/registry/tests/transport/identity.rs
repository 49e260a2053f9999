//! Identity tokens are exchanged for tokens, registry tokens are shown as they are; neither goes astray.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use accel_domain::{ErrorClass, Secret};
use accel_registry::{Credentials, HostSettings, Login, RegistryError, StaticCredentials};

use crate::double::{Asked, Double, Reply, reply};
use crate::main_path::{pattern, send};

const IDENTITY: &str = "hunter2+identity/&=";

fn identity_for(host: &str) -> Arc<dyn Credentials> {
    Arc::new(StaticCredentials::new([(host.to_owned(), Login::Identity(Secret::new(IDENTITY)))]))
}

fn challenge(host: &str) -> Reply {
    reply(401, &[("www-authenticate", &format!(r#"Bearer realm="http://{host}/token?x=y",service="registry""#))], "")
}

fn form(asked: &Asked) -> HashMap<String, String> {
    form_urlencoded::parse(&asked.body).into_owned().collect()
}

fn exchanges(double: &Double) -> Vec<Asked> {
    double.log().into_iter().filter(|asked| asked.path == "/token").collect()
}

/// A registry for which each token holds for three requests, at a realm that answers with `answer`, which is given the
/// number of the exchange.
async fn exchanging(answer: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Double {
    let (issued, used) = (AtomicUsize::new(0), AtomicUsize::new(0));
    Double::with_fault(move |asked, _| {
        if asked.path == "/token" {
            used.store(0, Ordering::SeqCst);
            return Some(answer(asked, issued.fetch_add(1, Ordering::SeqCst) + 1));
        }
        let valid = format!("Bearer t{}", issued.load(Ordering::SeqCst));
        let fits = asked.authorization.as_ref() == Some(&valid) && used.fetch_add(1, Ordering::SeqCst) < 3;
        (!fits).then(|| challenge(&asked.host))
    })
    .await
}

#[tokio::test]
async fn an_identity_token_is_exchanged_whenever_a_token_is_needed() {
    let double = exchanging(|_, number| {
        reply(200, &[], format!(r#"{{"access_token":"t{number}","token_type":"Bearer","expires_in":300}}"#))
    })
    .await;
    let end = double.end_with(double.settings(), identity_for(&double.address));
    let bytes = pattern(1000);
    let digest = send(&end, &bytes, 100).await.unwrap();
    assert_eq!(double.memory(|memory| memory.blobs.get(&digest.to_string()).cloned()), Some(bytes));
    let asked = exchanges(&double);
    assert!(asked.len() > 3, "in the middle of an upload too");
    for asked in asked {
        assert_eq!((asked.method.as_str(), asked.query.as_str()), ("POST", "x=y"), "nothing of it in the address");
        assert_eq!(asked.authorization, None);
        assert_eq!(asked.content_type.as_deref(), Some("application/x-www-form-urlencoded"));
        let expected = [
            ("grant_type", "refresh_token"),
            ("service", "registry"),
            ("scope", "repository:team/app:pull,push"),
            ("client_id", "accel"),
            ("refresh_token", IDENTITY),
        ];
        assert_eq!(form(&asked), expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}

#[tokio::test]
async fn what_a_realm_gives_in_place_of_an_identity_token_is_shown_the_next_time() {
    let double = exchanging(|asked, number| {
        let shown = form(asked).remove("refresh_token").unwrap();
        let expected = if number == 1 { IDENTITY.to_owned() } else { format!("i{}", number - 1) };
        if shown != expected {
            return reply(400, &[], r#"{"error":"invalid_grant"}"#);
        }
        reply(200, &[], format!(r#"{{"access_token":"t{number}","refresh_token":"i{number}"}}"#))
    })
    .await;
    let end = double.end_with(double.settings(), identity_for(&double.address));
    send(&end, &pattern(1000), 100).await.unwrap();
    assert!(exchanges(&double).len() > 3);
}

#[tokio::test]
async fn a_refused_identity_token_is_permanent_and_says_to_log_in_again() {
    let rows = [
        (400, r#"{"error":"invalid_grant","error_description":"hunter2"}"#, "log in to it again"),
        (401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"hunter2"}]}"#, "log in to it again"),
        (405, "hunter2", "with a name and a password"),
    ];
    for (status, body, hint) in rows {
        let double = exchanging(move |_, _| reply(status, &[], body)).await;
        let end = double.end_with(double.settings(), identity_for(&double.address));
        let error = end.head_manifest("1").await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Permanent);
        let printed = format!("{error} {error:?} {end:?}");
        assert!(error.to_string().contains(hint) && !printed.contains("hunter2"), "{printed}");
        assert_eq!(exchanges(&double).len(), 1, "it is not tried again");
    }
}

#[tokio::test]
async fn an_identity_token_goes_to_listed_realms_only_and_stays_there() {
    let realm = Double::with_fault(|_, _| Some(reply(200, &[], r#"{"access_token":"t"}"#))).await;
    let elsewhere = realm.address.clone();
    let double = Double::with_fault(move |asked, _| match asked.authorization.as_deref() {
        Some("Bearer t") => None,
        _ => Some(challenge(&elsewhere)),
    })
    .await;
    let error = double.end_with(double.settings(), identity_for(&double.address)).head_manifest("1").await.unwrap_err();
    assert!(matches!(error, RegistryError::Address { .. }), "{error}");
    assert_eq!(realm.log().len(), 0);
    let settings = HostSettings { token_realms: vec![realm.address.clone()], ..double.settings() };
    let end = double.end_with(settings, identity_for(&double.address));
    assert_eq!(end.head_manifest("1").await.unwrap(), None);
    assert_eq!(form(realm.log().last().unwrap())["refresh_token"], IDENTITY);

    let sink = Double::start().await;
    let away = format!("http://{}/token", sink.address);
    let double = exchanging(move |_, _| reply(307, &[("location", &away)], "")).await;
    let end = double.end_with(double.settings(), identity_for(&double.address));
    assert_eq!(end.head_manifest("1").await.unwrap_err().class(), ErrorClass::Permanent);
    assert_eq!(sink.log().len(), 0, "a redirect is not followed with it");
}

#[tokio::test]
async fn an_identity_token_is_no_password() {
    let double = Double::with_fault(|_, _| Some(reply(401, &[("www-authenticate", r#"Basic realm="x""#)], ""))).await;
    let error = double.end_with(double.settings(), identity_for(&double.address)).head_manifest("1").await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Permanent);
    assert!(error.to_string().contains("names and passwords only"), "{error}");
    assert!(double.log().iter().all(|asked| asked.authorization.is_none()));
}

#[tokio::test]
async fn a_registry_token_is_shown_to_the_registry_itself_and_to_no_realm() {
    let challenges: [fn(&Asked) -> Reply; 2] =
        [|asked| challenge(&asked.host), |_| reply(401, &[("www-authenticate", "Basic realm=\"x\"")], "")];
    for refuse in challenges {
        for (token, accepted) in [("good", true), ("hunter2", false), ("hunter2\n", false)] {
            let double = Double::with_fault(move |asked, _| match asked.authorization.as_deref() {
                Some("Bearer good") => None,
                _ => Some(refuse(asked)),
            })
            .await;
            let login = StaticCredentials::new([(double.address.clone(), Login::Token(Secret::new(token)))]);
            let end = double.end_with(double.settings(), Arc::new(login));
            for _ in 0..2 {
                match end.head_manifest("1").await {
                    Ok(found) => assert!(accepted && found.is_none()),
                    Err(error) => {
                        assert!(!accepted && error.class() == ErrorClass::Permanent, "{error}");
                        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
                    }
                }
            }
            assert_eq!(exchanges(&double).len(), 0);
            assert!(double.log().len() <= 4, "{:?}", double.lines());
        }
    }
}
