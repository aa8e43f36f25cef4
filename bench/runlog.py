#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our run log beside TensorBoard's and beside a plain frame with one write(2) a step, in one run.

  ninja -C BUILD bench/runlog           # a release build
  bench/runlog.py BUILD/bench/runlog    # needs torch, tensorboard; docs/evidence/runlog.md is a log of it

A run is 50 layers × 20,000 steps × 4 values; TensorBoard's is --tensorboard-steps long, and its whole
times are extrapolated from that, as marked. Three questions: bytes a value; how long the training
thread is held by a step's values when about --pause microseconds of cache-chilling work lie between
the steps, on a quiet disk, beside a thread that writes and fsyncs without pause, and while write and
fsync block for half of the run; time and memory to load everything. All sides take turns in each
round; one JSON line a result, then the tables.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

QUANTITIES = ("activation_rms", "weight_rms", "gradient_rms", "update_rms")
OURS = ("ring", "direct", "frame")
DISKS = ("quiet", "busy", "frozen")
NAMES = {"ring": "ours, ring in shared memory", "direct": "ours, direct", "frame": "plain frame, write(2)",
         "tensorboard": "TensorBoard's writer", "EventAccumulator": "TensorBoard's EventAccumulator",
         "tbparse": "tbparse"}
TIMES = ("mean_us", "p99_us", "p999_us", "max_us")
TARGETS = {"bytes a value": 2.5, "mean": 0.5, "p99.9, busy": 5, "p99.9, frozen": 10, "values/s": 200e6}


# --- TensorBoard's side: the same answers as bench/runlog.c's, in a process of its own --------------


class TensorBoard:
    """The tags, and the values of a step as users log them."""

    def __init__(self, folder, layers):
        from torch.utils.tensorboard import SummaryWriter
        self.writer = SummaryWriter(folder)
        self.tags = [f"{quantity}/layer{i}" for quantity in QUANTITIES for i in range(1, layers + 1)]
        self.state = 1

    def values(self):
        found = []
        for _ in self.tags:
            self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
            found.append(0.01 + 0.04 * (self.state >> 33) / 2**31)
        return found

    def hand_over(self, step, values):
        begin = time.perf_counter()
        for tag, value in zip(self.tags, values):
            self.writer.add_scalar(tag, value, step)
        return time.perf_counter() - begin


def tensorboard_write(folder, layers, steps):
    log, seconds = TensorBoard(folder, layers), 0
    for step in range(steps):
        seconds += log.hand_over(step, log.values())
    begin = time.perf_counter()
    log.writer.close()
    return {"values": len(log.tags) * steps, "hand_over_s": seconds,
            "close_s": time.perf_counter() - begin}


def keep_busy(path, is_over):
    with open(path, "wb", buffering=0) as file:
        while not is_over.is_set():
            file.seek(0)
            file.write(bytes(1 << 20))
            os.fsync(file)
    os.unlink(path)


