"""Who may do what, as the template says it: each function has one policy, and each policy stays what it is."""

import json
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "localstack" / "aws"))
import template as templates

TEMPLATE = templates.read(Path(__file__).with_name("template.yaml"))
# Calls that know no narrower resource than "*".
ANYWHERE = {"ec2", "xray"}
# Secrets, the configuration in either place, the function's own log, and what a condition of the template adds.
EACH = {
    "secretsmanager": "GetSecretValue",
    "ssm": "GetParameter",
    "s3": "GetObject",
    "kms": "Decrypt",
    "logs": "CreateLogStream PutLogEvents",
    "xray": "PutTelemetryRecords PutTraceSegments",
}
MAY = {
    "Webhook": {
        **EACH,
        "dynamodb": "BatchGetItem ConditionCheckItem DeleteItem GetItem PutItem",
        "sqs": "SendMessage",
    },
    "Query": {**EACH, "dynamodb": "BatchGetItem GetItem Query"},
    "Converter": {
        **EACH,
        "dynamodb": "BatchGetItem ConditionCheckItem DeleteItem GetItem PutItem Query UpdateItem",
        "sqs": "ChangeMessageVisibility DeleteMessage GetQueueAttributes ReceiveMessage SendMessage",
        "ec2": "AssignPrivateIpAddresses CreateNetworkInterface DeleteNetworkInterface DescribeNetworkInterfaces"
        " DescribeSubnets UnassignPrivateIpAddresses",
    },
}


def statements(function):
    """All statements of a function's policy, those under a condition too."""
    policies = TEMPLATE["Resources"][f"{function}Role"]["Properties"]["Policies"]
    assert len(policies) == 1, f"{function} has one policy"
    for statement in policies[0]["PolicyDocument"]["Statement"]:
        yield statement["Fn::If"][1] if "Fn::If" in statement else statement


def actions(function):
    """Service and action of each thing a function may do."""
    for statement in statements(function):
        named = statement["Action"]
        if isinstance(named, dict):
            named = named["Fn::If"][1:]
        for action in [named] if isinstance(named, str) else named:
            yield tuple(action.split(":"))


class Policies(unittest.TestCase):
    def test_each_function_has_the_role_of_its_name_and_no_other_policy(self):
        for function in MAY:
            properties = TEMPLATE["Resources"][f"{function}Function"]["Properties"]
            self.assertEqual(properties["Role"], {"Fn::GetAtt": [f"{function}Role", "Arn"]})
            self.assertNotIn("ManagedPolicyArns", TEMPLATE["Resources"][f"{function}Role"]["Properties"])

    def test_each_function_may_do_what_is_listed_here_and_nothing_more(self):
        for function, allowed in MAY.items():
            found = {}
            for service, action in actions(function):
                found.setdefault(service, set()).add(action)
            found = {service: " ".join(sorted(named)) for service, named in found.items()}
            self.assertEqual(found, allowed, function)

    def test_no_action_is_a_pattern_and_no_resource_is_everything(self):
        for function in MAY:
            for service, action in actions(function):
                self.assertNotIn("*", action, f"{function}: {service}:{action}")
            for statement in statements(function):
                if statement["Resource"] == "*":
                    used = {action.split(":")[0] for action in statement["Action"]}
                    self.assertLessEqual(used, ANYWHERE, f"{function}: {statement['Sid']}")

    def test_only_the_converter_reads_passwords_of_registries_and_only_the_others_secrets_of_webhooks(self):
        for function in MAY:
            text = json.dumps(list(statements(function)))
            is_converter = function == "Converter"
            self.assertEqual("${RegistrySecretPrefix}" in text, is_converter, function)
            self.assertEqual("${WebhookSecretPrefix}" in text, not is_converter, function)

    def test_a_key_is_used_through_the_services_that_hold_secrets(self):
        for function in MAY:
            decrypting = [statement for statement in statements(function) if statement["Action"] == "kms:Decrypt"]
            self.assertEqual(len(decrypting), 1, function)
            self.assertIn("kms:ViaService", decrypting[0]["Condition"]["StringEquals"], function)


if __name__ == "__main__":
    unittest.main()
