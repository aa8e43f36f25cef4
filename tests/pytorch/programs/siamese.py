# SPDX-License-Identifier: Apache-2.0
"""A siamese network: one trunk is called twice a step, a contrastive loss pulls equal digits
together. The score is how often a digit's nearest neighbour is of its class."""

import torch
import torch.nn.functional as F
from data import digits
from outcome import Fault, Goal
from torch import nn

GOAL = Goal("accuracy", at_least=0.85)
STEPS = 300
BROKEN = {
    "sqrt_0": Fault("distance by hand: the slope of sqrt at 0", "non-finite", since=(0, 0)),
    "sigmoid": Fault(
        "eight sigmoid layers",
        nothing_yet="all images come out the same, so that all layers are starved alike, and a "
        "share of learning compares layers with each other",
    ),
}  # fmt: skip


class Siamese(nn.Module):
    def __init__(self, activation=nn.ReLU, depth=2):
        super().__init__()
        layers = []
        for _ in range(depth):
            layers += [nn.Linear(64, 64), activation()]
        self.trunk = nn.Sequential(*layers, nn.Linear(64, 16))

    def forward(self, a, b):
        return self.trunk(a), self.trunk(b)


def contrastive(distance, same, margin=1.0):
    return (same * distance.pow(2) + (1 - same) * F.relu(margin - distance).pow(2)).mean()


def main(watch, broken=None, steps=STEPS):
    x, y = digits()
    x = x.flatten(1)
    if broken == "sigmoid":
        model = Siamese(nn.Sigmoid, depth=8)
    else:
        model = Siamese()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    probe = watch(model, optimizer, objective="contrastive")
    for _ in range(steps):
        i = torch.randint(len(x), (48,))
        j = torch.randint(len(x), (48,))
        for k in range(24):  # half of the pairs show one digit
            candidates = (y == y[i[k]]).nonzero().flatten()
            j[k] = candidates[torch.randint(len(candidates), ())]
        j[0] = i[0]  # chance pairs an image with itself, too
        a, b = model(x[i], x[j])
        if broken == "sqrt_0":
            distance = (a - b).pow(2).sum(dim=1).sqrt()
        else:
            distance = F.pairwise_distance(a, b)
        loss = contrastive(distance, (y[i] == y[j]).float())
        probe.loss(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    probe.close()
    with torch.no_grad():
        z = model.trunk(x[:800])
        near = torch.cdist(z, z).fill_diagonal_(float("inf")).argmin(1)
    return (y[near] == y[:800]).float().mean().item()
