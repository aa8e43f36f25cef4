# SPDX-License-Identifier: Apache-2.0
"""What the tests of a loop share: a run in a folder of its own, what was said, programs in processes."""

import contextlib
import io
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

import backprobe
import torch
from backprobe import _native
from loop import Training

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = pathlib.Path(backprobe.__file__).resolve().parents[1]


def environment(**more):
    paths = [str(PACKAGE), str(HERE), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "OMP_NUM_THREADS": "1", **more}


def python(*words, flags=(), timeout=300, **more):
    """Runs a program of this folder; one that does not end in time is a failure. The whole group is
    killed then, workers too."""
    process = subprocess.Popen([sys.executable, *flags, *map(str, words)], text=True, cwd=HERE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=environment(**more), start_new_session=True)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"did not end within {timeout} s\n{out}\n{err}") from None
    return process.returncode, out, err


def steps_in(folder):
    """Of the steps that have a record in the log (with every=1, all), the numbers."""
    return [record["step"] for record in _native.records(os.fsencode(folder))]


def ends_as(folder):
    return _native.check(os.fsencode(folder))["end"]


class LoopCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.run_folder = self.folder / "run"
        self.stderr = io.StringIO()
        self.before = torch.get_num_threads()
        torch.set_num_threads(1)
        self.addCleanup(torch.set_num_threads, self.before)

    @contextlib.contextmanager
    def heard(self):
        with contextlib.redirect_stderr(self.stderr):
            yield

    @property
    def lines(self):
        return self.stderr.getvalue().splitlines()

    def plain(self, steps, act=lambda training, number: None):
        training = Training()
        for number in range(steps):
            act(training, number)
            training.step()
        return training.digest()

    def watched(self, **watch):
        training = Training({"run": str(self.run_folder), "every": 1, **watch})
        self.addCleanup(training.probe.close)
        return training
