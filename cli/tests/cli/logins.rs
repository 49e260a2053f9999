//! Where logins come from: options, the configuration, docker's logins, its credential helpers.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use accel_registry_server::{Auth, Registry, Scheme};
use accel_test_support::FaultyRegistry;

use crate::machine::{Machine, REPOSITORY, Ran, finish, two_layers};

const PASSWORD: &str = "s3cret:with-colon";
/// `robot$accel:s3cret:with-colon`
const ENCODED: &str = "cm9ib3QkYWNjZWw6czNjcmV0OndpdGgtY29sb24=";
const IDENTITY: &str = "s3cret-identity";

async fn guarded() -> Machine {
    let scheme = Scheme::Bearer { token_ttl: Duration::from_secs(60) };
    let auth = Auth::new("robot$accel", PASSWORD, scheme).or_identity_token(IDENTITY);
    let registry = Registry::default().with_auth(auth);
    let machine = Machine::with(FaultyRegistry::serve(registry).await);
    two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    machine
}

fn assert_converted(machine: &Machine, ran: &Ran) {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(machine.content().manifest(REPOSITORY, "1-esgz").is_some());
    assert_silent(ran);
}

fn assert_silent(ran: &Ran) {
    assert!(!format!("{ran:?}").contains("s3cret"), "{ran:?}");
}

#[tokio::test]
async fn without_a_login_the_registry_refuses() {
    let machine = guarded().await;
    let ran = machine.run(&machine.convert_args(&[&machine.image("1")])).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("hint: `docker login HOST`"), "{ran:?}");
    let args = machine.image("1");
    let args = machine.convert_args(&[&args, "--username", "robot$accel", "--password-stdin"]);
    let ran = machine.run_with_input(&args, "wrong-s3cret\n").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_silent(&ran);
    let ran = machine.run_with_input(&args, "\n").await;
    assert!(ran.code == Some(1) && ran.stderr.contains("no password"), "{ran:?}");
}

#[tokio::test]
async fn a_password_on_standard_input_is_used() {
    let machine = guarded().await;
    let args = machine.image("1");
    let args = machine.convert_args(&[&args, "--username", "robot$accel", "--password-stdin"]);
    assert_converted(&machine, &machine.run_with_input(&args, &format!("{PASSWORD}\n")).await);
}

#[tokio::test]
async fn docker_logins_are_used() {
    let machine = guarded().await;
    let host = machine.registry.host();
    machine.write("home/.docker/config.json", &format!(r#"{{"auths":{{"{host}":{{"auth":"{ENCODED}"}}}}}}"#));
    assert_converted(&machine, &machine.run(&machine.convert_args(&[&machine.image("1")])).await);
}

#[tokio::test]
async fn identity_tokens_are_exchanged() {
    let machine = guarded().await;
    let host = machine.registry.host();
    let login = |token: &str| {
        machine
            .write("home/.docker/config.json", &format!(r#"{{"auths":{{"{host}":{{"identitytoken":"{token}"}}}}}}"#));
    };
    let image = machine.image("1");
    login("s3cret-expired");
    let ran = machine.run(&machine.convert_args(&[&image])).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("log in to it again"), "{ran:?}");
    assert_silent(&ran);
    login(IDENTITY);
    assert_converted(&machine, &machine.run(&machine.convert_args(&[&image])).await);
}

#[tokio::test]
async fn a_credential_helper_is_asked() {
    for (user, secret) in [("robot$accel", PASSWORD), ("<token>", IDENTITY)] {
        let machine = guarded().await;
        let host = machine.registry.host();
        let helper = machine.write(
            "bin/docker-credential-test",
            &format!("#!/bin/sh\nread host\n[ \"$host\" = {host} ] || exit 1\necho '{{\"Username\":\"{user}\",\"Secret\":\"{secret}\"}}'\n"),
        );
        std::fs::set_permissions(helper, std::fs::Permissions::from_mode(0o755)).unwrap();
        machine.write("docker/config.json", &format!(r#"{{"credHelpers":{{"{host}":"test"}}}}"#));
        let image = machine.image("1");
        let mut command = machine.command(&machine.convert_args(&[&image]));
        assert_converted(&machine, &finish(command.env("DOCKER_CONFIG", machine.path("docker"))).await);
    }
}

#[tokio::test]
async fn a_helper_that_is_not_there_or_fails_is_named() {
    let machine = guarded().await;
    machine.write("home/.docker/config.json", r#"{"credsStore":"missing"}"#);
    let ran = machine.run(&machine.convert_args(&[&machine.image("1")])).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("docker-credential-missing"), "{ran:?}");
    machine.write("home/.docker/config.json", r#"{"credsStore":"../../bin/sh"}"#);
    let ran = machine.run(&machine.convert_args(&[&machine.image("1")])).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("odd characters"), "{ran:?}");
}

#[tokio::test]
async fn the_configuration_says_how_a_registry_is_reached() {
    let machine = guarded().await;
    let host = machine.registry.host();
    let config = format!(
        "registries:\n  {host}:\n    plain_http: true\n    username: robot$accel\n    password: ${{env:REGISTRY_PASSWORD}}\n  \
         unused.example: {{ username: u, password: \"${{env:NOT_SET}}\" }}\n"
    );
    machine.write("accel.yaml", &config);
    let image = machine.image("1");
    let args = ["convert", image.as_str(), "--config", "accel.yaml"];
    let ran = machine.run(&args).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("REGISTRY_PASSWORD"), "{ran:?}");
    assert_converted(&machine, &finish(machine.command(&args).env("REGISTRY_PASSWORD", PASSWORD)).await);
}

#[tokio::test]
async fn a_host_that_is_not_in_the_configuration_may_be_named() {
    let machine = guarded().await;
    let host = machine.registry.host();
    machine.write("accel.yaml", "registries:\n  other.example: {}\n");
    machine.write("home/.docker/config.json", &format!(r#"{{"auths":{{"{host}":{{"auth":"{ENCODED}"}}}}}}"#));
    let ran = machine.run(&machine.convert_args(&[&machine.image("1"), "--config", "accel.yaml"])).await;
    assert_converted(&machine, &ran);
}

#[tokio::test]
async fn the_limits_of_the_configuration_hold() {
    let machine = Machine::new().await;
    two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    let host = machine.registry.host();
    machine.write("accel.yaml", &format!("registries:\n  {host}: {{ plain_http: true, limits: {{ layer: 4KiB }} }}\n"));
    let ran = machine.run(&["convert", &machine.image("1"), "--config", "accel.yaml"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("4096") || ran.stderr.contains("4 KiB") || ran.stderr.contains("4KiB"), "{ran:?}");
}
