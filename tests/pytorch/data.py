# SPDX-License-Identifier: Apache-2.0
"""Real data for small trainings: the repository's digits, and Fashion-MNIST where Debian's package
puts it (a missing one is a failure, never a skip)."""

import gzip
import pathlib

import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")


def digits(n=None):
    """x [n, 1, 8, 8] with mean 0 and deviation 1, y [n]: in the order of the file."""
    lines = (ROOT / "data/digits/digits.txt").read_text(encoding="ascii").split("\n")
    lines = [line for line in lines if line[:1].isdigit()][:n]
    y = torch.tensor([int(line[0]) for line in lines])
    pixels = [[int(c, 17) for c in line[1:].replace(" ", "")] for line in lines]
    x = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8)
    return (x - x.mean()) / x.std(), y


def fashion(n=None):
    """x [n, 1, 28, 28] with mean 0 and deviation 1, y [n]: the first n to train."""
    n = 60_000 if n is None else n
    images = _idx("train-images-idx3-ubyte.gz", 16, n * 784)
    labels = _idx("train-labels-idx1-ubyte.gz", 8, n)
    x = images.view(-1, 1, 28, 28).float()
    return (x - x.mean()) / x.std(), labels.long()


def _idx(name, header, count):
    with gzip.open(FASHION / name) as file:
        file.seek(header)
        values = bytearray(file.read(count))
    if len(values) != count:
        raise ValueError(f"{name}: expected {count} bytes of data, found {len(values)}")
    return torch.frombuffer(values, dtype=torch.uint8)
