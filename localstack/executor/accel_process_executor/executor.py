"""What LocalStack asks of an executor: start an environment, invoke it, stop it."""

import json
import time

from localstack import config
from localstack.services.lambda_.invocation.lambda_models import InvocationResult
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor

from .environment import Environment


class ProcessExecutor(RuntimeExecutor):
    """One execution environment: a bootstrap that takes one event after the other.

    A process that crashed or ran out of time is gone; the next event starts a new one, as in AWS.
    """

    def __init__(self, id, function_version):
        super().__init__(id, function_version)
        self._variables = {}
        self._environment = None

    @classmethod
    def prepare_version(cls, function_version):
        if function_version.config.code:
            function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version):
        pass

    def start(self, env_vars):
        self._variables = {name: str(value) for name, value in env_vars.items()}
        self._renew()

    def _renew(self):
        settings = self.function_version.config
        code = str(settings.code.get_unzipped_code_location())
        self._environment = Environment(code, self._variables, int(settings.timeout))
        self._environment.start()

    def stop(self):
        if self._environment:
            self._environment.stop()

    def invoke(self, payload):
        if not self._environment.is_alive():
            self._environment.stop()
            self._renew()
        settings = self.function_version.config
        started = time.monotonic()
        outcome = self._environment.invoke(payload, int(settings.timeout))
        milliseconds = (time.monotonic() - started) * 1000
        request = payload["invoke-id"]
        logs = [
            f"START RequestId: {request} Version: {self.function_version.id.qualifier}",
            *outcome.lines,
            f"END RequestId: {request}",
            f"REPORT RequestId: {request}\tDuration: {milliseconds:.2f} ms\tBilled Duration: {int(milliseconds) + 1} ms"
            f"\tMemory Size: {settings.memory_size} MB",
        ]
        body = outcome.body
        if body is None:
            error = {"errorType": outcome.error_type, "errorMessage": f"RequestId: {request} Error: {outcome.reason}"}
            body = json.dumps(error).encode()
        return InvocationResult(request, body, is_error=outcome.is_error, logs="\n".join(logs))

    def get_logs(self):
        return "\n".join(self._environment.lines) if self._environment else ""

    def get_address(self):
        return "127.0.0.1"

    def get_endpoint_from_executor(self):
        return "127.0.0.1"

    def get_runtime_endpoint(self):
        # For an init binary, which there is not.
        return f"http://127.0.0.1:{config.GATEWAY_LISTEN[0].port}/_no_init"
