# SPDX-License-Identifier: Apache-2.0
"""A multilayer perceptron on Fashion-MNIST, written as a script: loop over epochs and batches."""

import torch
from data import fashion
from outcome import Fault, Goal
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

GOAL = Goal("accuracy", at_least=0.7)
STEPS = 250
BROKEN = {
    "rate": Fault("learning rate 1000 times too high", "learning-rate-too-high", since=(0, 10)),
    "unscaled": Fault(
        "pixels 0 ... 255 at the rate for 0 ... 1", "input-not-normalised", since=(0, 10)
    ),
    "bad_batch": Fault("a NaN in the data at step 60", "non-finite", since=(60, 60)),
    "standardised": Fault("divided by the deviation of constant pixels", "non-finite"),
}


def main(watch, broken=None, steps=STEPS):
    x, y = fashion(3000)
    x = x.flatten(1)
    if broken == "unscaled":
        x = x * 255
    if broken == "standardised":
        x = (x - x[:64].mean(0)) / x[:64].std(0)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True, drop_last=True)

    model = nn.Sequential(
        nn.Linear(784, 128), nn.ReLU(),
        nn.Linear(128, 64), nn.ReLU(),
        nn.Linear(64, 64), nn.ReLU(),
        nn.Linear(64, 10),
    )  # fmt: skip
    criterion = nn.CrossEntropyLoss()
    rate = 50.0 if broken == "rate" else 0.05
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    probe = watch(model, optimizer, loss_fn=criterion)

    step = 0
    while step < steps:
        for inputs, labels in loader:
            if broken == "bad_batch" and step == 60:
                inputs[3, 400] = float("nan")
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
            step += 1
            if step == steps:
                break

    model.eval()
    with torch.no_grad():
        accuracy = (model(x).argmax(1) == y).float().mean().item()
    probe.validation(accuracy=accuracy)
    probe.close()
    return accuracy
