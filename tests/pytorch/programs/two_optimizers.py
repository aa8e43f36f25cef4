# SPDX-License-Identifier: Apache-2.0
"""One model, two optimisers: Adam for the head, one of the user's own for the features."""

import torch
import torch.nn.functional as F
from data import digits
from outcome import Fault, Goal
from torch import nn

GOAL = Goal("accuracy", at_least=0.85)
STEPS = 250
BROKEN = {
    "no_epsilon": Fault(
        "g / sqrt(v) without epsilon: 0 / 0 at pixels that are always black",
        "non-finite", "features.0", "features.0", alone=True,
    ),
    "ascent": Fault(
        "the sign of the update is wrong",
        nothing_yet="the loss climbs while each update is small and each gradient finite",
    ),
}  # fmt: skip


class Normalised(torch.optim.Optimizer):
    """Gradients over a running root mean square of theirs."""

    def __init__(self, params, lr, eps, sign=-1):
        super().__init__(params, {"lr": lr, "eps": eps})
        self.sign = sign

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["v"] = p.grad**2
                state["v"].mul_(0.9).addcmul_(p.grad, p.grad, value=0.1)
                p.add_(p.grad / (state["v"].sqrt() + group["eps"]), alpha=self.sign * group["lr"])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 32), nn.GroupNorm(4, 32), nn.SiLU()
        )
        self.head = nn.Sequential(nn.Linear(32, 32), nn.LeakyReLU(), nn.Linear(32, 10))

    def forward(self, x):
        return self.head(self.features(x))


def main(watch, broken=None, steps=STEPS):
    x, y = digits()
    x = x.flatten(1)
    net = Net()
    own = Normalised(
        net.features.parameters(), lr=1e-3, eps=0.0 if broken == "no_epsilon" else 1e-8,
        sign=1 if broken == "ascent" else -1,
    )  # fmt: skip
    if broken == "ascent":
        head = Normalised(net.head.parameters(), lr=1e-3, eps=1e-8, sign=1)
    else:
        head = torch.optim.Adam(net.head.parameters(), lr=2e-3)
    probe = watch(net, [own, head])
    for _ in range(steps):
        index = torch.randint(len(x), (32,))
        loss = F.cross_entropy(net(x[index]), y[index])
        probe.loss(loss)
        own.zero_grad()
        head.zero_grad()
        loss.backward()
        own.step()
        head.step()
    probe.close()
    with torch.no_grad():
        return (net(x).argmax(1) == y).float().mean().item()
