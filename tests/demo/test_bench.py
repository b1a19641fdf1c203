import unittest

from bench import figures

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
        self.assertEqual(found, {"overhead_ms": 1.5, "overhead_percent": 3.75, "within_bars": True})

    def test_each_bar_counts(self) -> None:
        for latency, run in ((42.5, 40.0), (21.5, 20.0)):  # 2.5 ms of 40: too many ms. 1.5 ms of 20: too large a share.
            summary = {"latency_ms": {"p50": latency}, "stages_ms": {"run": run}}
            self.assertFalse(figures.overhead(summary)["within_bars"])

    def test_ages_are_held_against_one_period_and_one_run(self) -> None:
        found = figures.ages([50.0] * 98 + [80.0, 90.0], period_ms=33.0, run_ms=40.0)
        self.assertEqual((found["bound_ms"], found["over_bound"], found["within_bound"]), (73.0, 2, False))
        self.assertTrue(figures.ages([50.0] * 99 + [90.0], period_ms=33.0, run_ms=40.0)["within_bound"])

    def test_a_steady_growth_of_memory_is_measured_and_warm_up_is_not(self) -> None:
        warm_up = [(float(second), 50_000 + 1000 * second) for second in range(10)]
        steady = [(float(second), 60_000 + 2 * (second - 10)) for second in range(10, 50)]
        found = figures.memory(warm_up + steady, frames=490)
        # 2 KiB a second at 10 frames a second.
        self.assertAlmostEqual(found["kib_per_1000_frames"], 200.0, places=3)
        flat = figures.memory(warm_up + [(second, 60_000) for second, _ in steady], frames=490)
        self.assertEqual(flat["kib_per_1000_frames"], 0.0)

    def test_a_table_lines_up(self) -> None:
        text = figures.table([["name", "ms"], ["a", "10.00"], ["longer", "1.5"]])
        self.assertEqual(text, "name       ms\na       10.00\nlonger    1.5")


if __name__ == "__main__":
    unittest.main()
