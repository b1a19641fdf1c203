"""Measures the real node, with a camera and a subscriber over ROS 2, and prints what it costs.

    PYTHONPATH=scripts python -m bench.measure --programs target/release --model BUNDLE --small-model BUNDLE --out out/bench
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench import cameras, figures, stages
from bench.figures import Json, MemorySample
from bench.listener import TYPES
from bench.process import machine, memory_of
from demo.command import SCENES, arguments, carry_out
from demo.planner import CONNECT_SECONDS, CONNECTED
from demo.processes import RunError, Team, isolated_environment
from demo.report import write_json
from demo.run import AFFORDANCES, RATE_HZ, node_from_launch_file, peer

REGIONS_ONLY = ["grasp_regions"]
EVERYTHING = list(TYPES)
# Who listens, from a planner alone, with a viewer, with all four affordances' maps (1.2 MB a frame), to every viewer at once.
LISTENERS = {
    "regions only": REGIONS_ONLY,
    "and heatmap": ["grasp_regions", "heatmap"],
    "and heatmaps": ["grasp_regions", "heatmaps"],
    "everything": EVERYTHING,
}
# With more of the processors' time taken by others, the timings say more about them.
MAX_BUSY = 0.10
STAGES = ("decode", "resize", "run", "upsample", "regions", "overlay", "publish")


@dataclass(frozen=True)
class Load:
    """One run of the node: which model, what the camera sends, who listens."""

    model: Path
    topics: list[str]
    frames: int
    rate_hz: float = RATE_HZ
    width: int = 640
    height: int = 480
    # Different frames that the camera holds ready; a few suffice for timing.
    distinct: int = 8


@dataclass(frozen=True)
class Outcome:
    """What a run left."""

    summary: Json
    ages_ms: list[float]
    received: dict[str, int]
    # Of the node, while the camera streamed.
    memory: list[MemorySample]


class Bench:
    def __init__(self, programs: Path, out: Path) -> None:
        self._programs, self._out = programs, out
        self._runs = 0

    def run(self, load: Load) -> Outcome:
        """Start the node, a listener and a camera; stop them when the camera has sent all."""
        self._runs += 1
        folder = self._out / f"run{self._runs}"
        folder.mkdir(parents=True)
        heard = folder / "heard.json"
        node = node_from_launch_file(self._programs, {"model": str(load.model.resolve()), "affordances": AFFORDANCES}, folder)
        camera = peer(
            "demo.camera", "--stills", str(self._out / SCENES), "--frames", str(load.frames), "--rate", str(load.rate_hz),
            "--width", str(load.width), "--height", str(load.height), "--distinct", str(load.distinct),
        )
        with Team(isolated_environment(), folder) as team:
            pid = team.start("node", node)
            team.start("listener", peer("bench.listener", "--out", str(heard), "--topics", *load.topics))
            team.wait_for_word("listener", CONNECTED, CONNECT_SECONDS)
            team.start("camera", camera)
            memory = sample_memory(team, pid, load.frames / load.rate_hz + 120)
            time.sleep(1.0)  # the last frame's way through the node
            team.stop_cleanly("node")
            team.stop_cleanly("listener")
            summary = figures.last_summary(team.log("node").read_text(errors="replace"))
        if summary is None:
            raise RunError(f"the node logged no summary: {folder}/node.log")
        if not summary["processed"]:
            raise RunError(f"the node processed no frame: {folder}/node.log")
        noted = yaml.safe_load(heard.read_text())
        return Outcome(summary, noted["ages_ms"], noted["received"], memory)


def sample_memory(team: Team, pid: int, seconds: float) -> list[MemorySample]:
    """The node's memory, five times a second while the camera streams."""
    samples: list[MemorySample] = []
    started = time.monotonic()
    while team.is_running("camera"):
        if not team.is_running("node") or time.monotonic() - started > seconds:
            break  # `wait` says which it was
        if "streaming" in team.log("camera").read_text(errors="replace"):
            samples.append(memory_of(pid, time.monotonic() - started))
        time.sleep(0.2)
    team.wait("camera", seconds=1)
    return samples


def measure_stages(bench: Bench, model: Path) -> list[Json]:
    """The time of each stage: two picture sizes, few or many listeners."""
    rows = []
    for width, height in ((640, 480), (1920, 1080)):
        for label, topics in LISTENERS.items():
            print(f"bench: {width}x{height}, {label} ...", flush=True)
            outcome = bench.run(Load(model, topics, frames=150, width=width, height=height))
            rows.append({"size": f"{width}x{height}", "outputs": label, **figures.overhead(outcome.summary),
                         "received": outcome.received, "summary": outcome.summary})
    return rows


