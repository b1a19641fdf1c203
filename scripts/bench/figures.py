"""From what a run left behind to the numbers of the table: the node's summary, overheads, ages, memory."""

import json
from collections.abc import Sequence
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


def overhead(summary: Json) -> Json:
    """What the node spends on a frame beside session.run, from reception to publication, in medians."""
    run = summary["stages_ms"]["run"]
    beside = summary["latency_ms"]["p50"] - run
    return {
        "overhead_ms": round(beside, 3),
        "overhead_percent": round(100 * beside / run, 2),
        "within_bars": beside <= MAX_OVERHEAD_MS and 100 * beside / run <= MAX_OVERHEAD_PERCENT,
    }


def ages(values_ms: Sequence[float], period_ms: float, run_ms: float) -> Json:
    """How old results are when published, against the bound: one camera period and one inference."""
    bound = period_ms + run_ms
    late = sum(value > bound for value in values_ms)
    return {
        "p50_ms": round(percentile(values_ms, 50), 2),
        "p99_ms": round(percentile(values_ms, 99), 2),
        "max_ms": round(max(values_ms), 2),
        "period_ms": round(period_ms, 2),
        "run_ms": round(run_ms, 2),
        "bound_ms": round(bound, 2),
        "over_bound": late,
        "within_bound": percentile(values_ms, 99) <= bound,
    }


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The least-squares slope of y over x."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def memory(samples: Sequence[tuple[float, int]], frames: int) -> Json:
    """Growth of the resident set, from (seconds, KiB) samples spread over that many frames."""
    # The first fifth is warm-up: arenas and pools fill.
    steady = samples[len(samples) // 5 :]
    span = samples[-1][0] - samples[0][0]
    kib_per_second = slope(steady)
    return {
        "frames": frames,
        "first_mib": round(samples[0][1] / 1024, 2),
        "steady_mib": round(steady[0][1] / 1024, 2),
        "last_mib": round(samples[-1][1] / 1024, 2),
        "peak_mib": round(max(kib for _, kib in samples) / 1024, 2),
        "kib_per_1000_frames": round(kib_per_second * span / frames * 1000, 1),
    }


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows, the first a heading, in columns: the first to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
