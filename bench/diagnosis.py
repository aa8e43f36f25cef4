#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What all detectors together cost a step, for networks of several depths.

  ninja -C BUILD bench/diagnosis               # a release build
  bench/diagnosis.py BUILD/bench/diagnosis     # docs/evidence/diagnosis-cost.md is a log of it

Every step is a full record of a healthy run with all evidence. A round is a diagnosis from its first to its
last step; told are the median and the extremes of the rounds, opening and closing included.
"""

import argparse
import json
import statistics
import subprocess
import sys

TARGETS = {100: 20.0, 1000: 200.0}  # µs a step


def rounds_of(program, layers, steps, rounds):
    done = subprocess.run([program, str(layers), str(steps), str(rounds)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    sys.stderr.write(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="bench/diagnosis of a build")
    parser.add_argument("--layers", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    print("| layers | µs a step: median (min–max) | target | ns a layer | nothing, µs | findings |")
    print("| --- | --- | --- | --- | --- | --- |")
    for layers in given.layers:
        rows = rounds_of(given.program, layers, given.steps, given.rounds)
        took = [row["ns_a_step"] / 1e3 for row in rows]
        nothing = statistics.median(row["ns_for_nothing"] / 1e3 for row in rows)
        middle = statistics.median(took)
        target = f"{TARGETS[layers]:g}" if layers in TARGETS else "–"
        print(f"| {layers:,} | {middle:.2f} ({min(took):.2f}–{max(took):.2f}) | {target} | "
              f"{1e3 * middle / layers:.0f} | {nothing:.3f} | {rows[0]['findings']} |")  # fmt: skip


if __name__ == "__main__":
    main()
