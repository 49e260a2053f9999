"""`accelctl serve` with a state directory of its own."""

import json
import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import process

AUTHORIZATION = "benchmark"


class Server:
    """A server that knows one registry; use it with `with`. Its log is kept beside its state."""

    def __init__(self, program: Path, directory: Path, registry_host: str, workers: int = 2):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        config = {
            "server": {
                "listen": "127.0.0.1:0",
                "state": str(directory / "state"),
                "workers": workers,
                "admin_auth": AUTHORIZATION,
                "shutdown_grace": "1s",
            },
            "registries": {registry_host: {"plain_http": True, "webhook_auth": [{"value": AUTHORIZATION}]}},
            "rules": [{"convert": [{"format": "estargz"}]}],
        }
        (directory / "accel.yaml").write_text(json.dumps(config))  # JSON is YAML
        self.log = directory / "log"
        command = [str(program), "serve", "--config", str(directory / "accel.yaml")]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.address = self._address()
        self.events = 0

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait()

    def _address(self) -> str:
        for _ in range(300):
            found = re.search(r"address=\S*?(127\.0\.0\.1:[1-9]\d*)", re.sub(r"\x1b\[\d*m", "", self.log.read_text()))
            if found:
                return found[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise SystemExit(f"accelctl serve did not start:\n{self.log.read_text()}")

    def convert(self, reference: str) -> dict:
        """Tells of a push, and waits for the end of its task. Returns how long that took by the task's own times,
        and the layer bytes that moved."""
        before = self._layer_bytes()
        self.events += 1
        resource = {"resource_url": reference, "tag": reference.rsplit(":", 1)[1]}
        event = {"type": "PUSH_ARTIFACT", "occur_at": self.events, "event_data": {"resources": [resource]}}
        answer = self._ask("/api/v1/conversions?sync=true", json.dumps(event).encode())
        task = json.load(self._ask(f"/api/v1/conversions/{answer.headers['X-Accel-Task-Id']}"))
        if answer.status != 200 or task["status"] != "COMPLETED":
            raise SystemExit(f"{reference} was not converted: {answer.status} {task}")
        return {"wall_s": task["duration_seconds"], "layer_bytes": self._layer_bytes() - before}

    def _layer_bytes(self) -> int:
        metrics = self._ask("/metrics").read().decode()
        return sum(int(float(number)) for number in re.findall(r"^\w*bytes_(?:read|written)\S* (\S+)$", metrics, re.M))

    def _ask(self, path: str, data: bytes | None = None):
        headers = {"Authorization": AUTHORIZATION, "Content-Type": "application/json"}
        return urllib.request.urlopen(urllib.request.Request(f"http://{self.address}{path}", data, headers))

    def idle(self, seconds: float) -> dict:
        """What it takes while nothing happens."""
        status = Path(f"/proc/{self.process.pid}/status")
        time.sleep(1)  # what starting takes is not idling
        before, began = process.cpu_seconds_of_threads(self.process.pid), time.perf_counter()
        time.sleep(seconds)
        used = process.cpu_seconds_of_threads(self.process.pid) - before
        share = used / (time.perf_counter() - began)
        resident, own = (process.status_bytes(status, key) for key in ("VmRSS", "RssAnon"))
        return {"seconds": seconds, "resident_bytes": resident, "anonymous_bytes": own, "share_of_a_core": share}
