"""Runs the node for minutes with cameras that misbehave and somebody who works with it, and judges what that left behind.

    PYTHONPATH=scripts python -m soak.run --programs target/release --models A B --minutes 10 --out out/soak
"""

import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.figures import Json, last_summary, lost, table
from bench.process import machine, memory_of
from demo.command import SCENES, arguments, carry_out
from demo.planner import CONNECT_SECONDS, CONNECTED
from demo.processes import RunError, Team, isolated_environment
from demo.report import percentile, write_json
from demo.run import node_from_launch_file, peer
from soak.figure import save_figure

CAMERAS = ["front", "left", "right", "wrist"]
RATE_HZ = 30.0
# The first part of a run is not judged: memory pools and caches fill, and every model has to have been there once.
WARM_UP_PART = 0.2
# Growth from the first to the last third of what is judged that would be a leak, not a fluctuation: a model may be loading
# at either time.
MAX_GROWTH = {"memory_mib": 8.0, "threads": 0.5, "files": 1.5}
# Results may be as old as one turn of all cameras and a model that is being loaded on the same processors.
MAX_AGE_P99_MS = 500.0


@dataclass(frozen=True)
class Sample:
    """The node at one moment."""

    seconds: float
    memory_mib: float
    shared_mib: float
    threads: int
    files: int


def sample(pid: int, seconds: float) -> Sample:
    memory = memory_of(pid, seconds)
    process = Path(f"/proc/{pid}")
    threads, files = (len(list((process / name).iterdir())) for name in ("task", "fd"))
    return Sample(seconds, memory.own_kib / 1024, memory.shared_kib / 1024, threads, files)


def run(programs: Path, models: list[Path], seconds: float, out: Path) -> Json:
    """Everything that the run left, not judged yet."""
    settings = {"model": str(models[0].resolve()), "cameras": CAMERAS}
    node = node_from_launch_file(programs, settings, out)
    samples: list[Sample] = []
    with Team(isolated_environment(), out) as team:
        pid = team.start("node", node)
        bundles = [str(model.resolve()) for model in models]
        team.start("operator", peer("soak.operator", "--cameras", *CAMERAS, "--models", *bundles,
                                    "--seconds", str(seconds), "--seed", "7", "--out", str(out / "operator.json")))
        team.wait_for_word("operator", CONNECTED, CONNECT_SECONDS)
        for seed, camera in enumerate(CAMERAS):
            team.start(camera, peer("soak.camera", "--stills", str(out / SCENES), "--topic", f"/{camera}/image",
                                    "--rate", str(RATE_HZ), "--seconds", str(seconds), "--seed", str(seed),
                                    "--out", str(out / f"{camera}.json")))
        started = time.monotonic()
        while team.is_running("operator") and team.is_running("node"):
            samples.append(sample(pid, time.monotonic() - started))
            tell(samples[-1], seconds)
            time.sleep(1.0)
        team.wait(*CAMERAS, "operator", seconds=30)
        time.sleep(1.0)  # the last frames' way through the node
        team.stop_cleanly("node")
        summary = last_summary(team.log("node").read_text(errors="replace"))
    if summary is None:
        raise RunError(f"the node logged no summary: {out}/node.log")
    return {
        "summary": summary, "samples": [asdict(one) for one in samples], "operator": json.loads((out / "operator.json").read_text()),
        "sent": {camera: json.loads((out / f"{camera}.json").read_text()) for camera in CAMERAS},
        "panics": (out / "node.log").read_text(errors="replace").count("panicked at"),
    }


def tell(now: Sample, seconds: float) -> None:
    if sys.stderr.isatty():
        print(f"\rsoak: {now.seconds:.0f} of {seconds:.0f} s, {now.memory_mib:.0f} MiB, {now.threads} threads, {now.files} files ",
              end="", file=sys.stderr, flush=True)


def growth(samples: list[Json], key: str) -> float:
    """From the median of the first third of what is judged to that of the last."""
    judged = [one[key] for one in samples[round(len(samples) * WARM_UP_PART) :]]
    third = max(1, len(judged) // 3)
    return statistics.median(judged[-third:]) - statistics.median(judged[:third])


def judge(left: Json) -> list[Json]:
    """Each demand with what was found."""
    summary, operator = left["summary"], left["operator"]
    in_all, apart = lost(summary)
    ages = [age for camera in operator["ages_ms"].values() for age in camera]
    starved = [camera for camera in CAMERAS if not operator["ages_ms"].get(camera)]
    age_p99 = percentile(ages, 99) if ages else float("inf")
    demands = [
        ("in = out + dropped + rejected", f"{in_all} lost in all, {apart} by camera", in_all == apart == 0),
        ("every camera has results", ", ".join(starved) or "all", not starved),
        (f"p99 of age at most {MAX_AGE_P99_MS:.0f} ms", f"{age_p99:.0f} ms", age_p99 <= MAX_AGE_P99_MS),
        ("every request answered as it should be", f"{len(operator['wrong'])} were not", not operator["wrong"]),
        ("no panic", f"{left['panics']}", left["panics"] == 0),
    ]
    for key, most in MAX_GROWTH.items():
        grown = growth(left["samples"], key)
        demands.append((f"{key} grow by at most {most:g}", f"{grown:+.1f}", grown <= most))
    return [{"demand": demand, "found": found, "holds": holds} for demand, found, holds in demands]


def print_results(results: Json) -> None:
    summary = results["summary"]
    print(f"\nsoak: {results['minutes']:g} minutes, {summary['frames_in']} frames in, {summary['processed']} processed,"
          f" {summary['dropped']} dropped, {summary['rejected']} rejected; {results['restarts']} camera restarts")
    print("dropped: " + ", ".join(f"{name} {count}" for name, count in summary["dropped_by"].items()))
    print("rejected: " + ", ".join(f"{name} {count}" for name, count in summary["rejected_by"].items()))
    print("requests: " + ", ".join(f"{name} {count}" for name, count in results["operator"]["answers"].items()))
    rows = [["demand", "found", ""]]
    rows += [[row["demand"], row["found"], "holds" if row["holds"] else "BROKEN"] for row in results["demands"]]
    print(f"\n{table(rows)}")
    for wrong in results["operator"]["wrong"][:10]:
        print(f"  {wrong}")


def soak(programs: Path, models: list[Path], minutes: float, out: Path) -> int:
    """Run, judge and tell; the exit status says whether every demand holds."""
    results: Json = {"machine": machine(), "minutes": minutes, "cameras": len(CAMERAS), "rate_hz": RATE_HZ}
    results |= run(programs, models, minutes * 60, out)
    results["restarts"] = sum(sent["restarts"] for sent in results["sent"].values())
    results["demands"] = judge(results)
    write_json(out / "soak.json", results)
    save_figure(results["samples"], results["operator"]["statuses"], out / "soak.svg")
    print_results(results)
    print(f"\nsoak: all numbers in {out}/soak.json, the run as a picture in {out}/soak.svg")
    return 0 if all(row["holds"] for row in results["demands"]) else 1


def main() -> int:
    parser = arguments("Soak the affordance node.")
    parser.add_argument("--models", type=Path, nargs="+", required=True, help="bundles to swap between; the first is loaded at start")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long")
    options = parser.parse_args()
    return carry_out("soak", options.out, lambda: soak(options.programs, options.models, options.minutes, options.out))


if __name__ == "__main__":
    sys.exit(main())
