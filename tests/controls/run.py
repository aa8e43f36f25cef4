#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains every control network over several seeds and compares the findings with what is expected.

Healthy controls (healthy/*.yaml) must give no finding at all. A sick one says what it must give in
its first line: `# expect: PROBLEM FROM-TO, PROBLEM ...`; the first is the root. Layers FROM ... TO
must be among the finding's; where FROM equals TO they must be exactly that layer. The networks of
examples/, the demo's among them, are run too; what they must give stands below.

  tests/controls/run.py build/src/backprobe                 one seed each
  tests/controls/run.py build/src/backprobe --seeds 10 -v   the evidence in docs/evidence/controls.md
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
EXAMPLES = {
    "vanishing": "vanishing-gradient 1-15",
    "exploding": "weights-too-large 2-10, exploding-gradient 1-3, non-finite",
    "healthy": "",
    "residual": "",
    "batch_norm_40": "",
    "lenet": "",
    "lstm": "",
    "adding_lstm": "",
    "spirals": "",
    "fashion_lenet": "",
    "adding_rnn": "vanishing-gradient 1-1",  # through time
}
# Minutes each: only where they are named (--only) or all are asked for (--long).
LONG = ["fashion_lenet"]


def flatten(findings):
    for finding in findings:
        yield finding
        yield from flatten(finding["consequences"])


def expectation(path):
    """[(problem, first layer or None, last layer or None)]; empty for a healthy network."""
    text = path.read_text().splitlines()[0].removeprefix("# expect: ")
    if path.parent.name == "healthy":
        return []
    if path.parent.name == "examples":
        text = EXAMPLES[path.stem]
    expected = []
    for part in text.split(",") if text else []:
        match = re.fullmatch(r"\s*([a-z-]+)(?:\s+(\d+)-(\d+))?\s*", part)
        if not match:
            raise SystemExit(f"{path}: cannot read the expectation {part!r}")
        problem, low, high = match.groups()
        expected.append((problem, int(low) if low else None, int(high) if high else None))
    return expected


def differences(expected, findings):
    """Sentences about what is not as it should be."""
    if not expected:
        return [f"{f['severity']} {f['problem']}: {f['title']}" for f in flatten(findings)]
    wrong = []
    if not findings or findings[0]["problem"] != expected[0][0]:
        root = findings[0]["problem"] if findings else "none"
        wrong.append(f"root is {root}, expected {expected[0][0]}")
    for problem, low, high in expected:
        found = [f for f in flatten(findings) if f["problem"] == problem]
        if not found:
            wrong.append(f"{problem} is missing")
            continue
        layers = {layer["id"] for layer in found[0]["layers"]}
        if low is not None and not set(range(low, high + 1)) <= layers:
            wrong.append(f"{problem} names layers {sorted(layers)}")
        if low is not None and low == high and layers != {low}:
            wrong.append(f"{problem} names layers {sorted(layers)}, not only {low}")
    return wrong


def run_one(command, path, seed, folder, watched):
    run = pathlib.Path(folder) / f"{path.parent.name}-{path.stem}-{seed}"
    trained = subprocess.run(
        [command, "train", str(path), "--seed", str(seed), "--run", str(run), "--quiet",
         *watched],
        capture_output=True, text=True, check=False)
    if trained.returncode not in (0, 1):
        raise SystemExit(f"{path} seed {seed}: train failed: {trained.stderr}")
    checked = subprocess.run([command, "check", "--format", "json", str(run)],
                             capture_output=True, text=True, check=False)
    if checked.returncode not in (0, 1):
        raise SystemExit(f"{path} seed {seed}: check failed: {checked.stderr}")
    return json.loads(checked.stdout), json.loads((run / "findings.json").read_text())



def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--only", default="", help="part of a network's name")
    parser.add_argument("--long", action="store_true", help="also those that take minutes")
    parser.add_argument("--budget", help="watched by such a budget, not at every step")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what each run found")
    arguments = parser.parse_args()
    paths = sorted(HERE.glob("healthy/*.yaml")) + sorted(HERE.glob("sick/*.yaml"))
    paths += sorted((HERE.parents[1] / "examples").glob("*.yaml"))
    paths = [p for p in paths if arguments.only in p.stem
             and (arguments.long or p.stem not in LONG or arguments.only == p.stem)]
    if not paths:
        raise SystemExit("no control network matches")
    watched = ["--budget", arguments.budget] if arguments.budget else ["--every", "1"]
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            expected = expectation(path)
            good = 0
            notes = []
            for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
                document, live = run_one(arguments.command, path, seed, folder, watched)
                wrong = differences(expected, document["findings"])
                if live["findings"] != document["findings"]:
                    wrong.append("the live run's findings differ from the replayed log's")
                good += not wrong
                notes += [f"    seed {seed}: {sentence}" for sentence in wrong]
                if arguments.verbose and expected and not wrong:
                    titles = "; ".join(f["title"] for f in flatten(document["findings"]))
                    notes.append(f"    seed {seed}: {titles}")
            passed += good
            failed += arguments.seeds - good
            kind = path.parent.name
            verdict = "silent" if not expected else "found"
            print(f"{kind:8} {path.stem:24} {verdict} {good} of {arguments.seeds}", flush=True)
            for note in notes:
                print(note, flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
