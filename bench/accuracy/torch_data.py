# SPDX-License-Identifier: Apache-2.0
"""What the PyTorch programs train on: tensors, with a held-out part."""

import functools
import math
import pathlib
import sys

import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/pytorch"))  # behind: it has a networks.py of its own

import data  # noqa: E402  (the PyTorch tests' readers of digits, Fashion-MNIST, the documentation)


class Parts:
    """Training and held-out samples."""

    def __init__(self, x, y, held_out):
        self.x, self.y = x[:-held_out].clone(), y[:-held_out].clone()
        self.held_x, self.held_y = x[-held_out:].clone(), y[-held_out:].clone()

    def keep(self, n):
        self.x, self.y = self.x[:n], self.y[:n]


@functools.cache
def _digits():
    x, y = data.digits()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    return (x[order] - x.mean()) / x.std(), y[order]


@functools.cache
def _fashion():
    x, y = data.fashion(1600)
    return (x - 0.286) / 0.353, y


def digits():
    return Parts(*_digits(), 400)


def fashion():
    return Parts(*_fashion(), 400)


@functools.cache
def characters():
    """The documentation as numbers, and how many there are."""
    text = data.text()[:30000]
    alphabet = sorted(set(text))
    return torch.tensor([alphabet.index(c) for c in text]), len(alphabet)


def spirals(n=900):
    generator = torch.Generator().manual_seed(2)
    t = torch.rand(n, generator=generator).sqrt() * 2 * math.pi
    sign = torch.arange(n) % 2
    angle = t + math.pi * sign
    x = torch.stack([t * angle.cos(), t * angle.sin()], 1) / (2 * math.pi)
    x = x + 0.02 * torch.randn(n, 2, generator=generator)
    return Parts((x - x.mean(0)) / x.std(0), sign, 200)


def adding(steps, n=1400):
    generator = torch.Generator().manual_seed(3)
    numbers = torch.rand(n, steps, generator=generator)
    marks = torch.zeros(n, steps)
    for row in range(n):
        marks[row, torch.randperm(steps, generator=generator)[:2]] = 1
    return Parts(torch.stack([numbers, marks], 2), (numbers * marks).sum(1, keepdim=True), 400)
