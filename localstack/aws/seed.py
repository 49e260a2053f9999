"""Puts a configuration file into SSM or S3 and secrets into Secrets Manager; what is there is replaced."""

import argparse
import os
import sys
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError


def arguments():
    parser = argparse.ArgumentParser(
        prog="localstack/seed",
        description=__doc__,
        epilog="The value of a secret is read from the environment: it would show in the list of processes.",
    )
    parser.add_argument("--config", nargs=2, action="append", default=[], metavar=("NAME", "FILE"))
    parser.add_argument("--object", nargs=2, action="append", default=[], metavar=("BUCKET/KEY", "FILE"))
    parser.add_argument("--secret", nargs=2, action="append", default=[], metavar=("NAME", "VARIABLE"))
    return parser.parse_args()


def put_secret(manager, name, value):
    try:
        manager.create_secret(Name=name, SecretString=value)
    except manager.exceptions.ResourceExistsException:
        manager.put_secret_value(SecretId=name, SecretString=value)


def put_object(s3, place, body):
    bucket, key = place.split("/", 1)
    try:
        s3.create_bucket(Bucket=bucket)
    except (s3.exceptions.BucketAlreadyOwnedByYou, s3.exceptions.BucketAlreadyExists):
        pass
    s3.put_object(Bucket=bucket, Key=key, Body=body)


def run(args):
    for place, file in args.object:
        put_object(boto3.client("s3"), place, Path(file).read_bytes())
    for name, file in args.config:
        text = Path(file).read_text(encoding="utf-8")
        boto3.client("ssm").put_parameter(Name=name, Value=text, Type="String", Tier="Intelligent-Tiering", Overwrite=True)
    manager = boto3.client("secretsmanager")
    for name, variable in args.secret:
        put_secret(manager, name, os.environ[variable])


def main():
    try:
        run(arguments())
    except KeyError as error:
        sys.exit(f"localstack/seed: the variable {error} is not set")
    except OSError as error:
        sys.exit(f"localstack/seed: {error}")
    except (BotoCoreError, ClientError) as error:
        where = os.environ.get("AWS_ENDPOINT_URL", "AWS")
        sys.exit(f"localstack/seed: {where} answers: {error}")


if __name__ == "__main__":
    main()
