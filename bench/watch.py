#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What watching a PyTorch training costs, beside what else people put into their loops.

  pip install -r tools/requirements-bench.txt   # wandb, TensorBoard; the package and torch are there
  bench/watch.py                                # under 6 minutes; docs/evidence/pytorch-cost.md is its log

A network has twins with equal weights, each with an optimiser of its own: one is left alone, one is
watched, one for each rival. They train on the same batches in turns in one process on one thread;
a round gives each a turn, in an order that is shuffled, and a cost is that of two turns of one
round. First the watch beside the plain twin, long enough for its governor to have settled; then
the rivals; then what a light and a full step cost on a network that is all overhead.

The governor spends a share of the run's time. While the plain twin has its turn the watch's clock
goes on, so the watch gets its share (1%) of that of the time that its own turns take. The first
0.2 s of watching are free by design: `cost` counts from --warm seconds on, `whole` from the start.
One JSON line a result, then the tables.
"""

import argparse
import contextlib
import copy
import json
import math
import os
import random
import statistics
import sys
import tempfile
import time
import warnings

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import backprobe  # noqa: E402

BUDGET = 0.01  # as watch() has it
BATCHES = 16  # that are trained on, over and over


# --- what is trained ----------------------------------------------------------------------------


def dense(*units):
    layers = []
    for before, after in zip(units, units[1:]):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Block(nn.Module):
    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.skip = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.skip = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.skip(x))


def resnet():
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    shape = [(16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
    return nn.Sequential(*stem, *(Block(*block) for block in shape), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(64, 10))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = (part.view(batch, length, self.heads, -1).transpose(1, 2)
                   for part in self.qkv(x).split(width, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(batch, length, width))


class TransformerBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    def __init__(self, vocabulary=256, length=128, width=256, heads=4, layers=4):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, x):
        y = self.tokens(x) + self.places(torch.arange(x.shape[1]))
        return self.head(self.norm(self.blocks(y))).flatten(0, 1)


def images(*shape):
    return lambda batch: (torch.randn(batch, *shape), torch.randint(10, (batch,)))


def text(batch):
    words = torch.randint(256, (batch, 129))
    return words[:, :-1], words[:, 1:].flatten()


def mlp():
    return dense(784, 256, 256, 10)


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.01)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-4)


# Name: what it is, samples or tokens of a step, network, batch of it, its size, optimiser.
NETWORKS = {
    "mlp-64-sgd": ("784-256-256-10, SGD", 64, mlp, images(784), 64, sgd),
    "mlp-64-adam": ("784-256-256-10, Adam", 64, mlp, images(784), 64, adam),
    "mlp-256-sgd": ("784-256-256-10, SGD", 256, mlp, images(784), 256, sgd),
    "mlp-256-adam": ("784-256-256-10, Adam", 256, mlp, images(784), 256, adam),
    "resnet": ("ResNet, 14 layers, 3×32×32, SGD", 32, resnet, images(3, 32, 32), 32, sgd),
    "gpt": ("GPT, 4 layers, d = 256, 8×128, Adam", 1024, GPT, text, 8, adam),
}


class Twin:
    """A copy of a network that trains as users write it."""

    def __init__(self, model, data, optimiser):
        self.model, self.data = copy.deepcopy(model), data
        self.optimiser = optimiser(self.model.parameters())
        self.criterion = nn.CrossEntropyLoss()
        self.step = 0
        self.look = None  # called after each backward pass
        self.around = contextlib.nullcontext  # each turn

    def train(self, steps):
        with self.around():
            begin = time.perf_counter()
            for _ in range(steps):
                x, y = self.data[self.step % BATCHES]
                self.optimiser.zero_grad()
                loss = self.criterion(self.model(x), y)
                loss.backward()
                if self.look is not None:
                    self.look()
                self.optimiser.step()
                self.step += 1
            return time.perf_counter() - begin


def twins_of(name):
    """A function that makes one more twin."""
    _, _, network, batch_of, batch, optimiser = NETWORKS[name]
    torch.manual_seed(0)
    model, data = network(), [batch_of(batch) for _ in range(BATCHES)]
    return lambda: Twin(model, data, optimiser)


# --- the rivals: each sets up a twin, in a folder of its own -------------------------------------


def leaves(model):
    return [module for module in model.modules() if not list(module.children())]


def forward_hooks(twin, _):
    for module in leaves(twin.model):
        module.register_forward_hook(lambda *_: None)


def backward_hooks(twin, _):
    for module in leaves(twin.model):
        module.register_full_backward_hook(lambda *_: None)


def norms(twin, _):
    parameters = list(twin.model.parameters())
    twin.look = lambda: [p.grad.norm().item() for p in parameters]


def foreach_norms(twin, _):
    parameters = list(twin.model.parameters())
    twin.look = lambda: torch.stack(torch._foreach_norm([p.grad for p in parameters])).tolist()


def anomaly(twin, _):
    twin.around = torch.autograd.detect_anomaly


def tensorboard(every):
    def set_up(twin, folder):
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(folder)

        def look():
            if twin.step % every:
                return
            for name, parameter in twin.model.named_parameters():
                writer.add_histogram(name, parameter, twin.step)
                writer.add_histogram(name + ".grad", parameter.grad, twin.step)

        twin.look = look

    return set_up


def wandb_watch(every):
    def set_up(twin, folder):
        import wandb

        # Its hooks know one run at a time.
        run = wandb.run or wandb.init(mode="offline", dir=folder, project="bench")
        run.watch(twin.model, log="all", log_freq=every)
        # What its hooks computed is only written with something that is logged.
        twin.look = lambda: run.log({"loss": 0.5}) if twin.step % every == 0 else None

    return set_up


# Name: what sets it up, every how many steps it does something, what must be installed.
RIVALS = {
    "empty forward hooks": (forward_hooks, 1, "torch"),
    "empty full-backward hooks": (backward_hooks, 1, "torch"),
    "p.grad.norm().item(), each": (norms, 1, "torch"),
    "torch._foreach_norm": (foreach_norms, 1, "torch"),
    "torch detect_anomaly": (anomaly, 1, "torch"),
    "TensorBoard histograms, every step": (tensorboard(1), 1, "tensorboard"),
    "TensorBoard histograms, every 100": (tensorboard(100), 100, "tensorboard"),
    "wandb.watch(log=all), every step": (wandb_watch(1), 1, "wandb"),
    "wandb.watch(log=all), every 100": (wandb_watch(100), 100, "wandb"),
}


# --- turns --------------------------------------------------------------------------------------


def spread(values):
    """With the 95% confidence interval of the median, by order statistics."""
    ordered = sorted(values)
    reach = math.ceil(0.98 * math.sqrt(len(ordered)))
    middle = len(ordered) // 2
    return {"median": statistics.median(ordered), "low": ordered[max(middle - reach, 0)],
            "high": ordered[min(middle + reach, len(ordered) - 1)], "min": ordered[0], "max": ordered[-1]}


def steps_of(train, seconds):
    """How many steps fill a turn. It warms up, too."""
    train(1)
    steps = 1
    while (taken := train(steps)) < seconds / 4:
        steps *= 2
    return max(1, round(steps * seconds / taken))


class Rounds:
    """Turns of some sides, in an order that changes: seconds of each, by round."""

    def __init__(self, sides, steps):
        self.sides, self.steps = sides, steps
        self.seconds = {side: [] for side in sides}
        self.random = random.Random(0)

    def play(self):
        order = list(self.sides)
        self.random.shuffle(order)
        for side in order:
            self.seconds[side].append(self.sides[side](self.steps))

    def costs(self, side, first=0):
        """Fraction of the plain twin's time that a side takes more, by round."""
        return [mine / plain - 1 for mine, plain in
                list(zip(self.seconds[side], self.seconds["plain"]))[first:]]

    def mean_cost(self, side, first=0):
        return sum(self.seconds[side][first:]) / sum(self.seconds["plain"][first:]) - 1


