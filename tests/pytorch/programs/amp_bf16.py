# SPDX-License-Identifier: Apache-2.0
"""Mixed precision with bfloat16 autocast, RMSprop, a decorated evaluation."""

import torch
from data import digits
from outcome import Fault, Goal
from torch import nn

GOAL = Goal("accuracy", at_least=0.9)
STEPS = 200
BROKEN = {
    "no_norm_x3": Fault(
        "norm forgotten, weights three times too large", "weights-too-large", since=(0, 5)
    ),
    "sqrt_0": Fault("sqrt of a variance that is 0", "non-finite", since=(0, 0)),
}


class Standardise(nn.Module):
    """Each image to mean 0 and deviation 1; backward through sqrt."""

    def forward(self, x):
        x = x - x.mean(dim=1, keepdim=True)
        return x / x.pow(2).mean(dim=1, keepdim=True).sqrt()


def network(broken):
    layers = [nn.Flatten()]
    n_in = 64
    for _ in range(10):
        layers.append(nn.Linear(n_in, 64))
        if broken != "no_norm_x3":
            layers.append(nn.LayerNorm(64))
        layers.append(nn.ReLU())
        n_in = 64
    if broken == "sqrt_0":
        layers.append(Standardise())
    return nn.Sequential(*layers, nn.Linear(64, 10))


@torch.no_grad()
def accuracy(model, x, y):
    model.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return (model(x).argmax(1) == y).float().mean().item()


def main(watch, broken=None, steps=STEPS):
    x, y = digits()
    if broken == "sqrt_0":
        x = x.clone()
        x[::10] = 0  # blank images
    model = network(broken)
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
            if broken == "no_norm_x3":
                module.weight.data *= 3
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    probe = watch(model, optimizer, loss_fn=criterion)
    model.train()
    for _ in range(steps):
        index = torch.randint(len(x), (64,))
        with torch.autocast(device_type="cpu", dtype=torch.bfloat16):
            loss = criterion(model(x[index]), y[index])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    probe.close()
    return accuracy(model, x, y)
