"""A bootstrap and the Runtime API that it talks to. Knows nothing of LocalStack."""

import dataclasses
import os
import queue
import subprocess
import threading
import time

from .runtime_api import RuntimeApi

# How long output may take to arrive after the answer that it was written before.
LOG_GRACE_SECONDS = 0.05
STOP_GRACE_SECONDS = 2
POLL_SECONDS = 0.02


@dataclasses.dataclass
class Outcome:
    """What became of an event. Without a body, the process has given no answer."""

    lines: list
    is_error: bool = True
    body: bytes | None = None
    error_type: str = ""
    reason: str = ""


class Environment:
    """One process and one API: an answer or a poll of another process can never reach this one."""

    def __init__(self, code, variables, timeout_seconds):
        self._bootstrap = os.path.join(code, "bootstrap")
        self._api = RuntimeApi(timeout_seconds)
        self._variables = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
            **variables,
            "AWS_LAMBDA_RUNTIME_API": self._api.address,
            "LAMBDA_TASK_ROOT": code,
        }
        self._process = None
        self._pump = None
        self.lines = []

    def start(self):
        """Starts the process and waits until it asks for its first event."""
        self._api.start()
        self._process = subprocess.Popen(
            [self._bootstrap],
            cwd=os.path.dirname(self._bootstrap),
            env=self._variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._pump = threading.Thread(target=self._collect, daemon=True)
        self._pump.start()
        while not self._api.is_idle.wait(POLL_SECONDS):
            if self._api.init_error is not None:
                self._fail_start(self._api.init_error.decode(errors="replace"))
            if self._process.poll() is not None:
                self._fail_start(f"bootstrap exited with {self._process.returncode}")

    def _fail_start(self, reason):
        self.stop()
        raise RuntimeError("\n".join([f"the function could not be initialised: {reason}", *self.lines]))

    def _collect(self):
        with self._process.stdout as output:
            for line in output:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))

    def is_alive(self):
        """Whether the process can take an event."""
        return self._process.poll() is None

    def invoke(self, payload, timeout_seconds):
        """Hands over one event and waits for what becomes of it."""
        self.lines = []
        self._api.offer(payload)
        give_up = time.monotonic() + timeout_seconds
        while True:
            try:
                is_error, body = self._api.answers.get(timeout=POLL_SECONDS)
                self._api.is_idle.wait(LOG_GRACE_SECONDS)
                time.sleep(0.001)  # lets the other thread read what lies in the pipe
                return Outcome(self.lines, is_error, body)
            except queue.Empty:
                pass
            if self._process.poll() is not None and self._api.answers.empty():
                self._pump.join(LOG_GRACE_SECONDS)
                reason = f"Runtime exited with {self._process.returncode}"
                return Outcome(self.lines, error_type="Runtime.ExitError", reason=reason)
            if time.monotonic() > give_up:
                self._process.kill()
                self._process.wait()
                reason = f"Task timed out after {timeout_seconds}.00 seconds"
                return Outcome(self.lines, error_type="Sandbox.Timedout", reason=reason)

    def stop(self):
        """Ends the process; an invocation that still runs fails."""
        self._api.close()
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
