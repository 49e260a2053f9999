"""What goes into a layer: the entries of its packages' tars, each path once, as in a layer that a builder made."""

import hashlib
import subprocess
import tarfile
from pathlib import Path

from recipes import Layer


def entries(layer: Layer, sources: list[Path]):
    """Yields pairs of tarfile.TarInfo and an open file, or None where there is no payload."""
    seen, files = {""}, 0
    for source in sources:
        command = ["cat", str(source)] if source.suffix == ".tar" else ["dpkg-deb", "--fsys-tarfile", str(source)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as unpacked:
            with tarfile.open(fileobj=unpacked.stdout, mode="r|", bufsize=1 << 20) as tar:
                for info in tar:
                    info.name = info.name.removeprefix(".").strip("/")
                    if info.islnk():
                        info.linkname = info.linkname.removeprefix("./")
                    if info.name in seen or not _belongs(layer, info, files, seen):
                        continue
                    seen.add(info.name)
                    files += info.isreg()
                    yield info, tar.extractfile(info) if info.isreg() else None


def _belongs(layer: Layer, info: tarfile.TarInfo, files: int, seen: set[str]) -> bool:
    if info.isdir():
        return True
    if info.islnk():
        return info.linkname in seen
    chosen = int.from_bytes(hashlib.sha256(info.name.encode()).digest()[:8], "big") / (1 << 64) < layer.share
    fits = not info.isreg() or (files < layer.files and layer.smallest <= info.size <= layer.largest)
    return chosen and fits
