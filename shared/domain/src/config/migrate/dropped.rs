//! Keys of acceld's that have nothing to become, and why.

use crate::rule::glob;

const REASONS: [(&str, &str); 27] = [
    ("server.name", "left out: it was a prefix of logs and metrics"),
    ("server.uds", "left out: Accel listens on an address, not on a Unix socket"),
    ("server.host", "left out: there is no port beside it"),
    ("metric.*", "left out: Accel always serves /metrics"),
    ("provider.work_dir", "left out: no layer lies on disk; tasks are kept in `server.state`"),
    ("provider.gcpolicy.*", "left out: there is no local content to collect"),
    ("provider.cache_size", "left out: remembered layers are kept in `server.state`, without a number to choose"),
    ("provider.cache_version", "left out: remembered layers know the version they were made by"),
    ("provider.containerd.*", "left out: Accel needs no containerd"),
    ("converter.harbor_annotation", "left out: it does nothing in acceld; Accel writes its own annotations"),
    ("converter.rules*.cache_tag", "left out: remembered layers are kept in `server.state`, not in an image"),
    ("converter.driver.config.docker2oci", "left out: Accel always writes OCI media types"),
    ("converter.driver.config.work_dir", "left out: nothing is unpacked to disk"),
    ("converter.driver.config.builder", "left out: Accel runs no other program"),
    ("converter.driver.config.fs_version", NYDUS),
    ("converter.driver.config.rafs_version", NYDUS),
    ("converter.driver.config.compressor", NYDUS),
    ("converter.driver.config.rafs_compressor", NYDUS),
    ("converter.driver.config.oci_ref", NYDUS),
    ("converter.driver.config.with_referrer", "left out: with nydus; for other formats it is `subject: true`"),
    ("converter.driver.config.merge_manifest", NYDUS),
    ("converter.driver.config.chunk_dict_ref", NYDUS),
    ("converter.driver.config.fs_*", NYDUS),
    ("converter.driver.config.batch_size", NYDUS),
    ("converter.driver.config.prefetch_patterns", "left out: with nydus; for eStargz it is the list `prefetch`"),
    ("converter.driver.config.backend_*", "left out: Accel pushes to registries only"),
    ("converter.driver.config.encrypt_recipients", "left out: Accel does not encrypt images"),
];

const NYDUS: &str = "left out: an option of nydus, which is not available in this version";

/// Why the key at `path` was left out.
pub(super) fn reason(path: &str) -> &'static str {
    let found = REASONS.iter().find(|(pattern, _)| glob(pattern, path));
    found.map_or("left out: not a key that acceld or Accel knows", |(_, reason)| reason)
}
