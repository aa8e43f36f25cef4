#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Weights that `backprobe train` saved, in PyTorch: the same losses and accuracies.

  tests/trainer/weights_in_pytorch.py COMMAND     needs torch and safetensors

Its output is in docs/evidence/checkpoints.md.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

DIGITS = pathlib.Path(__file__).resolve().parents[2] / "data/digits/digits.txt"
NETWORK = """version: 1
data: digits
net: [2 x dense 64 relu, dense 10]
init: he
train: {optimiser: adam, learning_rate: 0.002, epochs: 10}
"""
TOLERANCE = 1e-5


def held_out_parts():
    """Inputs and classes of the split that data/digits/README.md describes, scaled as there."""
    images = []
    for line in DIGITS.read_text().splitlines():
        if line and not line.startswith("#"):
            pixels = line[2:].replace(" ", "")
            images.append((int(line[0]), ["0123456789abcdefg".index(c) for c in pixels]))
    order = sorted(range(len(images)), key=lambda i: (images[i][0], i))
    count, held_out = len(images), 540
    spread = [held_out * (p + 1) // count - held_out * p // count for p in range(count)]
    train = [i for p, i in enumerate(order) if not spread[p]]
    held = [i for p, i in enumerate(order) if spread[p]]
    x = torch.tensor([image for _, image in images], dtype=torch.float64)
    x = ((x - x[train].mean()) / x[train].std(correction=0)).float()
    y = torch.tensor([digit for digit, _ in images])
    return {"validation": (x[held[0::2]], y[held[0::2]]), "test": (x[held[1::2]], y[held[1::2]])}


def train(command, folder):
    (folder / "net.yaml").write_text(NETWORK)
    lines = subprocess.run([command, "train", "net.yaml", "--json", "--checkpoint-every", "1",
                            "--run", "run"], cwd=folder, check=True, capture_output=True,
                           text=True).stdout.splitlines()
    return json.loads(lines[-1])


def load(path):
    """The names are those of a checkpoint too, beside its optimiser.* tensors."""
    tensors = load_file(path)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(),
                          nn.Linear(64, 10))
    for name, linear in zip(("dense_1", "dense_2", "dense_3"), model[::2], strict=True):
        linear.load_state_dict({"weight": tensors[f"{name}.weight"],
                                "bias": tensors[f"{name}.bias"]})
    return model


def main():
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        end = train(sys.argv[1], folder)
        files = ["weights.safetensors", f"checkpoints/step-{end['steps']:09}.safetensors"]
        for path in files:
            for part, (x, y) in held_out_parts().items():
                with torch.no_grad():
                    logits = load(folder / "run" / path)(x)
                loss = F.cross_entropy(logits, y).item()
                accuracy = (logits.argmax(1) == y).double().mean().item()
                worst = max(worst, abs(loss / end[f"{part}_loss"] - 1),
                            abs(accuracy - end[f"{part}_accuracy"]))
                print(f"{path}, {part}: loss {loss:.7f} in PyTorch, {end[f'{part}_loss']:.7f} in "
                      f"Backprobe; accuracy {accuracy:.6f}, {end[f'{part}_accuracy']:.6f}")
    print(f"largest difference {worst:.1e}")
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
