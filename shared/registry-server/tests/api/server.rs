//! The registry on a socket.

use std::net::SocketAddr;

use accel_registry_server::RegistryServer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

async fn get(addr: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn listens_until_it_is_stopped() {
    let server = RegistryServer::start(LOOPBACK).await.unwrap();
    assert_eq!(server.host(), format!("127.0.0.1:{}", server.addr().port()));
    let digest = server.content().put_blob("r", "over the wire");
    let answer = get(server.addr(), &format!("/v2/r/blobs/{digest}")).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nover the wire"), "{answer}");

    let addr = server.addr();
    let idle = TcpStream::connect(addr).await.unwrap();
    server.stop().await;
    assert!(TcpStream::connect(addr).await.is_err(), "the port is free again");
    drop(idle);
}

#[tokio::test]
async fn two_registries_share_nothing() {
    let (one, other) = (RegistryServer::start(LOOPBACK).await.unwrap(), RegistryServer::start(LOOPBACK).await.unwrap());
    let digest = one.content().put_blob("r", "x");
    let answer = get(other.addr(), &format!("/v2/r/blobs/{digest}")).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}
