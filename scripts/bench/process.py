"""What the system says of a process: memory and processor time."""

import os
from pathlib import Path

from bench.figures import MemorySample

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
