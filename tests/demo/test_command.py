import contextlib
import io
import os
import signal
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from demo import command
from demo.command import SCENES, carry_out, fresh_folder
from demo.processes import RunError


def left_by_a_run(folder: Path, word: str) -> None:
    (folder / SCENES).mkdir(parents=True)
    (folder / "results").write_text(word)


class Folders(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = Path(folder.name) / "out" / "bench"

    def test_the_last_run_is_kept_and_only_that(self) -> None:
        self.assertIsNone(fresh_folder(self.out))
        kept = self.out.with_name("bench.previous")
        for word in ("first", "second"):
            left_by_a_run(self.out, word)
            self.assertEqual(fresh_folder(self.out), kept)
            self.assertEqual(list(self.out.iterdir()), [])
            self.assertEqual((kept / "results").read_text(), word)

    def test_what_no_run_has_left_stays_where_it_is(self) -> None:
        self.out.mkdir(parents=True)
        (self.out / "thesis.tex").write_text("years of work")
        with self.assertRaisesRegex(RunError, "holds something else than a run's results"):
            fresh_folder(self.out)
        self.assertEqual((self.out / "thesis.tex").read_text(), "years of work")
        # Nor is a folder replaced that only has the name of what a run leaves.
        self.out.rename(self.out.with_name("bench.previous"))
        left_by_a_run(self.out, "results")
        with self.assertRaisesRegex(RunError, "rename it"):
            fresh_folder(self.out)
        self.assertEqual((self.out.with_name("bench.previous") / "thesis.tex").read_text(), "years of work")


class Ends(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = Path(folder.name) / "out"
        for number in (signal.SIGINT, signal.SIGTERM):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        # Drawing takes seconds, and tests/demo/test_scenes.py looks at what comes of it.
        drawing = mock.patch.object(command, "save_stills")
        drawing.start()
        self.addCleanup(drawing.stop)

    def end(self, work) -> tuple[int, str]:
        told = io.StringIO()
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
            return carry_out("demo", self.out, work), told.getvalue()

    def test_the_status_says_how_the_work_ended(self) -> None:
        def fail() -> int:
            raise RunError("no model")

        def full() -> int:
            raise OSError("no space left")

        def is_asked_to_end() -> int:
            os.kill(os.getpid(), signal.SIGTERM)
            return 0

        self.assertEqual(self.end(lambda: 3), (3, ""))
        self.assertEqual(self.end(fail), (1, "demo: no model\n"))
        self.assertEqual(self.end(full), (1, "demo: no space left\n"))
        self.assertEqual(self.end(is_asked_to_end), (130, "\ndemo: stopped\n"))


if __name__ == "__main__":
    unittest.main()