# --- what is measured ---------------------------------------------------------------------------


def watched(twin, folder, budget):
    return backprobe.watch(twin.model, twin.optimiser, loss_fn=twin.criterion, run=folder, budget=budget)


def measure_watch(name, folder, arguments):
    what, samples, *_ = NETWORKS[name]
    make = twins_of(name)
    plain, mine = make(), make()
    steps = steps_of(plain.train, arguments.turn)
    # Half of the time is not ours to spend.
    probe = watched(mine, folder, BUDGET / 2)
    rounds = Rounds({"plain": plain.train, "backprobe": mine.train}, steps)
    own = rounds.seconds["backprobe"]
    first, told = None, None
    while sum(own) < arguments.seconds or first is None or len(own) - first < 2:
        rounds.play()
        if first is None and sum(own) >= arguments.warm:
            first, told = len(own), probe.cost
    cost, counted = probe.cost, sum(own[first:])
    probe.close()
    full = cost["full_steps"] - told["full_steps"]
    return {"network": what, "samples": samples, "rounds": len(own) - first, "turn_steps": steps,
            "step_us": 1e6 * statistics.median(rounds.seconds["plain"]) / steps,
            "cost_fraction": spread(rounds.costs("backprobe", first)),
            "mean_cost_fraction": rounds.mean_cost("backprobe", first),
            "told_cost_fraction": (cost["watch_seconds"] - told["watch_seconds"]) / counted,
            "full_steps_fraction": full / ((len(own) - first) * steps), "counted_seconds": counted,
            "whole_seconds": sum(own), "whole_mean_cost_fraction": rounds.mean_cost("backprobe")}


