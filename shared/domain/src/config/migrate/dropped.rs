//! Keys of acceld's that have nothing to become, and why.

use crate::rule::glob;

const REASONS: [(&str, &str); 26] = [
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
    ("converter.driver.config.compression", "left out: an option of estargz"),
    ("converter.driver.config.with_referrer", "left out: an option of nydus; for eStargz it is `subject: true`"),
    (
        "converter.driver.config.prefetch_patterns",
        "left out: an option of nydus; for eStargz it is the list `prefetch`",
    ),
    ("converter.driver.config.fs_*", NYDUS),
    ("converter.driver.config.rafs_*", NYDUS),
    ("converter.driver.config.compressor", NYDUS),
    ("converter.driver.config.oci_ref", NYDUS),
    ("converter.driver.config.merge_manifest", NYDUS),
    ("converter.driver.config.chunk_dict_ref", NYDUS),
    ("converter.driver.config.batch_size", NYDUS),
    ("converter.driver.config.backend_*", NYDUS),
    ("converter.driver.config.encrypt_recipients", NYDUS),
];

const NYDUS: &str = "left out: an option of nydus, and the driver is another one";

/// Why the key at `path` was left out.
pub(super) fn reason(path: &str) -> &'static str {
    let found = REASONS.iter().find(|(pattern, _)| glob(pattern, path));
    found.map_or("left out: not a key that acceld or Accel knows", |(_, reason)| reason)
}
