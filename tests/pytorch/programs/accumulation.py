# SPDX-License-Identifier: Apache-2.0
"""Gradient accumulation over four micro-batches; nn modules in a nested list, Nesterov momentum."""

import torch
from data import digits
from outcome import Fault, Goal
from torch import nn

GOAL = Goal("accuracy", at_least=0.85)
STEPS = 250
BROKEN = {
    "no_zero_grad": Fault(
        "gradients are never set back, and the rate is high", "learning-rate-too-high",
        since=(0, 60)
    ),
    "bad_micro_batch": Fault(
        "an Inf in one micro-batch of step 100", "non-finite", since=(100, 100)
    ),
}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList()
        for n_in, n_out in ((64, 64), (64, 64), (64, 32)):
            self.blocks.append(nn.ModuleDict({"fc": nn.Linear(n_in, n_out), "act": nn.ELU()}))
        self.out = nn.Linear(32, 10)

    def forward(self, x):
        for block in self.blocks:
            x = block["act"](block["fc"](x))
        return self.out(x)


def main(watch, broken=None, steps=STEPS):
    x, y = digits()
    x = x.flatten(1)
    model = Net()
    loss_fn = nn.CrossEntropyLoss(label_smoothing=0.05)
    rate = 0.3 if broken == "no_zero_grad" else 0.05
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, nesterov=True)
    probe = watch(model, optimizer, loss_fn=loss_fn)
    accumulate = 4
    for step in range(steps):
        for micro in range(accumulate):
            index = torch.randint(len(x), (16,))
            batch = x[index]
            if broken == "bad_micro_batch" and (step, micro) == (100, 2):
                batch[5, 7] = float("inf")
            loss = loss_fn(model(batch), y[index]) / accumulate
            loss.backward()
        optimizer.step()
        if broken != "no_zero_grad":
            optimizer.zero_grad()
    probe.close()
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()
