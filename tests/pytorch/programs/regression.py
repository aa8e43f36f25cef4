# SPDX-License-Identifier: Apache-2.0
"""Regression: the lower half of a digit from its upper half, mean squared error, functions only."""

import torch
import torch.nn.functional as F
from data import digits
from outcome import Fault, Goal
from torch import nn

GOAL = Goal("loss over variance", at_most=0.75)
STEPS = 400
BROKEN = {
    "targets_255": Fault(
        "inputs and targets 0 ... 255, the rate for 0 ... 1", "input-not-normalised", since=(0, 5)
    ),
    "small": Fault(
        "normal_(std=0.001)", "weights-too-small", "fc1", "fc5", also=("vanishing-gradient",)
    ),
}  # fmt: skip


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(32, 64)
        self.fc2 = nn.Linear(64, 64)
        self.fc3 = nn.Linear(64, 64)
        self.fc4 = nn.Linear(64, 64)
        self.fc5 = nn.Linear(64, 64)
        self.out = nn.Linear(64, 32)

    def forward(self, x):
        x = F.gelu(self.fc1(x))
        x = F.gelu(self.fc2(x))
        x = F.gelu(self.fc3(x))
        x = F.gelu(self.fc4(x))
        x = F.gelu(self.fc5(x))
        return self.out(x)


def main(watch, broken=None, steps=STEPS):
    images = digits()[0].flatten(1)
    if broken == "targets_255":
        images = images * 255
    upper, lower = images[:, :32], images[:, 32:]
    net = Net()
    for name, parameter in net.named_parameters():
        if name.endswith("weight") and broken == "small":
            nn.init.normal_(parameter, std=0.001)
        elif name.endswith("weight"):
            nn.init.kaiming_normal_(parameter)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    probe = watch(net, optimizer)
    for _ in range(steps):
        index = torch.randint(len(images), (32,))
        loss = F.mse_loss(net(upper[index]), lower[index])
        probe.loss(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    probe.close()
    with torch.no_grad():
        return (F.mse_loss(net(upper), lower) / (lower - lower.mean(0)).pow(2).mean()).item()
