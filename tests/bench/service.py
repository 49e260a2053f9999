"""The fourth table: what is done again, and the service while it idles and while it is told of pushes."""

from pathlib import Path

import again
import webhook
from figures import amount
from server import Server


def measure(registry, ours, open_loop: Path, tag: str, count: int, smoke: bool) -> dict:
    """All of the table."""
    with Server(ours.program, ours.work / "serve", registry.host) as server:
        idle = server.idle(1 if smoke else 60)
        repeated = again.measure(registry, ours, server, tag, count)
    rate, seconds, connections = (100, 1, 8) if smoke else (2000, 10, 64)
    events = webhook.measure(ours.program, open_loop, ours.work, rate, seconds, connections)
    return {"again": repeated, "idle": idle, "webhook": events}


def table(result: dict) -> tuple[str, list[str], list[list[str]], str]:
    """What `tables` takes."""
    rows = [_again(row) for row in result["again"]]
    idle = result["idle"]
    resident, own = (amount(idle[key], 1 << 20) for key in ("resident_bytes", "anonymous_bytes"))
    rows.append(["`serve`, idle: resident", "25 MiB", f"{resident} MiB, {own} of them not the program's file"])
    rows.append([f"`serve`, idle over {idle['seconds']} s", "0.1 % of a core", f"{idle['share_of_a_core']:.3%}"])
    rows.append(["webhook, answers to events in an open loop", "p99 10 ms", webhook.sentence(result["webhook"])])
    return "Again, idle, and the webhook", ["what", "at most", "measured"], rows, ""


def _again(row: dict) -> list[str]:
    wall = row["wall_s"]
    span = f"{amount(wall['median'], 0.001)} ms ({amount(wall['least'], 0.001)} to {amount(wall['most'], 0.001)})"
    what = f"`{row['by']}`, {row['what']} ({row['image']})"
    return [what, "100 ms, 0 layer bytes", f"{span}, {row['layer_bytes']} layer bytes"]
