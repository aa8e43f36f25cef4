# SPDX-License-Identifier: Apache-2.0
"""The lecture's network: many layers of one width, their activation and initialiser as options."""

import torch
import torch.nn.functional as F
from data import digits
from outcome import Fault, Goal
from torch import nn

GOAL = Goal("accuracy", at_least=0.85)
STEPS = 400
BROKEN = {
    "sigmoid": Fault(
        "sigmoid with the default initialiser", "vanishing-gradient", "layers.0", "layers.6"
    ),
    "sigmoid_adam": Fault(
        "the same, and Adam to help", "vanishing-gradient", "layers.0", "layers.5"
    ),
    "tiny": Fault(
        "normal_(std=0.01)", "weights-too-small", "layers.0", "layers.8",
        also=("vanishing-gradient",),
    ),
    "large": Fault("normal_(std=1)", "weights-too-large", "layers.1", "layers.8"),
    "strangled": Fault(
        "a frozen layer in the middle at std 1e-5", "weights-too-small", "layers.5", "layers.5",
        alone=True, also=("vanishing-gradient",),
    ),
}  # fmt: skip


class Deep(nn.Module):
    def __init__(self, depth, width, activation):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(64 if i == 0 else width, width) for i in range(depth)
        )
        self.head = nn.Linear(width, 10)
        self.activation = activation

    def forward(self, x):
        for layer in self.layers:
            x = self.activation(layer(x))
        return self.head(x)


def initialise(model, broken):
    for layer in model.layers:
        if broken == "tiny":
            nn.init.normal_(layer.weight, std=0.01)
        elif broken == "large":
            nn.init.normal_(layer.weight, std=1)
        elif broken not in ("sigmoid", "sigmoid_adam"):
            nn.init.xavier_normal_(layer.weight, gain=nn.init.calculate_gain("tanh"))
            nn.init.zeros_(layer.bias)
    if broken == "strangled":
        nn.init.normal_(model.layers[5].weight, std=1e-5)
        model.layers[5].requires_grad_(False)


def main(watch, broken=None, steps=STEPS):
    x, y = digits()
    x = (x.flatten(1) - x.mean()) / x.std()
    sigmoid = broken in ("sigmoid", "sigmoid_adam")
    net = Deep(depth=10, width=48, activation=torch.sigmoid if sigmoid else torch.tanh)
    initialise(net, broken)
    if broken == "sigmoid_adam":
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    else:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    probe = watch(net, optimizer)

    for _ in range(steps):
        batch = torch.randint(len(x), (32,))
        loss = F.cross_entropy(net(x[batch]), y[batch])
        probe.loss(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    probe.close()
    return (net(x).argmax(1) == y).float().mean().item()
