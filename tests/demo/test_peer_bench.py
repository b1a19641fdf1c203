"""What `make bench-peer` measures, and how its numbers come about (benches/peer)."""

import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from demo.processes import RunError
from peer.results import OURS, PYTHON, account, figures, frame_ms, judged, overload_rows, row_of, rows
from peer.scenarios import Plan, calm, overload, settings

COUNTS = {"frames_in": 10, "processed": 6, "dropped": 3, "rejected": 1}
OWN = {"processed": 40, "run": 30.0, "beside_run": 2.0}
[SETTING] = settings([Path("models/tiny")], [(640, 480)], [4])


def run(who: str, age_ms: float = 100.0, **changes: Any) -> dict[str, Any]:
    """One run's figures, with everything the tables need."""
    keys = ("latency_p50_ms", "latency_p99_ms", "outside_run_ms", "beside_run_ms", "per_second", "age_p50_ms", "cpu_ms_per_frame",
            "rss_mib", "sent_per_second", "received_percent")
    kept = account(dict(COUNTS)) if who == OURS else None
    return {**dict.fromkeys(keys, 10.0), "run_ms": 40.0, "age_p99_ms": age_ms, "by_camera": [3, 5], "account": kept, **changes}


class Scenarios(unittest.TestCase):
    def test_every_bundle_meets_every_size_and_number_of_cameras(self) -> None:
        found = settings([Path("a"), Path("b")], [(640, 480), (1920, 1080)], [1, 4])
        self.assertEqual(len(set(found)), 8)
        self.assertEqual([one.label for one in found[:3]], ["a 640x480, 1 camera", "a 640x480, 4 cameras", "a 1920x1080, 1 camera"])

    def test_cameras_share_the_rate_and_labels_tell_each_ones(self) -> None:
        self.assertEqual((calm(SETTING).camera_hz, calm(SETTING).label), (1.5, "tiny 640x480, 4 cameras, calm (1.5 Hz each)"))
        self.assertEqual(overload(SETTING, 40.0).label, "tiny 640x480, 4 cameras, overload (12.5 Hz each)")

    def test_overload_is_at_least_twice_what_the_node_takes_and_a_cameras_rate(self) -> None:
        for frame_ms, total_hz in ((200.0, 30.0), (40.0, 50.0), (39.0, 60.0), (10.0, 200.0)):
            self.assertEqual(overload(SETTING, frame_ms).total_hz, total_hz)

    def test_the_plan_counts_runs_and_learns_how_long_they_take(self) -> None:
        self.assertIn("96 runs, about ", str(Plan(settings_count=8, pairs=3, seconds=12.0)))
        with mock.patch("peer.scenarios.time.monotonic", return_value=0.0):
            plan = Plan(settings_count=8, pairs=3, seconds=12.0)
            self.assertRegex(plan.begin_run(), r"^run 1 of 96, about \d\d minutes left$")
            # The first took no time at all, so the others won't.
            self.assertEqual(plan.begin_run(), "run 2 of 96, about 1 minute left")


class Figures(unittest.TestCase):
    def test_the_first_second_is_not_judged(self) -> None:
        values, rate = judged([(100.0 + 0.5 * index, float(index)) for index in range(9)])
        self.assertEqual((values, rate), ([3.0, 4.0, 5.0, 6.0, 7.0, 8.0], 2.0))

    def test_a_silence_after_the_warm_up_lowers_the_rate(self) -> None:
        _, rate = judged([(0.0, 1.0), (0.9, 1.0), (3.0, 1.0), (3.5, 1.0), (4.0, 1.0)])
        self.assertEqual(rate, 1.0)

    def test_without_results_there_are_no_figures(self) -> None:
        for arrivals in ([], [(0.0, 1.0), (0.5, 1.0)]):
            with self.assertRaises(RunError):
                judged(arrivals)

    def test_the_results_of_all_cameras_are_judged_together(self) -> None:
        left = {"latencies_ms": [(index * 0.1, 50.0) for index in range(21)], "ages_ms": [(index * 0.1, 45.0) for index in range(21)]}
        # The last of a camera is not judged.
        right = {"latencies_ms": [(1.95, 90.0), (2.3, 300.0)], "ages_ms": [(1.95, 80.0), (2.3, 300.0)]}
        found = figures({"left": left, "right": right}, OWN)
        self.assertEqual((found["latency_p50_ms"], found["latency_p99_ms"], found["age_p99_ms"]), (50.0, 90.0, 80.0))
        self.assertEqual((found["outside_run_ms"], found["by_camera"], found["received_percent"]), (20.0, [21, 2], 57.5))
        self.assertAlmostEqual(found["per_second"], 10 / 0.95)

    def test_an_account_is_exact_in_all_and_for_each_camera(self) -> None:
        sound = {**COUNTS, "cameras": {"left": dict(COUNTS), "right": dict(COUNTS)}}
        self.assertEqual(account(sound), {**COUNTS, "exact": True})
        self.assertFalse(account({**sound, "dropped": 4})["exact"])
        self.assertFalse(account({**sound, "cameras": {"left": {**COUNTS, "processed": 7}}})["exact"])


