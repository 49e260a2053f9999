"""Writes OCI layouts: layers as gzip tars while they stream, then config, manifest and index."""

import hashlib
import json
import tarfile
import zlib
from pathlib import Path

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
REF_NAME = "org.opencontainers.image.ref.name"


class _Blob:
    """A gzip blob that is being written: what goes in is a tar, what comes out is named by its digest."""

    def __init__(self, directory: Path, name: str):
        self.path = directory / f"{name}.unfinished"
        self.file = self.path.open("wb")
        self.gzip = zlib.compressobj(6, zlib.DEFLATED, 31)
        self.blob, self.diff = hashlib.sha256(), hashlib.sha256()
        self.compressed = self.uncompressed = 0

    def write(self, data: bytes) -> int:
        self.diff.update(data)
        self.uncompressed += len(data)
        self._out(self.gzip.compress(data))
        return len(data)

    def _out(self, data: bytes) -> None:
        self.blob.update(data)
        self.compressed += len(data)
        self.file.write(data)

    def finish(self) -> dict:
        self._out(self.gzip.flush())
        self.file.close()
        self.path.rename(self.path.parent / self.blob.hexdigest())
        return {
            "digest": f"sha256:{self.blob.hexdigest()}",
            "size": self.compressed,
            "diff_id": f"sha256:{self.diff.hexdigest()}",
            "uncompressed": self.uncompressed,
        }


def blobs(layout: Path) -> Path:
    """The directory of the layout's blobs."""
    directory = layout / "blobs" / "sha256"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def write_layer(layout: Path, name: str, entries) -> dict:
    """Writes a layer of `entries`, pairs of tarfile.TarInfo and an open file or None. Returns what it is."""
    blob = _Blob(blobs(layout), name)
    files = 0
    with tarfile.open(fileobj=blob, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20) as tar:
        for info, payload in entries:
            tar.addfile(info, payload)
            files += info.isreg()
    return {**blob.finish(), "files": files}


def write_image(layout: Path, tag: str, layers: list[dict]) -> dict:
    """Writes config and manifest of an image of these layers. Returns its entry in the index."""
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [layer["diff_id"] for layer in layers]},
        "history": [{"created": "2024-01-01T00:00:00Z"} for _ in layers],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _document(layout, CONFIG, config),
        "layers": [{"mediaType": LAYER, "digest": layer["digest"], "size": layer["size"]} for layer in layers],
    }
    return {**_document(layout, MANIFEST, manifest), "annotations": {REF_NAME: tag}}


def write_index(layout: Path, images: list[dict]) -> None:
    """Writes what makes the directory a layout of these images."""
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": images}))


def _document(layout: Path, media_type: str, document: dict) -> dict:
    data = json.dumps(document).encode()
    digest = hashlib.sha256(data).hexdigest()
    (blobs(layout) / digest).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}
