# SPDX-License-Identifier: Apache-2.0
"""Training programs as people write them (programs/*.py), healthy and broken, on real data.

A healthy version must reach its goal and be told nothing; a broken one must miss the goal, and the
first finding must name the cause, its layers and the step since when. As a test: one seed. As a
command, the table of docs/evidence/programs.md:

    python tests/pytorch/test_programs.py --seeds 5 --alone > table.md
    python tests/pytorch/test_programs.py --seeds 1 --only resnet --say
"""

import argparse
import contextlib
import importlib
import io
import math
import pathlib
import random
import statistics
import sys
import tempfile
import time
import unittest
from dataclasses import dataclass, field

import numpy
import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "programs")]

import backprobe  # noqa: E402
from outcome import Unwatched  # noqa: E402

PROGRAMS = sorted(p.stem for p in (HERE / "programs").glob("*.py") if p.stem != "outcome")


class Watching:
    """What a program calls in place of backprobe.watch: the same with a run folder of the test's,
    and silent. `every` None is what users get."""

    def __init__(self, folder, every):
        self.folder, self.every = pathlib.Path(folder), every
        self.probes = []
        self.callbacks = []

    def options(self):
        run = self.folder / str(len(self.probes) + len(self.callbacks))
        return {"run": run, "every": self.every, "on_finding": lambda _: None}

    def __call__(self, model, optimizer, **options):
        self.probes.append(backprobe.watch(model, optimizer, **options, **self.options()))
        return self.probes[-1]

    def huggingface(self):
        from backprobe.huggingface import BackprobeCallback

        self.callbacks.append(BackprobeCallback(**self.options()))
        return self.callbacks

    def lightning(self):
        from backprobe.lightning import BackprobeCallback

        self.callbacks.append(BackprobeCallback(**self.options()))
        return self.callbacks

    def findings(self):
        """Of the network in which something was wrong first."""
        probes = self.probes + [callback.probe for callback in self.callbacks]
        told = [probe.findings for probe in probes if probe.findings]
        return min(told, key=lambda findings: findings[0].since_step, default=[])

    def replayed(self):
        """The same, by the logs."""
        told = [found for run in self.folder.iterdir() if (found := backprobe.check(run))]
        return min(told, key=lambda findings: findings[0].since_step, default=[])


class NotWatching:
    """The program for itself."""

    def __call__(self, *_, **__):
        return Unwatched()

    @staticmethod
    def huggingface():
        return []

    lightning = huggingface


@dataclass
class Outcome:
    score: float
    seconds: float
    findings: list = field(default_factory=list)
    replayed: list = field(default_factory=list)


def load(name):
    return importlib.import_module(name)


def versions(name):
    return [None, *load(name).BROKEN]


def run(name, version, seed, every=None, watch=True):
    torch.set_num_threads(1)
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        watching = Watching(folder, every) if watch else NotWatching()
        began = time.perf_counter()
        score = load(name).main(watching, version)
        seconds = time.perf_counter() - began
        if not watch:
            return Outcome(score, seconds)
        return Outcome(score, seconds, watching.findings(), watching.replayed())


def flatten(findings):
    for finding in findings:
        yield finding
        yield from flatten(finding.consequences)


def layers_between(finding, first, last):
    """The finding's layers from `first` to `last`, or a sentence about what is missing."""
    for name in (first, last):
        if name not in finding.layers:
            return f"{name} is not among {', '.join(finding.layers) or 'no layers'}"
    ids = dict(zip(finding.layers, finding.layer_ids, strict=True))
    missing = set(range(ids[first], ids[last] + 1)) - set(finding.layer_ids)
    return f"layers {sorted(missing)} between {first} and {last} are missing" if missing else ""


def against(fault, findings):
    """Sentences about what is not as the fault should look."""
    if not fault.root:  # today's catalogue has no name for it
        return []
    if not findings:
        return [f"nothing found, expected {fault.root}"]
    root, wrong = findings[0], []
    if root.problem != fault.root:
        return [f"root is {root.problem} ({root.title}), expected {fault.root}"]
    if fault.first:
        sentence = layers_between(root, fault.first, fault.last or fault.first)
        wrong += [sentence] if sentence else []
    if fault.alone and root.layers != (fault.first,):
        wrong.append(f"names {', '.join(root.layers)}, not {fault.first} alone")
    if not fault.since[0] <= root.since_step <= fault.since[1]:
        wrong.append(f"since step {root.since_step}, expected {fault.since}")
    named = {finding.problem for finding in flatten(findings)}
    wrong += [f"{problem} is not told" for problem in fault.also if problem not in named]
    return wrong