class Tables(unittest.TestCase):
    def row(self, is_overload: bool = True, **runs: list[dict[str, Any]]) -> dict[str, Any]:
        scenario = overload(SETTING, 40.0) if is_overload else calm(SETTING)
        ours = runs.get("ours", [run(OURS)])
        return row_of(scenario, {OURS: ours, PYTHON: runs.get("other", [run(PYTHON)] * len(ours))})

    def test_the_bound_is_one_period_of_a_camera_and_one_inference(self) -> None:
        # 12.5 Hz of each camera, and 40 ms.
        for age_ms, word in ((120.0, "within"), (120.1, "above")):
            row = self.row(ours=[run(OURS, age_ms)])
            self.assertEqual(row["age_bound_ms"][OURS], 120.0)
            self.assertIn(word, overload_rows({"scenarios": [row]})[2])

    def test_a_line_for_each_node_and_their_ratio(self) -> None:
        ours = [run(OURS, per_second=rate, outside_run_ms=outside) for rate, outside in ((20.0, 5.0), (15.0, 11.0), (1.0, -3.0))]
        row = self.row(ours=ours, other=[run(PYTHON)] * 3)
        self.assertEqual((row["pairs"], row["pairs_lower_outside_run"]), (3, 2))
        heading, name, first, second, ratios = rows({"scenarios": [row]})
        self.assertEqual([name[0], first[0], second[0]], [row["scenario"], "  looptrans_ros", "  Python node"])
        place = heading.index("per second")
        self.assertEqual((first[place], second[place], ratios[place]), ("15.0", "10.0", "1.50"))
        self.assertEqual({len(line) for line in (heading, name, first, second, ratios)}, {len(heading)})

    def test_a_difference_that_is_not_above_zero_has_no_ratio(self) -> None:
        row = self.row(other=[run(PYTHON, outside_run_ms=-1.0)])
        heading, *_, ratios = rows({"scenarios": [row]})
        self.assertEqual(ratios[heading.index("outside run")], "-")

    def test_the_accounts_of_all_runs_are_added_and_one_that_is_wrong_is_seen(self) -> None:
        inexact = run(OURS, account=account({**COUNTS, "dropped": 4}))
        lines = overload_rows({"scenarios": [self.row(is_overload=False), self.row(ours=[run(OURS)] * 2), self.row(ours=[run(OURS), inexact])]})
        self.assertEqual(len(lines), 7)  # heading, and three lines of each overload
        self.assertEqual(lines[2][-6:], ["3..5", "20", "12", "6", "2", "yes"])
        self.assertEqual(lines[3][-6:], ["3..5", "-", "-", "-", "-", "-"])
        self.assertEqual(lines[5][-5:], ["20", "12", "7", "2", "NO"])
        self.assertEqual({len(line) for line in lines}, {len(lines[0])})

    def test_the_faster_node_says_how_long_a_frame_takes(self) -> None:
        row = self.row(other=[run(PYTHON, run_ms=30.0)])
        self.assertEqual(frame_ms(row), 40.0)


if __name__ == "__main__":
    unittest.main()
