# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random moments: nothing that was recorded is lost, and no log is unreadable.

`kill.py --kills 10000 --workers 2` prints the counts that docs/evidence/torture.md shows; HOST is the
path of the built tests/torture/host.c. The moments lean towards those that matter: open, the change
of segments, close, and the salvage of what a killed run left, in which the reader is killed as well.
After each the log is read twice.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

from support import CLOSED, CLOSING, HOST, OPENING, TRAINING, Page, rings, sweep

MOMENTS = ("open", "training", "rotation", "close", "salvage", "resume")
# What must never happen, as the table names it.
FAULTS = ("recorded records lost", "logs unreadable", "records twice", "values wrong",
          "places damaged", "second reading differs", "rings left behind", "crashes",
          "resumed runs incomplete")


class Killer:
    def __init__(self, folder, seed):
        self.folder, self.random = pathlib.Path(folder), random.Random(seed)
        self.page = Page(self.folder / "page")
        self.counts, self.told = collections.Counter(), []

    def fault(self, name, run, what):
        self.counts[name] += 1
        self.told.append(f"{name}: {run.name}: {what}")

    def start(self, what, run, *options):
        return subprocess.Popen([HOST, what, run, *options], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def end(self, process, run):
        output, errors = process.communicate(timeout=60)
        if process.returncode not in (0, 1, -9):
            self.fault("crashes", run, f"exit code {process.returncode}: {errors}")
        return output, errors

    def kill(self, process, run, most, *moment):
        """At a time up to `most` seconds after the moment: a phase, steps done; none: the start."""
        if moment:
            self.page.wait_for(process, *moment)
        until = time.perf_counter() + self.random.uniform(0, most)
        while time.perf_counter() < until:
            os.sched_yield()
        process.kill()
        self.end(process, run)
        self.counts["kills"] += 1
        self.counts["of these, in a process that had ended"] += process.returncode != -9

    def options(self, moment):
        pick = self.random
        self.steps = pick.randint(20, 400)
        words = [f"steps={self.steps}", f"layers={pick.randint(1, 6)}", f"page={self.page.path}",
                 f"pace_us={pick.choice((0, 0, 20, 200))}"]
        if moment == "rotation" or moment != "resume" and pick.random() < 0.3:
            words += ["writer=1", f"segment_bytes={pick.choice((1, 900, 3000, 20000))}"]
            words += [f"direct={pick.choice((0, 0, 1))}"]
        return words

    def look(self, run):
        process = self.start("look", run)
        output, errors = self.end(process, run)
        return (json.loads(output) if process.returncode == 0 else None), errors

    def check(self, run, recorded, closed):
        """What must hold of a log after its run was killed; returns what was read."""
        self.counts["runs killed before anything was recorded"] += recorded < 0
        self.counts["runs with a ring left to salvage"] += bool(rings(run))
        first, errors = self.look(run)
        second, _ = self.look(run)
        self.counts["logs read twice"] += 1
        if first != second:
            self.fault("second reading differs", run, f"{first}, then {second}")
        self.counts["rings left to the sweep of the next run"] += bool(rings(run))
        if first is None:
            if recorded >= 0:
                self.fault("logs unreadable", run, errors)
            return None
        self.counts["records read"] += first["steps"]
        self.counts["torn tails"] += first["torn"]
        if first["last"] < recorded or first["missing"] or first["lost"]:
            self.fault("recorded records lost", run, f"{recorded} recorded, {first}")
        if first["doubled"]:
            self.fault("records twice", run, first)
        if first["wrong"]:
            self.fault("values wrong", run, first)
        if first["places"]:
            self.fault("places damaged", run, first)
        if closed and first["end"] != 1:
            self.fault("recorded records lost", run, f"the end record, {first}")
        return first

    def kill_run(self, run, moment, *options):
        """Returns the last recorded step and whether the log was closed."""
        self.page.reset()
        process = self.start("train", run, *options)
        if moment == "open":
            self.kill(process, run, 0.001, OPENING)
        elif moment == "close":
            self.kill(process, run, 0.001, CLOSING)
        else:
            self.kill(process, run, 0.0003, TRAINING, self.random.randrange(self.steps))
        reached, recorded, _ = self.page.read()
        return recorded, reached == CLOSED

    def resume(self, run, seen, words):
        """From somewhere in what is known; once killed on the way, once to the end."""
        start = self.random.randint(0, seen["last"] + 1) if seen else 0
        options = (*words, f"resume={start}")
        recorded, closed = self.kill_run(run, self.random.choice(("open", "training")), *options)
        seen = self.check(run, max(recorded, start - 1 if seen else -1), closed)
        start = min(start, seen["last"] + 1) if seen else 0
        output, errors = self.end(self.start("train", run, *words, f"resume={start}"), run)
        self.counts["runs resumed to their end"] += 1
        found, _ = self.look(run)
        if "hash" not in output or errors or not found or found["end"] != 1 or found["missing"] \
                or found["last"] != self.steps - 1 or found["first"] or found["wrong"]:
            self.fault("resumed runs incomplete", run, f"{output} {errors} {found}")

    def cycle(self, number):
        moment = MOMENTS[number % len(MOMENTS)]
        run = self.folder / f"run-{number:06}"
        run.mkdir()
        words = self.options(moment)
        recorded, closed = self.kill_run(run, moment, *words)
        self.counts[f"kills aimed at: {moment}"] += 1
        if moment == "salvage":
            for _ in range(self.random.randint(1, 2)):
                self.kill(self.start("look", run), run, 0.003)
                self.counts["of these, a reader that may salvage"] += 1
        before = len(self.told)
        seen = self.check(run, recorded, closed)
        if moment == "resume":
            self.resume(run, seen, words)
        if len(self.told) == before and not rings(run):
            shutil.rmtree(run)


def work(seed, kills, keep):
    folder = tempfile.mkdtemp(prefix="backprobe-kill-")
    killer, number = Killer(folder, seed), 0
    while killer.counts["kills"] < kills:
        killer.cycle(number)
        number += 1
    sweep(folder)
    left = rings(folder, whole=False)
    if left:
        killer.fault("rings left behind", killer.folder, left)
    if not (keep and killer.told):
        shutil.rmtree(folder)
    return killer.counts, killer.told


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="the folders of runs with a fault")
    given = parser.parse_args()
    counts, told, begin = collections.Counter(), [], time.monotonic()
    with concurrent.futures.ProcessPoolExecutor(given.workers) as pool:
        jobs = [pool.submit(work, given.seed + i, -(-given.kills // given.workers), given.keep)
                for i in range(given.workers)]
        for job in jobs:
            counts += job.result()[0]
            told += job.result()[1]
    for line in told[:20]:
        print(line)
    for name in sorted(set(counts) - set(FAULTS)):
        print(f"{name:<45} {counts[name]:8}")
    for name in FAULTS:
        print(f"{name:<45} {counts[name]:8}")
    print(f"{time.monotonic() - begin:.0f} s")
    bad = sum(counts[name] for name in FAULTS)
    print(f"{counts['logs read twice'] - bad} passed, {bad} failed")
    return 1 if bad or not counts["records read"] else 0


if __name__ == "__main__":
    sys.exit(main())
