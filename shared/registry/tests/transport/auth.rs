//! Challenges, tokens and logins.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use accel_domain::ErrorClass;
use accel_image::Digest;
use accel_registry::{
    CredentialError, Credentials, HostSettings, Login, LoginFuture, RegistryError, StaticCredentials,
};
use base64::Engine as _;
use futures::future::BoxFuture;

use crate::double::{Asked, Double, Memory, REPOSITORY, Reply, reply};
use crate::main_path::{pattern, read_all, send};

const PASSWORD: &str = "hunter2-hunter2";

fn login_for(host: &str) -> Arc<dyn Credentials> {
    Arc::new(StaticCredentials::new([(host.to_owned(), Login::password("robot$team", PASSWORD))]))
}

fn basic() -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("robot$team:{PASSWORD}")))
}

/// A Bearer challenge to a realm at `host`.
fn challenge(host: &str) -> Reply {
    let header = format!(r#"Bearer realm="http://{host}/token",service="registry",scope="repository:x:pull""#);
    reply(401, &[("www-authenticate", &header)], "")
}

/// A registry whose tokens hold for `uses` requests each.
async fn with_tokens(uses: usize, stale: fn(&Asked) -> Reply) -> Double {
    let (issued, used) = (AtomicUsize::new(0), AtomicUsize::new(0));
    Double::with_fault(move |asked, _| {
        if asked.path == "/token" {
            assert_eq!(asked.authorization.as_deref(), Some(basic().as_str()));
            used.store(0, Ordering::SeqCst);
            let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
            return Some(reply(200, &[], format!(r#"{{"token":"t{number}","access_token":"","expires_in":1800}}"#)));
        }
        let valid = format!("Bearer t{}", issued.load(Ordering::SeqCst));
        match &asked.authorization {
            None => Some(challenge(&asked.host)),
            Some(shown) if *shown == valid && used.fetch_add(1, Ordering::SeqCst) < uses => None,
            Some(_) => Some(stale(asked)),
        }
    })
    .await
}

fn tokens_fetched(double: &Double) -> Vec<String> {
    double.log().into_iter().filter(|asked| asked.path == "/token").map(|asked| asked.query).collect()
}

#[tokio::test]
async fn a_challenge_is_answered_with_a_token_that_is_kept() {
    let double = with_tokens(usize::MAX, |asked| challenge(&asked.host)).await;
    let end = double.end_with(double.settings(), login_for(&double.address));
    let bytes = pattern(1000);
    let digest = send(&end, &bytes, 100).await.unwrap();
    let descriptor = accel_image::Descriptor::new("x", digest, 1000);
    assert_eq!(read_all(&end, &descriptor, 0).await.unwrap(), bytes);
    let scope = format!("service=registry&scope=repository%3A{}%3Apull%2Cpush", REPOSITORY.replace('/', "%2F"));
    assert_eq!(tokens_fetched(&double), [scope], "one token for pushing, which covers pulling too");
    let refused = double.log().iter().filter(|asked| asked.authorization.is_none()).count();
    assert_eq!(refused, 1, "only the very first request goes out without a token");
}

#[tokio::test]
async fn a_token_that_expires_in_the_middle_of_an_upload_is_renewed() {
    let harbor = |_: &Asked| reply(401, &[("www-authenticate", r#"Basic realm="harbor""#)], "");
    let rows: [fn(&Asked) -> Reply; 2] = [harbor, |asked| challenge(&asked.host)];
    for stale in rows {
        let double = with_tokens(3, stale).await;
        let end = double.end_with(double.settings(), login_for(&double.address));
        let bytes = pattern(1000);
        let digest = send(&end, &bytes, 100).await.unwrap();
        assert_eq!(double.memory(|memory| memory.blobs.get(&digest.to_string()).cloned()), Some(bytes));
        assert!(tokens_fetched(&double).len() > 3);
    }
}

#[tokio::test]
async fn no_answer_to_a_fresh_token_is_permanent() {
    let double = with_tokens(0, |asked| challenge(&asked.host)).await;
    let end = double.end_with(double.settings(), login_for(&double.address));
    let error = end.head_manifest("1").await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Permanent);
    assert!(error.to_string().contains("the login is not accepted"), "{error}");
    assert_eq!(double.log().len(), 3, "the request, a token, the request again: {:?}", double.lines());
}

#[tokio::test]
async fn a_realm_without_answer_is_asked_no_more_often_than_a_registry() {
    let double = Double::with_fault(|asked, _| match asked.path.as_str() {
        "/token" => Some(reply(503, &[], "")),
        _ => Some(challenge(&asked.host)),
    })
    .await;
    let settings = double.settings();
    let tries = settings.retries.count as usize + 1;
    let error = double.end_with(settings, login_for(&double.address)).head_manifest("1").await.unwrap_err();
    assert!(error.to_string().contains("token") && error.to_string().contains("503"), "{error}");
    assert_eq!(tokens_fetched(&double).len(), tries, "{:?}", double.lines());
}

#[tokio::test]
async fn name_and_password_are_sent_where_they_are_asked_for() {
    let double = Double::with_fault(|asked, _| match asked.authorization.as_deref() {
        Some(shown) if shown == basic() => None,
        _ => Some(reply(401, &[("www-authenticate", r#"Basic realm="x""#)], "")),
    })
    .await;
    let end = double.end_with(double.settings(), login_for(&double.address));
    assert_eq!(end.head_manifest("1").await.unwrap(), None);
    assert_eq!(end.has_blob(Digest::of(b"")).await.unwrap(), None);
    assert_eq!(double.log().len(), 3, "the second request knows");
    let error = double.end().head_manifest("1").await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Permanent);
}

/// Passwords that replace one another where they are kept. What was read last is remembered until it is refused.
struct Rotated {
    passwords: Mutex<VecDeque<&'static str>>,
}

impl Credentials for Rotated {
    fn login<'a>(&'a self, _: &'a str, _: &'a str) -> LoginFuture<'a> {
        let login = Login::password("robot$team", self.passwords.lock().unwrap()[0]);
        Box::pin(std::future::ready(Ok(Some(login))))
    }

    fn renew<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, bool> {
        let mut passwords = self.passwords.lock().unwrap();
        let another = passwords.len() > 1;
        if another {
            passwords.pop_front();
        }
        Box::pin(std::future::ready(another))
    }
}

/// Harbor answers a wrong password with a token for what everybody may do.
#[tokio::test]
async fn a_password_that_is_refused_is_looked_up_anew() {
    let tokens: fn(&Asked) -> Option<Reply> = |asked| match (asked.path.as_str(), asked.authorization.as_deref()) {
        ("/token", Some(shown)) if shown == basic() => Some(reply(200, &[], r#"{"token":"t"}"#)),
        ("/token", _) => Some(reply(401, &[], "")),
        (_, Some("Bearer t")) => None,
        _ => Some(challenge(&asked.host)),
    };
    let harbor: fn(&Asked) -> Option<Reply> = |asked| match (asked.path.as_str(), asked.authorization.as_deref()) {
        ("/token", Some(shown)) if shown == basic() => Some(reply(200, &[], r#"{"token":"t"}"#)),
        ("/token", _) => Some(reply(200, &[], r#"{"token":"everybody"}"#)),
        (_, Some("Bearer t")) => None,
        _ => Some(challenge(&asked.host)),
    };
    let names: fn(&Asked) -> Option<Reply> = |asked| {
        let known = asked.authorization.as_deref() == Some(basic().as_str());
        (!known).then(|| reply(401, &[("www-authenticate", r#"Basic realm="x""#)], ""))
    };
    for answer in [tokens, harbor, names] {
        for (passwords, accepted) in
            [(vec!["old", PASSWORD], true), (vec!["old"], false), (vec!["old", "older"], false)]
        {
            let double = Double::with_fault(move |asked, _| answer(asked)).await;
            let rotated = Rotated { passwords: Mutex::new(passwords.into()) };
            let end = double.end_with(double.settings(), Arc::new(rotated));
            match end.head_manifest("1").await {
                Ok(found) => assert!(accepted && found.is_none()),
                Err(error) => assert!(!accepted && error.class() == ErrorClass::Permanent, "{error}"),
            }
            assert!(double.log().len() <= 8, "{:?}", double.lines());
        }
    }
}

#[tokio::test]
async fn a_realm_on_another_host_gets_no_login() {
    let realm = Double::with_fault(|_, _| Some(reply(200, &[], r#"{"token":"t"}"#))).await;
    let elsewhere = realm.address.clone();
    let double = Double::with_fault(move |asked, _| match asked.authorization.as_deref() {
        Some("Bearer t") => None,
        _ => Some(challenge(&elsewhere)),
    })
    .await;

    let end = double.end_with(double.settings(), login_for(&double.address));
    let error = end.head_manifest("1").await.unwrap_err();
    assert!(matches!(error, RegistryError::Address { .. }), "{error}");
    assert!(error.to_string().contains("token_realms"), "{error}");
    assert_eq!(realm.log().len(), 0);

    assert_eq!(double.end().head_manifest("1").await.unwrap(), None, "without a login it may be asked");
    assert!(realm.log().iter().all(|asked| asked.authorization.is_none()));

    let settings = HostSettings { token_realms: vec![realm.address.clone()], ..double.settings() };
    let end = double.end_with(settings, login_for(&double.address));
    assert_eq!(end.head_manifest("1").await.unwrap(), None);
    assert_eq!(realm.log().last().unwrap().authorization, Some(basic()));
}

#[tokio::test]
async fn a_mount_asks_for_both_repositories() {
    let double = with_tokens(usize::MAX, |asked| challenge(&asked.host)).await;
    let end = double.end_with(double.settings(), login_for(&double.address));
    let there = double.put_blob(&b"there"[..]);
    assert!(end.mount(there.digest, "team/base").await.unwrap());
    let query = tokens_fetched(&double).pop().unwrap();
    for scope in ["scope=repository%3Ateam%2Fapp%3Apull%2Cpush", "scope=repository%3Ateam%2Fbase%3Apull"] {
        assert!(query.contains(scope), "{query}");
    }
}

#[tokio::test]
async fn errors_and_debug_print_no_secret() {
    let answers: [fn(&Asked, &mut Memory) -> Option<Reply>; 3] = [
        |asked, _| {
            (asked.path != "/token").then(|| challenge(&asked.host)).or_else(|| Some(reply(200, &[], "{\"token\":1}")))
        },
        |asked, _| (asked.path != "/token").then(|| challenge(&asked.host)).or_else(|| Some(reply(403, &[], "no"))),
        |asked, _| match asked.path.as_str() {
            "/token" => Some(reply(200, &[], r#"{"token":"s3cr3t"}"#)),
            _ if asked.authorization.is_none() => Some(challenge(&asked.host)),
            _ => Some(reply(307, &[("location", "http://169.254.169.254/x?X-Signature=s3cr3t")], "")),
        },
    ];
    for fault in answers {
        let double = Double::with_fault(fault).await;
        let end = double.end_with(double.settings(), login_for(&double.address));
        let descriptor = accel_image::Descriptor::of("x", b"x");
        let error = end.get_small_blob(&descriptor, 10).await.unwrap_err();
        let printed = format!("{error} {error:?} {end:?}");
        for secret in [PASSWORD, "s3cr3t", &basic()[6..]] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}

#[tokio::test]
async fn a_login_that_cannot_be_looked_up_has_the_class_of_its_cause() {
    struct Broken(CredentialError);
    impl Credentials for Broken {
        fn login<'a>(&'a self, _: &'a str, _: &'a str) -> LoginFuture<'a> {
            Box::pin(std::future::ready(Err(self.0.clone())))
        }
    }
    let double = with_tokens(1, |asked| challenge(&asked.host)).await;
    let rows = [
        (CredentialError::Unavailable("throttled".to_owned()), ErrorClass::BACKOFF),
        (CredentialError::Unusable("no such secret".to_owned()), ErrorClass::Permanent),
    ];
    for (cause, class) in rows {
        let end = double.end_with(double.settings(), Arc::new(Broken(cause)));
        assert_eq!(end.start_upload().await.map(drop).unwrap_err().class(), class);
    }
}
