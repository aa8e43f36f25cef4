# SPDX-License-Identifier: Apache-2.0
"""kill -9 of a run of two processes: both are killed at a random moment, and the log of each rank is
read twice: nothing between its first and its last step is lost.

`ranks.py --kills 200` prints the counts that docs/evidence/torture.md shows. BACKPROBE is the path of
the command, built with MPI; mpirun must be there.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

COMMAND = os.environ["BACKPROBE"]
NETWORK = """version: 1
data: digits
net: [2 x dense 16 relu, dense 10]
init: he
train: {learning_rate: 0.1, batch: 8, epochs: 1000}
"""
OPEN_MPI = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_rmaps_base_oversubscribe": "1",
            "OMPI_MCA_btl_vader_single_copy_mechanism": "none"}
LAST_MOMENT_S = 0.5  # after both logs were begun


def ranks_of(run):
    """The processes of this run that train: their command line names it, and they are not mpirun."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] == COMMAND.encode() and str(run).encode() in words:
            found.append(int(path.parent.name))
    return found


def check(log):
    done = subprocess.run([COMMAND, "check", "--format", "json", log], capture_output=True, check=False)
    return json.loads(done.stdout) if done.returncode in (0, 1) else done.stderr.decode()


class Killer:
    def __init__(self, folder, seed):
        self.folder, self.random = folder, random.Random(seed)
        self.counts = collections.Counter()
        (folder / "net.yaml").write_text(NETWORK)

    def start(self, run):
        process = subprocess.Popen(["mpirun", "-n", "2", COMMAND, "train", "-q", "net.yaml", "--run", run],
                                   cwd=self.folder, env={**os.environ, **OPEN_MPI},
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while not all(any((run / part).glob("*.bplog")) for part in ("", "rank-1")):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the run does not begin")
            time.sleep(0.002)
        return process

    def cycle(self, run):
        process = self.start(run)
        time.sleep(self.random.uniform(0, LAST_MOMENT_S))
        ranks = ranks_of(run)
        for rank in ranks:
            os.kill(rank, signal.SIGKILL)
        process.wait(60)
        self.counts["kills"] += 1
        self.counts["processes killed"] += len(ranks)
        for part in ("", "rank-1"):
            self.read(run / part)

    def read(self, log):
        if not any(path.stat().st_size for path in log.glob("*.bplog")):
            self.counts["logs killed before their first byte"] += 1
            return
        first, second = check(log), check(log)
        self.counts["logs read twice"] += 1
        self.counts["second reading differs"] += first != second
        if isinstance(first, str):
            self.counts["logs unreadable"] += 1
            print(f"{log}: {first}")
            return
        steps, damage = first["steps"], first["damage"]
        self.counts["records read"] += steps["records"]
        whole = steps["records"] == 0 or steps["last"] == steps["records"] - 1
        self.counts["logs with a gap"] += not whole or damage["lost_records"] > 0
        self.counts["places damaged"] += damage["damaged_places"]
        self.counts["rings left behind"] += (log / "ring").exists()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    version = subprocess.run([COMMAND, "version", "--verbose"], capture_output=True, text=True, check=True)
    if "not built in" in version.stdout or not shutil.which("mpirun"):
        sys.exit("this build has no MPI, or there is no mpirun")
    with tempfile.TemporaryDirectory(prefix="backprobe-ranks-") as name:
        killer = Killer(pathlib.Path(name), given.seed)
        for number in range(given.kills):
            run = killer.folder / f"run-{number}"
            killer.cycle(run)
            shutil.rmtree(run)
    counts = killer.counts
    for word, count in counts.items():
        print(f"{word:<30} {count:8}")
    bad = sum(counts[word] for word in ("second reading differs", "logs unreadable", "logs with a gap",
                                        "places damaged", "rings left behind"))
    bad += counts["records read"] == 0 or counts["processes killed"] != 2 * counts["kills"]
    print(f"{max(counts['logs read twice'] - bad, 0)} passed, {bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
