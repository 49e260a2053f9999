"""Runs a program and measures it from outside: time, memory, and what it wrote to disk."""

import os
import resource
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

# How often memory and the machine's load are looked at.
SAMPLE_SECONDS = 0.01
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Run:
    """What a program took."""

    wall_s: float
    # User mode and kernel, all threads.
    cpu_s: float
    # The most that was resident at a time.
    peak_bytes: int
    # Of pages in files that became dirty, whether or not they reached the disk before they were removed.
    written_bytes: int
    output: str
    # (seconds since the start, busy seconds of all cores of the machine), for `busy`.
    load: list[tuple[float, float]] = field(default_factory=list)

    def busy(self, start: float, end: float) -> float | None:
        """The share of all cores that was busy between two times; None where that was too short to tell."""
        if end - start < 0.1:
            return None
        return (self._load_at(end) - self._load_at(start)) / (end - start) / (os.cpu_count() or 1)

    def _load_at(self, when: float) -> float:
        for (before, low), (after, high) in zip(self.load, self.load[1:]):
            if before <= when <= after:
                return low + (high - low) * (when - before) / (after - before)
        return self.load[-1][1] if when > self.load[-1][0] else self.load[0][1]


def run(command: list[str], log: Path, env: dict[str, str] | None = None) -> Run:
    """Runs the command to its end. Its standard output is the result's, its standard error goes to `log`."""
    began = time.perf_counter()
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=env)
    sampler = _Sampler(process.pid, began)
    sampler.start()
    output = process.stdout.read()  # ends with the process
    # The process is looked at when it has ended and is not yet reaped: its counters are complete and still there.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    wall = time.perf_counter() - began
    sampler.stop()
    written = _written(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit {process.returncode}\n{log.read_text()[-4000:]}")
    return Run(wall, usage.ru_utime + usage.ru_stime, _peak(usage, sampler), written, output.decode(), sampler.load)


def _peak(usage: resource.struct_rusage, sampler: "_Sampler") -> int:
    """The kernel's own figure covers the moment before the program was loaded, when the process was a copy of this
    one. It counts if it is larger than that can be; otherwise the largest of the samples does."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peak = usage.ru_maxrss * 1024
    return peak if peak > own else sampler.peak_bytes


def _written(pid: int) -> int:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


class _Sampler(threading.Thread):
    def __init__(self, pid: int, began: float):
        super().__init__(daemon=True)
        self.status = Path(f"/proc/{pid}/status")
        self.began = began
        self.done = threading.Event()
        self.load: list[tuple[float, float]] = []
        self.peak_bytes = 0

    def run(self) -> None:
        while True:
            self.load.append((time.perf_counter() - self.began, machine_busy()))
            self.peak_bytes = max(self.peak_bytes, status_bytes(self.status, "VmHWM"))
            if self.done.wait(SAMPLE_SECONDS):
                return

    def stop(self) -> None:
        self.done.set()
        self.join()


def status_bytes(status: Path, key: str) -> int:
    """A figure of /proc/PID/status in bytes; 0 once the process has no memory any more."""
    try:
        lines = status.read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), 0)


def machine_busy() -> float:
    """Seconds for which the machine's cores were not idle, added up."""
    with open("/proc/stat") as stat:
        times = [int(number) for number in stat.readline().split()[1:9]]
    return (sum(times) - times[3] - times[4]) / TICKS


def cpu_seconds_so_far(pid: int) -> float:
    """Processor time of a process that runs, ended threads included, in ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split(" ")
    return (int(fields[11]) + int(fields[12])) / TICKS


def cpu_seconds_of_threads(pid: int) -> float:
    """Processor time of the threads that run, by the scheduler's own clock: exact, for what takes next to none."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
