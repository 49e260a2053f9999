//! HTTPS where `server.tls` says so.

use std::net::{IpAddr, Ipv4Addr};

use rcgen::{CertificateParams, KeyPair, SanType};

use crate::service::{Service, client, send};
use crate::site::{Keys, Site};

/// A site whose service has a certificate, which is in `tls.crt`.
async fn site() -> Site {
    let site = Site::new().await;
    let key = KeyPair::generate().unwrap();
    let mut certificate = CertificateParams::default();
    certificate.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    site.write("tls.crt", &certificate.self_signed(&key).unwrap().pem());
    site.write("tls.key", &key.serialize_pem());
    site.configure(Keys { server: "tls: { cert_file: tls.crt, key_file: tls.key }", ..Keys::default() });
    site
}

async fn serve(site: &Site) -> Service {
    let certificate = std::fs::read_to_string(site.path("tls.crt")).unwrap();
    Service::start(&mut site.command(&["serve", "--config", "accel.yaml"]), Some(&certificate)).await
}

#[tokio::test]
async fn events_come_and_tasks_are_listed_over_tls() {
    let site = site().await;
    site.image("v1", 1);
    let service = serve(&site).await;
    assert!(service.url.starts_with("https://"), "{}", service.url);
    let id = service.push(&site, "v1").await;
    service.completed(&id).await;
    site.assert_accelerated("v1");

    let list = site.run(&["task", "--addr", &service.url, "--ca-file", "tls.crt", "list"]).await;
    assert!(list.code == Some(0) && list.stdout.contains(&id), "{list:?}");
    service.stop().await;
}

#[tokio::test]
async fn plain_http_and_strangers_do_not_get_through() {
    let site = site().await;
    let service = serve(&site).await;
    let plain = client(None).get(format!("{}/api/v1/health", service.url.replace("https", "http")));
    send(plain).await.unwrap_err();
    let unknown = client(None).get(format!("{}/api/v1/health", service.url));
    send(unknown).await.unwrap_err();
    assert_eq!(service.get("/api/v1/health").await.status, 200);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_keeps_it_from_starting() {
    let site = site().await;
    site.write("tls.key", "no key\n");
    let ran = site.refuses_to_serve().await;
    assert!(ran.code == Some(1) && ran.stderr.contains("server.tls") && ran.stderr.contains("tls.key"), "{ran:?}");
}
