"""The Rust bench of the single stages (`cargo bench --bench stages`), which prints a Markdown table."""

import subprocess
from pathlib import Path

from demo.processes import RunError
from demo.run import REPOSITORY


def run_bench(out: Path) -> list[dict[str, str]]:
    """The table's rows, each by its columns' names; the table is printed too."""
    print("bench: the stages without ROS (cargo bench) ...", flush=True)
    log = out / "stages.log"
    with log.open("wb") as errors:
        # The same features as the node's build, so that nothing is compiled twice.
        command = ["cargo", "bench", "--locked", "--features", "ros", "--bench", "stages"]
        bench = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=errors, text=True, check=False)
    if bench.returncode != 0:
        raise RunError(f"cargo bench failed with status {bench.returncode}: {log}")
    print(bench.stdout)
    return rows(bench.stdout)


def rows(text: str) -> list[dict[str, str]]:
    """A Markdown table's rows."""
    lines = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("|") and not line.startswith("|--")]
    cells = [[cell.strip() for cell in line] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]
