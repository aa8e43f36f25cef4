# SPDX-License-Identifier: Apache-2.0
"""The real data that the PyTorch tests train on: the project's digits, and Fashion-MNIST as
Debian's package dataset-fashion-mnist brings it. Both come as images [N, 1, rows, columns] in
0 ... 1 and their classes, in the order of the files."""

import gzip
import pathlib
import struct

import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")
_ALPHABET = "0123456789abcdefg"  # black points in a block of 4 x 4: data/digits/README.md


def digits(n: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """The first n of the 1,797 handwritten digits of 8 x 8 pixels."""
    lines = (ROOT / "data/digits/digits.txt").read_text(encoding="ascii").splitlines()[:n]
    pixels = [[_ALPHABET.index(c) for c in line[2:] if c != " "] for line in lines]
    x = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    return x, torch.tensor([int(line[0]) for line in lines])


def _idx(name: str, n: int | None) -> torch.Tensor:
    with gzip.open(FASHION / name) as file:
        dimensions = file.read(4)[3]
        shape = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
        n = shape[0] if n is None else min(n, shape[0])
        size = n * int(torch.tensor(shape[1:]).prod())
        return torch.frombuffer(bytearray(file.read(size)), dtype=torch.uint8).reshape(
            n, *shape[1:]
        )


def fashion(n: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """The first n of Fashion-MNIST's 60,000 training images of 28 x 28 pixels."""
    x = _idx("train-images-idx3-ubyte.gz", n).float().unsqueeze(1) / 255
    return x, _idx("train-labels-idx1-ubyte.gz", n).long()


def text() -> str:
    """Of the project's own documentation the pages that change least, as one string."""
    pages = ("lesson", "network-file", "runlog-format")
    return "\n".join((ROOT / f"docs/{page}.md").read_text(encoding="utf-8") for page in pages)
