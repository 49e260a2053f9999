"""Prints what the functions have logged, oldest first: lines of a group whose name has NAME in it, or all."""

import argparse
import os
import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError


def arguments():
    parser = argparse.ArgumentParser(prog="localstack/logs", description=__doc__)
    parser.add_argument("name", nargs="?", default="", help="webhook, query, converter")
    return parser.parse_args()


def lines(logs, group):
    for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group):
        for event in page["events"]:
            yield event["timestamp"], event["message"].rstrip("\n")


def run(args):
    logs = boto3.client("logs")
    found = []
    for page in logs.get_paginator("describe_log_groups").paginate():
        for group in page["logGroups"]:
            if args.name.lower() in group["logGroupName"].lower():
                found.extend(lines(logs, group["logGroupName"]))
    # Stable: lines of one moment stay in the order in which they were given.
    for _, message in sorted(found, key=lambda line: line[0]):
        print(message)


def main():
    try:
        run(arguments())
    except BrokenPipeError:
        sys.stderr.close()
    except (BotoCoreError, ClientError) as error:
        where = os.environ.get("AWS_ENDPOINT_URL", "AWS")
        sys.exit(f"localstack/logs: {where} answers: {error}")


if __name__ == "__main__":
    main()
