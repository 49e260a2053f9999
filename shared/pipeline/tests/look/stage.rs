//! A registry, and images in it: sources, and targets put together by hand so that they can be wrong.

use std::sync::{Arc, Mutex};

use accel_domain::marker::source_name;
use accel_domain::{EstargzOptions, Marker, Output, Timestamp};
use accel_driver::{Pool, conformance};
use accel_driver_estargz::Estargz;
use accel_image::{Descriptor, Digest, media_type};
use accel_pipeline::{
    Engine, Event, InspectReport, Job, Observer, Outcome, Stop, Tagged, Tally, VerifyError, VerifyOptions,
    VerifyReport, convert_image, inspect_image, move_tag, verify_image,
};
use accel_registry::{End, HostSettings, NoCredentials, Registries};
use accel_registry_server::Content;
use accel_stream::Limits;
use accel_tasks::{LayerCache, LayerKey, LayerRecord, StoreError};
use accel_test_support::image::{Compression, Dialect, Layer};
use accel_test_support::{FaultyRegistry, ImageBuilder};
use serde_json::{Value, json};

pub(crate) const APP: &str = "library/app";

pub(crate) struct Stage {
    pub(crate) registry: FaultyRegistry,
    registries: Registries,
}

/// A cache that remembers nothing.
struct Forgetful;

impl LayerCache for Forgetful {
    async fn find_layer(&self, _: &LayerKey, _: Timestamp) -> Result<Option<LayerRecord>, StoreError> {
        Ok(None)
    }

    async fn remember_layer(&self, _: &LayerKey, _: &LayerRecord, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    async fn forget_layer(&self, _: &LayerKey) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let registry = FaultyRegistry::start().await;
        let registries =
            Registries::new(vec![HostSettings::plain_http(registry.host())], Arc::new(NoCredentials)).unwrap();
        Self { registry, registries }
    }

    pub(crate) fn content(&self) -> &Content {
        self.registry.content()
    }

    pub(crate) fn end(&self) -> End {
        let reference = format!("{}/{APP}:any", self.registry.host()).parse().unwrap();
        End::Registry(self.registries.repository(&reference).unwrap())
    }

    /// Converts tag `1` into the tag `target`.
    pub(crate) async fn convert(&self, output: Output, target: &str) {
        let end = self.end();
        let source = format!("{}/{APP}:1", self.registry.host()).parse().unwrap();
        let job = Job {
            source: end.clone(),
            source_key: "1".into(),
            source_name: source_name(&source),
            digest: None,
            target: end,
            target_key: target.to_owned(),
            dictionary: None,
            rule_hash: output.rule_hash(target),
            output,
            limits: Limits::default(),
        };
        let (engine, tally, signal) = (Engine::new(2), Tally::default(), Stop::new().signal());
        let converting = convert_image(&engine, &Forgetful, &job, &tally, signal, Timestamp::now);
        let outcome = Box::pin(converting).await.unwrap();
        let Outcome::Converted(image) = outcome else { panic!("{outcome:?}") };
        assert_eq!(move_tag(&job, &image).await.unwrap(), Tagged::Moved);
    }

    /// Verifies `target` against `source`, both tags.
    pub(crate) async fn verify(&self, source: &str, target: &str) -> VerifyReport {
        self.try_verify(source, target, &VerifyOptions::default()).await.unwrap()
    }

    pub(crate) async fn try_verify(
        &self,
        source: &str,
        target: &str,
        options: &VerifyOptions,
    ) -> Result<VerifyReport, VerifyError> {
        let end = self.end();
        let watch = Events::default();
        Box::pin(verify_image((&end, source), (&end, target), options, &watch)).await
    }

    pub(crate) async fn inspect(&self, key: &str) -> InspectReport {
        inspect_image(&self.end(), key, Limits::default()).await.unwrap()
    }

    pub(crate) fn put_manifest(&self, tag: &str, manifest: &Value) {
        self.content().put_manifest(APP, tag, media_type::OCI_MANIFEST, manifest.to_string());
    }

    /// A document under a tag.
    pub(crate) fn document(&self, key: &str) -> Value {
        serde_json::from_slice(&self.content().manifest(APP, key).unwrap().bytes).unwrap()
    }

    /// The configuration of the image under a tag.
    pub(crate) fn config(&self, key: &str) -> Value {
        let digest: Digest = self.document(key)["config"]["digest"].as_str().unwrap().parse().unwrap();
        serde_json::from_slice(&self.content().blob(APP, digest).unwrap()).unwrap()
    }

    /// Changes the manifest under tag `2`.
    pub(crate) fn edit_manifest(&self, edit: impl FnOnce(&mut Value)) {
        let mut manifest = self.document("2");
        edit(&mut manifest);
        self.put_manifest("2", &manifest);
    }

    /// Changes the configuration of the image under tag `2`.
    pub(crate) fn edit_config(&self, edit: impl FnOnce(&mut Value)) {
        let mut config = self.config("2");
        edit(&mut config);
        self.put_config("2", &config);
    }

    /// Puts another configuration under the image of a tag.
    pub(crate) fn put_config(&self, tag: &str, config: &Value) {
        let text = config.to_string();
        self.content().put_blob(APP, text.clone());
        let mut manifest = self.document(tag);
        manifest["config"] = json!(Descriptor::of(media_type::OCI_CONFIG, text.as_bytes()));
        self.put_manifest(tag, &manifest);
    }
}

/// The number of each kind of event.
#[derive(Debug, Default)]
pub(crate) struct Events(Mutex<Vec<String>>);

impl Events {
    pub(crate) fn seen(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Events {
    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

/// The tar as a gzip layer of Docker's.
pub(crate) fn plain(tar: &[u8]) -> Layer {
    Layer::pack(tar, Compression::Gzip, Dialect::Oci)
}

/// The tar as an eStargz layer.
pub(crate) fn converted(tar: &[u8]) -> Layer {
    converted_with(tar, EstargzOptions::default())
}

pub(crate) fn converted_with(tar: &[u8], options: EstargzOptions) -> Layer {
    let driver = Estargz::new(options, Limits::default());
    let (converted, blob) = conformance::convert(&driver, &Pool::new(1), tar).unwrap();
    let mut layer = Layer::raw(media_type::OCI_LAYER_GZIP, blob, converted.diff_id);
    layer.descriptor.annotations = converted.annotations;
    layer
}

/// The marker of an image made of `source`.
pub(crate) fn marked(image: ImageBuilder, source: Digest) -> ImageBuilder {
    let marker = Marker {
        source: format!("127.0.0.1/{APP}:1"),
        source_digest: source,
        rule_hash: Digest::of(b"rule"),
        format: "estargz/1".to_owned(),
    };
    let mut annotations = accel_image::Annotations::new();
    marker.write(&mut annotations);
    annotations.iter().fold(image, |image, (key, value)| image.annotation(key, value))
}
