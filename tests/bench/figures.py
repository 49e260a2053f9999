"""The arithmetic: medians of runs, and ratios pair by pair."""

from statistics import median

# What of a run is compared, and how one unit of it is written.
METRICS = {
    "wall_s": ("wall", "s", 1),
    "cpu_s": ("CPU", "s", 1),
    "peak_bytes": ("peak memory", "MiB", 1 << 20),
    "written_bytes": ("written to disk", "MB", 10**6),
    "output_bytes": ("output", "MB", 10**6),
}


def medians(runs: list[dict]) -> dict[str, float]:
    """The median of each metric."""
    return {metric: median(run[metric] for run in runs) for metric in METRICS}


def ratios(theirs: list[dict], ours: list[dict]) -> dict[str, dict | None]:
    """For each metric, theirs divided by ours in each pair of runs: median, least and most. None where ours is 0."""
    if len(theirs) != len(ours):
        raise ValueError("every run has its partner")
    return {metric: spread([pair(a[metric], b[metric]) for a, b in zip(theirs, ours)]) for metric in METRICS}


def pair(theirs: float, ours: float) -> float | None:
    """How many times ours goes into theirs."""
    return theirs / ours if ours else None


def spread(values: list[float | None]) -> dict | None:
    """Median, least and most; None if a value is missing."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return {"median": median(known), "least": min(known), "most": max(known)}


def amount(value: float | None, scale: float = 1) -> str:
    """A number with three significant digits, as tables have it."""
    if value is None:
        return "-"
    value = value / scale
    digits = 0 if abs(value) >= 100 or value == 0 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def times(ratio: dict | None) -> str:
    """A ratio with its spread."""
    if ratio is None:
        return "-"
    return f"{amount(ratio['median'])} ({amount(ratio['least'])} to {amount(ratio['most'])})"
