import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, Image

from demo import processes
from demo.camera import STAMP, STAMP_OFFSET, image_message, info_message
from demo.processes import RunError, Team

DEADLINE_SECONDS = 20.0


def is_running(pid: int) -> bool:
    """Whether a process lives; one that waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition) -> bool:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return met


class Messages(unittest.TestCase):
    def test_a_stamp_written_into_a_serialised_message_is_its_stamp(self) -> None:
        frame = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
        for kind, message in ((Image, image_message(frame)), (CameraInfo, info_message(6, 4))):
            data = bytearray(serialize_message(message))
            STAMP.pack_into(data, STAMP_OFFSET, 1_700_000_000, 999_999_999)
            read = deserialize_message(bytes(data), kind)
            stamp = read.header.stamp
            self.assertEqual((stamp.sec, stamp.nanosec), (1_700_000_000, 999_999_999))
            self.assertEqual((read.header.frame_id, read.width, read.height), ("camera_optical_frame", 6, 4))
        self.assertEqual((image_message(frame).encoding, image_message(frame).step), ("rgb8", 18))
        self.assertEqual(bytes(image_message(frame).data), frame.tobytes())


class Teams(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.addCleanup(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        self.addCleanup(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))

    def team(self) -> Team:
        return Team(dict(os.environ), self.folder)

    def test_what_still_runs_is_stopped_at_the_end(self) -> None:
        with self.team() as team:
            pid = team.start("sleeper", ["sleep", "1000"])
            self.assertTrue(is_running(pid))
        self.assertFalse(is_running(pid))

    def test_a_program_that_ignores_the_request_is_killed(self) -> None:
        deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('deaf', flush=True); time.sleep(1000)"
        with mock.patch.object(processes, "STOP_SECONDS", 0.2), self.team() as team:
            team.start("deaf", [sys.executable, "-c", deaf])
            self.assertTrue(wait_until(lambda: "deaf" in team.log("deaf").read_text()))
            with self.assertRaisesRegex(RunError, "did not stop cleanly: status -9"):
                team.stop_cleanly("deaf")

    def test_the_failure_of_one_ends_the_wait_for_another_and_is_told(self) -> None:
        with self.assertRaisesRegex(RunError, "the node ended early, with status 3\n    no model"), self.team() as team:
            team.start("camera", ["sleep", "1000"])
            team.start("node", ["sh", "-c", "echo no model; exit 3"])
            team.wait("camera", seconds=DEADLINE_SECONDS)

    def test_a_word_is_waited_for_until_time_or_a_program_is_up(self) -> None:
        with self.team() as team:
            team.start("planner", ["sh", "-c", "sleep 0.1; echo connected; sleep 1000"])
            team.wait_for_word("planner", "connected", DEADLINE_SECONDS)
            with self.assertRaisesRegex(RunError, "the planner is not ready after 0 s"):
                team.wait_for_word("planner", "ready", 0.0)
            team.start("node", ["sh", "-c", "exit 3"])
            with self.assertRaisesRegex(RunError, "the node ended early, with status 3"):
                team.wait_for_word("planner", "ready", DEADLINE_SECONDS)

    def test_nothing_outlives_a_run_that_is_interrupted_or_killed(self) -> None:
        program = (
            "import os, sys, time; from pathlib import Path; from demo.processes import Team\n"
            f"with Team(dict(os.environ), Path({str(self.folder)!r})) as team:\n"
            "    print(team.start('sleeper', ['sleep', '1000']), flush=True); time.sleep(1000)"
        )
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            with self.subTest(number.name):
                run = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                pid = int(run.stdout.readline())
                self.assertTrue(is_running(pid))
                run.send_signal(number)
                run.communicate(timeout=DEADLINE_SECONDS)
                self.assertTrue(wait_until(lambda: not is_running(pid)))


if __name__ == "__main__":
    unittest.main()
