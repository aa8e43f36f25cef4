# SPDX-License-Identifier: Apache-2.0
"""Breaks C files on purpose, one small change at a time, and tells which changes no test notices.

    tools/mutate.py src/stats/units.c --suite stats --sample 100 --seed 1 --jobs 2

Works on copies of the tree (below --build), never on the tree itself. A mutant is killed when a test
of the suite fails, crashes or runs out of time. It is equivalent when the compiler makes the same
code of it, or when the list of equivalent mutants says so: a line "PATH: MUTATED LINE  # REASON" each
(tools/mutants-equivalent.txt), as this command prints the survivors. The exit code is 1 when fewer
than --least of the others die."""

import argparse
import collections
import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import queue
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

from mutants import Mutant, mutants, squeezed

ROOT = pathlib.Path(__file__).resolve().parent.parent
SLOWEST = 10  # a mutant may take so many times as long as the test takes, and never under a second
OPTIONS = ("-Doptimization=2", "-Ddebug=false")  # no line numbers: the same code, the same bytes


def run(command: list[str], folder: pathlib.Path, env: dict[str, str], limit: float) -> bool | None:
    """None: out of time. What the command started is ended with it."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(limit) == 0
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def output(*command: str, folder: pathlib.Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"mutate: {' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


class Copy:
    """A copy of the tree with a build of its own."""

    def __init__(self, root: pathlib.Path, folder: pathlib.Path, suite: str):
        self.tree, self.build = folder / "tree", folder / "build"
        self.copy_tree(root)
        if not (self.build / "build.ninja").is_file():
            shutil.rmtree(self.build, ignore_errors=True)
            output("meson", "setup", *OPTIONS, str(self.build), folder=self.tree)
        output("ninja", "build.ninja", folder=self.build)
        tests = json.loads(output("meson", "introspect", "--tests", str(self.build), folder=self.tree))
        self.tests = [test for test in tests if suite in [s.split(":")[-1] for s in test["suite"]]]
        if not self.tests:
            sys.exit(f"mutate: no test in suite '{suite}'")
        targets = json.loads(
            output("meson", "introspect", "--targets", str(self.build), folder=self.tree)
        )
        files = {target["id"]: target["filename"] for target in targets}
        self.programs = {
            test["name"]: [
                os.path.relpath(name, self.build) for id_ in test["depends"] for name in files[id_]
            ]
            for test in self.tests
        }
        output("ninja", *sorted(set(sum(self.programs.values(), []))), folder=self.build)
        self.known: dict[str, tuple[list[str], str]] = {}

    def copy_tree(self, root: pathlib.Path) -> None:
        """Only what differs is written, so that only that is built again."""
        listed = output("git", "ls-files", "-z", "-co", "--exclude-standard", folder=root)
        names = {name for name in listed.split("\0") if name and (root / name).is_file()}
        for name in names:
            source, target = root / name, self.tree / name
            if target.is_file() and target.read_bytes() == source.read_bytes():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        for path in self.tree.rglob("*"):
            if path.is_file() and str(path.relative_to(self.tree)) not in names:
                path.unlink()

    def objects(self, path: str) -> tuple[list[str], str]:
        """What is compiled from this source, or with this header; and the sum of it, unbroken."""
        if path not in self.known:
            names, target = [], ""
            for line in output("ninja", "-t", "deps", folder=self.build).splitlines():
                if not line.startswith(" "):
                    target = line.split(":")[0]
                elif line.strip() and (self.build / line.strip()).resolve() == self.tree / path:
                    names.append(target)
            names = sorted(name for name in names if (self.build / name).is_file())
            if not names:
                sys.exit(f"mutate: no test of the suite is built from {path}")
            self.compile(names)
            self.known[path] = names, self.digest(names)
        return self.known[path]

    def digest(self, objects: list[str]) -> str:
        sums = [hashlib.sha256((self.build / name).read_bytes()).hexdigest() for name in objects]
        return "".join(sums)

    def compile(self, names: list[str]) -> bool:
        return run(["ninja", *names], self.build, {}, 600) is True


Outcome = collections.namedtuple("Outcome", "path mutant verdict by")


class Bench:
    """Tries mutants on copies, several at a time."""

    def __init__(self, root: pathlib.Path, folder: pathlib.Path, suite: str, jobs: int):
        folder = folder.resolve()
        self.copies: queue.Queue[Copy] = queue.Queue()
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            made = [pool.submit(Copy, root, folder / f"job-{n}", suite) for n in range(jobs)]
            for copy in made:
                self.copies.put(copy.result())
        self.lock = threading.Lock()
        self.kills: collections.Counter[str] = collections.Counter()
        self.limits = self.time_tests()

    def time_tests(self) -> dict[str, float]:
        copy = self.copies.get()
        limits = {}
        for test in copy.tests:
            begin = time.monotonic()
            if self.run_test(copy, test, 600) is not True:
                sys.exit(f"mutate: {test['name']} fails without a mutant")
            limits[test["name"]] = max(1.0, SLOWEST * (time.monotonic() - begin))
        self.copies.put(copy)
        return limits

    @staticmethod
    def run_test(copy: Copy, test: dict, limit: float) -> bool | None:
        folder = pathlib.Path(test["workdir"] or copy.build)
        return run(test["cmd"], folder, test["env"], limit)

    def first_failure(self, copy: Copy) -> tuple[str, str]:
        """The test that killed most comes first: most mutants cost one test."""
        with self.lock:
            order = sorted(copy.tests, key=lambda test: -self.kills[test["name"]])
        for test in order:
            name = test["name"]
            if not copy.compile(copy.programs[name]):
                return "did not compile", ""
            good = self.run_test(copy, test, self.limits[name])
            if good is not True:
                with self.lock:
                    self.kills[name] += 1
                return "killed", name + ("" if good is False else " (time)")
        return "survived", ""

    def judge(self, copy: Copy, path: str, text: str) -> tuple[str, str]:
        objects, unbroken = copy.objects(path)
        file = copy.tree / path
        original = file.read_text()
        try:
            file.write_text(text)
            if not copy.compile(objects):
                return "did not compile", ""
            if copy.digest(objects) == unbroken:
                return "equivalent", "same code"
            return self.first_failure(copy)
        finally:
            file.write_text(original)  # built again with the next one

    def attempt(self, path: str, text: str, mutant: Mutant) -> Outcome:
        copy = self.copies.get()
        try:
            return Outcome(path, mutant, *self.judge(copy, path, mutant.apply(text)))
        finally:
            self.copies.put(copy)


def equivalent(file: pathlib.Path) -> dict[tuple[str, str], str]:
    listed = {}
    for number, line in enumerate(file.read_text().splitlines() if file.is_file() else [], 1):
        if not line.strip() or line.startswith("#"):
            continue
        path, colon, rest = line.partition(": ")
        key, mark, reason = rest.rpartition("  # ")
        if not (colon and mark and reason.strip()):
            sys.exit(f"{file}:{number}: expected 'PATH: MUTATED LINE  # REASON'")
        listed[path, squeezed(key)] = reason.strip()
    return listed


def choose(root: pathlib.Path, paths: list[str], sample: int, seed: int) -> list[tuple]:
    found = []
    for path in paths:
        text = (root / path).read_text()
        found += [(path, text, mutant) for mutant in mutants(text)]
    if not found:
        sys.exit("mutate: nothing to break")
    if 0 < sample < len(found):
        kept = set(random.Random(seed).sample(range(len(found)), sample))
        found = [item for n, item in enumerate(found) if n in kept]
    return found


def report(outcomes: list[Outcome], least: float) -> int:
    for outcome in outcomes:
        if outcome.verdict == "survived":
            print(f"survived {outcome.path}:{outcome.mutant.line}: {outcome.mutant.what}")
            print(f"    {outcome.path}: {outcome.mutant.key}")
    counts = collections.Counter(outcome.verdict for outcome in outcomes)
    tests = collections.Counter(o.by for o in outcomes if o.verdict == "killed")
    print("killed by: " + ", ".join(f"{name} {n}" for name, n in tests.most_common()))
    tried = counts["killed"] + counts["survived"]
    share = counts["killed"] / tried if tried else 0.0
    print(
        f"{len(outcomes)} mutants: {counts['killed']} killed, {counts['survived']} survived, "
        f"{counts['equivalent']} same code, {counts['listed']} equivalent as listed, "
        f"{counts['did not compile']} did not compile; {100 * share:.1f}% of {tried} died"
    )
    return 0 if tried and share >= least else 1


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="tools/mutate.py", description=__doc__.split("\n\n")[0],
    )  # fmt: skip
    parser.add_argument("file", nargs="+", help="C file, from the root of the tree")
    parser.add_argument("--suite", required=True, help="Meson's test suite that has to notice")
    parser.add_argument("--build", default="build/mutate", help="folder for the copies; kept")
    parser.add_argument("--sample", type=int, default=0, help="so many mutants; 0: all")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--least", type=float, default=0.95, help="share that has to die")
    parser.add_argument("--equivalent", default="tools/mutants-equivalent.txt")
    parser.add_argument("--root", default=str(ROOT), help="root of the tree")
    parser.add_argument("--list", action="store_true", help="show the mutants, try none")
    given = parser.parse_args(words)
    root = pathlib.Path(given.root).resolve()
    items = choose(root, given.file, given.sample, given.seed)
    if given.list:
        for path, _, mutant in items:
            print(f"{path}:{mutant.line}: {mutant.what}")
        return 0
    listed = equivalent(root / given.equivalent)
    known = [item for item in items if (item[0], item[2].key) in listed]
    outcomes = [Outcome(path, mutant, "listed", "") for path, _, mutant in known]
    bench = Bench(root, root / given.build, given.suite, given.jobs)
    with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        tried = [pool.submit(bench.attempt, *item) for item in items if item not in known]
        for done, future in enumerate(concurrent.futures.as_completed(tried), 1):
            outcomes.append(future.result())
            if done % 10 == 0 or outcomes[-1].verdict == "survived":
                last = outcomes[-1]
                print(f"{done} of {len(tried)}, now {last.path}:{last.mutant.line} {last.verdict}",
                      file=sys.stderr, flush=True)  # fmt: skip
    outcomes.sort(key=lambda outcome: (outcome.path, outcome.mutant.start))
    return report(outcomes, given.least)


if __name__ == "__main__":
    sys.exit(main())
