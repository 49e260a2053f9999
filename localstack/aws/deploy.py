"""Packages a SAM template and deploys it with a change set, as `sam deploy` does, to AWS or an emulator."""

import argparse
import hashlib
import io
import json
import os
import sys
import time
import zipfile
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

import template as templates

TEMPLATE = Path(__file__).resolve().parents[2] / "infra" / "template.yaml"
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
POLL_SECONDS = 0.2


class Failed(Exception):
    """What is wrong and what to do, for people."""


def arguments():
    parser = argparse.ArgumentParser(prog="localstack/deploy", description=__doc__)
    parser.add_argument("stack", help="name of the stack")
    parser.add_argument("parameters", nargs="*", metavar="NAME=VALUE", help="parameters of the template")
    parser.add_argument("--template", type=Path, default=TEMPLATE, help="default: infra/template.yaml")
    parser.add_argument("--code", type=Path, help="directory of the functions, in place of the template's target/lambda")
    parser.add_argument("--timeout", type=float, default=600, help="seconds that the deployment may take")
    return parser.parse_intermixed_args()


def client(service):
    return boto3.client(service, config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 3}))


def zipped(directory):
    """All files of a function, bootstrap among them: the same bytes for the same files, so no change is none."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", compresslevel=1) as archive:
        for path in sorted(path for path in directory.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(directory).as_posix(), (1980, 1, 1, 0, 0, 0))
            entry.external_attr = (0o755 if path.stat().st_mode & 0o100 else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return body.getvalue()


def code_bucket(s3):
    """A bucket of this account and region for the functions' code; made if it is not there."""
    region = s3.meta.region_name
    name = f"accel-code-{client('sts').get_caller_identity()['Account']}-{region}"
    # Only us-east-1 must not be named.
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    try:
        s3.create_bucket(Bucket=name, **where)
    except s3.exceptions.BucketAlreadyOwnedByYou:
        pass
    return name


def package(template, directory, code):
    """Uploads each function and writes into `template` where it is."""
    s3 = client("s3")
    bucket = code_bucket(s3)
    for name, properties in templates.functions(template):
        local = Path(properties["CodeUri"])
        path = code / local.name if code else directory / local
        if not (path / "bootstrap").is_file():
            raise Failed(f"{name} has no program at {path.resolve()}/bootstrap: run localstack/build")
        body = zipped(path)
        key = f"{local.name}-{hashlib.sha256(body).hexdigest()}.zip"
        s3.put_object(Bucket=bucket, Key=key, Body=body)
        properties["CodeUri"] = {"Bucket": bucket, "Key": key}


def parameters(given, template):
    """`NAME=VALUE` as the API wants them, each of them known to the template."""
    result = []
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or name not in template["Parameters"]:
            known = ", ".join(template["Parameters"])
            raise Failed(f"'{text}' is not NAME=VALUE with the name of a parameter: {known}")
        result.append({"ParameterKey": name, "ParameterValue": value})
    return result


class Stack:
    """A stack by its name."""

    def __init__(self, name, deadline):
        self.name, self.deadline = name, deadline
        self.api = client("cloudformation")

    def describe(self):
        """The stack, or None where there is none that was ever created."""
        try:
            stack = self.api.describe_stacks(StackName=self.name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        return None if stack["StackStatus"] == "REVIEW_IN_PROGRESS" else stack

    def deploy(self, template, given):
        """Creates or updates the stack and returns its outputs."""
        stack = self.describe()
        if stack and stack["StackStatus"] in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"):
            raise Failed(f"the stack {self.name} is in {stack['StackStatus']}: delete it, then deploy again")
        kind = "UPDATE" if stack else "CREATE"
        change_set = f"deploy-{time.time_ns()}"
        self.api.create_change_set(
            StackName=self.name,
            ChangeSetName=change_set,
            ChangeSetType=kind,
            TemplateBody=json.dumps(template, separators=(",", ":")),
            Capabilities=CAPABILITIES,
            Parameters=given,
        )
        if self._changes(change_set):
            self.api.execute_change_set(StackName=self.name, ChangeSetName=change_set)
            self._settle(f"{kind}_COMPLETE")
        return {output["OutputKey"]: output["OutputValue"] for output in self.describe().get("Outputs", [])}

    def _changes(self, change_set):
        """Waits for the change set; whether there is anything in it."""
        while True:
            answer = self.api.describe_change_set(StackName=self.name, ChangeSetName=change_set)
            reason = answer.get("StatusReason", "")
            if answer["Status"] == "CREATE_COMPLETE":
                return True
            if answer["Status"] == "FAILED":
                if any(text in reason for text in NO_CHANGES):
                    self.api.delete_change_set(StackName=self.name, ChangeSetName=change_set)
                    return False
                raise Failed(f"the change set was refused: {reason}")
            self._pause("the change set is not ready")

    def _settle(self, wanted):
        while True:
            stack = self.describe()
            status = stack["StackStatus"] if stack else "gone"
            if status == wanted:
                return
            if not status.endswith("_IN_PROGRESS"):
                raise Failed(f"the stack {self.name} is {status}\n{self._failures(stack)}")
            self._pause(f"the stack is still {status}")

    def _failures(self, stack):
        """What failed, the cause first."""
        lines = [(stack or {}).get("StackStatusReason", "")]
        for event in self.api.describe_stack_events(StackName=self.name)["StackEvents"]:
            if event["ResourceStatus"].endswith("_FAILED"):
                lines.append(f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}")
        return "\n".join(line for line in reversed(lines) if line)

    def _pause(self, state):
        if time.monotonic() > self.deadline:
            raise Failed(f"{state} after the time that --timeout allows")
        time.sleep(POLL_SECONDS)


def run(args):
    template = templates.read(args.template)
    given = parameters(args.parameters, template)
    package(template, args.template.resolve().parent, args.code)
    outputs = Stack(args.stack, time.monotonic() + args.timeout).deploy(template, given)
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        chosen = {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in given}
        stage = chosen.get("Stage") or templates.default(template, "Stage")
        # Needs no name resolution, unlike the host names that emulators give.
        outputs["LocalUrl"] = f"{endpoint.rstrip('/')}/_aws/execute-api/{outputs['ApiId']}/{stage}"
    json.dump(outputs, sys.stdout, indent=2)
    print()


def main():
    try:
        run(arguments())
    except Failed as error:
        sys.exit(f"localstack/deploy: {error}")
    except (BotoCoreError, ClientError) as error:
        where = os.environ.get("AWS_ENDPOINT_URL", "AWS")
        sys.exit(f"localstack/deploy: {where} answers: {error}")


if __name__ == "__main__":
    main()
