#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How well theory foretells the gains: predicted beside the mean of several seeds, layer by layer.

  bench/predict.py BUILD/src/backprobe             # docs/evidence/prediction.md is a log of it
  bench/predict.py BUILD/src/backprobe --seeds 20  # nearer to the true means
  bench/predict.py BUILD/src/backprobe --quick     # a few networks
  bench/predict.py --torch                         # the same question to backprobe.predict; needs torch

All on real digits, a batch of 32, by `backprobe predict --json`, whose measured side is the trainer's
own forward and backward pass. A layer's gain leads from its output to the output before; the first
layer has none.
"""

import argparse
import collections
import json
import math
import pathlib
import subprocess
import sys
import tempfile

ACTIVATIONS = ("linear", "sigmoid", "tanh", "relu", "leaky_relu 0.1", "gelu", "elu", "selu", "silu", "softplus",
               "softmax")  # fmt: skip
RECTIFIERS = ("relu", "leaky_relu 0.1", "gelu", "elu", "silu", "softplus")
WIDTHS = (64, 128, 256)
DEPTH = {64: 20, 128: 14, 256: 10}

# 10% is the target here.
BLOCKS = {
    "batch norm, relu": ["12 x [dense 64, batch_norm, relu]"],
    "batch norm, tanh": ["12 x [dense 64, batch_norm, tanh]"],
    "batch norm, gelu, width 128": ["12 x [dense 128, batch_norm, gelu]"],
    "batch norm behind relu": ["12 x [dense 64, relu, batch_norm]"],
    "layer norm, relu": ["12 x [dense 64, layer_norm, relu]"],
    "layer norm, tanh": ["12 x [dense 64, layer_norm, tanh]"],
    "layer norm behind gelu": ["12 x [dense 64, gelu, layer_norm]"],
    "residual, layer norm first": ["dense 64", "{residual: [layer_norm, dense 64 relu, dense 64], repeat: 8}"],
    "residual, scaled by 0.3": ["dense 64", "{residual: [dense 64 tanh, dense 64], scale: 0.3, repeat: 8}"],
    "residual, batch norm first": [
        "dense 64", "{residual: [batch_norm, relu, dense 64, batch_norm, relu, dense 64], repeat: 6}"],
    "residual, batch norm behind": [
        "dense 64", "{residual: [dense 64, batch_norm, relu, dense 64, batch_norm], repeat: 6}"],
    "residual, relu at the end": ["dense 64", "{residual: [dense 64 relu], repeat: 8}"],
    "residual, two relu": ["dense 128", "{residual: [dense 128 relu, dense 128 relu], repeat: 6}"],
}  # fmt: skip
# Told beside: there is no target for them.
IMAGES = {
    "convolutions, relu": ["{conv: 16, kernel: 3, padding: same, activation: relu, repeat: 6}"],
    "convolutions, tanh": ["{conv: 16, kernel: 3, padding: same, activation: tanh, repeat: 6}"],
    "convolutions, batch norm": ["{conv: 16, kernel: 3, padding: same, norm: batch_norm, activation: relu, repeat: 6}"],
    "convolutions, pooling": ["{conv: 16, kernel: 3, padding: same, activation: relu}", "max_pool 2",
                              "{conv: 32, kernel: 3, padding: same, activation: relu}", "avg_pool 2", "dense 64 relu"],
    "convolutions, global pooling": ["{conv: 16, kernel: 3, padding: same, activation: relu, repeat: 3}",
                                     "global_avg_pool"],
    "dropout": ["6 x [dense 64 relu, dropout 0.3]"],
}  # fmt: skip


FINEST = 1e-3  # measured gains are those of a run log: two numbers of 16 bits


def weights(activation):
    good = "selu" if activation == "selu" else "he" if activation in RECTIFIERS else "xavier"
    critical = {"selu": "lecun", "he": "he", "xavier": "xavier"}[good]
    scaled = "he" if critical == "he" else critical
    return {"critical": critical, "default": "pytorch_default", "too small": f"{{{scaled}: {{gain: 0.3}}}}",
            "too large": f"{{{scaled}: {{gain: 2}}}}", "orthogonal": "orthogonal"}  # fmt: skip


class Bench:
    def __init__(self, program, seeds):
        self.program = program
        self.seeds = seeds
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="backprobe-predict-"))

    def layers(self, items, init):
        """[(predicted, measured, standard error)] of the cut points behind the first."""
        net = "".join(f"  - {item}\n" for item in [*items, "dense 10"])
        path = self.folder / "net.yaml"
        path.write_text(f"version: 1\ndata: digits\nnet:\n{net}init: {init}\ntrain: {{batch: 32, seed: 1}}\n")
        done = subprocess.run([self.program, "predict", str(path), "--json", "--seeds", str(self.seeds)],
                              capture_output=True, text=True)
        if done.returncode not in (0, 1):
            sys.exit(f"{net}{init}: {done.stderr or done.stdout}")
        cuts = [layer for layer in json.loads(done.stdout)["layers"] if layer["cut"]][1:]
        return [(c["gain"], c["measured_gain"], c["standard_error"]) for c in cuts
                if all(isinstance(c[k], (int, float)) for k in ("gain", "measured_gain", "standard_error"))
                and c["measured_gain"] > 0]  # fmt: skip


def off(row):
    return abs(row[0] / row[1] - 1)


def is_near(row, part):
    return off(row) <= part or abs(row[0] - row[1]) <= 2 * row[2]


def summary(rows, part):
    share = sum(is_near(row, part) for row in rows) / len(rows)
    alone = sum(off(row) <= part for row in rows) / len(rows)
    signed = sum(math.log(row[0] / row[1]) for row in rows) / len(rows)
    far = [abs(row[0] - row[1]) / max(row[2], FINEST * row[1]) for row in rows]
    median = sorted(map(off, rows))[len(rows) // 2]
    return (f"{len(rows)} | {100 * share:.1f}% | {100 * alone:.1f}% | {100 * median:.1f}% | {100 * signed:+.1f}% | "
            f"{(sum(x * x for x in far) / len(far)) ** 0.5 if far else 0:.2f}")  # fmt: skip


TITLES = "layers | within {0}% or 2 s.e. | within {0}% | median off | mean signed | rms off in s.e."


def table(title, groups, part):
    head = f"| {title} | {TITLES.format(round(100 * part))} |"
    print("\n" + head, "| " + " | ".join(["---"] * (head.count("|") - 1)) + " |", sep="\n")
    for name, rows in groups.items():
        if rows:
            print(f"| {name} | {summary(rows, part)} |", flush=True)


def plain(bench, quick):
    by_activation, by_init, by_width = (collections.defaultdict(list) for _ in range(3))
    everything = []
    for activation in ACTIVATIONS[1:4] if quick else ACTIVATIONS:
        for name, init in weights(activation).items():
            for width in WIDTHS[:1] if quick else WIDTHS:
                depth = 4 if activation == "softmax" else DEPTH[width]
                rows = bench.layers([f"{depth} x dense {width} {activation}"], init)
                for groups, key in ((by_activation, activation), (by_init, name), (by_width, width)):
                    groups[key] += rows
                everything += rows
    for title, groups in (("activation", by_activation), ("weights", by_init), ("width", by_width)):
        table(title, groups, 0.03)
    table("all plain networks", {"all": everything}, 0.03)
    return everything


def blocks(bench, networks, title):
    found = {name: bench.layers(items, init) for name, items in networks.items() for init in ["he"]}
    table(title, {**found, "all": [row for rows in found.values() for row in rows]}, 0.10)


# --- PyTorch ------------------------------------------------------------------------------------


def torch_networks(nn):
    """name: (what builds it, target)"""

    def mlp(activation, norm=None):
        layers = [nn.Flatten()]
        for _ in range(12):
            layers += [nn.Linear(64, 64), *([norm(64)] if norm else []), activation()]
        return nn.Sequential(*layers, nn.Linear(64, 10))

    class Block(nn.Module):
        def __init__(self, norm):
            super().__init__()
            self.norm, self.a, self.b = norm(64), nn.Linear(64, 64), nn.Linear(64, 64)

        def forward(self, x):
            return x + self.b(nn.functional.gelu(self.a(self.norm(x))))

    def stream(norm):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), *(Block(norm) for _ in range(6)), nn.Linear(64, 10))

    named = {f"nn.{a}": (lambda a=a: mlp(getattr(nn, a)), 0.03)
             for a in ("Sigmoid", "Tanh", "ReLU", "GELU", "SiLU", "ELU", "SELU", "Softplus")}  # fmt: skip
    for norm in ("BatchNorm1d", "LayerNorm"):
        named[f"nn.{norm}, ReLU"] = (lambda n=norm: mlp(nn.ReLU, getattr(nn, n)), 0.10)
        named[f"nn.{norm} first in residual blocks, GELU"] = (lambda n=norm: stream(getattr(nn, n)), 0.10)
    return named


def torch_rows(build, seeds, torch, backprobe):
    x = torch.randn(32, 64) @ torch.randn(64, 64) / 8  # inputs that are correlated
    y = torch.randint(10, (32,))
    gains = collections.defaultdict(list)
    for seed in range(seeds):
        torch.manual_seed(seed)
        for layer in backprobe.predict(build(), (x, y), torch.nn.CrossEntropyLoss()).layers[1:]:
            gains[layer.layer].append((layer.predicted, layer.backward))
    rows = []
    for pairs in gains.values():
        predicted, measured = (sum(column) / seeds for column in zip(*pairs))
        spread = sum((m - measured) ** 2 for _, m in pairs) / (seeds - 1)
        rows.append((predicted, measured, math.sqrt(spread / seeds)))
    return rows


def by_torch(seeds):
    import torch

    import backprobe

    torch.set_num_threads(1)
    groups = {0.03: {}, 0.10: {}}
    for name, (build, part) in torch_networks(torch.nn).items():
        torch.manual_seed(12345)
        groups[part][name] = torch_rows(build, seeds, torch, backprobe)
    for part, found in groups.items():
        rows = [row for rows in found.values() for row in rows]
        table("PyTorch's default initialisers, width 64", {**found, "all": rows}, part)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?", help="the command, backprobe")
    parser.add_argument("--torch", action="store_true", help="ask backprobe.predict instead")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a few networks")
    given = parser.parse_args()
    if given.torch:
        return by_torch(given.seeds)
    if not given.program:
        parser.error("expected the command, or --torch")
    bench = Bench(given.program, given.seeds)
    rows = plain(bench, given.quick)
    some = dict(list(BLOCKS.items())[:3]) if given.quick else BLOCKS
    blocks(bench, some, "with normalisation or residual blocks")
    if not given.quick:
        blocks(bench, IMAGES, "images, pooling, dropout")
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
