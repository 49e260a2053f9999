//! `accelctl inspect`.

use serde_json::{Value, json};

use crate::machine::{Machine, REPOSITORY, digest, two_layers};

#[tokio::test]
async fn tells_what_an_image_is_made_of() {
    let machine = Machine::new().await;
    let pushed = two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    machine.convert(&[&machine.image("1"), "--prefetch", "/etc/passwd"]).await;
    let host = machine.registry.host();
    let report = async |tag: &str| -> Value {
        let ran = machine.run(&["inspect", &machine.image(tag), "--plain-http", &host, "--output", "json"]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        serde_json::from_str(&ran.stdout).unwrap()
    };

    let source = report("1").await;
    assert_eq!((digest(&source, "digest"), &source["origin"]), (pushed.manifest.digest, &Value::Null));
    let formats = |report: &Value| -> Vec<Value> {
        report["images"][0]["layers"].as_array().unwrap().iter().map(|layer| layer["format"].clone()).collect()
    };
    assert_eq!(formats(&source), ["gzip", "gzip"]);

    let target = report("1-esgz").await;
    assert_eq!(digest(&target["origin"], "source_digest"), pushed.manifest.digest);
    assert_eq!(formats(&target), ["estargz", "estargz"]);
    let toc = &target["images"][0]["layers"][0]["toc"];
    assert_eq!((&toc["files"], &toc["digest_agrees"]), (&json!(2), &json!(true)));
    assert_eq!(toc["largest"]["size"], 300_000);
    assert!(toc["landmark"]["prefetch"]["entries"].as_u64().unwrap() >= 1, "{toc}");

    let ran = machine.run(&["inspect", &machine.image("1-esgz"), "--plain-http", &host]).await;
    for expected in ["eStargz", "linux/amd64", "2 layers", "in 2 files", "prefetch  nothing"] {
        assert!(ran.stdout.contains(expected), "{expected}: {ran:?}");
    }
    let ran = machine.run(&["inspect", &machine.image("none"), "--plain-http", &host]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("none"), "{ran:?}");
}
