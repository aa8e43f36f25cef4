#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The trainer beside PyTorch eager, one thread each, in turns in one run.

  ninja -C BUILD bench/train                # a release build
  bench/train.py BUILD/bench/train          # needs torch; docs/evidence/speed.md is a log of it
  bench/train.py BUILD/bench/train --watch  # what watching costs, without PyTorch

Both sides train the same networks by SGD on random data in memory: a batch is gathered by a fresh
permutation each epoch, forward, cross-entropy, backward, update. A round gives each side a turn of
about --seconds; a ratio is that of two turns of one round. One JSON line a result, then a table.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
try:
    import torch
    from torch import nn
except ModuleNotFoundError:
    torch = None

SAMPLES, CLASSES = 8192, 10


def dense(*units):
    layers = []
    for before, after in zip(units, units[1:]):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def lenet():
    """LeNet-5 as it is taught today: ReLU, maximum pooling, all channels joined (LeCun et al. 1998)."""
    return nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         *dense(400, 120, 84, CLASSES))


# Name in bench/train.c: what it is, shape of a sample, batch, network, target ratio.
NETWORKS = {
    "mlp": ("784-256-256-10", (784,), 64, lambda: dense(784, 256, 256, CLASSES), 1.6),
    "small": ("64-32-32-10", (64,), 16, lambda: dense(64, 32, 32, CLASSES), 60),
    "deep": ("64-(20×64)-10", (64,), 32, lambda: dense(64, *20 * [64], CLASSES), 7),
    "lenet": ("LeNet, 1×28×28", (1, 28, 28), 32, lenet, 3),
}


class Torch:
    """PyTorch's side: the loop as users write it."""

    def __init__(self, shape, batch, network):
        self.model, self.batch = network(), batch
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.loss = nn.CrossEntropyLoss()
        self.x = torch.randn(SAMPLES, *shape)
        self.y = torch.randint(CLASSES, (SAMPLES,))
        self.at = SAMPLES

    def train(self, steps):
        begin = time.perf_counter()
        for _ in range(steps):
            if self.at == SAMPLES:
                self.order, self.at = torch.randperm(SAMPLES), 0
            chosen = self.order[self.at:self.at + self.batch]
            self.at += self.batch
            x, y = self.x[chosen], self.y[chosen]
            self.optimiser.zero_grad(set_to_none=True)
            self.loss(self.model(x), y).backward()
            self.optimiser.step()
        return time.perf_counter() - begin

    def flops(self):
        """Of the matrix products for one sample: forward, weights' gradient, and the gradient of the
        input, which nobody needs in the first layer."""
        products = []

        def note(layer, _, output):
            products.append(2 * output.numel() * layer.weight[0].numel())

        hooks = [layer.register_forward_hook(note) for layer in self.model
                 if isinstance(layer, (nn.Linear, nn.Conv2d))]
        self.model(self.x[:1])
        for hook in hooks:
            hook.remove()
        return 3 * sum(products) - products[0]


