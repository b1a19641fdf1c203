import unittest
from collections.abc import Callable

from bench import figures, stages

SUMMARY = {"latency_ms": {"p50": 41.5, "p99": 60.0}, "stages_ms": {"run": 40.0, "resize": 0.2, "overlay": None}, "processed": 9}


class Figures(unittest.TestCase):
    def test_the_last_summary_in_a_log_is_found_whatever_stands_around_it(self) -> None:
        log = (
            'INFO {"stages_ms": {"run": 1.0}}\nINFO model {cpu}\n'
            '[INFO] [12.5] [affordance_node]: summary: {"processed": 3, "stages_ms": {"run": 2.5}}\x1b[0m\nbye {}\n'
        )
        self.assertEqual(figures.last_summary(log), {"processed": 3, "stages_ms": {"run": 2.5}})
        self.assertIsNone(figures.last_summary("nothing\n{}\n"))

    def test_overhead_is_the_way_through_the_node_less_the_model(self) -> None:
        found = figures.overhead(SUMMARY)
        self.assertEqual(found, {"stages_ms": 0.2, "overhead_ms": 1.5, "overhead_percent": 3.75, "within_bars": True})

    def test_each_bar_counts(self) -> None:
        for latency, run in ((42.5, 40.0), (21.5, 20.0)):  # 2.5 ms of 40: too many ms. 1.5 ms of 20: too large a share.
            summary = {"latency_ms": {"p50": latency}, "stages_ms": {"run": run}}
            self.assertFalse(figures.overhead(summary)["within_bars"])

    def test_the_wait_for_the_frame_before_is_held_against_one_period(self) -> None:
        summary = {"age_beside_run_ms": {"p50": 10.0, "p99": 34.0}, "stages_ms": {"run": 40.0}}
        found = figures.ages([50.0] * 98 + [80.0, 90.0], period_ms=33.0, summary=summary)
        self.assertEqual((found["max_ms"], found["beside_run_p99_ms"], found["within_bound"]), (90.0, 34.0, False))
        self.assertTrue(figures.ages([50.0], period_ms=34.0, summary=summary)["within_bound"])

    def test_a_steady_growth_of_own_memory_is_measured_and_warm_up_is_not(self) -> None:
        def sampled(own_kib_at: Callable[[int], int]) -> dict:
            samples = [figures.MemorySample(float(second), own_kib_at(second), 1000 * second) for second in range(50)]
            return figures.memory(samples, frames=490)

        # 2 KiB a second at 10 frames a second, after ten seconds of warm-up.
        growing = sampled(lambda second: 50_000 + 1000 * min(second, 10) + 2 * max(second - 10, 0))
        self.assertAlmostEqual(growing["kib_per_1000_frames"], 200.0, places=3)
        flat = sampled(lambda second: 50_000 + 1000 * min(second, 10))
        self.assertEqual((flat["kib_per_1000_frames"], flat["shared_peak_mib"]), (0.0, 47.85))

    def test_the_rows_of_a_markdown_table_are_read_by_column(self) -> None:
        text = "medians\n\n| image | run |\n|---|---|\n| 640x480 | 40.1 |\n| 1920x1080 | 41.2 |\n"
        self.assertEqual(stages.rows(text), [{"image": "640x480", "run": "40.1"}, {"image": "1920x1080", "run": "41.2"}])

    def test_a_table_lines_up(self) -> None:
        text = figures.table([["name", "ms"], ["a", "10.00"], ["longer", "1.5"]])
        self.assertEqual(text, "name       ms\na       10.00\nlonger    1.5")


if __name__ == "__main__":
    unittest.main()
