# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random moments: what stands under its final name is whole, and a run goes on.

`kill.py --kills 1000` prints the counts that docs/evidence/checkpoints.md shows; BACKPROBE is the
command's path. The moments are spread over a whole run: the first open, epochs, checkpoints, end.
"""

import argparse
import json
import math
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time

COMMAND = os.environ["BACKPROBE"]
NETWORK = """version: 1
data: digits
net: [2 x dense 64 relu, dense 10]
init: he
train: {optimiser: adam, learning_rate: 0.002, batch: 64, epochs: 12}
"""
RESUME_EVERY = 10


def read_safetensors(path):
    """Strictly: the tensors tile the data, in bounds, without gap or rest; all numbers are finite.
    Gives the texts and the tensors' bytes by name."""
    file = path.read_bytes()
    n_header = struct.unpack_from("<Q", file)[0]
    header = json.loads(file[8:8 + n_header].decode())
    data = file[8 + n_header:]
    notes = header.pop("__metadata__")
    place, tensors = 0, {}
    for name, tensor in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = tensor["data_offsets"]
        if begin != place or tensor["dtype"] != "F32":
            raise ValueError(f"{name} does not begin at byte {place} as F32")
        if end - begin != 4 * math.prod(tensor["shape"]):
            raise ValueError(f"{name} has {end - begin} bytes, not those of its shape")
        if not all(math.isfinite(x) for (x,) in struct.iter_unpack("<f", data[begin:end])):
            raise ValueError(f"{name} has numbers that are not finite")
        tensors[name] = data[begin:end]
        place = end
    if place != len(data) or not tensors:
        raise ValueError(f"the tensors end at byte {place} of {len(data)}")
    return notes, tensors


def check(run):
    """What `backprobe check` reads from the log; None when it cannot."""
    result = subprocess.run([COMMAND, "check", "--format", "json", run], check=False,
                            capture_output=True)
    if result.returncode not in (0, 1):
        print(result.stderr.decode())
        return None
    return json.loads(result.stdout)


class Killer:
    def __init__(self, folder, seed):
        self.folder, self.random = folder, random.Random(seed)
        self.counts = dict.fromkeys(
            ("kills", "before the first checkpoint", "with a checkpoint",
             "in the middle of a write", "after the end", "files read", "unreadable", "logs read",
             "unreadable logs", "resumed", "resumed to identical weights",
             "resumed to a complete log"), 0)
        (folder / "net.yaml").write_text(NETWORK)
        begin = time.monotonic()
        self.train("net.yaml", "--run", "whole").communicate()
        self.seconds = time.monotonic() - begin
        self.weights = (folder / "whole/weights.safetensors").read_bytes()
        self.log = check(folder / "whole")

    def train(self, *arguments):
        return subprocess.Popen([COMMAND, "train", "--quiet", "--checkpoint-every", "1",
                                 "--every", "1", *arguments], cwd=self.folder, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)

    def kill(self, *arguments):
        """The moments before the first line and after the last one are hit too."""
        process = self.train(*arguments)
        time.sleep(self.random.uniform(0, 1.1) * self.seconds)
        process.kill()
        output = process.communicate()[0].decode()
        if process.returncode not in (0, -9):
            raise RuntimeError(f"exit code {process.returncode}: {output}")
        self.counts["kills"] += 1

    def read(self, path):
        self.counts["files read"] += 1
        try:
            read_safetensors(path)
        except (ValueError, KeyError, struct.error) as error:
            print(f"{path}: {error}")
            self.counts["unreadable"] += 1

    def look(self, run):
        """What the kill left. False when there is no checkpoint."""
        found = list(run.glob("checkpoints/*")) + list(run.glob("weights.safetensors*"))
        whole = [path for path in found if path.suffix == ".safetensors"]
        has_checkpoint = any(path.name.startswith("step-") for path in whole)
        for path in whole:
            self.read(path)
        self.counts["after the end"] += run / "weights.safetensors" in whole
        self.counts["in the middle of a write"] += len(found) > len(whole)
        self.counts["with a checkpoint" if has_checkpoint else "before the first checkpoint"] += 1
        if has_checkpoint:
            self.counts["unreadable logs" if check(run) is None else "logs read"] += 1
        return has_checkpoint

    def resume(self, run):
        """Killed once more on the way, then to the end: the same weights, each step once."""
        self.kill("--resume", run)
        self.look(run)
        process = self.train("--resume", run)
        output = process.communicate()[0].decode()
        self.counts["resumed"] += 1
        if process.returncode != 0:
            print(f"--resume ends with {process.returncode}: {output}")
            return
        weights = (run / "weights.safetensors").read_bytes()
        self.counts["resumed to identical weights"] += weights == self.weights
        log = check(run)
        same = all(log[key] == self.log[key] for key in ("end", "steps", "loss", "findings"))
        good = same and log["damage"]["lost_records"] == log["damage"]["damaged_places"] == 0
        self.counts["resumed to a complete log"] += good
        if not good:
            print(f"the log of {run}: {log['steps']}, {log['loss']}, {log['damage']}")

    def cycle(self, number, resume_every):
        run = self.folder / f"run-{number}"
        self.kill("net.yaml", "--run", run)
        if self.look(run) and number % resume_every == 0:
            self.resume(run)
        shutil.rmtree(run, ignore_errors=True)

    def is_good(self):
        counts = self.counts
        return (counts["unreadable"] == counts["unreadable logs"] == 0 < counts["resumed"] ==
                counts["resumed to identical weights"] == counts["resumed to a complete log"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume-every", type=int, default=RESUME_EVERY)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="backprobe-test-") as folder:
        killer = Killer(pathlib.Path(folder), given.seed)
        number = 0
        # At least one resumed run, but no endless loop where none can be.
        while killer.counts["kills"] < given.kills or \
                killer.counts["resumed"] == 0 and number < 10 * given.resume_every:
            number += 1
            killer.cycle(number, given.resume_every)
    for name, count in killer.counts.items():
        print(f"{name:<30} {count:6}")
    return 0 if killer.is_good() else 1


if __name__ == "__main__":
    sys.exit(main())
