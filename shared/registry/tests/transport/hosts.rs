//! Which hosts are spoken to, and how.

use std::sync::Arc;

use accel_domain::{ErrorClass, Secret};
use accel_image::{Descriptor, Reference};
use accel_registry::{End, HostSettings, Login, NoCredentials, Registries, RegistryError, StaticCredentials};

use crate::double::{Double, REPOSITORY, quick, reply};

#[tokio::test]
async fn a_host_that_is_not_configured_gets_no_request() {
    let double = Double::start().await;
    let registries = Registries::new(vec![HostSettings::new("h.example")], Arc::new(NoCredentials)).unwrap();
    let reference: Reference = format!("{}/p/r:1", double.address).parse().unwrap();
    let error = registries.repository(&reference).unwrap_err();
    assert!(matches!(&error, RegistryError::UnknownHost { host } if *host == double.address));
    assert_eq!(error.class(), ErrorClass::Permanent);
    assert_eq!(double.log().len(), 0);
}

#[tokio::test]
async fn plain_http_is_spoken_only_where_it_is_configured() {
    let double = Double::start().await;
    let end = double.end_with(quick(HostSettings::new(&double.address)), Arc::new(NoCredentials));
    let error = end.head_manifest("1").await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Permanent);
    assert!(error.to_string().contains("plain_http"), "{error}");
    assert_eq!(double.log().len(), 0);
}

#[tokio::test]
async fn an_alias_is_the_same_registry() {
    let double = Double::start().await;
    let settings = HostSettings { aliases: vec!["registry.internal".to_owned()], ..double.settings() };
    let registries = Registries::new(vec![settings], Arc::new(NoCredentials)).unwrap();
    assert_eq!(registries.host_name("registry.internal"), Some(double.address.as_str()));
    let reference: Reference = "registry.internal/team/app:1".parse().unwrap();
    let end = End::Registry(registries.repository(&reference).unwrap());
    assert_eq!(end.head_manifest("1").await.unwrap(), None);
    assert!(end.same_registry(&double.end()));
    assert_eq!(end.describe(), format!("{}/{REPOSITORY}", double.address));
}

#[test]
fn two_registries_cannot_share_a_name() {
    let one = HostSettings { aliases: vec!["b.example".to_owned()], ..HostSettings::new("a.example") };
    let error = Registries::new(vec![one, HostSettings::new("b.example")], Arc::new(NoCredentials)).unwrap_err();
    assert!(error.to_string().contains("b.example"), "{error}");
}

#[test]
fn a_proxy_that_cannot_be_used_is_refused_without_its_password() {
    for proxy in ["hunter2", "socks5://user:hunter2@p.example", "http://"] {
        let settings = HostSettings { proxy: Some(Secret::new(proxy)), ..HostSettings::new("a.example") };
        let error = Registries::new(vec![settings.clone()], Arc::new(NoCredentials)).unwrap_err();
        assert!(!format!("{error} {error:?} {settings:?}").contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_proxy_gets_the_requests_of_its_registry() {
    let proxy = Double::start().await;
    let url = format!("http://{}", proxy.address);
    let settings = HostSettings { proxy: Some(Secret::new(url)), ..HostSettings::plain_http("registry.invalid") };
    let registries = Registries::new(vec![quick(settings)], Arc::new(NoCredentials)).unwrap();
    let end = End::Registry(registries.repository(&"registry.invalid/team/app:1".parse().unwrap()).unwrap());
    assert_eq!(end.head_manifest("1").await.unwrap(), None);
    assert_eq!(proxy.log()[0].host, "registry.invalid");
}

#[tokio::test]
async fn blob_storage_gets_no_credentials() {
    let storage = Double::with_fault(|_, _| Some(reply(200, &[], "hello"))).await;
    let target = format!("http://{}/bucket/x?X-Signature=1", storage.address);
    let double = Double::with_fault(move |asked, _| match asked.authorization {
        None => Some(reply(401, &[("www-authenticate", "Basic realm=\"x\"")], "")),
        Some(_) => Some(reply(307, &[("location", &target)], "")),
    })
    .await;
    let logins = StaticCredentials::new([(double.address.clone(), Login::password("robot", "pw"))]);
    let end = double.end_with(double.settings(), Arc::new(logins));
    let hello = Descriptor::of("x", b"hello");
    assert_eq!(end.get_small_blob(&hello, 100).await.unwrap(), "hello");
    assert_eq!(end.read_range(&hello, 1, 3).await.unwrap(), "ell");
    assert_eq!(end.has_blob(hello.digest).await.unwrap(), Some(5), "a HEAD that is redirected is asked by GET");
    assert!(storage.log().iter().all(|asked| asked.authorization.is_none() && asked.query == "X-Signature=1"));
    assert!(double.log().iter().any(|asked| asked.authorization.is_some()));
}

#[tokio::test]
async fn redirects_to_metadata_addresses_and_in_circles_are_refused() {
    let rows = [("http://169.254.169.254/latest/meta-data?x=1", "metadata"), ("/v2/round", "more than 5 redirects")];
    for (target, words) in rows {
        let double = Double::with_fault(move |_, _| Some(reply(302, &[("location", target)], ""))).await;
        let error = double.end().open_blob(&Descriptor::of("x", b"x"), 0).await.err().unwrap();
        assert_eq!(error.class(), ErrorClass::Permanent);
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.to_string().contains("x=1"), "{error}");
    }
}

#[tokio::test]
async fn manifests_are_not_redirected() {
    let double = Double::with_fault(|_, _| Some(reply(307, &[("location", "/elsewhere")], ""))).await;
    let error = double.end().get_manifest("1").await.unwrap_err();
    assert_eq!(error.refused().map(|refused| refused.status), Some(307));
    assert_eq!(double.log().len(), 1);
}
