"""Our node beside the Python node (peer.affordance_node): same bundle, camera, planner and machine, in turns.

    PYTHONPATH=scripts:benches python -m peer.measure --programs target/release --model BUNDLE --out out/bench-peer
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Json, last_summary, table
from bench.measure import machine, memory_of
from demo.planner import CONNECT_SECONDS, CONNECTED
from demo.processes import RunError, Team, interrupt_on_signals, isolated_environment
from demo.report import percentile, write_json
from demo.run import AFFORDANCES, CAMERA_TOPIC, node_from_launch_file, peer
from demo.scenes import SEED, save_stills
from peer.figure import save_figure

OURS, PYTHON = "looptrans_ros", "Python node"
HEATMAP = "/affordance_node/heatmap"
# Frames of the first second are not judged: processes find each other, pages and caches fill.
WARM_UP_SECONDS = 1.0
# At this rate either node keeps up with the camera; at the other neither does (with a model of 40 ms or more).
CALM_HZ, OVERLOAD_HZ = 6.0, 30.0


@dataclass(frozen=True)
class Scenario:
    model: Path
    width: int
    height: int
    rate_hz: float

    @property
    def label(self) -> str:
        load = "overload" if self.rate_hz >= OVERLOAD_HZ else "calm"
        return f"{self.model.name} {self.width}x{self.height}, {load} ({self.rate_hz:g} Hz)"


class Bench:
    def __init__(self, programs: Path, out: Path, seconds: float) -> None:
        self._programs, self._out, self._seconds = programs, out, seconds
        self._runs = 0

    def run(self, who: str, scenario: Scenario) -> Json:
        """One node with a camera and a planner; its figures."""
        self._runs += 1
        folder = self._out / f"run{self._runs}"
        folder.mkdir(parents=True)
        heard, report = folder / "heard.json", folder / "report.json"
        camera = peer(
            "demo.camera", "--stills", str(self._out / "scenes"), "--topic", CAMERA_TOPIC, "--distinct", "8",
            "--frames", str(round(scenario.rate_hz * self._seconds)), "--rate", str(scenario.rate_hz),
            "--width", str(scenario.width), "--height", str(scenario.height),
        )
        with Team(isolated_environment(), folder) as team:
            pid = team.start("node", self._command(who, scenario, folder, report))
            team.start("planner", peer("peer.planner", "--topics", HEATMAP, "--out", str(heard)))
            team.wait_for_word("planner", CONNECTED, CONNECT_SECONDS)
            team.start("camera", camera)
            team.wait_for_word("camera", "streaming", CONNECT_SECONDS)
            cpu_before = cpu_seconds(pid)
            team.wait("camera", seconds=self._seconds + 60)
            time.sleep(1.0)  # the last frame's way through the node
            cpu = cpu_seconds(pid) - cpu_before
            memory = memory_of(pid, 0.0)
            team.stop_cleanly("node")
            team.stop_cleanly("planner")
            own = own_times(team.log("node").read_text(errors="replace"), report)
        latencies = json.loads(heard.read_text())[HEATMAP]
        if not latencies:
            raise RunError(f"no heatmap came from the {who}: {folder}/node.log")
        judged = latencies[round(WARM_UP_SECONDS * len(latencies) / self._seconds) :]
        return {
            "latency_p50_ms": percentile(judged, 50), "latency_p99_ms": percentile(judged, 99),
            "outside_run_ms": percentile(judged, 50) - own["run"], "beside_run_ms": own["beside_run"], "run_ms": own["run"],
            "per_second": len(latencies) / self._seconds, "cpu_ms_per_frame": 1e3 * cpu / len(latencies),
            "rss_mib": (memory.own_kib + memory.shared_kib) / 1024, "own_rss_mib": memory.own_kib / 1024,
        }

    def _command(self, who: str, scenario: Scenario, folder: Path, report: Path) -> list[str]:
        model = str(scenario.model.resolve())
        if who == OURS:
            return node_from_launch_file(self._programs, {"model": model, "affordances": AFFORDANCES}, folder)
        return peer("peer.affordance_node", "--model", model, "--report", str(report), "--affordances",
                    *AFFORDANCES, "--ros-args", "-r", f"image:={CAMERA_TOPIC}")


def own_times(log: str, report: Path) -> Json:
    """Medians that a node tells of itself [ms]: session.run, and its own work on a frame without that."""
    if report.exists():
        told = json.loads(report.read_text())
        return {"run": told["run"], "beside_run": told["beside_run"]}
    summary = last_summary(log)
    if summary is None:
        raise RunError("the node logged no summary")
    run = summary["stages_ms"]["run"]
    return {"run": run, "beside_run": summary["latency_ms"]["p50"] - run}


def cpu_seconds(pid: int) -> float:
    # After the name in parentheses: user and system time are the 12th and 13th.
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compare(bench: Bench, scenario: Scenario, pairs: int) -> Json:
    """Both nodes in turns, who is first alternating; every run, and the medians over them."""
    runs: dict[str, list[Json]] = {OURS: [], PYTHON: []}
    for pair in range(pairs):
        for who in (OURS, PYTHON) if pair % 2 == 0 else (PYTHON, OURS):
            print(f"bench-peer: {scenario.label}, pair {pair + 1} of {pairs}, {who} ...", flush=True)
            runs[who].append(bench.run(who, scenario))
    medians = {who: {key: statistics.median(run[key] for run in of) for key in of[0]} for who, of in runs.items()}
    lower = sum(ours["outside_run_ms"] < other["outside_run_ms"] for ours, other in zip(runs[OURS], runs[PYTHON], strict=True))
    return {
        "scenario": scenario.label, "period_ms": 1e3 / scenario.rate_hz, "overload": scenario.rate_hz >= OVERLOAD_HZ,
        "pairs": pairs, "pairs_lower_outside_run": lower, "median": medians, "runs": runs,
    }


COLUMNS = {
    "latency_p50_ms": "latency p50", "latency_p99_ms": "p99", "outside_run_ms": "outside run", "beside_run_ms": "own, beside run",
    "run_ms": "run", "per_second": "per second", "cpu_ms_per_frame": "CPU per frame", "rss_mib": "RSS MiB",
}


def print_results(results: Json) -> None:
    rows = [["ms, medians of pairs", *COLUMNS.values()]]
    for row in results["scenarios"]:
        for who, figures in row["median"].items():
            rows.append([f"{row['scenario']}: {who}", *(f"{figures[key]:.1f}" for key in COLUMNS)])
        ours, other = row["median"][OURS], row["median"][PYTHON]
        rows.append(["  ratio", *(f"{ours[key] / other[key]:.2f}" for key in COLUMNS)])
    print(f"\n{table(rows)}")
    print("latency: stamp to heatmap received. outside run: its median less session.run's. own, beside run: by the node's own clock, from"
          " reception to publication. RSS with DDS's shared memory.")
    for row in results["scenarios"]:
        print(f"{row['scenario']}: outside run lower in {row['pairs_lower_outside_run']} of {row['pairs']} pairs")


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure affordance_node beside a Python node.")
    parser.add_argument("--programs", type=Path, required=True, help="folder of the built programs")
    parser.add_argument("--model", type=Path, nargs="+", required=True, help="bundles")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to; what an older run left there goes")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each node in each scenario")
    parser.add_argument("--seconds", type=float, default=12.0, help="length of a run's stream")
    options = parser.parse_args()
    interrupt_on_signals()
    try:
        shutil.rmtree(options.out, ignore_errors=True)
        options.out.mkdir(parents=True)
        save_stills(SEED, 640, 480, options.out / "scenes")
        results: Json = {"machine": machine(), "affordances": AFFORDANCES, "scenarios": []}
        bench = Bench(options.programs, options.out, options.seconds)
        for model in options.model:
            for width, height in ((640, 480), (1920, 1080)):
                for rate_hz in (CALM_HZ, OVERLOAD_HZ):
                    results["scenarios"].append(compare(bench, Scenario(model, width, height, rate_hz), options.pairs))
                    write_json(options.out / "bench-peer.json", results)
        save_figure(results, COLUMNS, options.out / "bench-peer.svg")
        print_results(results)
        print(f"\nbench-peer: all numbers in {options.out}/bench-peer.json, a figure in {options.out}/bench-peer.svg")
        return 0
    except (RunError, OSError) as error:
        print(f"bench-peer: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbench-peer: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
