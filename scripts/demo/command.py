"""What the commands that start a node with its peers have in common: arguments, a folder for what they leave, their ends."""

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from demo.processes import RunError, interrupt_on_signals
from demo.scenes import SEED, save_stills

# Where the stills that the camera peers pan over lie in a command's folder.
SCENES = "scenes"


def arguments(description: str, examples: str = "") -> argparse.ArgumentParser:
    """A parser with the arguments that all of them take."""
    parser = argparse.ArgumentParser(
        description=description, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--programs", type=Path, required=True, help="folder of the built programs")
    parser.add_argument("--out", type=Path, required=True,
                        help="folder to write to; what an older run left there is kept once, as OUT.previous")
    return parser


def fresh_folder(folder: Path) -> Path | None:
    """Makes an empty folder. What an older run left in it moves to OUT.previous, which is returned, in place of what lay there.

    RunError if the folder holds something that no run has left.
    """
    kept = None
    if folder.exists() and any(folder.iterdir()):
        if not (folder / SCENES).is_dir():
            raise RunError(f"{folder} holds something else than a run's results: name another folder")
        kept = folder.absolute().with_name(f"{folder.name}.previous")
        if kept.exists() and not (kept / SCENES).is_dir():
            raise RunError(f"{kept} holds something else than a run's results: rename it, or name another folder")
        shutil.rmtree(kept, ignore_errors=True)
        folder.rename(kept)
    folder.mkdir(parents=True, exist_ok=True)
    return kept


def carry_out(name: str, out: Path, work: Callable[[], int]) -> int:
    """Does the work with an empty folder `out` that holds the cameras' stills, and tells how it ended.

    Returns the exit status: what the work returned, 1 if it could not go on, 130 if somebody stopped it.
    """
    interrupt_on_signals()
    try:
        if (kept := fresh_folder(out)) is not None:
            print(f"{name}: what the run before left in {out} is now in {kept}", flush=True)
        print(f"{name}: drawing the pictures ...", flush=True)
        save_stills(SEED, 640, 480, out / SCENES)
        return work()
    except (RunError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{name}: stopped", file=sys.stderr)
        return 130
