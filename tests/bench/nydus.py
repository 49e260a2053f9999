"""The table of Nydus: as the first one, with nydus-image at the incumbent's side."""

import duel


def measure(registry, ours, incumbent, images: dict[str, dict], count: int) -> list[dict]:
    """As `duel.measure`."""
    return duel.measure(registry, ours, incumbent, images, count, "nydus")


def table(results: list[dict]) -> tuple[str, list[str], list[list[str]], str]:
    """What `tables` takes."""
    title, head, rows, note = duel.table(results, "Both, side by side, to Nydus")
    return title, head, rows, f"{note} Memory of nydus-image is not in acceld's."
