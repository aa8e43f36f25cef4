# SPDX-License-Identifier: Apache-2.0
"""Real limits: a disk that is full, a file that may not grow, a folder that is gone, no shared memory,
a disk that stands still. The training ends with the same bits, one line at most is told, and what the
log lacks it says. HOST and SHIM are the paths of the built tests/torture/host.c and shim.c.
"""

import errno
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import tempfile
import unittest

from support import HOST, TRAINING, Page, rings, shim

TRANSPORTS = {"ring": (), "direct": ("writer=1", "direct=1")}
HOUR_MS = 3600000


class Limits(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="backprobe-limits-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.page = Page(self.folder / "page")

    def fresh(self, parent=None):
        return pathlib.Path(tempfile.mkdtemp(dir=parent or self.folder))

    def start(self, run, *options, environment=None, preexec=None):
        self.page.reset()
        return subprocess.Popen([HOST, "train", run, f"page={self.page.path}", *options], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=preexec,
                                env={**os.environ, **(environment or {})})

    def end(self, process, *options):
        """The training went on to its end as without the limit; returns what was told."""
        output, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, errors)
        alone = subprocess.run([HOST, "train", self.fresh(), *options], check=True, text=True,
                               capture_output=True)
        self.assertEqual((output, alone.stderr), (alone.stdout, ""))
        self.assertLessEqual(errors.count("\n"), 1, errors)
        return errors

    def look(self, run, ring_stays=False):
        done = subprocess.run([HOST, "look", run], check=False, text=True, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        log = json.loads(done.stdout)
        self.assertEqual((log["wrong"], log["doubled"]), (0, 0), log)
        self.assertEqual(len(rings(run)), ring_stays)
        return log

    def assert_complete(self, log, steps):
        self.assertEqual((log["last"], log["missing"], log["lost"], log["places"], log["end"]),
                         (steps - 1, 0, 0, 0, 1), log)


class FullDisk(Limits):
    STEPS = ("steps=8000", "layers=4")

    def setUp(self):
        super().setUp()
        self.disk = self.folder / "disk"
        self.disk.mkdir()
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", self.disk], check=False,
                               capture_output=True)
        if mount.returncode != 0:
            self.skipTest("this user may not mount a file system of 1 MiB")
        self.addCleanup(subprocess.run, ["umount", self.disk], check=True)

    def fill(self, n_bytes):
        filler = self.disk / "filler"
        filler.write_bytes(bytes(n_bytes))
        return filler

    def test_a_ring_holds_what_the_disk_does_not_take(self):
        run = self.fresh(self.disk)
        filler, words = self.fill(900 << 10), ("steps=2000", "layers=4")
        told = self.end(self.start(run, *words), *words)
        self.assertIn(os.strerror(errno.ENOSPC), told)
        for _ in range(2):  # read from memory, for the salvaged segment finds no room
            self.assert_complete(self.look(run, ring_stays=True), 2000)
        filler.unlink()
        for _ in range(2):
            self.assert_complete(self.look(run), 2000)

    def test_a_small_ring_says_what_it_lost(self):
        run = self.fresh(self.disk)
        filler = self.fill(900 << 10)
        words = ("writer=1", "ring_bytes=65536", *self.STEPS)
        told = self.end(self.start(run, *words), *self.STEPS)
        self.assertRegex(told, f"{os.strerror(errno.ENOSPC)}|does not keep up")
        log = self.look(run, ring_stays=True)
        self.assertGreater(log["steps"], 100)
        missing = 8000 - log["steps"]
        self.assertGreater(missing, 1000)
        self.assertGreaterEqual(log["lost"], missing)
        filler.unlink()
        self.assertEqual(self.look(run), log)

    def test_the_disk_fills_without_a_ring(self):
        run = self.fresh(self.disk)
        words = ("writer=1", "direct=1", *self.STEPS)
        self.fill(500 << 10)
        told = self.end(self.start(run, *words), *self.STEPS)
        self.assertIn(os.strerror(errno.ENOSPC), told)
        log = self.look(run)
        self.assertGreater(log["steps"], 100)
        self.assertLess(log["steps"], 8000)

    def test_there_is_room_again(self):
        for transport, options in TRANSPORTS.items():
            with self.subTest(transport):
                run, filler = self.fresh(self.disk), self.fill(1000 << 10)
                words = ("steps=2000", "layers=3", "pace_us=100")
                process = self.start(run, *words, *options)
                self.page.wait_for(process, TRAINING, 1000)
                filler.unlink()
                told = self.end(process, *words)
                log = self.look(run)
                self.assertIn(os.strerror(errno.ENOSPC), told)
                self.assertEqual((log["last"], log["end"]), (1999, 1), log)
                self.assertGreaterEqual(log["lost"], log["missing"])
                self.assertEqual(log["missing"] > 0, transport == "direct")
                shutil.rmtree(run)


