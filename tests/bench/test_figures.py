"""The arithmetic is right: `python3 -m unittest discover tests/bench`."""

import unittest

from figures import METRICS, amount, medians, ratios, spread, times
from process import Run
from tables import markdown


def runs(*walls: float) -> list[dict]:
    return [{metric: wall for metric in METRICS} for wall in walls]


class Figures(unittest.TestCase):
    def test_a_median_is_the_middle_run(self):
        self.assertEqual(medians(runs(3, 1, 2))["wall_s"], 2)
        self.assertEqual(medians(runs(4, 1, 2, 3))["cpu_s"], 2.5)

    def test_ratios_are_taken_pair_by_pair(self):
        # The medians alone would say 20 / 2 = 10.
        ratio = ratios(runs(10, 20, 90), runs(1, 4, 2))["wall_s"]
        self.assertEqual(ratio, {"median": 10, "least": 5, "most": 45})

    def test_nothing_is_divided_by_zero(self):
        self.assertIsNone(ratios(runs(5), runs(0))["written_bytes"])
        self.assertIsNone(spread([1.0, None]))
        self.assertIsNone(spread([]))

    def test_every_run_needs_its_partner(self):
        with self.assertRaises(ValueError):
            ratios(runs(1, 2), runs(1))

    def test_amounts_have_three_digits(self):
        rows = [(0, "0"), (0.123, "0.12"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (12345, "12,345")]
        for value, expected in [*rows, (None, "-")]:
            self.assertEqual(amount(value), expected)
        self.assertEqual(amount(3 << 20, 1 << 20), "3.00")
        self.assertEqual(times({"median": 9.5, "least": 9, "most": 10}), "9.50 (9.00 to 10.0)")
        self.assertEqual(times(None), "-")

    def test_load_is_read_between_samples(self):
        load = [(0.0, 10.0), (1.0, 11.0), (2.0, 13.0)]
        run = Run(2.0, 0, 0, 0, "", load)
        self.assertAlmostEqual(run._load_at(1.5), 12.0)
        self.assertAlmostEqual(run._load_at(9), 13.0)
        self.assertIsNone(run.busy(1.0, 1.01))

    def test_tables_are_markdown(self):
        text = markdown("Title", ["a", "b"], [["1", "2 | 3"]], "Note.")
        self.assertEqual(text, "### Title\n\n| a | b |\n| --- | --- |\n| 1 | 2 \\| 3 |\n\nNote.\n")


if __name__ == "__main__":
    unittest.main()
