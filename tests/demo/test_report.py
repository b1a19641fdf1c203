import json
import tempfile
import unittest
from pathlib import Path

from geometry_msgs.msg import Point32

from demo.record import array_record, write_regions
from demo.report import Counters, EvenSample, percentile, report
from looptrans_ros.msg import GraspRegion, GraspRegionArray


class Percentiles(unittest.TestCase):
    def test_nearest_rank(self) -> None:
        values = [15.0, 20.0, 35.0, 40.0, 50.0]
        # The worked example of the nearest-rank method.
        for percent, expected in ((5, 15), (30, 20), (40, 20), (50, 35), (100, 50)):
            self.assertEqual(percentile(values, percent), expected)
        self.assertEqual(percentile([3.0], 99), 3)
        self.assertEqual(percentile(list(range(1, 201)), 99), 198)

    def test_none_of_nothing(self) -> None:
        with self.assertRaises(ValueError):
            percentile([], 50)


class EvenSamples(unittest.TestCase):
    def chosen(self, length: int) -> list[int]:
        sample: EvenSample[int] = EvenSample(10)
        for item in range(length):
            sample.add(item)
        return sample.chosen()

    def test_a_short_stream_is_kept_whole(self) -> None:
        self.assertEqual(self.chosen(0), [])
        self.assertEqual(self.chosen(1), [0])
        self.assertEqual(self.chosen(10), list(range(10)))

    def test_a_long_stream_is_covered_evenly(self) -> None:
        for length in (11, 19, 20, 21, 150, 1000):
            chosen = self.chosen(length)
            steps = [b - a for a, b in zip(chosen, chosen[1:])]
            self.assertEqual((len(chosen), chosen[0]), (10, 0))
            self.assertGreater(min(steps), 0)
            self.assertLessEqual(max(steps), 2 * min(steps))
            self.assertGreaterEqual(chosen[-1] + max(steps), length - 1 - length // 10)


class Reports(unittest.TestCase):
    def test_the_accounting_is_complete_when_every_frame_has_its_end(self) -> None:
        self.assertTrue(Counters(10, 6, 3, 1).complete)
        self.assertFalse(Counters(10, 6, 3, 0).complete)

    def test_the_fields_of_a_report(self) -> None:
        self.assertEqual(
            report(Counters(4, 2, 1, 1), [30.0, 10.0, 20.004], "cpu", "m:0123"),
            {"frames_in": 4, "processed": 2, "dropped": 1, "rejected": 1, "latency_ms": {"p50": 20.0, "p99": 30.0},
             "provider": "cpu", "model_id": "m:0123"},
        )


class Records(unittest.TestCase):
    def test_regions_json_holds_what_was_received(self) -> None:
        message = GraspRegionArray(model_id="m:0123", source_width=640, source_height=480, frames_dropped=2)
        message.header.stamp.sec, message.header.stamp.nanosec = 7, 5
        message.age.nanosec = 12_500_000
        region = GraspRegion(affordance="hold", score=0.75, flags=GraspRegion.TOUCHES_BORDER | GraspRegion.LOW_CONTRAST)
        region.contour = [Point32(x=1.0, y=2.0), Point32(x=3.0, y=2.0), Point32(x=3.0, y=4.5)]
        message.regions = [region, region]
        empty = GraspRegionArray(model_id="m:0123")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "regions.json"
            write_regions(path, [array_record(message), array_record(empty)], ["hold", "open"])
            read = json.loads(path.read_text())
        self.assertEqual(read["affordances"], ["hold", "open"])
        first, second = read["frames"]
        self.assertEqual((first["stamp"], first["age_ms"], first["frames_dropped"]), ("7.000000005", 12.5, 2))
        self.assertEqual(len(first["regions"]), 2)
        self.assertEqual(first["regions"][0]["flags"], ["TOUCHES_BORDER", "LOW_CONTRAST"])
        self.assertEqual(first["regions"][0]["contour"], [[1.0, 2.0], [3.0, 2.0], [3.0, 4.5]])
        self.assertEqual(second["regions"], [])


if __name__ == "__main__":
    unittest.main()
