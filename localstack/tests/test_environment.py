"""The executor's processes, without LocalStack: bootstraps that answer, fail, hang and die."""

import queue
import sys
import tempfile
import textwrap
import threading
import time
import types
import unittest
from pathlib import Path

# The package's __init__ needs LocalStack; its parts do not.
HERE = Path(__file__).resolve().parents[1] / "executor" / "accel_process_executor"
package = types.ModuleType("accel_process_executor")
package.__path__ = [str(HERE)]
sys.modules.setdefault("accel_process_executor", package)

from accel_process_executor.environment import Environment  # noqa: E402

PRELUDE = """\
#!%s -u
import json, os, sys, time, urllib.request
BASE = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/"
def post(path, body):
    urllib.request.urlopen(urllib.request.Request(BASE + path, body.encode(), method="POST")).read()
def take():
    answer = urllib.request.urlopen(BASE + "invocation/next")
    return answer.headers["lambda-runtime-aws-request-id"], json.loads(answer.read()), answer.headers
""" % sys.executable


def event(number, payload="{}"):
    return {
        "invoke-id": f"request-{number}",
        "payload": payload,
        "trace-id": "Root=1",
        "invoked-function-arn": "arn:aws:lambda:us-east-1:000000000000:function:f",
    }


class Bootstraps(unittest.TestCase):
    def environment(self, code, timeout=5):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        bootstrap = Path(directory.name) / "bootstrap"
        bootstrap.write_text(PRELUDE + textwrap.dedent(code))
        bootstrap.chmod(0o755)
        environment = Environment(directory.name, {"GREETING": "hello"}, timeout)
        self.addCleanup(environment.stop)
        return environment

    def test_answers_one_event_after_the_other(self):
        environment = self.environment(
            """
            while True:
                request, event, headers = take()
                print("took", request)
                post(f"invocation/{request}/response", json.dumps([os.environ["GREETING"], event["n"]]))
            """
        )
        environment.start()
        for number in range(3):
            outcome = environment.invoke(event(number, f'{{"n": {number}}}'), 5)
            self.assertEqual((outcome.is_error, outcome.body), (False, f'["hello", {number}]'.encode()))
            self.assertEqual(outcome.lines, [f"took request-{number}"])

    def test_hands_on_what_a_function_reports_as_its_error(self):
        environment = self.environment(
            """
            request, _, _ = take()
            post(f"invocation/{request}/error", '{"errorType": "Bad"}')
            take()
            """
        )
        environment.start()
        outcome = environment.invoke(event(1), 5)
        self.assertEqual((outcome.is_error, outcome.body), (True, b'{"errorType": "Bad"}'))

    def test_a_process_that_dies_is_an_error_and_no_longer_alive(self):
        environment = self.environment(
            """
            take()
            print("last words")
            os._exit(3)
            """
        )
        environment.start()
        outcome = environment.invoke(event(1), 5)
        self.assertEqual((outcome.is_error, outcome.body), (True, None))
        self.assertEqual((outcome.error_type, outcome.reason), ("Runtime.ExitError", "Runtime exited with 3"))
        self.assertEqual(outcome.lines, ["last words"])
        self.assertFalse(environment.is_alive())

    def test_a_process_that_takes_too_long_is_killed(self):
        environment = self.environment("take()\ntime.sleep(60)")
        environment.start()
        outcome = environment.invoke(event(1), 1)
        self.assertEqual((outcome.error_type, outcome.reason), ("Sandbox.Timedout", "Task timed out after 1.00 seconds"))
        self.assertFalse(environment.is_alive())

    def test_the_deadline_is_the_time_limit_from_now(self):
        environment = self.environment(
            """
            request, _, headers = take()
            left = int(headers["lambda-runtime-deadline-ms"]) / 1000 - time.time()
            post(f"invocation/{request}/response", json.dumps(890 < left <= 900))
            take()
            """,
            timeout=900,
        )
        environment.start()
        self.assertEqual(environment.invoke(event(1), 900).body, b"true")

    def test_a_start_that_fails_says_why(self):
        for code, reason in [
            ("print('no config')\nsys.exit(1)", "bootstrap exited with 1"),
            ("post('init/error', 'bad table')\ntime.sleep(60)", "bad table"),
        ]:
            with self.assertRaisesRegex(RuntimeError, reason):
                self.environment(code).start()

    def test_stopping_ends_a_process_that_waits(self):
        environment = self.environment("take()")
        environment.start()
        environment.stop()
        self.assertFalse(environment.is_alive())

    def test_stopping_ends_a_process_that_works_and_fails_its_invocation(self):
        environment = self.environment("take()\nprint('works')\ntime.sleep(60)")
        environment.start()
        outcomes = queue.Queue()
        invoking = threading.Thread(target=lambda: outcomes.put(environment.invoke(event(1), 60)), daemon=True)
        invoking.start()
        give_up = time.monotonic() + 30
        while environment.lines != ["works"]:
            self.assertLess(time.monotonic(), give_up, "it never works")
            time.sleep(0.01)
        environment.stop()
        self.assertFalse(environment.is_alive())
        outcome = outcomes.get(timeout=30)
        self.assertEqual((outcome.is_error, outcome.body, outcome.error_type), (True, None, "Runtime.ExitError"))


if __name__ == "__main__":
    unittest.main()
