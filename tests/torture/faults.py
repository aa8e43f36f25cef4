# SPDX-License-Identifier: Apache-2.0
"""Every k-th call to the system fails: the training ends with the same bits, one line at most is told,
and the log is readable and says what it lost.

`faults.py --long --workers 2` prints the counts that docs/evidence/torture.md shows. HOST and SHIM are
the paths of the built tests/torture/host.c and shim.c. For each run and each fault, k goes from 1 until
the run meets no fault any more.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import errno
import itertools
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import time

import support
from support import HOST, rings, sweep

STEPS = 16
MOST_CALLS = 2000
MOST_SWEPT = 50


@dataclasses.dataclass(frozen=True)
class Fault:
    kind: str  # an errno's name, or one of the shim's words
    forever: bool = False

    def __str__(self):
        return f"{self.kind}, {'from then on' if self.forever else 'once'}"

    def word(self):
        return str(getattr(errno, self.kind)) if self.kind.startswith("E") else self.kind


RUNS = {
    "watch": (),
    "writer, many segments": ("writer=1", "segment_bytes=900"),
    "writer, many segments, direct": ("writer=1", "segment_bytes=900", "direct=1"),
    "watch, resumed": ("resume=10",),  # behind a killed one whose ring is salvaged
}
SALVAGE = "a reader of a killed run"
HARMLESS = ("EINTR", "short", "kill")  # the next try goes on
SHORT = (("watch", Fault("ENOSPC", True)), ("watch", Fault("EINTR")),
         ("writer, many segments", Fault("EIO")), ("writer, many segments", Fault("kill")),
         (SALVAGE, Fault("ENOSPC")), (SALVAGE, Fault("kill")))
LONG = tuple(itertools.product((*RUNS, SALVAGE), (
    Fault("ENOSPC"), Fault("ENOSPC", True), Fault("EIO"), Fault("EIO", True), Fault("EDQUOT", True),
    Fault("EROFS", True), Fault("EINTR"), Fault("short"), Fault("short", True), Fault("kill"))))


class Case:
    """One process that meets one fault at its k-th call."""

    def __init__(self, folder, name, fault, k, expected):
        self.name, self.fault, self.k, self.expected = name, fault, k, expected
        self.run = folder / "run"
        self.report, self.page = folder / "report", folder / "page"
        self.met, self.troubles, self.was_swept, self.dead_rings = "", [], False, []

    def host(self, what, *options, shim=False):
        environment = dict(os.environ)
        if shim:
            environment |= support.shim((self.run, "own", *self.dead_rings), self.fault.word(), self.k,
                                        self.fault.forever, report=self.report)
        return subprocess.run([HOST, what, self.run, *options], text=True, capture_output=True,
                              env=environment, timeout=60, check=False)

    def wrong(self, what):
        self.troubles.append(f"{self.name}: {self.fault}: call {self.k} ({self.met}): {what}")

    def go(self):
        """False when the run has no call number k."""
        self.run.mkdir()
        options = RUNS[self.name]
        if "resume=10" in options:
            self.host("train", "steps=100", "die=13")
            self.dead_rings = rings(self.run)
        self.page.write_bytes(bytes(24))
        done = self.host("train", f"steps={STEPS}", f"page={self.page}", *options, shim=True)
        self.met = self.report.read_text().split()[0] if self.report.exists() else ""
        self.told = done.stderr
        self.judge_host(done)
        self.judge_log()
        return bool(self.met)

    def judge_host(self, done):
        killed = self.fault.kind == "kill" and self.met
        if done.returncode != (-9 if killed else 0):
            self.wrong(f"exit code {done.returncode}")
        if not killed and done.stdout != self.expected:
            self.wrong(f"other losses: {done.stdout}")
        if done.stderr.count("\n") > 1 or not done.stderr.startswith("host: ") and done.stderr:
            self.wrong(f"told: {done.stderr}")
        if done.stderr and self.fault.kind in HARMLESS:
            self.wrong(f"no reason to tell: {done.stderr}")

    def judge_log(self):
        recorded = struct.unpack("<3q", self.page.read_bytes())[1]
        first, second = self.host("look"), self.host("look")
        if first.returncode not in (0, 1) or first.stdout != second.stdout:
            self.wrong(f"read {first}, then {second}")
        self.judge_left(first)
        if first.returncode == 0:
            self.judge_reading(json.loads(first.stdout), recorded)
        elif recorded >= 0 or not self.told and self.fault.kind != "kill":
            self.wrong(f"step {recorded} was recorded, but {first.stderr}")

    def judge_left(self, first):
        """A ring without a note is for the next run's sweep. A fault may leave a file of no meaning in
        the run folder."""
        if rings(self.run):
            sweep(self.run)
            self.was_swept = True
            if self.host("look").stdout != first.stdout:
                self.wrong("the sweep changed what is read")
        may_stay = self.fault.kind not in ("EINTR", "short")
        left = rings(self.run) + [path for path in self.run.iterdir() if path.suffix != ".bplog"
                                  and not (may_stay and path.name in ("ring", "ring.tmp"))]
        if left:
            self.wrong(f"left behind: {left}")

    def judge_reading(self, log, recorded):
        if log["wrong"] or log["doubled"] or log["unknown"]:
            self.wrong(f"not what happened: {log}")
        if self.fault.kind == "kill" and self.met:
            whole = log["last"] >= recorded
        elif self.told:
            if recorded < 0:  # it was told that this run would not be watched
                return
            # What was lost is counted as soon as anything can be written again.
            missing = log["missing"] + STEPS - 1 - log["last"]
            if not self.fault.forever and missing > log["lost"]:
                self.wrong(f"lost without a word in the log: {log}")
            return
        else:
            whole = log["last"] == STEPS - 1 and log["end"] == 1
        if not whole or log["missing"] or log["lost"] or log["places"]:
            self.wrong(f"lost without a word, {recorded} recorded: {log}")


class SalvageCase(Case):
    """A run was killed; who reads its log, and so salvages it, meets the fault."""

    def go(self):
        for number in range(MOST_SWEPT):  # another run that just begins may have swept the ring
            self.run = self.run.with_name(f"run-{number}")
            self.run.mkdir()
            self.page.write_bytes(bytes(24))
            self.host("train", f"steps={STEPS}", f"page={self.page}", f"die={STEPS - 1}")
            self.dead_rings = rings(self.run)
            if self.dead_rings:
                break
        else:
            self.wrong("killed runs leave no ring")
        done = self.host("look", shim=True)
        self.met = self.report.read_text().split()[0] if self.report.exists() else ""
        self.told = done.stderr
        if done.returncode not in (0, 1) and not (self.fault.kind == "kill" and self.met):
            self.wrong(f"exit code {done.returncode}, {done.stderr}")
        recorded = struct.unpack("<3q", self.page.read_bytes())[1]
        whole = self.host("look")
        for reading in (done, whole) if done.returncode == 0 else (whole,):
            log = json.loads(reading.stdout)
            if log["last"] < recorded or log["missing"] or log["lost"] or log["wrong"] or \
                    log["doubled"] or log["places"]:
                self.wrong(f"{recorded} were recorded: {log}")
        self.judge_left(whole)
        return bool(self.met)


def expected_of(options):
    with tempfile.TemporaryDirectory(prefix="backprobe-faults-") as folder:
        return subprocess.run([HOST, "train", folder, f"steps={STEPS}", *options], check=True, text=True,
                              capture_output=True).stdout


def work(job):
    """All k of one run and one fault."""
    name, fault = job
    kind, counts, troubles = Case, collections.Counter(), []
    if name == SALVAGE:
        kind = SalvageCase
    expected = expected_of(RUNS.get(name, ()))
    for k in range(1, MOST_CALLS):
        with tempfile.TemporaryDirectory(prefix="backprobe-faults-") as folder:
            case = kind(pathlib.Path(folder), name, fault, k, expected)
            goes_on = case.go()
        troubles += case.troubles
        if not goes_on:
            break
        counts["runs"] += 1
        counts["runs that told a line"] += bool(case.told)
        counts["runs whose ring the next run swept"] += case.was_swept
        counts[f"met by {case.met}"] += 1
    return f"{name}: {fault}", counts, troubles


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    begin, total, bad = time.monotonic(), collections.Counter(), 0
    with concurrent.futures.ThreadPoolExecutor(given.workers) as pool:
        for title, counts, troubles in pool.map(work, LONG if given.long else SHORT):
            print(f"{title:<50} k = 1 ... {counts['runs']:4}: {counts['runs that told a line']:4} told a "
                  f"line, {len(troubles)} troubles", flush=True)
            for trouble in troubles[:5]:
                print(f"  {trouble}")
            total += counts
            bad += len(troubles)
            if not counts["runs"]:
                bad += 1
                print("  met no fault at all")
    for name, count in sorted(total.items()):
        print(f"{name:<40} {count:6}")
    print(f"{time.monotonic() - begin:.0f} s")
    print(f"{max(total['runs'] - bad, 0)} passed, {bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
