"""The second table: the pipeline against the bare codec, the same bytes on the same cores."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

import figures
import process
from figures import amount


def measure(registry, ours, bare_codec: Path, layout: Path, tags: list[str], threads: int, count: int) -> list[dict]:
    """Pairs of runs for each image, from a layout to a layout and from registry to registry. All but the registry are
    held to as many cores as they have threads."""
    return [_image(registry, ours, bare_codec, layout, tag, threads, count) for tag in tags]


def _image(registry, ours, bare_codec: Path, layout: Path, tag: str, threads: int, count: int) -> dict:
    target = ours.work / "converted"
    pairs = []
    for number in range(count + 1):
        shutil.rmtree(target, ignore_errors=True)
        through_layout = _run(ours, threads, f"oci:{layout}:{tag}", f"oci:{target}:{tag}")
        bare = subprocess.run(
            [*_pinned(threads), str(bare_codec), str(layout), str(target), tag, "--threads", str(threads)],
            stdout=subprocess.PIPE, check=True,
        )
        repository = f"limit/{tag}-{threads}-{number}"
        source = registry.copy(tag, repository)
        before = registry.cpu_seconds()
        through_registry = _run(ours, threads, source, f"{source}-esgz", "--plain-http", registry.host)
        through_registry["registry_cpu_s"] = registry.cpu_seconds() - before
        if number > 0:
            pairs.append({"bare": json.loads(bare.stdout), "layout": through_layout, "registry": through_registry})
        print(f"{tag}: against the bare codec, {number or 'warm-up'}", file=sys.stderr)
    shutil.rmtree(target, ignore_errors=True)
    return {"image": tag, "threads": threads, "pairs": pairs, "ratios": _ratios(pairs)}


def _pinned(threads: int) -> list[str]:
    cores = sorted(os.sched_getaffinity(0))[:threads]
    return ["taskset", "--cpu-list", ",".join(map(str, cores))]


def _run(ours, threads: int, source: str, target: str, *options: str) -> dict:
    command = [*_pinned(threads), str(ours.program), "convert", source, target, "--no-cache", "--threads", str(threads)]
    run = process.run([*command, "--output", "json", *options], ours.work / "ours.log", ours.environment())
    return {"wall_s": run.wall_s, "cpu_s": run.cpu_s}


def _ratios(pairs: list[dict]) -> dict:
    def over_bare(through: str, metric: str):
        return figures.spread([figures.pair(pair[through][metric], pair["bare"][metric]) for pair in pairs])

    metrics = ("wall_s", "cpu_s")
    return {through: {metric: over_bare(through, metric) for metric in metrics} for through in ("layout", "registry")}


def table(results: list[dict]) -> tuple[str, list[str], list[list[str]], str]:
    """What `tables` takes."""
    head = ["image", "threads", "bare codec: wall, CPU (s)"]
    head += [f"{through}: {metric}" for through in ("layout", "registry") for metric in ("wall", "CPU")]
    head += ["the registry's own CPU (s)"]
    rows = [[r["image"], str(r["threads"]), _bare(r), *_cells(r), _registry(r)] for r in results]
    note = (
        "How many times the bare codec's time the pipeline took (least to most over the pairs), from a layout to a "
        "layout and from registry to registry. The registry works on the same cores: its processor time is in no "
        "ratio of CPU, but what it takes is missing in those of wall."
    )
    return "Against the bare codec", head, rows, note


def _bare(result: dict) -> str:
    runs = [pair["bare"] for pair in result["pairs"]]
    return ", ".join(amount(median(run[metric] for run in runs)) for metric in ("wall_s", "cpu_s"))


def _cells(result: dict) -> list[str]:
    return [figures.times(spread) for through in result["ratios"].values() for spread in through.values()]


def _registry(result: dict) -> str:
    return amount(median(pair["registry"]["registry_cpu_s"] for pair in result["pairs"]))
