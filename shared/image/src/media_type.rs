//! Media types, and what Accel needs to know of each.

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI layer, uncompressed.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer, gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer, zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker layer, gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker manifest, schema 1: refused by name.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Docker manifest, schema 1, signed: refused by name.
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// A layer's blob of a Nydus image. Spec: nydus-snapshotter, "Nydus image".
pub const NYDUS_BLOB: &str = "application/vnd.oci.image.layer.nydus.blob.v1";

/// The configuration of a Nydus image that stands in an index beside the plain one: no other runtime takes it.
pub const NYDUS_CONFIG: &str = "application/vnd.nydus.image.config.v1+json";
/// The artifact type of such an image, in the index.
pub const NYDUS_MANIFEST: &str = "application/vnd.nydus.image.manifest.v1+json";

/// The manifest types that Accel asks a registry for, as one `Accept` value.
pub const ACCEPT_MANIFESTS: &str = concat!(
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, ",
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
);

/// Whether `media_type` is a file-system layer that ordinary runtimes unpack.
#[must_use]
pub fn is_layer(media_type: &str) -> bool {
    is_foreign_layer(media_type)
        || media_type.starts_with(OCI_LAYER)
        || media_type.starts_with("application/vnd.docker.image.rootfs.diff.tar")
}

/// Whether `media_type` is a layer that may not be distributed: it is kept as it is.
#[must_use]
pub fn is_foreign_layer(media_type: &str) -> bool {
    media_type.contains(".nondistributable.") || media_type.contains(".rootfs.foreign.")
}

/// Whether `media_type` is an encrypted layer, which nobody without the key can convert.
#[must_use]
pub fn is_encrypted_layer(media_type: &str) -> bool {
    media_type.ends_with("+encrypted")
}

/// Whether `media_type` is an image configuration, OCI's or Docker's.
#[must_use]
pub fn is_image_config(media_type: &str) -> bool {
    media_type == OCI_CONFIG || media_type == DOCKER_CONFIG
}

/// OCI's name for a Docker media type; any other type as it is.
#[must_use]
pub fn to_oci(media_type: &str) -> &str {
    match media_type {
        DOCKER_MANIFEST => OCI_MANIFEST,
        DOCKER_LIST => OCI_INDEX,
        DOCKER_CONFIG => OCI_CONFIG,
        DOCKER_LAYER_GZIP => OCI_LAYER_GZIP,
        "application/vnd.docker.image.rootfs.diff.tar" => OCI_LAYER,
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => OCI_LAYER_ZSTD,
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => {
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        }
        "application/vnd.docker.image.rootfs.foreign.diff.tar" => {
            "application/vnd.oci.image.layer.nondistributable.v1.tar"
        }
        other => other,
    }
}
