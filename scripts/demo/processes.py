"""Starts programs and sees to it that none outlives the run, however it ends."""

import ctypes
import fcntl
import functools
import os
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import TextIO

STOP_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1


class RunError(Exception):
    """The run can't go on; the message is for the user."""


def die_with_parent() -> None:
    """For a child process: end when its parent does, for the one end that a parent can't catch, being killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def quiet_worker() -> None:
    """For a worker of a process pool: end at Ctrl-C without a word, and with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent()


def interrupt_on_signals() -> None:
    """Let a polite kill (SIGTERM) end this program as Ctrl-C does: by KeyboardInterrupt."""
    # Ctrl-C too: a shell that starts us in the background has it ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


@functools.cache
def claimed_domain() -> tuple[int, TextIO]:
    """A ROS 2 domain that nobody else on this machine uses, and the locked file that says so until this process ends. The tests
    lock the same files."""
    # Domains up to 101 keep clear of the ports that Linux hands out.
    for domain in random.sample(range(1, 102), 101):
        try:
            lock = (Path(tempfile.gettempdir()) / f"looptrans_ros_domain_{domain}.lock").open("a")
        except OSError:
            continue  # Another user's.
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        return domain, lock
    raise RunError("all ROS 2 domains of this machine are in use: stop what else runs here")


def isolated_environment() -> dict[str, str]:
    """Our environment, with a ROS 2 domain of its own that does not leave this machine."""
    return os.environ | {
        "ROS_DOMAIN_ID": str(claimed_domain()[0]),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "PYTHONUNBUFFERED": "1",
    }


def make_room(profile: str) -> None:
    """Before this process starts ROS 2: give its shared memory the size of config/PROFILE, unless somebody has set it."""
    os.environ.setdefault("FASTRTPS_DEFAULT_PROFILES_FILE", str(Path(__file__).parents[2] / "config" / profile))


class Team:
    """Programs that run together. Leaving the `with` block stops those still running, the last started first."""

    def __init__(self, environment: dict[str, str], log_folder: Path) -> None:
        self._environment = environment
        self._log_folder = log_folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Team":
        interrupt_on_signals()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # A second Ctrl-C must not leave a program behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for name in reversed(list(self._running)):
            self.stop(name)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def start(self, name: str, command: list[str]) -> int:
        """Start a program, its output going to NAME.log; returns its process id."""
        with self.log(name).open("wb") as log:
            process = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                # Its own group: Ctrl-C in the terminal reaches only us, and we stop all in order.
                start_new_session=True, preexec_fn=die_with_parent,
            )
        self._running[name] = process
        return process.pid

    def log(self, name: str) -> Path:
        return self._log_folder / f"{name}.log"

    def is_running(self, name: str) -> bool:
        return self._running[name].poll() is None

    def wait(self, *names: str, seconds: float) -> None:
        """Wait until the programs have ended well; RunError if one fails, takes too long, or another one ends before them."""
        deadline = time.monotonic() + seconds
        for name in names:
            while self.is_running(name):
                self._check_others(names)
                if time.monotonic() > deadline:
                    raise RunError(f"the {name} did not end within {seconds:.0f} s{self._last_words(name)}")
                time.sleep(0.05)
        for name in names:
            code = self._running.pop(name).returncode
            if code != 0:
                raise RunError(f"the {name} failed with status {code}{self._last_words(name)}")

    def wait_for_word(self, name: str, word: str, seconds: float) -> None:
        """Wait until the word stands in the program's output; RunError if it takes too long, or any program ends first."""
        deadline = time.monotonic() + seconds
        while word not in self.log(name).read_text(errors="replace"):
            self._check_others(())
            if time.monotonic() > deadline:
                raise RunError(f"the {name} is not {word} after {seconds:.0f} s{self._last_words(name)}")
            time.sleep(0.05)

    def _check_others(self, names: tuple[str, ...]) -> None:
        """RunError if a program other than the named ones has ended."""
        for other, process in self._running.items():
            if other not in names and process.poll() is not None:
                raise RunError(f"the {other} ended early, with status {process.returncode}{self._last_words(other)}")

    def stop(self, name: str) -> int:
        """Ask a program to end (SIGINT), insist after a while; returns its exit status."""
        process = self._running.pop(name)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return process.returncode

    def stop_cleanly(self, name: str) -> None:
        """As `stop`; RunError if the program does not end with status 0."""
        code = self.stop(name)
        if code != 0:
            raise RunError(f"the {name} did not stop cleanly: status {code}{self._last_words(name)}")

    def _last_words(self, name: str) -> str:
        lines = self.log(name).read_text(errors="replace").strip().splitlines()[-6:]
        return "".join(f"\n    {line}" for line in [*lines, f"(all of it: {self.log(name)})"])