def judge(name, version, outcome):
    """Sentences about what is not as expected."""
    program = load(name)
    reached = program.GOAL.reached(outcome.score)
    wrong = []
    if version is None:
        if not reached:
            wrong.append(f"healthy, but {outcome.score:.3g} is not {program.GOAL}")
        wrong += [f"healthy, but {f.severity} {f.problem}: {f.title}" for f in outcome.findings]
    else:
        if reached:
            wrong.append(f"broken, but {outcome.score:.3g} is {program.GOAL}")
        wrong += against(program.BROKEN[version], outcome.findings)
    live, replayed = sorted(short(outcome.findings)), sorted(short(outcome.replayed))
    if live != replayed:
        wrong.append(f"live {live}, replayed {replayed}")
    return wrong


def short(findings):
    return [(f.problem, f.since_step, f.layers) for f in findings]


class Programs(unittest.TestCase):
    """One test for each version; methods are added below."""


def add_test(name, version, every):
    def test(self):
        outcome = run(name, version, seed=1, every=every)
        told = "".join(f"\n{finding}" for finding in outcome.findings)
        self.assertEqual(judge(name, version, outcome), [], told)

    words = [name, version or "healthy"] + ([] if every else ["by_budget"])
    setattr(Programs, "test_" + "_".join(words), test)


# How much is seen by budget depends on the clock: silence must hold all the same.
for _name in PROGRAMS:
    add_test(_name, None, None)
    for _version in versions(_name):
        add_test(_name, _version, 1)


# --- as a command: the table


def range_of(values):
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} … {high}"


def score_of(outcomes):
    scores = [o.score for o in outcomes]
    if any(math.isnan(s) for s in scores):
        return "NaN"
    return f"{statistics.median(scores):.3g}"


def layers_of(finding):
    if not finding.layers:
        return ""
    first, last = finding.layers[0], finding.layers[-1]
    return f"`{first}`" if first == last else f"`{first}` … `{last}`"


def found_of(outcomes):
    """"root: problem ×7", with what hangs under it; the most frequent first."""
    counts = {}
    for outcome in outcomes:
        words = outcome.findings[0].problem if outcome.findings else "nothing"
        counts[words] = counts.get(words, 0) + 1
    ranked = sorted(counts, key=counts.get, reverse=True)
    return ", ".join(w if len(counts) == 1 else f"{w} ({counts[w]})" for w in ranked)


def row(name, version, every, arguments):
    program = load(name)
    fault = program.BROKEN.get(version)
    outcomes, ratios, notes = [], [], []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        watched = run(name, version, seed, every)
        outcomes.append(watched)
        wrong = judge(name, version, watched)
        if arguments.alone:
            alone = run(name, version, seed, watch=False)
            ratios.append(watched.seconds / alone.seconds)
            if repr(alone.score) != repr(watched.score):
                wrong.append(f"alone it comes to {alone.score!r}, watched to {watched.score!r}")
        notes += [f"seed {seed}: {sentence}" for sentence in wrong]
        if arguments.say:
            for finding in watched.findings:
                print(finding, file=sys.stderr)
    bad = len({note.split(":")[0] for note in notes})
    expected = fault.root or "nothing yet" if fault else "nothing"
    told = [o.findings[0] for o in outcomes if o.findings]
    cells = [
        name,
        f"{fault.why}" if fault else "healthy",
        "every step" if every else "budget",
        score_of(outcomes),
        expected,
        found_of(outcomes),
        layers_of(told[0]) if told else "",
        range_of([f.since_step for f in told]) if told else "",
        f"{arguments.seeds - bad} of {arguments.seeds}",
        f"{statistics.median(ratios):.2f}" if ratios else "",
    ]
    print("| " + " | ".join(cells) + " |", flush=True)
    return bad, notes


HEAD = """\
| program | version | watched | score | expected | found | layers | onset | as expected | time × |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


def is_wanted(name, version, wanted):
    return not wanted or name in wanted or f"{name}:{version or 'healthy'}" in wanted


def print_what_has_no_name(wanted):
    print("\nNothing yet:\n")
    for name in PROGRAMS:
        for version, fault in load(name).BROKEN.items():
            if fault.nothing_yet and is_wanted(name, version, wanted):
                print(f"- {name}, {fault.why}: {fault.nothing_yet}.")


def table():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, required=True)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--only", default="", help="PROGRAM or PROGRAM:VERSION, ...")
    parser.add_argument("--every", choices=["budget", "1", "both"], default="both")
    parser.add_argument("--alone", action="store_true", help="also run each without the watch")
    parser.add_argument("--say", action="store_true", help="print the findings")
    arguments = parser.parse_args()
    wanted = [w for w in arguments.only.split(",") if w]
    print(HEAD)
    bad, notes = 0, []
    for name in PROGRAMS:
        for version in versions(name):
            if not is_wanted(name, version, wanted):
                continue
            for every in {"budget": [None], "1": [1], "both": [None, 1]}[arguments.every]:
                n, said = row(name, version, every, arguments)
                bad += n
                notes += [f"{name} {version or 'healthy'} {every or 'budget'} {s}" for s in said]
    print_what_has_no_name(wanted)
    print("\n".join(notes), file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    if "--seeds" in sys.argv:
        sys.exit(table())
    unittest.main()
