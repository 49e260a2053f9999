//! A proxy before a registry over TLS: it gets a CONNECT and its own password, and carries what it cannot read.

use std::sync::{Arc, Mutex};

use accel_domain::{ErrorClass, Secret};
use accel_image::Digest;
use accel_registry::{End, HostSettings, NoCredentials, Registries};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::double::quick;
use crate::tls;

/// No resolver finds it: only the proxy knows where it is.
const HOST: &str = "registry.invalid";

/// A proxy that answers every CONNECT with `status`, and leads it to one address. Its own address, and what it was asked.
async fn start(status: u16, target: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heads = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(lead(client, status, target.clone(), Arc::clone(&heads)));
        }
    });
    (address, asked)
}

async fn lead(mut client: TcpStream, status: u16, target: String, asked: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    asked.lock().unwrap().push(String::from_utf8(head).unwrap());
    client.write_all(format!("HTTP/1.1 {status} Told\r\n\r\n").as_bytes()).await.unwrap();
    if status == 200 {
        let mut registry = TcpStream::connect(target).await.unwrap();
        drop(copy_bidirectional(&mut client, &mut registry).await);
    }
}

fn end(proxy: &str, ca_pem: Option<String>) -> End {
    let proxy = Some(Secret::new(format!("http://user:hunter2@{proxy}")));
    let settings = HostSettings { proxy, ca_pem: ca_pem.map(String::into_bytes), ..HostSettings::new(HOST) };
    let registries = Registries::new(vec![quick(settings)], Arc::new(NoCredentials)).unwrap();
    End::Registry(registries.repository(&format!("{HOST}/team/app:1").parse().unwrap()).unwrap())
}

#[tokio::test]
async fn a_registry_over_tls_is_reached_through_connect() {
    let (registry, authority) = tls::start().await;
    let (proxy, asked) = start(200, registry).await;
    let end = end(&proxy, Some(authority));
    for _ in 0..2 {
        let head = end.head_manifest("1").await.unwrap().unwrap();
        assert_eq!(head.digest, Digest::of(b"HTTP/2.0"), "TLS agrees with the registry, not with the proxy");
    }
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 1, "the connection is kept: {asked:?}");
    let head = asked[0].to_lowercase();
    assert!(head.starts_with(&format!("connect {HOST}:443 http/1.1\r\n")), "{head}");
    assert!(asked[0].contains("Basic dXNlcjpodW50ZXIy"), "the proxy's password goes to the proxy: {head}");
    assert!(!head.contains("/v2/"), "{head}");
}

#[tokio::test]
async fn the_registrys_certificate_is_checked_through_a_proxy() {
    let (registry, _) = tls::start().await;
    let (_, another) = tls::start().await;
    let (proxy, _) = start(200, registry).await;
    for authority in [None, Some(another)] {
        let error = end(&proxy, authority).head_manifest("1").await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Permanent);
        assert!(error.to_string().contains("ca_file"), "{error}");
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_is_tried_again_and_its_password_is_not_shown() {
    for status in [407, 502] {
        let (proxy, asked) = start(status, String::new()).await;
        let error = end(&proxy, None).head_manifest("1").await.unwrap_err();
        assert!(matches!(error.class(), ErrorClass::Transient(_)), "{error:?}");
        assert_eq!(asked.lock().unwrap().len(), 5, "retries in place");
        let said = format!("{error:?} {:#}", error);
        assert!(said.contains(HOST) && !said.contains("hunter2") && !said.contains("dXNlcjpodW50ZXIy"), "{said}");
    }
}
