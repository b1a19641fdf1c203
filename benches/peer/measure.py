"""Our node beside the Python node (peer.affordance_node): same bundle, cameras, planner and machine, in turns.

    PYTHONPATH=scripts:benches python -m peer.measure --programs target/release --model BUNDLE --out out/bench-peer
"""

import argparse
import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Json, last_summary
from bench.process import cpu_seconds, machine, memory_of
from demo.command import SCENES, arguments, carry_out
from demo.planner import CONNECT_SECONDS, CONNECTED
from demo.processes import RunError, Team, isolated_environment
from demo.report import write_json
from demo.run import AFFORDANCES, CAMERA_TOPIC, node_from_launch_file, peer
from peer.figure import save_figure
from peer.results import COLUMNS, OURS, PYTHON, account, figures, frame_ms, print_results, row_of
from peer.scenarios import Plan, Scenario, Setting, calm, overload, settings

NODE = "/affordance_node"
EXAMPLES = """\
examples, as make bench-peer ARGS="...":
  --cameras 1 --sizes 640x480                one camera, small pictures: a quarter of all
  --pairs 1 --seconds 4                      everything, short: to see that it works
  --cameras 4 --sizes 1920x1080 --pairs 5    four large cameras, more certain
"""


@dataclass(frozen=True)
class Files:
    """What one run leaves."""

    folder: Path

    @property
    def heard(self) -> Path:
        return self.folder / "heard.json"

    @property
    def told(self) -> Path:
        """By the Python node of itself."""
        return self.folder / "told.json"

    @property
    def sent(self) -> Path:
        return self.folder / "sent.json"


class Bench:
    def __init__(self, programs: Path, out: Path, seconds: float) -> None:
        self._programs, self._out, self._seconds = programs, out, seconds
        self._runs = 0

    def run(self, who: str, scenario: Scenario) -> Json:
        """One node with its cameras and a planner; its figures."""
        self._runs += 1
        files = Files(self._out / f"run{self._runs}")
        files.folder.mkdir(parents=True)
        names = camera_names(scenario.setting)
        heatmaps = [f"{NODE}/{name}/heatmap" for name in names] or [f"{NODE}/heatmap"]
        with Team(isolated_environment(), files.folder) as team:
            pid = team.start("node", self._command(who, scenario.setting, names, files))
            team.start("planner", peer("peer.planner", "--topics", *heatmaps, "--out", str(files.heard)))
            team.wait_for_word("planner", CONNECTED, CONNECT_SECONDS)
            team.start("camera", self._camera(scenario, names, files))
            team.wait_for_word("camera", "streaming", CONNECT_SECONDS)
            cpu_before = cpu_seconds(pid)
            team.wait("camera", seconds=self._seconds + 60)
            time.sleep(1.0)  # the last frame's way through the node
            cpu = cpu_seconds(pid) - cpu_before
            memory = memory_of(pid, 0.0)
            team.stop_cleanly("node")
            team.stop_cleanly("planner")
            log = team.log("node")
        heard, sent = (json.loads(file.read_text()) for file in (files.heard, files.sent))
        if not all(camera["latencies_ms"] for camera in heard.values()):
            raise RunError(f"no heatmap of a camera's came from the {who}: {log}")
        own, its_account = told_by(who, log, files.told)
        return {
            **figures(heard, own), "cpu_ms_per_frame": 1e3 * cpu / own["processed"],
            "rss_mib": (memory.own_kib + memory.shared_kib) / 1024, "own_rss_mib": memory.own_kib / 1024,
            "sent_per_second": scenario.setting.cameras * sent["frames"] / sent["seconds"], "account": its_account,
        }

    def _camera(self, scenario: Scenario, names: list[str], files: Files) -> list[str]:
        """One program sends for all cameras, evenly apart: so they meet in every run alike, and take no more processor time
        from the node than one camera of their rate together."""
        return peer(
            "demo.camera", "--stills", str(self._out / SCENES), "--topics", *([f"/{name}/image" for name in names] or [CAMERA_TOPIC]),
            "--frames", str(round(scenario.camera_hz * self._seconds)), "--rate", str(scenario.camera_hz), "--distinct", "8",
            "--width", str(scenario.setting.width), "--height", str(scenario.setting.height), "--out", str(files.sent),
        )

    def _command(self, who: str, setting: Setting, names: list[str], files: Files) -> list[str]:
        model = str(setting.model.resolve())
        if who == OURS:
            return node_from_launch_file(self._programs, {"model": model, "affordances": AFFORDANCES, "cameras": names}, files.folder)
        return peer("peer.affordance_node", "--model", model, "--report", str(files.told), "--affordances", *AFFORDANCES,
                    "--cameras", *names, "--ros-args", "-r", f"image:={CAMERA_TOPIC}")