def measure_overload(bench: Bench, model: Path, run_ms: float) -> Json:
    """The age of results when frames come at twice the rate the model can take, 30 Hz at least."""
    rate_hz = max(30.0, round(2000 / run_ms))
    print(f"bench: overload at {rate_hz:.0f} Hz ...", flush=True)
    outcome = bench.run(Load(model, REGIONS_ONLY, frames=round(rate_hz * 15), rate_hz=rate_hz))
    return {"rate_hz": rate_hz, **figures.ages(outcome.ages_ms, 1000 / rate_hz, outcome.summary), "summary": outcome.summary}


def measure_memory(bench: Bench, small_model: Path) -> Json:
    """Growth of the node's memory over more than 2,000 frames, everything subscribed."""
    print("bench: memory over 2,400 frames ...", flush=True)
    outcome = bench.run(Load(small_model, EVERYTHING, frames=2400, rate_hz=25.0))
    return {**figures.memory(outcome.memory, outcome.summary["frames_in"]), "summary": outcome.summary}


def print_results(results: Json) -> None:
    heading = ["ms, medians", *STAGES, "all but run", "beside run", "of run", "bars"]
    rows = [heading]
    for row in results["node"]:
        values = [row["summary"]["stages_ms"].get(stage) for stage in STAGES]
        judged = row["size"] == "640x480"
        rows.append([
            f"{row['size']}, {row['outputs']}", *("-" if value is None else f"{value:.2f}" for value in values),
            f"{row['stages_ms']:.2f}", f"{row['overhead_ms']:.2f}", f"{row['overhead_percent']:.1f} %",
            ("PASS" if row["within_bars"] else "MISS") if judged else "",
        ])
    busy = results["machine"]["busy_before"]
    if busy > MAX_BUSY:
        print(f"\nThe machine was {busy:.0%} busy with other work: measure again when it is quiet.")
    print(f"\n{figures.table(rows)}")
    print(f"bars at 640x480: beside run at most {figures.MAX_OVERHEAD_MS:g} ms and {figures.MAX_OVERHEAD_PERCENT:g} % of run."
          " run = session.run; all but run = the other columns; beside run = from reception to publication, less run")
    age = results["overload"]
    print(f"\noverload at {age['rate_hz']:.0f} Hz: age {age['p50_ms']} ms median, {age['p99_ms']} ms 99 %, {age['max_ms']} ms most;"
          f" period + median run = {age['period_ms'] + age['run_ms']:.2f} ms. Each age less the frame's own run: {age['beside_run_p50_ms']} ms"
          f" median, {age['beside_run_p99_ms']} ms 99 %, bound {age['period_ms']} ms (period): {'PASS' if age['within_bound'] else 'MISS'}")
    print(f"\none more camera (small model, {cameras.RATE_HZ:g} Hz each):\n{cameras.table(results['cameras'])}\n")
    grown = results["memory"]
    print(f"memory over {grown['frames']} frames: {grown['steady_mib']} MiB -> {grown['last_mib']} MiB (peak {grown['peak_mib']}),"
          f" {grown['kib_per_1000_frames']} KiB per 1,000 frames; beside it up to {grown['shared_peak_mib']} MiB of DDS's shared memory")


def measure(programs: Path, model: Path, small_model: Path, out: Path) -> int:
    """Everything; the exit status."""
    results: Json = {"affordances": AFFORDANCES, "stages": stages.run_bench(out), "machine": machine()}
    bench = Bench(programs, out)
    results["node"] = measure_stages(bench, model)
    results["overload"] = measure_overload(bench, model, results["node"][0]["summary"]["stages_ms"]["run"])
    results["memory"] = measure_memory(bench, small_model)
    results["cameras"] = cameras.measure(programs, small_model, out)
    write_json(out / "bench.json", results)
    print_results(results)
    print(f"\nbench: all numbers in {out}/bench.json")
    return 0


def main() -> int:
    parser = arguments("Measure the affordance node over ROS 2.")
    parser.add_argument("--model", type=Path, required=True, help="bundle to time")
    parser.add_argument("--small-model", type=Path, required=True, help="bundle of a small model, for the memory run")
    options = parser.parse_args()
    return carry_out("bench", options.out, lambda: measure(options.programs, options.model, options.small_model, options.out))


if __name__ == "__main__":
    sys.exit(main())
