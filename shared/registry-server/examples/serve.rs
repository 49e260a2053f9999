//! Serves an empty registry and the demo image on loopback until the process is interrupted.
//!
//! `cargo run -p accel-registry-server --example serve [ADDRESS]`, 127.0.0.1:5055 unless another is named.

use std::error::Error;

use accel_registry_server::{Content, Registry, RegistryServer, demo};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5055".to_owned()).parse()?;
    let content = Content::default();
    let executable = std::fs::read(std::env::current_exe()?)?;
    let documents: &[(&str, &[u8])] = &[("serve.rs", include_bytes!("serve.rs"))];
    demo::image(&content, "demo/accel", "latest", demo::Parts { executable: &executable, documents })?;
    let registry = Registry::new(content).on_change(|notice| eprintln!("{notice:?}"));
    let server = RegistryServer::serve(addr, registry).await?;
    eprintln!("serving {}/demo/accel:latest", server.host());
    tokio::signal::ctrl_c().await?;
    server.stop().await;
    Ok(())
}
