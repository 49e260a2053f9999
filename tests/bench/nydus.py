"""The table of Nydus: as the first one, with nydus-image at the incumbent's side."""

import shutil

import duel


def measure(registry, ours, incumbent, images: dict[str, dict], count: int) -> list[dict]:
    """As `duel.measure`. The incumbent runs nydus-image: tests/interop/nydus builds it."""
    if incumbent and not shutil.which("nydus-image"):
        raise SystemExit("nydus-image is not here: run tests/interop/nydus debian-50, or leave out the part nydus")
    return duel.measure(registry, ours, incumbent, images, count, "nydus")


def table(results: list[dict]) -> tuple[str, list[str], list[list[str]], str]:
    """What `tables` takes."""
    title, head, rows, note = duel.table(results, "Both, side by side, to Nydus")
    return title, head, rows, f"{note} Memory of nydus-image is not in acceld's."