def camera_names(setting: Setting) -> list[str]:
    """None where there is one camera: its topics have no name of a camera before them."""
    return [f"camera{index}" for index in range(1, setting.cameras + 1)] if setting.cameras > 1 else []


def told_by(who: str, log: Path, told: Path) -> tuple[Json, Json | None]:
    """What a node tells of itself: how many frames it processed, medians of session.run and of its own work on a frame without
    that [ms]; its account of frames, if it keeps one."""
    if who == PYTHON:
        return json.loads(told.read_text()), None
    summary = last_summary(log.read_text(errors="replace"))
    if summary is None:
        raise RunError(f"the node logged no summary: {log}")
    run = summary["stages_ms"]["run"]
    own = {"processed": summary["processed"], "run": run, "beside_run": summary["latency_ms"]["p50"] - run}
    return own, account(summary)


def compare(bench: Bench, plan: Plan, scenario: Scenario, pairs: int) -> Json:
    """Both nodes in turns, who is first alternating."""
    runs: dict[str, list[Json]] = {OURS: [], PYTHON: []}
    for pair in range(pairs):
        for who in (OURS, PYTHON) if pair % 2 == 0 else (PYTHON, OURS):
            print(f"bench-peer: {plan.begin_run()}: {scenario.label}, pair {pair + 1} of {pairs}, {who} ...", flush=True)
            runs[who].append(bench.run(who, scenario))
    return row_of(scenario, runs)


def measure(options: argparse.Namespace) -> int:
    """All scenarios; the exit status."""
    chosen = settings(options.model, options.sizes, options.cameras)
    plan = Plan(len(chosen), options.pairs, options.seconds)
    print(f"bench-peer: {plan}", flush=True)
    results: Json = {"machine": machine(), "affordances": AFFORDANCES, "seconds": options.seconds, "scenarios": []}
    bench, out = Bench(options.programs, options.out, options.seconds), options.out
    for setting in chosen:
        row = compare(bench, plan, calm(setting), options.pairs)
        results["scenarios"].append(row)
        write_json(out / "bench-peer.json", results)
        results["scenarios"].append(compare(bench, plan, overload(setting, frame_ms(row)), options.pairs))
        write_json(out / "bench-peer.json", results)
    save_figure(results, COLUMNS, out / "bench-peer.svg")
    print_results(results)
    print(f"\nbench-peer: all numbers in {out}/bench-peer.json, a figure in {out}/bench-peer.svg")
    return 0


def size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text} is no size such as 640x480")
    return int(match[1]), int(match[2])


def main() -> int:
    parser = arguments("Measure affordance_node beside a Python node.", EXAMPLES)
    parser.add_argument("--model", type=Path, nargs="+", required=True, help="bundles")
    parser.add_argument("--sizes", type=size, nargs="+", default=[(640, 480), (1920, 1080)], metavar="WxH",
                        help="of the pictures [pixels]; 640x480 and 1920x1080, if not given")
    parser.add_argument("--cameras", type=int, nargs="+", choices=range(1, 17), default=[1, 4], metavar="N",
                        help="numbers of cameras; 1 and 4, if not given")
    parser.add_argument("--pairs", type=int, choices=range(1, 100), default=3, metavar="N",
                        help="runs of each node in each scenario; 3, if not given")
    parser.add_argument("--seconds", type=float, default=12.0, help="length of a run's stream, 3 at least; 12, if not given")
    options = parser.parse_args()
    if options.seconds < 3:
        parser.error("--seconds: of less than 3 too little is left after the warm-up")
    return carry_out("bench-peer", options.out, lambda: measure(options))


if __name__ == "__main__":
    sys.exit(main())
