"""What the system says of a process, memory and processor time, and of the machine."""

import os
import platform
import time
from pathlib import Path

from bench.figures import Json, MemorySample

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def memory_of(pid: int, seconds: float) -> MemorySample:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Rss")}
    return MemorySample(seconds, kib["RssAnon"] + kib["RssFile"], kib["RssShmem"])


def cpu_seconds(pid: int) -> float:
    """Processor time of all its threads since its start, in the kernel and out of it."""
    # The program's name, in brackets, may hold spaces; the fields after it are counted from the third.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def machine() -> Json:
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return {"processor": names[0] if names else platform.machine(), "cores": os.cpu_count(), "busy_before": round(busy_share(2.0), 3)}


def busy_share(seconds: float) -> float:
    """How much of all processors' time other programs take, measured while we sleep."""
    def times() -> tuple[int, int]:
        # Of the first line's times, the fourth and fifth are idle.
        ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
        return sum(ticks[:8]), ticks[3] + ticks[4]

    total_before, idle_before = times()
    time.sleep(seconds)
    total, idle = times()
    return 1 - (idle - idle_before) / max(total - total_before, 1)
