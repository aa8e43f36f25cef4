# SPDX-License-Identifier: Apache-2.0
"""A deep autoencoder of the digits: the input is the target, mean squared error, Adam."""

import torch
from data import digits
from outcome import Fault, Goal
from torch import nn

GOAL = Goal("loss", at_most=0.05)
STEPS = 500
BROKEN = {
    "sigmoid": Fault(
        "sigmoid throughout", "vanishing-gradient", "encoder.0", "encoder.0"
    ),
    "log_0": Fault("cross-entropy by hand, log(0) at black pixels", "non-finite", since=(0, 20)),
}


class AutoEncoder(nn.Module):
    def __init__(self, activation=nn.ReLU, output=nn.Sigmoid, widths=(64, 64, 64, 24)):
        super().__init__()
        self.encoder = self._stack(widths, activation)
        self.decoder = self._stack(widths[::-1], activation)
        self.decoder[-1] = output()

    @staticmethod
    def _stack(widths, activation):
        layers = []
        for n_in, n_out in zip(widths, widths[1:], strict=False):
            layers += [nn.Linear(n_in, n_out), activation()]
        return nn.Sequential(*layers)

    def forward(self, x):
        return self.decoder(self.encoder(x))


def cross_entropy_by_hand(p, x):
    return -(x * torch.log(p) + (1 - x) * torch.log(1 - p)).mean()


def main(watch, broken=None, steps=STEPS):
    x = digits()[0].flatten(1)
    model = AutoEncoder(nn.Sigmoid if broken == "sigmoid" else nn.ReLU)
    if broken == "log_0":
        model = AutoEncoder(output=lambda: nn.Hardtanh(0, 1))
    criterion = cross_entropy_by_hand if broken == "log_0" else nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    probe = watch(model, optimizer)
    for _ in range(steps):
        batch = x[torch.randint(len(x), (32,))]
        optimizer.zero_grad()
        loss = criterion(model(batch), batch)
        probe.loss(loss)
        loss.backward()
        optimizer.step()
    probe.close()
    with torch.no_grad():
        return nn.functional.mse_loss(model(x), x).item()
