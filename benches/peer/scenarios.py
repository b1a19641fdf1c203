"""What is measured: which bundle, pictures, cameras and rate; and how long all of it takes."""

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Frames per second of all cameras together at which a node has time to spare: one camera sends 6 Hz, four send 1.5 Hz each.
# So one camera and four are the same work, and what differs is what several cameras cost.
CALM_HZ = 6.0
# Overload is at least this, as a camera sends, and at least twice what the faster node takes.
LEAST_OVERLOAD_HZ = 30.0
# What a run takes beside its stream: programs start, find each other and end.
AROUND_RUN_SECONDS = 7.0
# Each setting is measured calm and at overload, and each with both nodes.
LOADS, NODES = 2, 2


@dataclass(frozen=True)
class Setting:
    """A bundle, and what the cameras send it."""

    model: Path
    width: int
    height: int
    cameras: int

    @property
    def label(self) -> str:
        cameras = "1 camera" if self.cameras == 1 else f"{self.cameras} cameras"
        return f"{self.model.name} {self.width}x{self.height}, {cameras}"


@dataclass(frozen=True)
class Scenario:
    """A setting at a rate."""

    setting: Setting
    # Of all cameras together, which share it evenly.
    total_hz: float
    is_overload: bool

    @property
    def camera_hz(self) -> float:
        return self.total_hz / self.setting.cameras

    @property
    def label(self) -> str:
        load = "overload" if self.is_overload else "calm"
        each = "" if self.setting.cameras == 1 else " each"
        return f"{self.setting.label}, {load} ({self.camera_hz:g} Hz{each})"


def settings(models: Sequence[Path], sizes: Sequence[tuple[int, int]], cameras: Sequence[int]) -> list[Setting]:
    """Every bundle with every size with every number of cameras, in this order."""
    return [Setting(model, *size, count) for model, size, count in itertools.product(models, sizes, cameras)]


def calm(setting: Setting) -> Scenario:
    return Scenario(setting, CALM_HZ, is_overload=False)


def overload(setting: Setting, frame_ms: float) -> Scenario:
    """At least twice what a node takes that needs so long for a frame, in whole tens."""
    return Scenario(setting, max(LEAST_OVERLOAD_HZ, 10.0 * math.ceil(2 * 1e3 / frame_ms / 10)), is_overload=True)


class Plan:
    """How many runs there are, and how long they take: by an estimate at first, then by those that are done."""

    def __init__(self, settings_count: int, pairs: int, seconds: float) -> None:
        self.runs = settings_count * LOADS * NODES * pairs
        self._run_seconds = seconds + AROUND_RUN_SECONDS
        self._started, self._begun = time.monotonic(), 0

    def begin_run(self) -> str:
        """Counts the run that begins; tells which it is, and how long it and those after it take."""
        if self._begun:
            self._run_seconds = (time.monotonic() - self._started) / self._begun
        left = (self.runs - self._begun) * self._run_seconds
        self._begun += 1
        return f"run {self._begun} of {self.runs}, {duration(left)} left"

    def __str__(self) -> str:
        return f"{self.runs} runs, {duration(self.runs * self._run_seconds)}"


def duration(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    return "about 1 minute" if minutes <= 1 else f"about {minutes} minutes"
