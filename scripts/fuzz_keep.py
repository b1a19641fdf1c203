"""Chooses the inputs of a fuzz target that stay in fuzz/corpus: those that once broke something (`broke-*`), and, one after
the other, the input that reaches most of what the ones before did not. `scripts/fuzz.sh TARGET keep` calls it."""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

MOST_FILES = 50
MOST_BYTES = 400_000
ROOT = Path("fuzz")


def reached(target: str, options: list[str]) -> dict[Path, set[str]]:
    """What libFuzzer counts as reached by each input that was kept or found."""
    folders = [ROOT / "target/found" / target, ROOT / "corpus" / target]
    with tempfile.TemporaryDirectory() as scratch:
        control = Path(scratch) / "control"
        chosen = Path(scratch) / "chosen"
        chosen.mkdir()
        command = ["cargo", "+nightly", "fuzz", "run", target, str(chosen), *map(str, folders), "--", "-merge=1"]
        command += [*options, f"-merge_control_file={control}"]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        lines = control.read_text().splitlines()
    files = [Path(line) for line in lines[2 : 2 + int(lines[0])]]
    features = {}
    for line in lines[2 + len(files) :]:
        kind, index, *values = line.split()
        if kind == "FT":
            features[files[int(index)]] = set(values)
    return features


def choose(features: dict[Path, set[str]]) -> list[Path]:
    """Inputs that once broke something, then the most useful ones; the shorter one of equals."""
    chosen = [path for path in features if path.name.startswith("broke-")]
    covered = set().union(*(features[path] for path in chosen))
    left = sorted(set(features) - set(chosen), key=lambda path: (path.stat().st_size, path.name))
    size = sum(path.stat().st_size for path in chosen)
    while len(chosen) < MOST_FILES:
        fitting = [path for path in left if size + path.stat().st_size <= MOST_BYTES]
        best = max(fitting, key=lambda path: len(features[path] - covered), default=None)
        if best is None or not features[best] - covered:
            break
        chosen.append(best)
        left.remove(best)
        covered |= features[best]
        size += best.stat().st_size
    every = set().union(*features.values())
    print(f"kept {len(chosen)} of {len(features)} inputs, {size} bytes, {len(covered)} of {len(every)} features")
    return chosen


def main(target: str, options: list[str]) -> None:
    chosen = choose(reached(target, options))
    contents = {path.name: path.read_bytes() for path in chosen}
    kept = ROOT / "corpus" / target
    lost = [path.name for path in kept.glob("broke-*") if path.name not in contents]
    if lost:
        sys.exit(f"these inputs still break {target}, mend it first: {', '.join(sorted(lost))}")
    for path in kept.iterdir():
        path.unlink()
    for name, data in contents.items():
        plain = hashlib.sha1(data, usedforsecurity=False).hexdigest()[:12]
        (kept / (name if name.startswith("broke-") else plain)).write_bytes(data)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
