"""What was converted before: the same image again, and a new tag on the same layers; by `convert` and by `serve`."""

import hashlib
import json

import figures
from registry import Registry


def measure(registry: Registry, ours, server, tag: str, count: int) -> list[dict]:
    """Four rows: each of the two, each time, with the layer bytes that moved."""
    return _by_convert(registry, ours, tag, count) + _by_serve(registry, server, tag, count)


def _by_convert(registry: Registry, ours, tag: str, count: int) -> list[dict]:
    registry.copy(tag, "again/convert")
    ours.convert_tag(registry, "again/convert", "src")
    rows = {"the same image": [], "a new tag": []}
    for number in range(count):
        rows["the same image"].append(_convert(registry, ours, "again/convert"))
        _new_tag(registry, "again/convert", f"new-{number}")
        rows["a new tag"].append(_convert(registry, ours, "again/convert", f"new-{number}"))
    return [_row("convert", what, tag, runs) for what, runs in rows.items()]


def _convert(registry: Registry, ours, repository: str, tag: str = "src") -> dict:
    run = ours.convert_tag(registry, repository, tag)
    report = json.loads(run.output)
    return {"wall_s": run.wall_s, "layer_bytes": report["bytes_read"] + report["bytes_written"]}


def _by_serve(registry: Registry, server, tag: str, count: int) -> list[dict]:
    source = registry.copy(tag, "again/serve")
    server.convert(source)
    rows = {"the same image": [], "a new tag": []}
    for number in range(count):
        rows["the same image"].append(server.convert(source))
        rows["a new tag"].append(server.convert(_new_tag(registry, "again/serve", f"new-{number}")))
    return [_row("serve", what, tag, runs) for what, runs in rows.items()]


def _new_tag(registry: Registry, repository: str, tag: str) -> str:
    """Pushes an image of the same layers with another config."""
    manifest = registry.manifest(repository, "src")
    config = json.loads(registry.blob(repository, manifest["config"]["digest"]))
    config["config"]["Env"] = [f"TAG={tag}"]
    data = json.dumps(config).encode()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    registry.put_blob(repository, digest, data)
    manifest["config"] |= {"digest": digest, "size": len(data)}
    return registry.put(repository, tag, manifest)


def _row(by: str, what: str, tag: str, runs: list[dict]) -> dict:
    walls = figures.spread([run["wall_s"] for run in runs])
    moved = max(run["layer_bytes"] for run in runs)
    return {"by": by, "what": what, "image": tag, "wall_s": walls, "layer_bytes": moved, "runs": runs}
