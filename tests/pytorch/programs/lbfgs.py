# SPDX-License-Identifier: Apache-2.0
"""LBFGS with a closure on all digits at once."""

import torch
import torch.nn.functional as F
from data import digits
from outcome import Fault, Goal
from torch import nn

GOAL = Goal("accuracy", at_least=0.9)
STEPS = 25
BROKEN = {
    "no_line_search": Fault(
        "rate 100 without a line search", "learning-rate-too-high", since=(0, 3)
    ),
}


def main(watch, broken=None, steps=STEPS):
    x, y = digits(600)
    x = x.flatten(1)
    model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
    if broken:
        optimizer = torch.optim.LBFGS(model.parameters(), lr=100, max_iter=4)
    else:
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4, line_search_fn="strong_wolfe")
    probe = watch(model, optimizer)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        probe.loss(loss)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    probe.close()
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()
