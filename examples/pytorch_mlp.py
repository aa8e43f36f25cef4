# SPDX-License-Identifier: Apache-2.0
"""A deep sigmoid network on the bundled digits, watched: python examples/pytorch_mlp.py"""

import pathlib

import torch
from torch import nn

import backprobe

DIGITS = pathlib.Path(__file__).resolve().parents[1] / "data/digits/digits.txt"


def digits():
    """Images [1797, 64] with mean 0 and deviation 1, and their classes."""
    lines = DIGITS.read_text().splitlines()
    x = torch.tensor([[int(c, 17) for c in line[2:] if c != " "] for line in lines]).float()
    return (x - x.mean()) / x.std(), torch.tensor([int(line[0]) for line in lines])


def main():
    torch.manual_seed(1)
    x, y = digits()
    layers = [nn.Linear(64, 64), nn.Sigmoid()]
    for _ in range(9):
        layers += [nn.Linear(64, 64), nn.Sigmoid()]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    probe = backprobe.watch(model, optimizer, loss_fn=criterion)
    for _ in range(600):
        batch = torch.randint(len(x), (32,))
        loss = criterion(model(x[batch]), y[batch])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    probe.close()


if __name__ == "__main__":
    main()
