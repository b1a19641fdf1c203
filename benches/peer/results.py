"""From what the runs left to the numbers of the tables."""

import statistics
from collections.abc import Mapping, Sequence

from bench.figures import Json, lost, table
from demo.processes import RunError
from demo.report import percentile
from peer.scenarios import Scenario

OURS, PYTHON = "looptrans_ros", "Python node"
# What arrived in the first second is not judged: processes find each other, pages and caches fill.
WARM_UP_SECONDS = 1.0
COLUMNS = {
    "latency_p50_ms": "latency p50", "latency_p99_ms": "p99", "outside_run_ms": "outside run", "beside_run_ms": "own, beside run",
    "run_ms": "run", "per_second": "per second", "age_p99_ms": "age p99", "cpu_ms_per_frame": "CPU per frame", "rss_mib": "RSS MiB",
}
LEGEND = (
    "latency: stamp to heatmap received, of all cameras. per second: heatmaps received. outside run: its median less session.run's."
    " own, beside run: by the node's own clock, from reception to publication. age: told by the regions, stamp to publication. RSS with DDS's shared memory."
    " ours/theirs: below 1 is less time, memory or work; of `per second`, more is better."
)
OVERLOAD_LEGEND = (
    "received: of the heatmaps of frames that the node processed; both nodes offer the last one only, to a reader that falls behind."
    " bound: one period of a camera and one session.run. It is the same for several cameras: while a frame waits for its turn longer than"
    " a period, a newer one takes its place. by camera: heatmaps of the one with the fewest and the one with the most, of all runs."
    " exact: in = processed + dropped + rejected in every run, in all and for each camera; the Python node keeps no account."
)


def judged(arrivals: Sequence[tuple[float, float]]) -> tuple[list[float], float]:
    """Of values with the times of their arrival [s], those that came after the warm-up; and how many came per second, from its
    end to the last."""
    if not arrivals:
        raise RunError("nothing arrived")
    times = [time for time, _ in arrivals]
    begin = min(times) + WARM_UP_SECONDS
    values = [value for time, value in arrivals if time > begin]
    if not values:
        raise RunError(f"nothing arrived after the first {WARM_UP_SECONDS:g} s")
    return values, len(values) / (max(times) - begin)


def streamed(heard: Mapping[str, Json], what: str) -> list[tuple[float, float]]:
    """What arrived of all cameras, but for the last of each: no frame comes after it and takes its place, so it may wait longer than
    any frame of a stream."""
    return [one for camera in heard.values() for one in camera[what][:-1]]


def figures(heard: Mapping[str, Json], own: Json) -> Json:
    """Latency, throughput and age of one run, from what the planner heard on each heatmap topic and what the node told."""
    latencies, rate = judged(streamed(heard, "latencies_ms"))
    ages, _ = judged(streamed(heard, "ages_ms"))
    by_camera = [len(camera["latencies_ms"]) for camera in heard.values()]
    middle = percentile(latencies, 50)
    return {
        "latency_p50_ms": middle, "latency_p99_ms": percentile(latencies, 99),
        "outside_run_ms": middle - own["run"], "beside_run_ms": own["beside_run"], "run_ms": own["run"],
        "per_second": rate, "age_p50_ms": percentile(ages, 50), "age_p99_ms": percentile(ages, 99),
        "by_camera": by_camera, "received_percent": 100 * sum(by_camera) / own["processed"],
    }


def account(summary: Json) -> Json:
    """What became of our node's frames, and whether the account is exact."""
    counts = {name: summary[name] for name in ("frames_in", "processed", "dropped", "rejected")}
    return {**counts, "exact": lost(summary) == (0, 0)}


def frame_ms(row: Json) -> float:
    """What the faster node needs for a frame, from reception to publication."""
    return min(median["run_ms"] + median["beside_run_ms"] for median in row["median"].values())


def row_of(scenario: Scenario, runs: Mapping[str, Sequence[Json]]) -> Json:
    """A scenario's row: every run, and the medians over them."""
    medians = {who: {key: statistics.median(run[key] for run in of) for key in of[0] if is_figure(of[0][key])} for who, of in runs.items()}
    period_ms = 1e3 / scenario.camera_hz
    lower = sum(ours["outside_run_ms"] < other["outside_run_ms"] for ours, other in zip(runs[OURS], runs[PYTHON], strict=True))
    return {
        "scenario": scenario.label, "cameras": scenario.setting.cameras, "total_hz": scenario.total_hz, "period_ms": period_ms,
        "overload": scenario.is_overload, "pairs": len(runs[OURS]), "pairs_lower_outside_run": lower, "median": medians,
        "age_bound_ms": {who: period_ms + figures["run_ms"] for who, figures in medians.items()}, "runs": runs,
    }


def is_figure(value: object) -> bool:
    return isinstance(value, int | float)


def rows(results: Json) -> list[list[str]]:
    """The table: for each scenario a line for each node, and how they compare."""
    found = [["ms, medians of pairs", *COLUMNS.values()]]
    for row in results["scenarios"]:
        found.append([row["scenario"], *([""] * len(COLUMNS))])
        for who, median in row["median"].items():
            found.append([f"  {who}", *(f"{median[key]:.1f}" for key in COLUMNS)])
        ours, other = row["median"][OURS], row["median"][PYTHON]
        found.append(["  ours/theirs", *(ratio(ours[key], other[key]) for key in COLUMNS)])
    return found


def ratio(ours: float, other: float) -> str:
    # Where a difference of medians is not above zero, it has no ratio.
    return f"{ours / other:.2f}" if other > 0 and ours >= 0 else "-"


def overload_rows(results: Json) -> list[list[str]]:
    """The table of the overloads: the age of the data against its bound, turns, and our node's account of all runs."""
    found = [["at overload", "sent per second", "received %", "age p50", "age p99", "bound", "", "by camera",
              "in", "processed", "dropped", "rejected", "exact"]]
    for row in results["scenarios"]:
        if not row["overload"]:
            continue
        found.append([row["scenario"], *([""] * (len(found[0]) - 1))])
        for who, median in row["median"].items():
            bound, runs = row["age_bound_ms"][who], row["runs"][who]
            shares = [count for run in runs for count in run["by_camera"]]
            found.append([
                f"  {who}", f"{median['sent_per_second']:.1f}", f"{median['received_percent']:.0f}",
                f"{median['age_p50_ms']:.1f}", f"{median['age_p99_ms']:.1f}", f"{bound:.1f}",
                "within" if median["age_p99_ms"] <= bound else "above", f"{min(shares)}..{max(shares)}", *account_cells(runs),
            ])
    return found


def account_cells(runs: Sequence[Json]) -> list[str]:
    """The sums of all runs; dashes where the node keeps no account."""
    accounts = [run["account"] for run in runs]
    if None in accounts:
        return ["-"] * 5
    sums = [str(sum(one[name] for one in accounts)) for name in ("frames_in", "processed", "dropped", "rejected")]
    return [*sums, "yes" if all(one["exact"] for one in accounts) else "NO"]


def print_results(results: Json) -> None:
    print(f"\n{table(rows(results))}\n{LEGEND}")
    print(f"\n{table(overload_rows(results))}\n{OVERLOAD_LEGEND}\n")
    for row in results["scenarios"]:
        print(f"{row['scenario']}: outside run lower in {row['pairs_lower_outside_run']} of {row['pairs']} pairs")
