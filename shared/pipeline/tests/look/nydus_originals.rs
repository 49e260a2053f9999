//! Nydus images that refer to their original layers: right, and wrong in every way that can be told.

use accel_domain::{FormatOptions, NydusOptions, Output};
use accel_image::{Digest, media_type};
use accel_pipeline::LayerFormat;
use accel_test_support::{Fault, ImageBuilder, Request, Rule, tar};
use serde_json::json;

use crate::nydus::{base, insert, stray, top};
use crate::stage::{APP, Stage};

/// Tag `2` refers to the layers of tag `1`.
async fn referring() -> Stage {
    let stage = Stage::new().await;
    ImageBuilder::new().layer(&tar(&base())).layer(&tar(&top())).push(stage.content(), APP, Some("1"));
    let options = NydusOptions { oci_ref: true, ..NydusOptions::default() };
    Box::pin(stage.convert(Output::new(FormatOptions::Nydus(options)), "2")).await;
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_refers_to_its_source_has_indexes_for_layers() {
    let stage = referring().await;
    let (source, target) = (stage.document("1"), stage.document("2"));
    let (source, target) = (source["layers"].as_array().unwrap(), target["layers"].as_array().unwrap());
    assert_eq!(target.len(), source.len() + 1);
    for (index, original) in target.iter().zip(source) {
        assert_eq!(index["annotations"]["containerd.io/snapshot/nydus-ref"], original["digest"]);
        assert_eq!(index["mediaType"], media_type::NYDUS_BLOB);
    }
    let report = stage.inspect("2").await;
    assert_eq!(report.images[0].layers[0].format, LayerFormat::NydusBlob);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_reference_is_named() {
    let key = "containerd.io/snapshot/nydus-ref";
    let stage = referring().await;
    stage.edit_manifest(|manifest| manifest["layers"][0]["annotations"][key] = json!(Digest::of(b"x").to_string()));
    let report = stage.verify("1", "2").await;
    assert!(report.differences.iter().any(|what| what.contains("does not say that it is the index")), "{report:?}");

    // An index that nobody asked for, which says that it is the first layer's, or nothing.
    for (at, said) in [(1, true), (2, true), (2, false)] {
        let stage = referring().await;
        let mut layer = stray(&stage);
        if said {
            layer["annotations"][key] = stage.document("1")["layers"][0]["digest"].clone();
        }
        insert(&stage, at, &layer);
        let report = stage.verify("1", "2").await;
        assert!(report.differences.iter().any(|what| what.contains("stands for no layer of")), "{at} {report:?}");
    }

    // One that says so in the place of the right one, which is there, too.
    let stage = referring().await;
    let right = stage.document("2")["layers"][0].clone();
    let mut layer = stray(&stage);
    layer["annotations"][key] = right["annotations"][key].clone();
    stage.edit_manifest(|manifest| manifest["layers"][0] = layer.clone());
    stage.edit_manifest(|manifest| manifest["layers"][1] = right);
    let report = stage.verify("1", "2").await;
    assert!(report.differences.iter().any(|what| what.contains("is not what the bootstrap names")), "{report:?}");

    // Of the second layer the bootstrap names no chunk.
    let stage = referring().await;
    let digest = stage.document("2")["layers"][1]["digest"].as_str().unwrap().to_owned();
    stage.registry.rule(Rule::on(Request::BlobGet, Fault::WrongBytes).path(&digest));
    let report = stage.verify("1", "2").await;
    assert!(report.differences.iter().any(|what| what.contains(&digest)), "{report:?}");

    // The index of one layer in the place of the other's.
    let stage = referring().await;
    stage.edit_manifest(|manifest| manifest["layers"][0] = manifest["layers"][1].clone());
    let report = stage.verify("1", "2").await;
    assert!(report.differences.iter().any(|what| what.contains("with an index in the image")), "{report:?}");
}
