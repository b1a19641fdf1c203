"""What training costs: seconds of an epoch at three sizes, and peak resident memory, live and from a store.

    source scripts/env-train.sh && cargo build --release --features train
    python3 scripts/bench/train_cost.py [--program target/release/looptrans] [--json OUT]

LoopTrans on a seeded ViT-S/16 at batch 16 and 224 pixels, on pictures that `looptrans synth` draws: one epoch each on 32, 64
and 128 exocentric pictures, without tests. What a run costs before its first step is in all three, so the line through them
is told by its slope (seconds for each picture) and by how far the middle one lies from it.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = [32, 64, 128]
ACTION = "carry"


def run(program, *arguments):
    """Seconds, and peak resident memory in MiB."""
    started = time.monotonic()
    with open(os.devnull, "wb") as nowhere:
        child = subprocess.Popen([program, *map(str, arguments)], stdout=nowhere, stderr=subprocess.PIPE)
        message = child.stderr.read().decode(errors="replace")
        _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{program} {arguments[0]} failed:\n{message[-2000:]}")
    # Linux counts KiB.
    return time.monotonic() - started, usage.ru_maxrss / 1024


def subset(drawn, folder, count):
    """A dataset of so many exocentric pictures of one action, drawn ones again under other names where there are too few."""
    for view in "exocentric", "egocentric":
        pictures = sorted((drawn / "Seen/trainset" / view / ACTION).glob("*/*"))
        place = folder / "trainset" / view / ACTION / "object"
        place.mkdir(parents=True)
        for number in range(count if view == "exocentric" else 16):
            picture = pictures[number % len(pictures)]
            shutil.copy(picture, place / f"{number:04}{picture.suffix}")
    return folder


def measure(program, place, drawn):
    if drawn is None:
        drawn = place / "drawn"
        run(program, "synth", "--out", drawn, "--seed", 1)
    backbone = place / "backbone.safetensors"
    run(program, "seed-weights", "--arch", "vit_small_16", "--actions", ACTION + ",hold", "--out", backbone)
    rows = []
    for count in SIZES:
        data = subset(drawn, place / f"data{count}", count)
        common = [data, "--affordances", f"{ACTION},", "--backbone", backbone]
        run(program, "store", "build", *common, "--variants", 1, "--out", place / f"store{count}")
        for source in "live", "store":
            own = ["--store", place / f"store{count}"] if source == "store" else []
            out = place / f"{source}{count}"
            seconds, mebibytes = run(program, "train", *common, *own, "--epochs", 1, "--skip-check", "--out", out)
            rows.append({"source": source, "pictures": count, "seconds": seconds, "peak_mib": mebibytes})
            print(f"{source:5}  {count:4} pictures  {seconds:7.1f} s  peak {mebibytes:6.0f} MiB", flush=True)
    return rows


def slope(rows, source):
    """Seconds for each picture between the outer sizes, and how far the middle one lies from their line, in percent."""
    small, middle, large = [row["seconds"] for row in rows if row["source"] == source]
    each = (large - small) / (SIZES[2] - SIZES[0])
    expected = small + each * (SIZES[1] - SIZES[0])
    return each, 100 * (middle / expected - 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="target/release/looptrans")
    parser.add_argument("--drawn", type=Path, help="a dataset that synth drew before")
    parser.add_argument("--json", type=Path, help="where the figures go as JSON too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        rows = measure(os.path.abspath(arguments.program), Path(place), arguments.drawn)
    for source in "live", "store":
        each, off = slope(rows, source)
        print(f"{source:5}  {each * 1000:.0f} ms for each picture; the middle size is {off:+.1f} % off the line")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