def tensorboard_pace(folder, layers, steps, pause, disk):
    import numpy
    log, seconds, cold, at = TensorBoard(folder, layers), [], numpy.ones(1 << 21), 0
    is_over = threading.Event()
    thread = threading.Thread(target=keep_busy, args=(pathlib.Path(folder, "busy"), is_over))
    if disk == "busy":
        thread.start()
    for step in range(steps):
        values = log.values()
        until = time.perf_counter() + 1e-6 * pause
        while time.perf_counter() < until:
            cold[at:at + 4096].sum()
            at = (at + 4096) % len(cold)
        seconds.append(log.hand_over(step, values))
    is_over.set()
    if disk == "busy":
        thread.join()
    log.writer.close()
    seconds.sort()
    last = steps - 1
    found = (statistics.fmean(seconds), seconds[steps // 2], seconds[last - steps // 100],
             seconds[last - steps // 1000], seconds[last])
    return {"steps": steps, **dict(zip(("mean_us", "p50_us", "p99_us", "p999_us", "max_us"),
                                       (1e6 * value for value in found)))}


def peak_bytes():
    """As in bench/runlog.c: of this process alone."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    return 0


def tensorboard_load(folder, reader):
    begin = time.perf_counter()
    if reader == "tbparse":
        import tbparse
        begin = time.perf_counter()
        values = tbparse.SummaryReader(folder).scalars["value"].to_list()
    else:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        begin = time.perf_counter()
        events = EventAccumulator(folder, size_guidance={"scalars": 0})
        events.Reload()
        values = [event.value for tag in events.Tags()["scalars"] for event in events.Scalars(tag)]
    return {"seconds": [time.perf_counter() - begin], "values": len(values), "sum": sum(values),
            "peak_bytes": peak_bytes()}


def tensorboard(what, folder, *arguments):
    numbers = [int(text) if text.isdigit() else text for text in arguments]
    print(json.dumps({"write": tensorboard_write, "pace": tensorboard_pace,
                      "load": tensorboard_load}[what](folder, *numbers)))


# --- the turns ------------------------------------------------------------------------------------


class Bench:
    def __init__(self, given, folder):
        self.given, self.folder, self.n_folders = given, pathlib.Path(folder), 0
        self.with_tensorboard = given.tensorboard_steps > 0

    def ask(self, what, side, *arguments):
        command = [self.given.program, what, side] if side in OURS else \
            [sys.executable, __file__, "--tensorboard", what]
        done = subprocess.run([*command, *map(str, arguments)], check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != 0:
            sys.exit(f"{side}, {what}: {done.stderr}")
        return json.loads(done.stdout)

    def fresh(self):
        self.n_folders += 1
        return self.folder / f"{self.n_folders:04}"

    def sides(self):
        return OURS + (("tensorboard",) if self.with_tensorboard else ())

    def turns(self, items):
        """Each round in another order."""
        for i in range(self.given.rounds):
            yield from items[i % len(items):] + items[:i % len(items)]

    def steps(self, side):
        return self.given.steps if side in OURS else self.given.tensorboard_steps

    def write_and_load(self):
        """A round writes all logs, then loads them; the last round's are those whose size counts."""
        given, written, loaded, sizes = self.given, {}, {}, {}
        for side in self.turns(self.sides()):
            folder = self.fresh()
            answer = self.ask("write", side, folder, given.layers, self.steps(side))
            sizes[side] = sum(path.stat().st_size for path in folder.rglob("*")) / answer["values"]
            written.setdefault(side, []).append(
                1e6 * (answer["hand_over_s"] + answer["close_s"]) / answer["values"])
            readers = ("EventAccumulator", "tbparse") if side == "tensorboard" else (side,)
            for reader in readers:
                answer = self.ask("load", reader, folder, 3 if side in OURS else reader)
                loaded.setdefault(reader, []).append(
                    {"values": answer["values"], "seconds": min(answer["seconds"]),
                     "peak_bytes": answer["peak_bytes"]})
            shutil.rmtree(folder)
        return written, loaded, sizes

    def pace(self):
        """Blocking write and fsync are ours to make only where the files are written through bp_io."""
        given, found = self.given, {}
        cases = [(side, disk) for side in self.sides() for disk in DISKS
                 if side in OURS or disk != "frozen"]
        for side, disk in self.turns(cases):
            folder = self.fresh()
            steps = given.paced_steps if side in OURS else \
                max(100, min(given.paced_steps, given.tensorboard_steps))
            answer = self.ask("pace", side, folder, given.layers, steps, given.pause, disk)
            found.setdefault((side, disk), []).append(answer)
            shutil.rmtree(folder)
        return found


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def shown(value, digits=3):
    """To so many digits, never as 1e+03."""
    return f"{float(f'{value:.{digits}g}'):,g}" if value < 1e6 else f"{value / 1e6:,.0f} M"


def cell(values, scale=1.0):
    found = spread([scale * value for value in values])
    return f"{shown(found['median'])} ({shown(found['min'])}–{shown(found['max'])})"


def tell(bench, written, loaded, sizes, paced):
    given, whole = bench.given, 4 * bench.given.layers * bench.given.steps
    for side in bench.sides():
        print(json.dumps({"bench": "runlog", "what": "write", "side": side, "bytes_a_value": sizes[side],
                          "steps": bench.steps(side), "us_a_value": spread(written[side])}))
    for (side, disk), answers in paced.items():
        print(json.dumps({"bench": "runlog", "what": "pace", "side": side, "disk": disk,
                          "steps": answers[0]["steps"], "pause_us": given.pause,
                          **{key: spread([answer[key] for answer in answers]) for key in TIMES}}))
    for reader, answers in loaded.items():
        print(json.dumps({"bench": "runlog", "what": "load", "side": reader,
                          "values": answers[0]["values"],
                          "values_per_s": spread([a["values"] / a["seconds"] for a in answers]),
                          "peak_bytes": spread([a["peak_bytes"] for a in answers])}))
    print(f"\nTargets: {json.dumps(TARGETS)}\n")
    print("| log | bytes a value | writing everything at once, µs a value |\n| --- | --- | --- |")
    for side in bench.sides():
        print(f"| {NAMES[side]} | {sizes[side]:.2f} | {cell(written[side])} |")
    print("\n| a step's hand-over, µs | disk | mean | p99 | p99.9 | max |\n"
          "| --- | --- | --- | --- | --- | --- |")
    for (side, disk), answers in paced.items():
        cells = " | ".join(cell([answer[key] for answer in answers]) for key in TIMES)
        print(f"| {NAMES[side]} | {disk} | {cells} |")
    print(f"\n| loading | values/s | {whole:,} values, s | peak memory, MB |\n| --- | --- | --- | --- |")
    for reader, answers in loaded.items():
        n, speeds = answers[0]["values"], [a["values"] / a["seconds"] for a in answers]
        seconds = [whole / speed for speed in speeds]
        mark = "" if n == whole else " (extrapolated)"
        peak = cell([a["peak_bytes"] / 1e6 for a in answers]) + ("" if n == whole else f" for {n:,} values")
        print(f"| {NAMES[reader]} | {cell(speeds)} | {cell(seconds)}{mark} | {peak} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=lambda path: pathlib.Path(path).resolve(strict=True))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--layers", type=int, default=50)
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--paced-steps", type=int, default=10000)
    parser.add_argument("--pause", type=int, default=200, help="microseconds of work between steps")
    parser.add_argument("--tensorboard-steps", type=int, default=200, help="0: without TensorBoard")
    parser.add_argument("--folder", help="where the logs are written; the disk that is measured")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="backprobe-bench-", dir=given.folder) as folder:
        bench = Bench(given, folder)
        paced = bench.pace()
        tell(bench, *bench.write_and_load(), paced)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--tensorboard"]:
        tensorboard(*sys.argv[2:])
    else:
        main()