class Ours:
    """The trainer's side: a process that waits between its turns."""

    def __init__(self, program, name, folder, every, batch):
        self.process = subprocess.Popen([program, name, folder, str(every), str(batch)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, what, amount=0):
        self.process.stdin.write(f"{what} {amount}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            sys.exit("bench/train failed")


def steps_of(train, seconds):
    """How many steps fill a turn."""
    steps = 1
    while (taken := train(steps)) < seconds / 4:
        steps *= 2
    return max(1, round(steps * seconds / taken))


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def measure(name, arguments):
    text, shape, batch, network, target = NETWORKS[name]
    theirs = Torch(shape, batch, network)
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(arguments.program, name, folder, arguments.every, batch)
        sides = {"pytorch": theirs.train,
                 "plain": lambda steps: ours.ask("plain", steps),
                 "watched": lambda steps: ours.ask("watched", steps)}
        steps = {side: steps_of(train, arguments.seconds) for side, train in sides.items()}
        speeds = {side: [] for side in sides}
        peaks = {"fma": [], "sgemm": []}
        for i in range(arguments.rounds):
            for side in list(sides)[::1 if i % 2 else -1]:
                speeds[side].append(batch * steps[side] / sides[side](steps[side]))
            for peak in peaks:
                peaks[peak].append(ours.ask(peak, 0.05))
        ours.close()
    pairs = list(zip(speeds["pytorch"], speeds["plain"], speeds["watched"]))
    peak, sgemm = statistics.median(peaks["fma"]), statistics.median(peaks["sgemm"])
    flops = theirs.flops() * statistics.median(speeds["plain"])
    return {"network": text, "batch": batch, "rounds": arguments.rounds, "watched_every": arguments.every,
            "samples_per_s": {side: spread(values) for side, values in speeds.items()},
            "ratio": spread([plain / torch for torch, plain, _ in pairs]), "target": target,
            "watch_cost_fraction": spread([plain / watched - 1 for _, plain, watched in pairs]),
            "flops_per_s": flops, "fma_flops_per_s": peak, "sgemm_flops_per_s": sgemm,
            "share_of_fma_peak": flops / peak if peak else None,
            "share_of_sgemm": flops / sgemm}


def measure_watch(name, batch, arguments):
    """Plain and watched steps in turns. The first --warm seconds are not counted: a watch begins with
    full steps, which are free of its budget."""
    text, _, own_batch, _, _ = NETWORKS[name]
    batch = batch or own_batch
    costs, told = [], []
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(arguments.program, name, folder, arguments.every, batch)
        sides = {side: (lambda steps, side=side: ours.ask(side, steps)) for side in ("plain", "watched")}
        steps = steps_of(sides["plain"], arguments.seconds)
        begin, warm_steps = time.perf_counter(), 0
        while time.perf_counter() - begin < arguments.warm:
            sides["watched"](steps)
            warm_steps += steps
        full = ours.ask("full")
        for i in range(arguments.rounds):
            told_before, seconds = ours.ask("told"), {}
            for side in ("plain", "watched")[::1 if i % 2 else -1]:
                seconds[side] = sides[side](steps)
            costs.append(seconds["watched"] / seconds["plain"] - 1)
            told.append((ours.ask("told") - told_before) / seconds["watched"])
        full = (ours.ask("full") - full) / (arguments.rounds * steps)
        ours.close()
    return {"network": text, "batch": batch, "rounds": arguments.rounds,
            "watched_every": arguments.every, "full_steps_fraction": full,
            "step_us": 1e6 * seconds["plain"] / steps, "watch_cost_fraction": spread(costs),
            "told_cost_fraction": spread(told)}


def watch_table(results):
    print("\n| network | batch | plain step, µs | full steps: one of | cost: median (min–max) | "
          "as the watch tells it |")
    print("| --- | --- | --- | --- | --- | --- |")
    for r in results:
        cost, told, full = r["watch_cost_fraction"], r["told_cost_fraction"], r["full_steps_fraction"]
        print(f"| {r['network']} | {r['batch']} | {r['step_us']:.1f} | "
              f"{'–' if full == 0 else round(1 / full)} | {cost['median']:.1%} ({cost['min']:.1%} – "
              f"{cost['max']:.1%}) | {told['median']:.1%} |")


def table(results):
    print("\n| network, batch | PyTorch, samples/s | ours | ratio: median (min–max) | target | "
          "GFLOP/s | of the FMA peak | of a large sgemm | "
          f"watched every {results[0]['watched_every']}: time × |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for r in results:
        speed, ratio, cost = r["samples_per_s"], r["ratio"], r["watch_cost_fraction"]
        share = "–" if r["share_of_fma_peak"] is None else f"{r['share_of_fma_peak']:.0%}"
        print(f"| {r['network']}, {r['batch']} | {speed['pytorch']['median']:,.0f} | "
              f"{speed['plain']['median']:,.0f} | {ratio['median']:.2f} ({ratio['min']:.2f}–"
              f"{ratio['max']:.2f}) | {r['target']} | {r['flops_per_s'] / 1e9:.1f} | {share} | "
              f"{r['share_of_sgemm']:.0%} | {1 + cost['median']:.2f} ({1 + cost['min']:.2f}–"
              f"{1 + cost['max']:.2f}) |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=lambda path: pathlib.Path(path).resolve(strict=True))
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--every", type=int, help="of the watched run; 0: by its budget")
    parser.add_argument("--watch", action="store_true", help="only what watching costs, by budget")
    parser.add_argument("--batch", type=int, help="with --watch, instead of the networks' own")
    parser.add_argument("--warm", type=float, default=2, help="with --watch, seconds before it counts")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    arguments = parser.parse_args()
    if arguments.every is None:
        arguments.every = 0 if arguments.watch else 1
    if not arguments.watch and not torch:
        sys.exit("bench/train.py needs PyTorch: pip install torch --index-url "
                 "https://download.pytorch.org/whl/cpu")
    results = []
    if torch:
        torch.set_num_threads(1)
        torch.manual_seed(0)
    for name in arguments.networks:
        results.append(measure_watch(name, arguments.batch, arguments) if arguments.watch
                       else measure(name, arguments))
        what = "watch" if arguments.watch else "train"
        print(json.dumps({"bench": what, **results[-1]}), flush=True)
    watch_table(results) if arguments.watch else table(results)


if __name__ == "__main__":
    main()
