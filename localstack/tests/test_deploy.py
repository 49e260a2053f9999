"""What the deployment makes of a template before anybody is asked."""

import io
import os
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "aws"))

import deploy  # noqa: E402
import template as templates  # noqa: E402

TEMPLATE = """
Parameters: { Stage: { Type: String, Default: prod }, Size: { Type: Number, Default: 5 } }
Resources:
  One:
    Type: AWS::Serverless::Function
    Properties: { CodeUri: ../code/one/, Role: !GetAtt Role.Arn, Memory: !If [Big, !Ref Size, !Ref AWS::NoValue] }
  Two: { Type: AWS::SQS::Queue, Properties: { Name: !Sub "${Stage}-x" } }
"""


class Deploying(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        path = self.directory / "template.yaml"
        path.write_text(TEMPLATE)
        self.template = templates.read(path)

    def test_short_tags_become_long_forms(self):
        one = self.template["Resources"]["One"]["Properties"]
        self.assertEqual(one["Role"], {"Fn::GetAtt": ["Role", "Arn"]})
        self.assertEqual(one["Memory"], {"Fn::If": ["Big", {"Ref": "Size"}, {"Ref": "AWS::NoValue"}]})
        self.assertEqual(self.template["Resources"]["Two"]["Properties"]["Name"], {"Fn::Sub": "${Stage}-x"})

    def test_functions_are_what_has_code_in_a_directory(self):
        self.assertEqual([name for name, _ in templates.functions(self.template)], ["One"])
        self.assertEqual(templates.default(self.template, "Size"), "5")

    def test_parameters_are_known_by_name(self):
        given = deploy.parameters(["Stage=a=b"], self.template)
        self.assertEqual(given, [{"ParameterKey": "Stage", "ParameterValue": "a=b"}])
        for wrong in ("Stage", "Stag=x"):
            with self.assertRaisesRegex(deploy.Failed, "Stage, Size"):
                deploy.parameters([wrong], self.template)

    def test_the_same_files_give_the_same_package(self):
        bootstrap = self.directory / "bootstrap"
        bootstrap.write_bytes(b"program")
        bootstrap.chmod(0o755)
        (self.directory / "ca.pem").write_text("certificate")
        first = deploy.zipped(self.directory)
        os.utime(bootstrap, (0, 0))
        self.assertEqual(deploy.zipped(self.directory), first)
        with zipfile.ZipFile(io.BytesIO(first)) as archive:
            modes = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
        self.assertEqual(modes, {"bootstrap": 0o755, "ca.pem": 0o644, "template.yaml": 0o644})


if __name__ == "__main__":
    unittest.main()
