//! `--proxy`: the way to registries that only a proxy knows.

use accel_test_support::faults::{Fault, Request, Rule};

use crate::machine::{Machine, REPOSITORY, differences, finish, two_layers};

/// A host that no resolver finds: it is reached through a proxy or not at all.
const HOST: &str = "registry.invalid";

/// The machine's registry, which serves whoever it is asked for, as a proxy with a password.
fn proxy(machine: &Machine) -> String {
    format!("http://user:hunter2@{}", machine.registry.host())
}

#[tokio::test]
async fn an_image_goes_through_the_proxy_both_ways() {
    let machine = Machine::new().await;
    two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    let (source, proxy) = (format!("{HOST}/{REPOSITORY}:1"), proxy(&machine));
    for verb in ["convert", "inspect"] {
        let ran = machine.run(&[verb, &source, "--plain-http", HOST, "--proxy", &proxy]).await;
        assert!(ran.code == Some(0) && !format!("{ran:?}").contains("hunter2"), "{ran:?}");
    }
    assert_eq!(differences(machine.content(), "1", "1-esgz"), Vec::<String>::new());
}

#[tokio::test]
async fn a_proxy_is_never_taken_from_the_environment() {
    let machine = Machine::new().await;
    let (image, proxy) = (format!("{HOST}/{REPOSITORY}:1"), proxy(&machine));
    let mut command = machine.command(&["inspect", &image, "--plain-http", HOST]);
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        command.env(name, &proxy);
    }
    let ran = finish(&mut command).await;
    assert_eq!((ran.code, machine.registry.requests().len()), (Some(3), 0), "{ran:?}");
}

#[tokio::test]
async fn a_failure_does_not_show_the_proxys_password() {
    let machine = Machine::new().await;
    machine.registry.rule(Rule::on(Request::ManifestGet, Fault::status(407)));
    let (image, refusing) = (format!("{HOST}/{REPOSITORY}:1"), proxy(&machine));
    for proxy in [refusing.as_str(), "hunter2", "socks5://user:hunter2@p.example", "http://user:hunter2@127.0.0.1:1"] {
        let ran = machine.run(&["inspect", &image, "--plain-http", HOST, "--proxy", proxy]).await;
        assert!(ran.code != Some(0) && !format!("{ran:?}").contains("hunter2"), "{ran:?}");
        assert!(ran.stderr.contains("error: "), "{ran:?}");
    }
}
