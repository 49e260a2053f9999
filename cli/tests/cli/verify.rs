//! `accelctl verify`.

use serde_json::{Value, json};

use crate::machine::{Machine, REPOSITORY, Ran, digest, two_layers};

async fn verify(machine: &Machine, source: &str, target: &str, more: &[&str]) -> Ran {
    machine.run(&[&["verify", source, target, "--plain-http", &machine.registry.host()], more].concat()).await
}

async fn converted() -> Machine {
    let machine = Machine::new().await;
    two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    machine.convert(&[&machine.image("1")]).await;
    machine
}

#[tokio::test]
async fn a_converted_image_is_right() {
    let machine = converted().await;
    let (source, target) = (machine.image("1"), machine.image("1-esgz"));
    let ran = verify(&machine, &source, &target, &["--output", "json"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&report["right"], &report["source"], &report["target"]),
        (&json!(true), &json!(source), &json!(target))
    );
    assert_eq!(digest(&report, "target_digest"), machine.content().manifest(REPOSITORY, "1-esgz").unwrap().digest);
    assert_eq!((&report["layers_checked"], &report["differences"]), (&json!(2), &json!([])));
    assert!(report["entries"].as_u64().unwrap() >= 5, "{report}");
    let ran = verify(&machine, &source, &target, &[]).await;
    assert!(ran.code == Some(0) && ran.stdout.contains("holds the same files"), "{ran:?}");
}

#[tokio::test]
async fn another_image_differs() {
    let machine = converted().await;
    two_layers("b").push(machine.content(), REPOSITORY, Some("2"));
    let (source, target) = (machine.image("2"), machine.image("1-esgz"));
    let ran = verify(&machine, &source, &target, &[]).await;
    assert!(ran.code == Some(4) && ran.stdout.contains("differs"), "{ran:?}");
    let ran = verify(&machine, &source, &target, &["--output", "json"]).await;
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &report["right"]), (Some(4), &json!(false)));
    assert!(!report["differences"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn an_image_that_is_not_there_cannot_be_compared() {
    let machine = converted().await;
    let ran = verify(&machine, &machine.image("1"), &machine.image("none"), &[]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("target") && ran.stderr.contains("none"), "{ran:?}");
}

#[tokio::test]
async fn layouts_are_compared_too() {
    let machine = converted().await;
    machine.convert(&[&machine.image("1"), "oci:out:esgz"]).await;
    let ran = verify(&machine, &machine.image("1"), "oci:out:esgz", &[]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
}
