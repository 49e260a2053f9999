"""The third table: how cost grows with threads, with the size of a layer and with the number of its files."""

import sys

import figures
from figures import amount

# What threads are varied on.
THREADS_IMAGE = "debian-500"


def measure(registry, ours, images: dict[str, dict], threads: list[int], count: int) -> list[dict]:
    """Runs of Accel alone: an image once for each number of threads, and those that grow with all cores."""
    results = []
    for tag, image in images.items():
        varied = threads if tag == THREADS_IMAGE or len(images) == 1 else [None]
        results += [_image(registry, ours, tag, image, number, count) for number in varied]
    return results


def _image(registry, ours, tag: str, image: dict, threads: int | None, count: int) -> dict:
    options = ("--threads", str(threads)) if threads else ()
    runs = []
    for number in range(count + 1):
        repository = f"growth/{tag}-{threads or 'all'}-{number}"
        registry.copy(tag, repository)
        run = ours.convert(registry, repository, *options)
        if number > 0:
            runs.append({"wall_s": run.wall_s, "cpu_s": run.cpu_s, "peak_bytes": run.peak_bytes})
    print(f"{tag}: {threads or 'all'} threads", file=sys.stderr)
    medians = {metric: figures.spread([run[metric] for run in runs])["median"] for metric in runs[0]}
    what = {"image": tag, "threads": threads, "files": image["files"], "uncompressed": image["uncompressed"]}
    return {**what, "runs": runs, "medians": medians}


def table(results: list[dict]) -> tuple[str, list[str], list[list[str]], str]:
    """What `tables` takes."""
    head = ["image", "MB", "files", "threads", "wall (s)", "CPU (s)"]
    head += ["MB a second", "CPU ns a byte", "CPU µs a file", "peak (MiB)"]
    return "How cost grows", head, [_row(result) for result in results], "MB is the uncompressed size."


def _row(result: dict) -> list[str]:
    wall, cpu, peak = (result["medians"][metric] for metric in ("wall_s", "cpu_s", "peak_bytes"))
    size, files = result["uncompressed"], result["files"]
    per_file = amount(figures.pair(cpu * 1e6, files))
    speeds = [amount(size / wall, 10**6), amount(cpu * 1e9 / size), per_file]
    threads = str(result["threads"] or "all")
    what = [result["image"], amount(size, 10**6), f"{files:,}", threads]
    return [*what, amount(wall), amount(cpu), *speeds, amount(peak, 1 << 20)]