class FileSize(Limits):
    WORDS = ("steps=2000", "layers=4")

    def limited(self, disposition, n_bytes):
        def preexec():
            signal.signal(signal.SIGXFSZ, disposition)
            resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
        return preexec

    def test_nobody_is_killed_by_its_signal(self):
        for transport, options in TRANSPORTS.items():
            for disposition in (signal.SIG_IGN, signal.SIG_DFL):
                with self.subTest(f"{transport}, {disposition}"):
                    run = self.fresh()
                    process = self.start(run, *self.WORDS, *options,
                                         preexec=self.limited(disposition, 100_000))
                    self.assertEqual(self.end(process, *self.WORDS), "")
                    self.assertGreater(len(list(run.iterdir())), 1)
                    self.assert_complete(self.look(run), 2000)

    def test_no_record_fits(self):
        for transport, options in TRANSPORTS.items():
            with self.subTest(transport):
                process = self.start(self.fresh(), *self.WORDS, *options,
                                     preexec=self.limited(signal.SIG_DFL, 500))
                self.assertIn(os.strerror(errno.EFBIG), self.end(process, *self.WORDS))


class FolderGone(Limits):
    def test_it_is_told(self):
        words = ("steps=2000", "pace_us=100")
        for name, options in {**TRANSPORTS, "many segments": ("writer=1", "segment_bytes=3000")}.items():
            with self.subTest(name):
                run = self.fresh()
                process = self.start(run, *words, *options)
                self.page.wait_for(process, TRAINING, 1000)
                while run.exists():  # as long as the run makes new files in it
                    shutil.rmtree(run, ignore_errors=True)
                told = self.end(process, *words)
                self.assertIn(os.strerror(errno.ENOENT), told)
        # What is left of rings without a folder goes when the next run begins.
        self.end(self.start(self.fresh(), "steps=1"), "steps=1")
        self.assertEqual(rings(self.folder, whole=False), [])


class NoSharedMemory(Limits):
    def test_the_log_is_written_directly(self):
        for calls in ("", "open", "posix_fallocate", "ftruncate", "mmap"):
            for reason in (errno.ENOSPC, errno.EACCES, errno.ENOENT):
                with self.subTest(f"{calls}, {errno.errorcode[reason]}"):
                    run = self.fresh()
                    process = self.start(run, "steps=50",
                                         environment=shim(["/dev/shm"], reason, calls=calls))
                    self.assertEqual(self.end(process, "steps=50"), "")
                    self.assert_complete(self.look(run), 50)


class StandingDisk(Limits):
    def test_it_holds_nobody_up(self):
        """From some write on, all of them block for an hour."""
        words = ("steps=600", "pace_us=500", "layers=4")
        for at in (8, 14):
            with self.subTest(at):
                run = self.fresh()
                told = self.end(self.start(run, *words, environment=shim(
                    [run], "freeze", at, calls="write,fsync,fdatasync", freeze_ms=HOUR_MS)), *words)
                self.assertIn("hangs", told)
                self.assert_complete(self.look(run), 600)


if __name__ == "__main__":
    unittest.main()
