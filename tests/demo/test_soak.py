"""What a soak run is judged by (scripts/soak/run.py)."""

import copy
import unittest
from typing import Any

from soak.run import CAMERAS, growth, judge


def sound() -> dict[str, Any]:
    """A run in which everything was as it should be."""
    counts = {"frames_in": 10, "processed": 7, "dropped": 2, "rejected": 1}
    sample = {"memory_mib": 100.0, "threads": 20, "files": 40}
    return {
        "summary": {**counts, "cameras": {camera: dict(counts) for camera in CAMERAS}},
        "operator": {"ages_ms": {camera: [40.0] * 5 for camera in CAMERAS}, "wrong": []},
        "samples": [dict(sample) for _ in range(50)],
        "panics": 0,
    }


class Judgement(unittest.TestCase):
    def broken(self, change: Any) -> list[str]:
        left = copy.deepcopy(sound())
        change(left)
        return [row["demand"].split()[0] for row in judge(left) if not row["holds"]]

    def test_a_sound_run_breaks_nothing(self) -> None:
        self.assertEqual(self.broken(lambda left: None), [])

    def test_each_demand_can_be_broken(self) -> None:
        def leak(left: Any) -> None:
            for index, sample in enumerate(left["samples"]):
                sample["memory_mib"] += index

        self.assertEqual(self.broken(lambda left: left["summary"].update(frames_in=11)), ["in"])
        self.assertEqual(self.broken(lambda left: left["summary"]["cameras"][CAMERAS[1]].update(processed=6)), ["in"])
        self.assertEqual(self.broken(lambda left: left["operator"]["ages_ms"].update({CAMERAS[0]: []})), ["every"])
        self.assertEqual(self.broken(lambda left: left["operator"]["ages_ms"].update({CAMERAS[0]: [9e3] * 5})), ["p99"])
        self.assertEqual(self.broken(lambda left: left["operator"]["wrong"].append("no answer")), ["every"])
        self.assertEqual(self.broken(lambda left: left.update(panics=1)), ["no"])
        self.assertEqual(self.broken(leak), ["memory_mib"])
        self.assertEqual(self.broken(lambda left: left["samples"].extend([{**left["samples"][0], "threads": 21}] * 25)), ["threads"])

    def test_growth_in_the_warm_up_does_not_count(self) -> None:
        samples = [{"files": min(index, 10)} for index in range(100)]
        self.assertEqual(growth(samples, "files"), 0)


if __name__ == "__main__":
    unittest.main()
