#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Judges recorded runs: what `backprobe check` says about their logs against what is known of them.

  bench/accuracy/judge.py BUILD --runs DIR                     tables of both parts
  bench/accuracy/judge.py BUILD --runs DIR --part tune --wrong  each wrong run, for who tunes

How truth is decided: see truth.py. How a run counts: see score.py."""

import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import plan  # noqa: E402
import record  # noqa: E402
import rivals  # noqa: E402
import score  # noqa: E402
import tables  # noqa: E402
import truth  # noqa: E402


def read_runs(folder, part, only):
    """Entries of the manifest, those without an outcome left out."""
    with open(folder / "manifest.jsonl", encoding="utf-8") as file:
        runs = [json.loads(line) for line in file]
    return [run for run in runs
            if part in ("", run["part"]) and plan.is_named(run, only) and (folder / run["id"] / "outcome.json").is_file()]


def check(program, folder, runs):
    """{id: findings as a flat list, each with the place of its parent}"""
    found = {}
    for first in range(0, len(runs), 40):
        paths = [log_of(folder, run) for run in runs[first : first + 40]]
        done = subprocess.run([program, "check", "--format", "json", *paths], capture_output=True, text=True,
                              check=False)
        if done.returncode not in (0, 1):
            raise SystemExit(f"check failed: {done.stderr}")
        for run, line in zip(runs[first : first + 40], done.stdout.splitlines(), strict=True):
            document = json.loads(line)
            found[run["id"]] = list(flat(document["findings"]))
            name_layers(run, document["network"]["layers"])
    return found


def log_of(folder, run):
    return folder / run["id"] / ("log" if run["origin"] == "pytorch" else "")


def name_layers(run, layers):
    """A PyTorch run says by names of modules which layers are at fault: their numbers are the log's."""
    ids = {layer["name"]: layer["id"] for layer in layers}
    if run.get("names"):
        run["layers"] = [ids[name] for name in run["names"] if name in ids]


def flat(findings, parent=-1, counter=None):
    counter = counter if counter is not None else [0]
    for finding in findings:
        place = counter[0]
        counter[0] += 1
        yield dict(finding, parent=parent, layers=[layer["id"] for layer in finding["layers"]])
        yield from flat(finding["consequences"], place, counter)


SAME = ("problem", "severity", "since_step", "last_step", "open", "parent", "layers", "title", "cause", "note",
        "since_earliest", "since_latest")


def agrees(findings, other):
    """Whether two lists say the same, key by key that both have."""
    if len(findings) != len(other):
        return False
    return all(a[key] == b[key] for a, b in zip(findings, other) for key in SAME if key in a and key in b)


def replays(folder, runs, found, detectors):
    """[(id, who else read the run, whether the findings are those of check)], of the runs that were
    recorded with the detectors that judge now."""
    told = []
    for run in runs:
        if json.loads((folder / run["id"] / "job.json").read_text()).get("detectors") != detectors:
            continue
        for who in ("live", "followed"):
            path = folder / run["id"] / f"{who}.json"
            if path.is_file():
                told.append((run["id"], who, agrees(found[run["id"]], json.loads(path.read_text()))))
    return told


def judge(build, folder, runs):
    """(judged runs, who else's findings are the same)"""
    found = check(build / "src/backprobe", folder, runs)
    judged = [score.judge(run, truth.of(run, folder), found[run["id"]]) for run in runs]
    return judged, replays(folder, runs, found, record.detectors_of(build))


def of_rivals(folder, runs):
    with concurrent.futures.ProcessPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        said = pool.map(rivals.judge, [folder / run["id"] for run in runs], chunksize=8)
        return dict(zip([run["id"] for run in runs], said))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--runs", type=pathlib.Path, required=True)
    parser.add_argument("--part", choices=("tune", "report"), default="")
    parser.add_argument("--only", default="", help="as record.py's")
    parser.add_argument("--wrong", action="store_true", help="only what is wrong, a line each")
    parser.add_argument("--json", type=pathlib.Path, help="all figures, into this file")
    arguments = parser.parse_args()
    runs = read_runs(arguments.runs, arguments.part, arguments.only)
    if not runs:
        raise SystemExit("no run matches")
    judged, again = judge(arguments.build, arguments.runs, runs)
    if arguments.wrong:
        for line in tables.wrong(judged, again):
            print(line)
        return 0
    said = of_rivals(arguments.runs, runs)
    figures = tables.figures(judged, again, said)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(tables.markdown(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
