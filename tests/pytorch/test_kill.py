# SPDX-License-Identifier: Apache-2.0
"""A process that is killed loses no recorded step.

  test_kill.py kill --runs 1000     # the series of docs/evidence/pytorch-robustness.md
"""

import argparse
import contextlib
import mmap
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
import unittest

import torch
from backprobe import _native
from loop import Training
from looping import LoopCase, steps_in

def train_until_killed(run, shared):
    """In a child: each step is noted in shared memory as soon as the optimiser has returned."""
    with open(os.devnull, "w") as devnull, contextlib.redirect_stderr(devnull):
        training = Training({"run": run, "every": 1})
        for number in range(1, 10**9):
            training.step()
            struct.pack_into("q", shared, 0, number)


def killed_once(folder, moments):
    """Steps of which the optimiser had returned, and those that the log has. A step is recorded when
    the next one begins, for a validation may still come; so the last one may be missing."""
    shared = mmap.mmap(-1, 8)
    child = os.fork()
    if child == 0:
        try:
            train_until_killed(folder, shared)
        finally:
            os._exit(1)
    if moments.random() < 0.9:  # else while the run begins
        while struct.unpack_from("q", shared) == (0,):
            assert os.waitpid(child, os.WNOHANG) == (0, 0), "it ended by itself"
            time.sleep(0.001)
    time.sleep(moments.uniform(0, 0.2))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, "it ended by itself"
    [done] = struct.unpack_from("q", shared)
    if not os.path.isdir(folder):
        return done, []
    if done < 2 and not any(name.endswith(".bplog") for name in os.listdir(folder)):
        return done, []
    damage = _native.check(os.fsencode(folder))["damage"]
    assert damage["lost_records"] == 0 and damage["damaged_places"] == 0, damage
    return done, steps_in(folder)


def kill_series(runs, seed, report=lambda *values: None):
    """Returns how many steps were done, and how many recorded ones were lost."""
    moments = random.Random(seed)
    total = lost = 0
    import backprobe.probe  # noqa: F401 - a child that is killed early should not spend its life on imports

    Training().step()
    with tempfile.TemporaryDirectory() as parent:
        for number in range(runs):
            folder = os.path.join(parent, str(number))
            done, known = killed_once(folder, moments)
            assert known == list(range(len(known))), known
            total += done
            lost += max(0, done - 1 - len(known))
            report(number + 1, total, lost)
            shutil.rmtree(folder, ignore_errors=True)
    return total, lost


class KillTest(LoopCase):
    RUNS = 30

    def test_no_recorded_step_is_lost(self):
        total, lost = kill_series(self.RUNS, 1)
        self.assertGreater(total, 100)
        self.assertEqual(lost, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["kill"])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.monotonic()

    def report(number, total, lost):
        if number % 50 == 0 or number == options.runs:
            print(f"{number} kills, {total} steps, {lost} recorded ones lost, 0 unreadable logs, "
                  f"{time.monotonic() - begin:.0f} s", flush=True)

    _, lost = kill_series(options.runs, options.seed, report)
    return lost > 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["kill"]:
        sys.exit(main())
    unittest.main()
