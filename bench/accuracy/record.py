#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records the runs of the accuracy benchmark, once; judge.py judges them as often as wanted.

  bench/accuracy/record.py BUILD --runs DIR                    all that is not there yet
  bench/accuracy/record.py BUILD --runs DIR --part tune --only relu_12 --again

BUILD is a Meson build folder; PyTorch runs need a Python with torch, scikit-learn and backprobe
(--python). A run's folder holds the log, the job that it was recorded by, and what record.c and
record_torch.py leave; one that is whole and of the same job is not recorded again. Interrupted, the
command goes on where it was."""

import argparse
import concurrent.futures
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import plan  # noqa: E402


TOGETHER = 16  # PyTorch runs in one process

# What a recording depends on; what is expected of a run is not among them.
MADE_OF = ("origin", "architecture", "seed", "every", "network", "options", "version")


def made_of(run):
    return {key: run.get(key) for key in MADE_OF}


def is_recorded(folder, run):
    try:
        job = json.loads((folder / "job.json").read_text())
    except (OSError, ValueError):
        return False
    return (folder / "outcome.json").is_file() and made_of(job) == made_of(run)


def detectors_of(build):
    """Which detectors are in a build: findings are compared only where they come from the same."""
    return hashlib.sha256((build / "src/libbackprobe.a").read_bytes()).hexdigest()[:16]


def make_folder(folder, run, detectors):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(run | {"detectors": detectors}))


def record_c(program, folder, run, detectors):
    """What went wrong, or an empty text."""
    make_folder(folder, run, detectors)
    network = folder / "given.yaml"
    network.write_text(run["network"])
    done = subprocess.run([program, network, folder, run["every"], *run["options"]], capture_output=True,
                          text=True, check=False)
    return "" if done.returncode == 0 else f"{run['id']}: {done.stderr.strip() or done.returncode}"


def record_torch(python, folder, runs, detectors):
    """Many runs in one process: torch is imported once."""
    for run in runs:
        make_folder(folder / run["id"], run, detectors)
    ids = "\n".join(run["id"] for run in runs)
    done = subprocess.run([python, HERE / "record_torch.py", folder], input=ids, capture_output=True, text=True,
                          check=False)
    missing = [run["id"] for run in runs if not is_recorded(folder / run["id"], run)]
    return f"{', '.join(missing)}: {done.stderr.strip()[-2000:]}" if missing or done.returncode else ""


def mixed(runs):
    """The part that is reported first; in it an order that mixes all kinds and is the same each time,
    so that a recording that is cut off is no biased choice. A fault and its twin stand together."""
    def place(run):
        return hashlib.sha256(f"{run['architecture']} {run['seed']}".encode()).hexdigest()
    return sorted(runs, key=lambda run: (run["part"] != "report", place(run), run["fault"]))


def jobs_of(arguments, runs):
    """[(how many, function that records a C run or some PyTorch runs)], of both origins in turns."""
    program, detectors = arguments.build / "bench/accuracy_record", detectors_of(arguments.build)
    ours = [run for run in runs if run["origin"] == "pytorch"]
    plain = [(1, lambda run=run: record_c(program, arguments.runs / run["id"], run, detectors))
             for run in runs if run["origin"] == "c"]
    if ours and not arguments.python:
        print(f"without --python {len(ours)} PyTorch runs are left out")
        return plain
    several = [ours[first : first + TOGETHER] for first in range(0, len(ours), TOGETHER)]
    torch = [(len(some), lambda some=some: record_torch(arguments.python, arguments.runs, some, detectors))
             for some in several]
    jobs = [((i + 0.5) / len(some), job) for some in (plain, torch) for i, job in enumerate(some)]
    return [job for _, job in sorted(jobs, key=lambda placed: placed[0])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--runs", type=pathlib.Path, required=True)
    parser.add_argument("--python", default="", help="records PyTorch runs")
    parser.add_argument("--part", choices=("tune", "report"), default="")
    parser.add_argument("--only", default="", help="what a part of a run's id begins with: t, relu_12-small, c-relu_4,c-tanh_10")
    parser.add_argument("--again", action="store_true", help="also what is recorded already")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    runs = plan.chosen(arguments.part, arguments.only)
    if not runs:
        raise SystemExit("no run matches")
    wanted = mixed(run for run in runs if arguments.again or not is_recorded(arguments.runs / run["id"], run))
    began, done, failed = time.monotonic(), 0, []
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        futures = {pool.submit(job): n for n, job in jobs_of(arguments, wanted)}
        for future in concurrent.futures.as_completed(futures):
            done += futures[future]
            if future.result():
                failed.append(future.result())
                print(failed[-1], flush=True)
            elif done % 50 < futures[future]:
                print(f"{done} of {len(wanted)}, {time.monotonic() - began:.0f} s", flush=True)
    arguments.runs.mkdir(parents=True, exist_ok=True)
    with open(arguments.runs / "manifest.jsonl", "w", encoding="utf-8") as file:
        for run in plan.all_runs():
            if is_recorded(arguments.runs / run["id"], run):
                file.write(json.dumps(run) + "\n")
    print(f"{done} recorded in {time.monotonic() - began:.0f} s, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
