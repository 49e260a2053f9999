"""The Runtime API of Lambda for one process: it asks for an event, answers, asks again.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import http.server
import queue
import threading
import time

POLL_SECONDS = 0.2


class RuntimeApi:
    """A server on a port of its own on loopback."""

    def __init__(self, timeout_seconds):
        self.timeout_seconds = timeout_seconds
        self.is_idle = threading.Event()
        self.init_error = None
        self.answers = queue.Queue()
        self._events = queue.Queue()
        self._current = None
        self._closed = threading.Event()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        host, port = self._server.server_address
        self.address = f"{host}:{port}"

    def start(self):
        """Starts to listen."""
        threading.Thread(target=self._server.serve_forever, args=(POLL_SECONDS,), daemon=True).start()

    def close(self):
        """Stops: a process that still asks is told that there is nothing more."""
        if not self._closed.is_set():
            self._closed.set()
            self._server.shutdown()
            self._server.server_close()

    def offer(self, payload):
        """The next event: LocalStack's payload with `invoke-id`, `payload`, `trace-id`, `invoked-function-arn`."""
        self._current = payload["invoke-id"]
        self.is_idle.clear()
        self._events.put(payload)

    def next_event(self):
        """Waits for an event; None once closed."""
        self.is_idle.set()
        while not self._closed.is_set():
            try:
                return self._events.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
        return None

    def answer(self, request, is_error, body):
        """The answer to an event. One to an event that was given up is dropped."""
        if request == self._current:
            self._current = None
            self.answers.put((is_error, body))


def _handler(api):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def log_message(self, *_):
            pass

        def do_GET(self):
            event = api.next_event()
            if event is None:
                self.close_connection = True
                return self._send(500)
            deadline = int((time.time() + api.timeout_seconds) * 1000)
            return self._send(
                200,
                event["payload"].encode(),
                {
                    "content-type": "application/json",
                    "lambda-runtime-aws-request-id": event["invoke-id"],
                    "lambda-runtime-deadline-ms": str(deadline),
                    "lambda-runtime-invoked-function-arn": event["invoked-function-arn"],
                    "lambda-runtime-trace-id": event["trace-id"],
                },
            )

        def do_POST(self):
            body = self._body()
            kind = self.path.rsplit("/", 1)[-1]
            if self.path.endswith("/init/error"):
                api.init_error = body
            else:
                api.answer(self.path.split("/")[-2], kind == "error", body)
            self._send(202)

        def _body(self):
            if "chunked" not in self.headers.get("transfer-encoding", ""):
                return self.rfile.read(int(self.headers.get("content-length", 0)))
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass  # trailers
            return body

        def _send(self, status, body=b"", headers=()):
            self.send_response(status)
            for name, value in dict(headers).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

    return Handler
