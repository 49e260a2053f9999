//! OCI layouts on disk as ends of a conversion.

use serde_json::{Value, json};

use crate::machine::{Machine, REPOSITORY, differences, digest, files, two_layers};

/// Converts, all three kinds of ends among the arguments.
async fn convert(machine: &Machine, source: &str, target: &str) -> Value {
    let mut args = vec!["convert", source, target, "--output", "json"];
    let host = machine.registry.host();
    if [source, target].iter().any(|place| place.starts_with(&host)) {
        args.extend(["--plain-http", &host]);
    }
    let ran = machine.run(&args).await;
    assert_eq!(ran.code, Some(0), "{source} -> {target}: {ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

/// Puts the image of `tag` into a layout without converting: what is there already stays in the way of nothing.
fn copy_to_layout(machine: &Machine, tag: &str, dir: &str) {
    let content = machine.content();
    let stored = content.manifest(REPOSITORY, tag).unwrap();
    for digest in content.blobs(REPOSITORY) {
        let path = format!("{dir}/blobs/sha256/{}", digest.hex());
        std::fs::create_dir_all(machine.path(&path).parent().unwrap()).unwrap();
        std::fs::write(machine.path(&path), content.blob(REPOSITORY, digest).unwrap()).unwrap();
    }
    std::fs::write(machine.path(&format!("{dir}/blobs/sha256/{}", stored.digest.hex())), &stored.bytes).unwrap();
    machine.write(&format!("{dir}/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#);
    let entry = json!({
        "mediaType": stored.media_type, "digest": stored.digest, "size": stored.bytes.len(),
        "annotations": {"org.opencontainers.image.ref.name": tag},
    });
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    machine.write(&format!("{dir}/index.json"), &index.to_string());
}

#[tokio::test]
async fn converts_within_a_layout() {
    let machine = Machine::new().await;
    let pushed = two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    copy_to_layout(&machine, "1", "image");
    let report = convert(&machine, "oci:image:1", "oci:image:2").await;
    assert_eq!(report["layers"]["converted"], 2, "{report}");
    assert_eq!(digest(&report, "source_digest"), pushed.manifest.digest);
    let again = convert(&machine, "oci:image:1", "oci:image:2").await;
    assert_eq!((&again["outcome"], &again["target_digest"]), (&json!("already accelerated"), &report["target_digest"]));
    let beside = machine.run(&["convert", "oci:image:1"]).await;
    assert_eq!(beside.code, Some(0), "{beside:?}");
    assert!(beside.stdout.contains("oci:image:1-esgz") && beside.stdout.contains("2 reused"), "{beside:?}");
}

#[tokio::test]
async fn a_layout_and_a_registry_give_the_same_layers_both_ways() {
    let machine = Machine::new().await;
    two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    copy_to_layout(&machine, "1", "image");
    let source = machine.image("1");
    let to_layout = convert(&machine, &source, "oci:out:esgz").await;
    let to_registry = convert(&machine, "oci:image:1", &machine.image("from-layout")).await;
    let layers = |report: &Value| -> Vec<Value> {
        report["details"].as_array().unwrap().iter().map(|layer| layer["target_digest"].clone()).collect()
    };
    assert_eq!(layers(&to_layout), layers(&to_registry));
    assert_eq!(layers(&to_layout).len(), 2);
    assert_eq!(differences(machine.content(), "1", "from-layout"), Vec::<String>::new());
    // Two layers, a configuration, a manifest.
    assert_eq!(files(&machine.path("out/blobs/sha256")), 4);
}

#[tokio::test]
async fn archives_are_read_and_written() {
    let machine = Machine::new().await;
    let pushed = two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    copy_to_layout(&machine, "1", "image");
    let packed = std::process::Command::new("tar")
        .args(["-cf", "image.tar", "-C", "image", "."])
        .current_dir(machine.path(""))
        .status();
    assert!(packed.unwrap().success());
    let report = convert(&machine, "oci-archive:image.tar:1", "oci-archive:out.tar:esgz").await;
    assert_eq!(digest(&report, "source_digest"), pushed.manifest.digest);
    let listed = std::process::Command::new("tar").args(["-tf", "out.tar"]).current_dir(machine.path("")).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    assert!(listed.starts_with("oci-layout\nindex.json\n"), "{listed}");
    assert!(listed.contains(digest(&report, "target_digest").hex().as_str()), "{listed}");
    let left = std::fs::read_dir(machine.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.filter(|name| name.to_string_lossy().starts_with('.')).count(), 0, "no temporary directory stays");
    // What was written can be read: it is a result, so there is nothing to do with it.
    let again = machine.run(&["convert", "oci-archive:out.tar:esgz", "oci:other:1"]).await;
    assert!(again.code == Some(5) && again.stderr.contains("made by Accel, of oci:1\n"), "{again:?}");
}

#[tokio::test]
async fn what_is_made_does_not_depend_on_where_a_layout_lies() {
    let machine = Machine::new().await;
    two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    copy_to_layout(&machine, "1", "one");
    copy_to_layout(&machine, "1", "deep/er/two");
    let one = convert(&machine, "oci:one:1", "oci:out-one:esgz").await;
    let two = convert(&machine, &format!("oci:{}:1", machine.path("deep/er/two").display()), "oci:out-two:esgz").await;
    assert_eq!(one["target_digest"], two["target_digest"]);
}

#[tokio::test]
async fn refuses_what_makes_no_sense() {
    let machine = Machine::new().await;
    two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    copy_to_layout(&machine, "1", "image");
    machine.write("full/file", "x");
    for (args, code, expected) in [
        (&["oci-archive:a.tar:1", "oci-archive:a.tar:2"][..], 2, "another archive"),
        (&["oci-archive:a.tar:1"], 1, "name the TARGET"),
        (&["oci:missing:1", "oci:out:1"], 1, "missing"),
        (&["oci:image:9", "oci:out:1"], 1, "`9`"),
        (&["oci:image:1", "oci:full:1"], 1, "not empty"),
        (&["oci:image:1", "oci:image:2", "--plain-http", "localhost:5000"], 2, "no registry"),
    ] {
        let ran = machine.run(&[&["convert"], args].concat()).await;
        assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
        assert!(ran.stderr.contains(expected), "{args:?}: {ran:?}");
    }
}
