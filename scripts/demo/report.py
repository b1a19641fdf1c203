"""The numbers of a run: percentiles, an even choice of frames, the report."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest value that at least `percent` of all values do not exceed."""
    if not values:
        raise ValueError("no values: no percentile")
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(rank, 1) - 1]


class EvenSample(Generic[T]):
    """Keeps an even choice of a stream whose length is not known: at least `wanted` of it, fewer than twice as many."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._every = 1
        self._seen = 0
        self._kept: list[T] = []

    def add(self, item: T) -> None:
        if self._seen % self._every == 0:
            self._kept.append(item)
        self._seen += 1
        if len(self._kept) == 2 * self._wanted:
            del self._kept[1::2]
            self._every *= 2

    def chosen(self) -> list[T]:
        """At most `wanted` items, from the first to the last kept."""
        count = min(self._wanted, len(self._kept))
        if count < 2:
            return self._kept[:count]
        return [self._kept[round(i * (len(self._kept) - 1) / (count - 1))] for i in range(count)]


@dataclass(frozen=True)
class Counters:
    """The node's accounting of frames; complete when nothing waits or is in work."""

    frames_in: int
    processed: int
    dropped: int
    rejected: int

    @property
    def complete(self) -> bool:
        return self.frames_in == self.processed + self.dropped + self.rejected


def report(counters: Counters, latencies_ms: Sequence[float], provider: str, model_id: str) -> dict[str, Any]:
    """The demo's report; latency is from a frame's stamp to its regions' arrival at the planner."""
    return {
        "frames_in": counters.frames_in,
        "processed": counters.processed,
        "dropped": counters.dropped,
        "rejected": counters.rejected,
        "latency_ms": {"p50": round(percentile(latencies_ms, 50), 2), "p99": round(percentile(latencies_ms, 99), 2)},
        "provider": provider,
        "model_id": model_id,
    }


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