def measure_rivals(name, folder, names, arguments):
    what, samples, *_ = NETWORKS[name]
    make = twins_of(name)
    sides = {"plain": make()}
    steps = steps_of(sides["plain"].train, arguments.rival_turn)
    for rival in names:
        set_up, every, _ = RIVALS[rival]
        if every == 1 or steps >= every / 4:
            sides[rival] = make()
            set_up(sides[rival], os.path.join(folder, str(len(sides))))
    # A turn holds as many of the steps in which something is done as any other.
    apart = max(RIVALS[side][1] for side in sides if side != "plain")
    steps = math.ceil(steps / apart) * apart
    for twin in sides.values():
        twin.train(1)
        twin.step = 0
    rounds = Rounds({side: twin.train for side, twin in sides.items()}, steps)
    for _ in range(arguments.rival_rounds):
        rounds.play()
    return [{"network": what, "samples": samples, "side": side, "rounds": arguments.rival_rounds,
             "turn_steps": steps, "cost_fraction": spread(rounds.costs(side)),
             "mean_cost_fraction": rounds.mean_cost(side)} for side in sides if side != "plain"]


def measure_overhead(optimiser, folder, arguments, layers=32):
    """A chain of tiny layers, where the hooks, calls and bookkeeping are all there is."""
    torch.manual_seed(0)
    model = nn.Sequential(*(layer for _ in range(layers) for layer in (nn.Linear(8, 8), nn.Tanh())))
    for layer in model[::2]:
        nn.init.orthogonal_(layer.weight, 1.1)
    data = [(torch.randn(8, 8), torch.randint(8, (8,))) for _ in range(BATCHES)]
    plain, light, full = (Twin(model, data, optimiser) for _ in range(3))
    # The one has nothing to spend once its free time is used up, the other all of the time.
    probes = [watched(light, folder + "-light", 1e-9), watched(full, folder + "-full", 1.0)]
    while probes[0].cost["light_steps"] < 100:
        light.train(10)
    steps = steps_of(plain.train, arguments.rival_turn)
    rounds = Rounds({"plain": plain.train, "light": light.train, "full": full.train}, steps)
    before = [probe.cost for probe in probes]
    for _ in range(3 * arguments.rival_rounds):
        rounds.play()
    costs = [probe.cost for probe in probes]
    full_steps = [cost["full_steps"] - old["full_steps"] for cost, old in zip(costs, before)]
    for probe in probes:
        probe.close()
    us = {side: spread([1e6 * (mine - plain) / steps for mine, plain in
                        zip(rounds.seconds[side], rounds.seconds["plain"])]) for side in ("light", "full")}
    # Of a layer: activation, error signal; weights and bias, their gradients.
    tensors = layers * 6
    return {"network": f"{layers} × dense 8, tanh", "optimiser": optimiser.__name__, "tensors": tensors,
            "step_us": 1e6 * statistics.median(rounds.seconds["plain"]) / steps, "light_step_us": us["light"],
            "full_step_us": us["full"], "us_a_tensor": us["full"]["median"] / tensors,
            "full_steps_fraction": [n / (3 * arguments.rival_rounds * steps) for n in full_steps]}


# --- tables -------------------------------------------------------------------------------------


def percent(cost):
    return (f"{cost['median']:.2%} ({cost['low']:.2%} – {cost['high']:.2%}) | "
            f"{cost['min']:.1%} – {cost['max']:.1%}")


