"""A CloudFormation template: YAML with short tags, as plain data."""

import yaml


class _Loader(yaml.SafeLoader):
    """Reads `!Sub x` as `{"Fn::Sub": "x"}`, the long form that JSON can hold."""


def _intrinsic(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix in ("Ref", "Condition"):
        return {suffix: value}
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _intrinsic)


def read(path):
    """The template at `path`."""
    with open(path, encoding="utf-8") as file:
        return yaml.load(file, _Loader)


def functions(template):
    """The properties of each function whose code lies in a directory, by its name."""
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function" and isinstance(resource["Properties"]["CodeUri"], str):
            yield name, resource["Properties"]


def default(template, parameter):
    """The default value of `parameter`."""
    return str(template["Parameters"][parameter]["Default"])
