#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tensor statistics beside a plain sum, PyTorch and NumPy, one thread each, in turns in one run.

  ninja -C BUILD bench/stats            # a release build
  bench/stats.py BUILD/bench/stats      # needs torch; docs/evidence/statistics.md is a log of it

All sides read the same number of normally distributed elements, from 1 KiB to 64 MiB of f32. `sum`
is a plain vectorised f32 sum: no statistics of f32 can be faster than it from memory. A round gives
each side a turn of about --seconds; a ratio is that of two turns of one round. One JSON line a
result, then the tables. On a busy machine take short turns and look at the fastest ones.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
try:
    import numpy
    import torch
except ModuleNotFoundError:
    sys.exit("bench/stats.py needs PyTorch and NumPy: pip install numpy torch --index-url "
             "https://download.pytorch.org/whl/cpu")

SIZES = [1 << bits for bits in (8, 10, 12, 14, 16, 18, 20, 22, 24)]  # elements
OURS = ["sum", "f32", "f32+exponents", "f64", "f16", "bf16", "f16+exponents", "bf16+exponents",
        "f64+exponents", "zeros"]
FIRST, LAST = 1 << 14, 1 << 18  # elements in cache: 64 KiB ... 1 MiB of f32
# What is asked of the ratio of whom to whom, from how many elements to how many.
TARGETS = [("f32", "sum", 0.95, 1 << 24, 1 << 24), ("f32", "sum", 0.3, FIRST, LAST),
           ("f32+exponents", "sum", 0.65, 1 << 24, 1 << 24),
           ("f32+exponents", "sum", 0.18, FIRST, LAST),
           ("f32", "torch nine", 40, 1 << 8, 1 << 24),
           ("f16", "f32", 0.9, FIRST, LAST), ("bf16", "f32", 0.9, FIRST, LAST)]


def torch_nine(x):
    """What we give in one pass, as a user writes it; each result becomes a Python number."""
    return (x.sum().item(), (x * x).sum().item(), x.min().item(), x.max().item(),
            x.abs().max().item(), torch.isnan(x).sum().item(), torch.isposinf(x).sum().item(),
            torch.isneginf(x).sum().item(), (x == 0).sum().item())


def numpy_nine(x):
    return (x.sum(), (x * x).sum(), x.min(), x.max(), numpy.abs(x).max(), numpy.isnan(x).sum(),
            numpy.isposinf(x).sum(), numpy.isneginf(x).sum(), (x == 0).sum())


def python_side(function, x):
    def turn(repeats):
        begin = time.perf_counter()
        for _ in range(repeats):
            function(x)
        return time.perf_counter() - begin
    return turn


class Ours:
    """A process that waits between its turns."""

    def __init__(self, program, n, level):
        self.process = subprocess.Popen([program, str(n), *([level] if level else [])], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.level = self.ask("level", 1)

    def ask(self, what, repeats):
        self.process.stdin.write(f"{what} {repeats}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def side(self, what):
        return lambda repeats: float(self.ask(what, repeats))

    def close(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            sys.exit("bench/stats failed")


def repeats_of(turn, seconds):
    """How many fill a turn."""
    repeats = 1
    while (taken := turn(repeats)) < seconds / 4:
        repeats *= 2
    return max(1, round(repeats * seconds / taken))


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def measure(n, arguments):
    ours = Ours(arguments.program, n, arguments.level)
    tensor = torch.randn(n)
    array = tensor.numpy()
    sides = {what: ours.side(what) for what in OURS}
    sides |= {"torch nine": python_side(torch_nine, tensor),
              "torch norm": python_side(lambda x: x.norm().item(), tensor),
              "numpy nine": python_side(numpy_nine, array)}
    repeats = {side: repeats_of(turn, arguments.seconds) for side, turn in sides.items()}
    times = {side: [] for side in sides}
    many = []  # seconds a tensor of 64 elements
    for i in range(arguments.rounds):
        for side in list(sides)[::1 if i % 2 else -1]:
            times[side].append(sides[side](repeats[side]) / repeats[side])
        if n >= 1 << 14:
            many.append(float(ours.ask("many", 1)) / (n // 64))
    ours.close()
    ns = {side: spread([1e9 * t / n for t in values]) for side, values in times.items()}
    ratio = {f"{side} against {other}": {
                 **spread([b / a for a, b in zip(times[side], times[other])]),
                 "of_fastest_turns": min(times[other]) / min(times[side])}
             for side, other in [*((side, "sum") for side in sides if side != "sum"),
                                 ("f16", "f32"), ("bf16", "f32"), ("f32", "torch nine"),
                                 ("f32+exponents", "torch nine"), ("f32", "torch norm"),
                                 ("f32", "numpy nine")]}
    return {"elements": n, "level": ours.level, "rounds": arguments.rounds,
            "ns_an_element": ns, "speed_ratio": ratio,
            "ns_a_small_tensor": spread([1e9 * t for t in many]) if many else None}


def size_of(n):
    kib = n * 4 // 1024
    return f"{kib} KiB" if kib < 1024 else f"{kib // 1024} MiB"


def table(results):
    sides = list(results[0]["ns_an_element"])
    for which in ("median", "min"):
        print(f"\nns an element, {which}; level {results[0]['level']}\n")
        print(f"| f32 bytes | {' | '.join(sides)} |")
        print("| --- |" + " --- |" * len(sides))
        for r in results:
            cells = (f"{r['ns_an_element'][side][which]:.3f}" for side in sides)
            print(f"| {size_of(r['elements'])} | {' | '.join(cells)} |")
    names = list(results[0]["speed_ratio"])
    print("\nspeed of one side in that of the other: median (min–max)\n")
    print(f"| ratio | {' | '.join(size_of(r['elements']) for r in results)} |")
    print("| --- |" + " --- |" * len(results))
    for name in names:
        cells = (f"{q['median']:.2f} ({q['min']:.2f}–{q['max']:.2f})"
                 for q in (r["speed_ratio"][name] for r in results))
        print(f"| {name} | {' | '.join(cells)} |")
    print("\n| target | reached: medians | fastest turns of both (a busy machine) |\n| --- | --- | --- |")
    for side, other, target, first, last in TARGETS:
        met = [r for r in results if first <= r["elements"] <= last]
        ratios = [r["speed_ratio"][f"{side} against {other}"] for r in met]
        medians = [ratio["median"] for ratio in ratios]
        fastest = [ratio["of_fastest_turns"] for ratio in ratios]
        if met:
            print(f"| {side} ≥ {target} × {other}, {size_of(met[0]['elements'])} … "
                  f"{size_of(met[-1]['elements'])} | {min(medians):.2f} … {max(medians):.2f} | "
                  f"{min(fastest):.2f} … {max(fastest):.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=lambda path: pathlib.Path(path).resolve(strict=True))
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--seconds", type=float, default=0.02)
    parser.add_argument("--level", help="the best CPU level to use")
    parser.add_argument("--elements", nargs="+", type=int, default=SIZES)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    results = []
    for n in arguments.elements:
        results.append(measure(n, arguments))
        print(json.dumps({"bench": "stats", **results[-1]}), flush=True)
    table(results)


if __name__ == "__main__":
    main()
