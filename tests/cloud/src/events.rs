//! Events, as the registries write them.

use accel_image::Digest;
use serde_json::{Value, json};

/// An image as an event names it.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// The registry's host, as the event has it.
    pub host: String,
    /// The repository.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// The digest, where the event says it.
    pub digest: Option<Digest>,
}

impl Pushed {
    /// `HOST/REPOSITORY:TAG`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}:{}", self.host, self.repository, self.tag)
    }

    /// The same by another name of its host.
    #[must_use]
    pub fn at(self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self }
    }

    fn resource(&self) -> Value {
        json!({ "digest": self.digest, "tag": self.tag, "resource_url": self.name() })
    }
}

/// Harbor's default form, of a push by somebody at second `at` of a day.
#[must_use]
pub fn harbor(images: &[&Pushed], at: i64) -> Value {
    let resources: Vec<_> = images.iter().map(|image| image.resource()).collect();
    json!({
        "type": "PUSH_ARTIFACT", "occur_at": 1_756_000_000 + at, "operator": "somebody",
        "event_data": { "resources": resources },
    })
}

/// Harbor's CloudEvents.
#[must_use]
pub fn cloudevent(image: &Pushed, id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/projects/1/webhook/policies/3", "type": "harbor.artifact.pushed",
        "datacontenttype": "application/json", "time": "2025-08-24T01:46:40Z", "operator": "somebody",
        "data": { "resources": [image.resource()] },
    })
}

/// The notification of a distribution registry.
#[must_use]
pub fn notification(image: &Pushed, id: &str) -> Value {
    let Pushed { host, repository, tag, digest } = image;
    let digest = digest.map(|digest| digest.to_string()).unwrap_or_default();
    json!({ "events": [{
        "id": id, "timestamp": "2025-08-24T01:46:40Z", "action": "push",
        "target": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1,
            "repository": repository, "tag": tag,
            "url": format!("http://{host}/v2/{repository}/manifests/{digest}"),
        },
        "request": { "host": host, "method": "PUT" }, "actor": {},
    }] })
}
