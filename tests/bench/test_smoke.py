"""The benchmark runs from end to end and leaves no figure out: `python3 -m unittest discover tests/bench`."""

import json
import subprocess
import tempfile
import unittest
from pathlib import Path

from figures import METRICS

HERE = Path(__file__).parent


class Smoke(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as directory:
            figures, tables = Path(directory, "figures.json"), Path(directory, "tables.md")
            command = [str(HERE / "run"), "--smoke", "--json", str(figures), "--markdown", str(tables)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            cls.result = json.loads(figures.read_text())
            cls.tables = tables.read_text()

    def test_the_image_was_converted_to_each_format_and_measured(self):
        for part in ("duel", "nydus"):
            (image,) = self.result[part]
            (run,) = image["runs"]["Accel"]
            for metric in METRICS.keys() - {"written_bytes"}:
                self.assertGreater(run[metric], 0, (part, metric))
            self.assertEqual(run["written_bytes"], 0)

    def test_the_bare_codec_made_the_same_bytes(self):
        for row in self.result["limit"]:
            for through in ("layout", "registry"):
                self.assertGreater(row["ratios"][through]["wall_s"]["median"], 0)
            # The rest of the output is each layer's TOC and footer.
            (pair,), output = row["pairs"], self.result["duel"][0]["medians"]["Accel"]["output_bytes"]
            self.assertLess(pair["bare"]["bytes_out"], output)
            self.assertGreater(pair["bare"]["bytes_out"], output / 2)

    def test_threads_were_varied(self):
        self.assertEqual([row["threads"] for row in self.result["growth"]][:2], [1, 2])
        self.assertTrue(all(row["medians"]["wall_s"] > 0 for row in self.result["growth"]))

    def test_what_is_done_again_moves_no_layer(self):
        again = self.result["service"]["again"]
        self.assertEqual([row["by"] for row in again], ["convert", "convert", "serve", "serve"])
        self.assertEqual([row["layer_bytes"] for row in again], [0, 0, 0, 0])

    def test_the_service_was_measured(self):
        idle, webhook = self.result["service"]["idle"], self.result["service"]["webhook"]
        self.assertGreater(idle["resident_bytes"], 0)
        self.assertGreaterEqual(idle["share_of_a_core"], 0)
        self.assertEqual((webhook["sent"], webhook["refused"]), (100, 0))
        self.assertGreater(webhook["p99_ms"], 0)
        self.assertGreater(webhook["fsync_before"]["median_ms"], 0)

    def test_every_table_is_written(self):
        self.assertEqual(self.tables.count("### "), 5)


if __name__ == "__main__":
    unittest.main()
