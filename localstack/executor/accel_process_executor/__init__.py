"""A runtime executor for LocalStack: functions of `provided` runtimes run as child processes of LocalStack itself.

Select it with LAMBDA_RUNTIME_EXECUTOR=accel-process. It needs neither Docker nor LocalStack's init binary, and it does
not isolate anything: it is for functions that you have written, on a machine of your own.
"""

from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin


class ProcessExecutorPlugin(RuntimeExecutorPlugin):
    """What LocalStack's plugin manager finds by the entry point."""

    name = "accel-process"

    def load(self, *args, **kwargs):
        from .executor import ProcessExecutor

        return ProcessExecutor
