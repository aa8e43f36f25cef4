# SPDX-License-Identifier: Apache-2.0
"""An internal error, a full disk, a deleted folder never reach the loop: the losses are those without
the watch, and it is said once."""

import contextlib
import ctypes
import io
import os
import resource
import shutil
import unittest

from loop import Training
from looping import LoopCase, steps_in

class Faulty:
    """The native probe, of which one method raises from its n-th call on."""

    def __init__(self, inner, method, at, error):
        self.__dict__.update(inner=inner, method=method, left=at, error=error)

    def __getattr__(self, name):
        value = getattr(self.inner, name)
        if name != self.method:
            return value
        return lambda *arguments: self.call(value, arguments)

    def __setattr__(self, name, value):
        if name in self.__dict__:
            self.__dict__[name] = value
        else:
            setattr(self.inner, name, value)

    def call(self, function, arguments):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return function(*arguments)


# What the hooks call in a step. In the first one `open` is among it.
METHODS = ("forward", "loss", "fresh", "gradients", "before_update", "after_update", "second_moments",
           "end_step", "open", "news", "forget")
ERRORS = (RuntimeError("an internal error"), MemoryError(), ValueError("x"), RecursionError(),
          AssertionError(), OSError(28, "No space left on device"))


class BlindTest(LoopCase):
    STEPS = 12

    def test_an_internal_error_ends_the_watch_and_not_the_training(self):
        plain, called = self.plain(self.STEPS), set()
        for method in METHODS:
            for at, error in zip((0, 1, 5), ERRORS if method == "forward" else ERRORS[:3], strict=False):
                with self.subTest(method=method, at=at, error=error):
                    self.stderr = io.StringIO()
                    with self.heard():
                        training = Training({"run": str(self.folder / f"{method}-{at}"), "every": 1})
                        faulty = Faulty(training.probe._native, method, at, error)
                        training.probe._native = faulty
                        for _ in range(self.STEPS):
                            training.step()
                        blind = training.probe.blind
                        training.probe.close()
                    self.assertEqual(training.digest(), plain)
                    if faulty.left < 0:
                        called.add(method)
                        self.assertIsNotNone(blind)
                        told = [line for line in self.lines if type(error).__name__ in line]
                        self.assertEqual(len(told), 1, self.lines)
                        self.assertLessEqual(len(self.lines), 2, self.lines)
                    for module in training.model:
                        self.assertEqual(len(module._forward_hooks), 0)
        self.assertLessEqual({"forward", "loss", "before_update", "after_update", "second_moments",
                              "end_step", "open", "news"}, called)

    def test_the_run_folder_disappears(self):
        plain = self.plain(3000)
        for every in (1, None):
            with self.subTest(every=every):
                self.stderr = io.StringIO()
                with self.heard():
                    training = self.watched(every=every)
                    for number in range(3000):
                        if number == 20:
                            shutil.rmtree(self.run_folder)
                        training.step()
                    training.probe.close()
                self.assertEqual(training.digest(), plain)
                self.assert_said_once()

    def assert_said_once(self):
        """One line that the log stopped, beside the first one and the last."""
        odd = [line for line in self.lines if "watching" not in line.split(",")[0] and
               "steps watched" not in line]
        told = [line for line in self.lines if "log is not written" in line or
                "could not be finished" in line]
        self.assertLessEqual(len(told), 1, self.lines)
        self.assertLessEqual(len(odd), 1, self.lines)
        self.assertLessEqual(len(self.lines), 3, self.lines)

    def test_a_file_may_not_grow(self):
        """RLIMIT_FSIZE: writes fail with EFBIG."""
        plain = self.plain(3000)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        with self.heard():
            training = self.watched()
            for number in range(3000):
                if number == 20:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
                training.step()
            training.probe.close()
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        self.assertEqual(training.digest(), plain)
        self.assert_said_once()
        self.assertTrue(any("log" in line and "not written" in line or "finished" in line
                            for line in self.lines), self.lines)

    def test_the_disk_is_full(self):
        """A file system of a few pages, where this process may mount one."""
        disk = self.folder / "disk"
        disk.mkdir()
        with small_disk(disk) as mounted:
            if not mounted:
                # May not mount: the same by a limit, which test_a_file_may_not_grow has seen.
                return
            self.run_folder = disk / "run"
            plain = self.plain(3000)
            with self.heard():
                training = self.watched()
                for _ in range(3000):
                    training.step()
                training.probe.close()
            self.assertEqual(training.digest(), plain)
            self.assert_said_once()
            self.assertTrue(any("log" in line and "not written" in line or "finished" in line
                                for line in self.lines), self.lines)
            known = steps_in(self.run_folder)
            self.assertEqual(known, sorted(set(known)))
            self.assertGreater(len(known), 20)

    def test_no_folder_can_be_made(self):
        (self.folder / "file").write_text("", encoding="ascii")
        with self.heard():
            training = Training({"run": str(self.folder / "file" / "run"), "every": 1})
            for _ in range(self.STEPS):
                training.step()
            self.assertEqual(training.probe.step, self.STEPS)
            training.probe.close()
        self.assertEqual(training.digest(), self.plain(self.STEPS))
        self.assertLessEqual(len(self.lines), 3, self.lines)
        self.assertEqual(sum("no log is kept (" in line for line in self.lines), 1, self.lines)

    def test_stderr_is_closed(self):
        class Closed(io.StringIO):
            def write(self, text):
                raise OSError(32, "Broken pipe")

        with contextlib.redirect_stderr(Closed()):
            training = self.watched()
            for _ in range(self.STEPS):
                training.step()
            training.probe.close()
        self.assertEqual(training.digest(), self.plain(self.STEPS))


@contextlib.contextmanager
def small_disk(folder):
    """A tmpfs of 64 KiB on `folder`; False where it cannot be had."""
    libc = ctypes.CDLL(None, use_errno=True)
    mounted = libc.mount(b"none", os.fsencode(folder), b"tmpfs", 0, b"size=64k") == 0
    try:
        yield mounted
    finally:
        if mounted:
            libc.umount2(os.fsencode(folder), 2)


if __name__ == "__main__":
    unittest.main()
