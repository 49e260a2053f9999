"""The first table, and that of Nydus: the same images converted by both, alternating."""

import json
import sys

import figures
from converters import SUFFIXES
from figures import METRICS, amount, times


def measure(registry, ours, incumbent, images: dict[str, dict], count: int, form: str = "estargz") -> list[dict]:
    """For each image, `count` pairs of runs after one that does not count; which of the two begins alternates."""
    return [_image(registry, ours, incumbent, tag, image, count, form) for tag, image in images.items()]


def _image(registry, ours, incumbent, tag: str, image: dict, count: int, form: str) -> dict:
    sides = [side for side in (incumbent, ours) if side]
    runs: dict[str, list[dict]] = {side.name: [] for side in sides}
    for number in range(count + 1):
        for side in sides if number % 2 else reversed(sides):
            run = _run(registry, ours, side, tag, number, form)
            if number > 0:
                runs[side.name].append(run)
            print(f"{tag}: {side.name} {'warm-up' if number == 0 else number}: {run['wall_s']:.2f} s", file=sys.stderr)
    result = {"image": tag, **{key: image[key] for key in ("about", "layers", "files", "compressed", "uncompressed")}}
    result |= {"runs": runs, "medians": {name: figures.medians(own) for name, own in runs.items()}}
    busy = [run["busy"] for run in runs[ours.name] if run["busy"] is not None]
    result["busy"] = figures.spread(busy)
    if incumbent:
        result["ratios"] = figures.ratios(runs[incumbent.name], runs[ours.name])
    return result


def _run(registry, ours, side, tag: str, number: int, form: str) -> dict:
    """One run, in a repository that nobody has pushed to but the source's owner."""
    repository = f"{side.name.lower()}/{form}/{tag}-{number}"
    registry.copy(tag, repository)
    before = registry.cpu_seconds()
    run = side.convert_to(form, registry, repository)
    registry_cpu = registry.cpu_seconds() - before
    # What nydus-image writes has BLAKE3 digests, which `accelctl verify` cannot compare.
    if number == 0 and (side is ours or form == "estargz"):
        ours.verify(registry, repository, form)
    return {
        "wall_s": run.wall_s,
        "cpu_s": run.cpu_s,
        "peak_bytes": run.peak_bytes,
        "written_bytes": run.written_bytes,
        "output_bytes": registry.layer_bytes(repository, f"src{SUFFIXES[form]}"),
        "registry_cpu_s": registry_cpu,
        "busy": utilisation(run) if side is ours else None,
    }


def utilisation(run) -> float | None:
    """The share of the machine's cores that was busy while layers were converted, by the times of the report."""
    report = json.loads(run.output)
    phases = {phase: ms / 1000 for phase, ms in report["phases_ms"].items()}
    end = run.wall_s - phases.get("tag", 0) - phases.get("push", 0)
    return run.busy(end - phases.get("convert", 0), end)


def table(results: list[dict], title: str = "Both, side by side") -> tuple[str, list[str], list[list[str]], str]:
    """What `tables` takes."""
    head = ["image", "MB, files, layers"]
    head += [f"{name} ({unit})" for name, unit, _ in METRICS.values()]
    rows = [[r["image"], _what(r), *(_cell(r, metric) for metric in METRICS)] for r in results]
    note = (
        "Each cell: acceld / Accel = how many times less Accel took (least to most over the pairs). "
        "MB is the uncompressed size. Where one figure stands alone, it is Accel's."
    )
    busy = [f"{r['image']} {r['busy']['median']:.0%}" for r in results if r["busy"]]
    if busy:
        note += "\n\nCores busy between the first and the last byte of Accel's runs, registry included: "
        note += f"{', '.join(busy)}."
    return title, head, rows, note


def _what(result: dict) -> str:
    return f"{amount(result['uncompressed'], 10**6)}, {result['files']:,}, {result['layers']}"


def _cell(result: dict, metric: str) -> str:
    scale = METRICS[metric][2]
    sides = [amount(own[metric], scale) for own in result["medians"].values()]
    ratio = result.get("ratios", {}).get(metric)
    return " / ".join(sides) + (f" = {times(ratio)}" if ratio else "")
