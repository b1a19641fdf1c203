"""From what a run left behind to the numbers of the table: the node's summary, overheads, ages, memory."""

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

from demo.report import percentile

# What may be spent beside the model at 640x480 on one camera: the bars of this project.
MAX_OVERHEAD_MS = 2.0
MAX_OVERHEAD_PERCENT = 4.0
Json = dict[str, Any]


def last_summary(log: str) -> Json | None:
    """The summary that the node logs at its end: one line that holds a JSON object with stages_ms."""
    for line in reversed(log.splitlines()):
        start = line.find("{")
        if start < 0 or '"stages_ms"' not in line:
            continue
        # What a log line may have after the object, a colour reset for example, is not ours to read.
        return json.JSONDecoder().raw_decode(line, start)[0]
    return None


def lost(summary: Json) -> tuple[int, int]:
    """Frames that came in and stand in no account: of the whole, and summed over the accounts of the cameras, where there
    are several. Both are 0 when in = processed + dropped + rejected; a frame counted twice counts here too."""

    def missing(account: Json) -> int:
        return abs(account["frames_in"] - account["processed"] - account["dropped"] - account["rejected"])

    return missing(summary), sum(missing(camera) for camera in summary.get("cameras", {}).values())


def overhead(summary: Json) -> Json:
    """What the node spends on a frame beside session.run, in medians: by its stages' own clocks, and by the whole way
    from reception to publication, which holds hand-overs between threads as well. The second is held against the bars."""
    stages = dict(summary["stages_ms"])
    run = stages.pop("run")
    beside = summary["latency_ms"]["p50"] - run
    return {
        "stages_ms": round(sum(value for value in stages.values() if value is not None), 3),
        "overhead_ms": round(beside, 3),
        "overhead_percent": round(100 * beside / run, 2),
        "within_bars": beside <= MAX_OVERHEAD_MS and 100 * beside / run <= MAX_OVERHEAD_PERCENT,
    }


def ages(values_ms: Sequence[float], period_ms: float, summary: Json) -> Json:
    """How old results are when published. An age must stay under one camera period plus one inference: so each frame's
    age, less its own inference, is held against the period."""
    beside = summary["age_beside_run_ms"]
    return {
        "p50_ms": round(percentile(values_ms, 50), 2),
        "p99_ms": round(percentile(values_ms, 99), 2),
        "max_ms": round(max(values_ms), 2),
        "period_ms": round(period_ms, 2),
        "run_ms": round(summary["stages_ms"]["run"], 2),
        "beside_run_p50_ms": round(beside["p50"], 2),
        "beside_run_p99_ms": round(beside["p99"], 2),
        "within_bound": beside["p99"] <= period_ms,
    }


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The least-squares slope of y over x."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


@dataclass(frozen=True)
class MemorySample:
    """A process's resident memory at one time: its own, and what it shares with other processes."""

    seconds: float
    own_kib: int
    # DDS's segments, ours and those of the peers: of fixed size, but resident only page by page as they are used.
    shared_kib: int


def memory(samples: Sequence[MemorySample], frames: int) -> Json:
    """Growth of the process's own memory, from samples spread over that many frames."""
    # The first fifth is warm-up: arenas and pools fill.
    steady = samples[len(samples) // 5 :]
    span = samples[-1].seconds - samples[0].seconds
    kib_per_second = slope([(sample.seconds, sample.own_kib) for sample in steady])
    return {
        "frames": frames,
        "first_mib": _mib(samples[0].own_kib),
        "steady_mib": _mib(steady[0].own_kib),
        "last_mib": _mib(samples[-1].own_kib),
        "peak_mib": _mib(max(sample.own_kib for sample in samples)),
        "shared_peak_mib": _mib(max(sample.shared_kib for sample in samples)),
        "kib_per_1000_frames": round(kib_per_second * span / frames * 1000, 1),
        "samples": [astuple(sample) for sample in samples],
    }


def _mib(kib: int) -> float:
    return round(kib / 1024, 2)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows, the first a heading, in columns: the first to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
