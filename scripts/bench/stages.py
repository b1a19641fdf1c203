"""The Rust benches of single stages (`cargo bench --bench stages`), and their medians as criterion leaves them."""

import json
import os
import subprocess
import time
from pathlib import Path

from demo.processes import RunError
from demo.run import REPOSITORY


def run_benches(out: Path) -> dict[str, float]:
    """Median time of each benchmark [ms], by its name."""
    print("bench: stages by themselves (cargo bench) ...", flush=True)
    started = time.time()
    log = out / "stages.log"
    with log.open("wb") as file:
        # The same features as the node's build, so that nothing is compiled twice.
        command = ["cargo", "bench", "--locked", "--features", "ros", "--bench", "stages", "--", "--noplot"]
        code = subprocess.run(command, cwd=REPOSITORY, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    if code != 0:
        raise RunError(f"cargo bench failed with status {code}: {log}")
    return medians(Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "criterion", started)


def medians(folder: Path, since: float) -> dict[str, float]:
    """What criterion wrote after that time."""
    found = {}
    for estimates in sorted(folder.glob("**/new/estimates.json")):
        if estimates.stat().st_mtime >= since:
            nanos = json.loads(estimates.read_text())["median"]["point_estimate"]
            found[str(estimates.parent.parent.relative_to(folder))] = round(nanos / 1e6, 4)
    return found
