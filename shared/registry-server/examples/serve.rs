//! Serves a registry with the demo image on loopback until the process is interrupted.
//!
//! `cargo run -p accel-registry-server --example serve [ADDRESS [USER:PASSWORD]]`, 127.0.0.1:5055 unless another
//! address is named; with a user, clients have to fetch tokens.

use std::error::Error;
use std::time::Duration;

use accel_registry_server::{Auth, Content, Registry, RegistryServer, Scheme, demo};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let addr = arguments.next().unwrap_or_else(|| "127.0.0.1:5055".to_owned()).parse()?;
    let content = Content::default();
    let executable = std::fs::read(std::env::current_exe()?)?;
    let documents: &[(&str, &[u8])] = &[("serve.rs", include_bytes!("serve.rs"))];
    demo::image(&content, "demo/accel", "latest", demo::Parts { executable: &executable, documents })?;
    let mut registry = Registry::new(content).on_change(|notice| eprintln!("{notice:?}"));
    if let Some((username, password)) = arguments.next().as_deref().and_then(|user| user.split_once(':')) {
        let scheme = Scheme::Bearer { token_ttl: Duration::from_secs(300) };
        registry = registry.with_auth(Auth::new(username, password, scheme));
    }
    let server = RegistryServer::serve(addr, registry).await?;
    eprintln!("serving {}/demo/accel:latest", server.host());
    tokio::signal::ctrl_c().await?;
    server.stop().await;
    Ok(())
}
