"""What one more camera costs: the same node with one, two and four cameras that each send at the same rate.

    PYTHONPATH=scripts python -m bench.cameras --programs target/release --model BUNDLE --out out/cameras
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench import figures
from bench.figures import Json
from bench.process import cpu_seconds, memory_of
from demo.command import SCENES, arguments, carry_out
from demo.planner import CONNECT_SECONDS, CONNECTED
from demo.processes import RunError, Team, isolated_environment
from demo.report import write_json
from demo.run import AFFORDANCES, node_from_launch_file, peer

COUNTS = (1, 2, 4)
# A rate that a small model serves for four cameras on one core; nothing is to be dropped.
RATE_HZ = 10.0
SECONDS = 20.0


@dataclass(frozen=True)
class Cost:
    """What the node took for that many cameras."""

    cameras: int
    # From the begin of the first stream to the end of the last.
    cpu_seconds: float
    own_mib: float
    summary: Json


def run(programs: Path, model: Path, out: Path, cameras: int) -> Cost:
    """Start the node, a planner's subscriptions and the cameras; stop them when all have sent all."""
    folder = out / f"cameras{cameras}"
    folder.mkdir(parents=True)
    names = [f"camera{index}" for index in range(1, cameras + 1)]
    settings = {"model": str(model.resolve()), "affordances": AFFORDANCES, "cameras": names}
    node = node_from_launch_file(programs, settings, folder)
    frames = round(SECONDS * RATE_HZ)
    with Team(isolated_environment(), folder) as team:
        pid = team.start("node", node)
        heard = ["--topics", "grasp_regions", "--cameras", *names, "--out", str(folder / "heard.json")]
        team.start("listener", peer("bench.listener", *heard))
        team.wait_for_word("listener", CONNECTED, CONNECT_SECONDS)
        for name in names:
            team.start(name, peer("demo.camera", "--stills", str(out / SCENES), "--frames", str(frames), "--rate",
                                  str(RATE_HZ), "--distinct", "8", "--topics", f"/{name}/image"))
        for name in names:
            team.wait_for_word(name, "streaming", CONNECT_SECONDS)
        before = cpu_seconds(pid)
        team.wait(*names, seconds=SECONDS + 60)
        time.sleep(1.0)  # the last frame's way through the node
        spent, memory = cpu_seconds(pid) - before, memory_of(pid, 0.0)
        team.stop_cleanly("node")
        team.stop_cleanly("listener")
        summary = figures.last_summary(team.log("node").read_text(errors="replace"))
    if summary is None or not summary["processed"]:
        raise RunError(f"the node logged no frame: {folder}/node.log")
    return Cost(cameras, spent, memory.own_kib / 1024, summary)


def measure(programs: Path, model: Path, out: Path) -> list[Json]:
    """One row for each number of cameras."""
    rows = []
    for count in COUNTS:
        print(f"bench: {count} camera(s) at {RATE_HZ:g} Hz each ...", flush=True)
        rows.append(row(run(programs, model, out, count)))
    return rows


def row(cost: Cost) -> Json:
    summary = cost.summary
    return {
        "cameras": cost.cameras,
        "frames": summary["frames_in"],
        "processed": summary["processed"],
        "cpu_ms_per_frame": round(1000 * cost.cpu_seconds / summary["processed"], 2),
        "run_ms": round(summary["stages_ms"]["run"], 2),
        "beside_run_ms": figures.overhead(summary)["overhead_ms"],
        "own_mib": round(cost.own_mib, 1),
        "summary": summary,
    }


def table(rows: list[Json]) -> str:
    """The rows, with what each camera after the first adds to the memory."""
    cells = [["cameras", "frames", "processed", "CPU ms/frame", "run ms", "beside run ms", "RSS MiB", "MiB per camera more"]]
    for found in rows:
        more = found["cameras"] - rows[0]["cameras"]
        added = f"{(found['own_mib'] - rows[0]['own_mib']) / more:.1f}" if more else "-"
        cells.append([str(found[name]) for name in ("cameras", "frames", "processed", "cpu_ms_per_frame", "run_ms",
                                                    "beside_run_ms", "own_mib")] + [added])
    return figures.table(cells)


def measure_alone(programs: Path, model: Path, out: Path) -> int:
    """Only this; the exit status."""
    rows = measure(programs, model, out)
    write_json(out / "cameras.json", rows)
    print(f"\n{table(rows)}")
    return 0


def main() -> int:
    parser = arguments("Measure what one more camera costs.")
    parser.add_argument("--model", type=Path, required=True, help="bundle of a small model")
    options = parser.parse_args()
    return carry_out("bench", options.out, lambda: measure_alone(options.programs, options.model, options.out))


if __name__ == "__main__":
    sys.exit(main())
