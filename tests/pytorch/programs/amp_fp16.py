# SPDX-License-Identifier: Apache-2.0
"""Mixed precision with float16 and a GradScaler, unscaled before clipping."""

import torch
from data import digits
from outcome import Fault, Goal
from torch import nn

GOAL = Goal("accuracy", at_least=0.85)
STEPS = 150
BROKEN = {
    "overflow": Fault(
        "inputs of thousands overflow float16, no scaler", "input-not-normalised",
        since=(0, 10), also=("non-finite",),
    ),
}


def main(watch, broken=None, steps=STEPS):
    x, y = digits()
    if broken == "overflow":
        x = x * 65535  # read as 16-bit pixels
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(8 * 16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    scaler = torch.amp.GradScaler("cpu", enabled=broken != "overflow", growth_interval=50)
    criterion = nn.CrossEntropyLoss()
    probe = watch(net, optimizer, loss_fn=criterion)
    for _ in range(steps):
        index = torch.randint(len(x), (32,))
        with torch.autocast("cpu", dtype=torch.float16):
            loss = criterion(net(x[index]), y[index])
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        scaler.step(optimizer)
        scaler.update()
    probe.close()
    with torch.no_grad():
        return (net(x).argmax(1) == y).float().mean().item()
