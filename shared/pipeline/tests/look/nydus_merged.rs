//! An index of plain images and Nydus images: right, and wrong in every way that can be told.

use accel_domain::{FormatOptions, NydusOptions, Output};
use accel_image::{Digest, media_type};
use accel_test_support::tar::file;
use accel_test_support::{ImageBuilder, IndexBuilder, tar};
use serde_json::{Value, json};

use crate::nydus::{base, top};
use crate::stage::{APP, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_thing_about_a_merged_index_is_named() {
    type Edit = fn(&Stage, &mut Value);
    fn replace(stage: &Stage, index: &mut Value, at: usize, edit: impl FnOnce(&mut Value)) {
        let key = index["manifests"][at]["digest"].as_str().unwrap().to_owned();
        let mut manifest = stage.document(&key);
        edit(&mut manifest);
        let text = manifest.to_string();
        let digest = stage.content().put_manifest(
            APP,
            &Digest::of(text.as_bytes()).to_string(),
            media_type::OCI_MANIFEST,
            text.clone(),
        );
        index["manifests"][at]["digest"] = json!(digest);
        index["manifests"][at]["size"] = json!(text.len());
    }
    let rows: [(&str, Edit); 11] = [
        ("the plain image is not the source's", |_, index| {
            index["manifests"][0]["platform"]["architecture"] = json!("arm64");
        }),
        ("the plain image is not the source's", |_, index| index["manifests"][0]["annotations"] = json!({})),
        ("another platform or other members", |_, index| {
            index["manifests"][1]["platform"]["architecture"] = json!("arm64");
        }),
        ("a Nydus image before a plain one", |_, index| index["manifests"].as_array_mut().unwrap().reverse()),
        ("the plain image is not the source's", |stage, index| {
            replace(stage, index, 0, |manifest| manifest["layers"].as_array_mut().unwrap().swap(0, 1));
        }),
        ("the plain image is not the source's", |stage, index| {
            replace(stage, index, 0, |manifest| manifest["annotations"]["x"] = json!("y"));
        }),
        ("0 plain images beside 1 of Nydus", |_, index| drop(index["manifests"].as_array_mut().unwrap().remove(0))),
        ("does not say that this is the Nydus image", |_, index| {
            drop(index["manifests"][1].as_object_mut().unwrap().remove("artifactType"));
        }),
        ("for its own", |stage, index| {
            let right = index["manifests"][1].clone();
            replace(stage, index, 1, |manifest| manifest["config"]["mediaType"] = json!(media_type::OCI_CONFIG));
            index["manifests"].as_array_mut().unwrap().push(right);
        }),
        ("annotations that nobody has given", |_, index| index["annotations"]["x"] = json!("y")),
        ("the target was made of", |_, index| {
            index["annotations"]["io.accel.source.digest"] = json!(Digest::of(b"other"));
        }),
    ];
    let options = NydusOptions { merge_manifest: true, ..NydusOptions::default() };
    for (expected, edit) in rows {
        let stage = Stage::new().await;
        let image = ImageBuilder::new().layer(&tar(&base())).layer(&tar(&top()));
        image.push(stage.content(), APP, Some("1"));
        Box::pin(stage.convert(Output::new(FormatOptions::Nydus(options.clone())), "2")).await;
        let report = stage.verify("1", "2").await;
        assert_eq!((report.differences, report.platforms.len()), (vec![], 1));
        assert_eq!(stage.inspect("2").await.images.len(), 2, "the plain one and the Nydus image");
        let mut index = stage.document("2");
        edit(&stage, &mut index);
        stage.content().put_manifest(APP, "2", media_type::OCI_INDEX, index.to_string());
        let found = stage.verify("1", "2").await.differences;
        assert!(found.iter().any(|found| found.contains(expected)), "{found:?} instead of {expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_index_has_a_plain_image_for_each_image_of_a_platform() {
    let stage = Stage::new().await;
    let images = [base(), vec![file("other", b"x")]]
        .map(|entries| ImageBuilder::new().layer(&tar(&entries)).push(stage.content(), APP, None));
    images.iter().fold(IndexBuilder::new(), IndexBuilder::image).push(stage.content(), APP, Some("1"));
    let options = NydusOptions { merge_manifest: true, ..NydusOptions::default() };
    Box::pin(stage.convert(Output::new(FormatOptions::Nydus(options)), "2")).await;
    assert_eq!(stage.verify("1", "2").await.differences, Vec::<String>::new());
    let right = stage.document("2")["manifests"].as_array().unwrap().clone();
    let rows = [
        ("the plain image is not the source's", [0, 0, 2, 3].as_slice()),
        ("1 plain image beside 2 of Nydus", &[0, 2, 3]),
        ("2 plain images beside 1 of Nydus", &[0, 1, 2]),
    ];
    for (expected, entries) in rows {
        let mut index = stage.document("2");
        index["manifests"] = entries.iter().map(|at| right[*at].clone()).collect();
        stage.content().put_manifest(APP, "wrong", media_type::OCI_INDEX, index.to_string());
        let found = stage.verify("1", "wrong").await.differences;
        assert!(found.iter().any(|found| found.contains(expected)), "{found:?} instead of {expected}");
    }
}