def watch_table(results):
    print("\n| network | samples or tokens | plain step, µs | full steps: one of | cost: median (95% of it) | "
          "min – max | mean | as the watch tells it | of the whole run |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for r in results:
        full = r["full_steps_fraction"]
        print(f"| {r['network']} | {r['samples']} | {r['step_us']:,.0f} | {round(1 / full) if full else '–'} | "
              f"{percent(r['cost_fraction'])} | {r['mean_cost_fraction']:.2%} | "
              f"{r['told_cost_fraction']:.2%} | {r['whole_mean_cost_fraction']:.2%} of "
              f"{r['whole_seconds']:.0f} s |")


def rival_table(results):
    networks = list(dict.fromkeys((r["network"], r["samples"]) for r in results))
    print(f"\n| cost: median (min – max) | {' | '.join(f'{what}, {n}' for what, n in networks)} |")
    print("| --- |" + " --- |" * len(networks))
    for side in dict.fromkeys(r["side"] for r in results):
        found = {(r["network"], r["samples"]): r["cost_fraction"] for r in results if r["side"] == side}
        cells = (f"{c['median']:.1%} ({c['min']:.1%} – {c['max']:.1%})" if (c := found.get(n)) else "–"
                 for n in networks)
        print(f"| {side} | {' | '.join(cells)} |")


def overhead_table(results):
    print("\n| network, optimiser | plain step, µs | light step: + µs (95%) | full step: + µs (95%) | tensors | "
          "µs a tensor |")
    print("| --- | --- | --- | --- | --- | --- |")
    for r in results:
        light, full = r["light_step_us"], r["full_step_us"]
        print(f"| {r['network']}, {r['optimiser']} | {r['step_us']:,.0f} | {light['median']:.1f} "
              f"({light['low']:.1f} – {light['high']:.1f}) | {full['median']:,.0f} ({full['low']:,.0f} – "
              f"{full['high']:,.0f}) | {r['tensors']} | {r['us_a_tensor']:.2f} |")


# --- the run ------------------------------------------------------------------------------------


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--seconds", type=float, default=12, help="of watched training, each network")
    parser.add_argument("--warm", type=float, default=2, help="of these before the cost counts")
    parser.add_argument("--turn", type=float, default=0.25, help="seconds of a turn of the watch")
    parser.add_argument("--rivals", nargs="*", choices=RIVALS, default=list(RIVALS))
    parser.add_argument("--rival-networks", nargs="*", choices=NETWORKS, default=["mlp-64-adam", "resnet", "gpt"])
    parser.add_argument("--rival-rounds", type=int, default=9)
    parser.add_argument("--rival-turn", type=float, default=0.1)
    parser.add_argument("--quick", action="store_true", help="does everything once: no measurement")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seconds, arguments.warm, arguments.turn = 0.02, 0.01, 0.001
        arguments.rival_rounds, arguments.rival_turn = 1, 0.001
    return arguments


def require(rivals):
    for rival in rivals:
        try:
            __import__(RIVALS[rival][2])
        except ModuleNotFoundError:
            sys.exit(f"bench/watch.py: '{rival}' is not installed: pip install -r tools/requirements-bench.txt")


def tell(bench, result, results):
    results.append(result)
    print(json.dumps({"bench": bench, **result}), flush=True)


def main():
    arguments = parsed()
    require(arguments.rivals)
    for noise in ("Anomaly Detection has been enabled", "Full backward hook is firing"):
        warnings.filterwarnings("ignore", noise)
    torch.set_num_threads(1)
    watches, rivals, overheads = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.networks:
            tell("watch", measure_watch(name, f"{folder}/{name}", arguments), watches)
        for name in arguments.rival_networks if arguments.rivals else []:
            place = f"{folder}/rivals-{name}"
            os.mkdir(place)
            for result in measure_rivals(name, place, arguments.rivals, arguments):
                tell("watch-rival", result, rivals)
        for optimiser in (sgd, adam):
            place = f"{folder}/overhead-{optimiser.__name__}"
            tell("watch-overhead", measure_overhead(optimiser, place, arguments), overheads)
    for table, results in ((watch_table, watches), (rival_table, rivals), (overhead_table, overheads)):
        if results:
            table(results)


if __name__ == "__main__":
    main()
