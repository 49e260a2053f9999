"""Events in an open loop, and the time that the machine itself takes to put something on disk."""

import json
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

from figures import amount
from server import AUTHORIZATION, Server


def measure(program: Path, open_loop: Path, work: Path, rate: int, seconds: int, connections: int) -> dict:
    """Sends events about images of a registry that never answers: the tasks that they make are stored, and what is
    timed is not disturbed by conversions."""
    with _SilentRegistry() as silent, Server(program, work / "webhook", silent.host) as server:
        command = [str(open_loop), server.address, silent.host, "--authorization", AUTHORIZATION]
        command += ["--rate", str(rate), "--seconds", str(seconds), "--connections", str(connections)]
        before = fsync(work)
        sent = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return {**sent, "fsync_before": before, "fsync_after": fsync(work)}


def fsync(directory: Path, count: int = 200) -> dict:
    """How long it takes to append 4 KiB to a file and put them on disk: median and 99th percentile."""
    path, times = directory / "fsync", []
    with path.open("wb", buffering=0) as file:
        for _ in range(count):
            began = time.perf_counter()
            file.write(b"\0" * 4096)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    path.unlink()
    times.sort()
    return {"median_ms": times[count // 2], "p99_ms": times[count * 99 // 100]}


class _SilentRegistry:
    """Takes connections and says nothing."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.taken: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                self.taken.append(self.socket.accept()[0])
            except OSError:  # it was closed
                return

    def __enter__(self) -> "_SilentRegistry":
        return self

    def __exit__(self, *_) -> None:
        self.socket.close()
        for connection in self.taken:
            connection.close()


def sentence(result: dict) -> str:
    """The measurement in words."""
    return (
        f"{result['sent']:,} events, {result['refused']} refused, {amount(result['achieved_rate'])} a second over "
        f"{result['connections']} connections: p50 {amount(result['p50_ms'])}, p99 {amount(result['p99_ms'])}, "
        f"p99.9 {amount(result['p999_ms'])}, longest {amount(result['max_ms'])} ms; 4 KiB on this disk: "
        f"median {amount(result['fsync_before']['median_ms'])}, p99 {amount(result['fsync_before']['p99_ms'])} ms"
    )
