# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning: a trunk is trained on five classes of Fashion-MNIST, frozen, and gets a new head for
the other five."""

import torch
from data import fashion
from outcome import Fault, Goal
from torch import nn

GOAL = Goal("accuracy", at_least=0.6)
STEPS = 200
BROKEN = {
    "rate": Fault("the head's rate 1000 times too high", "learning-rate-too-high", since=(0, 15)),
    "deep_sigmoid_head": Fault(
        "a head of eight sigmoid layers", "vanishing-gradient", "head.0", "head.8"
    ),
}


def make_trunk():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Flatten(), nn.Linear(16 * 7 * 7, 64), nn.ReLU(),
    )  # fmt: skip


class Classifier(nn.Module):
    def __init__(self, trunk, head):
        super().__init__()
        self.trunk = trunk
        self.head = head

    def forward(self, x):
        return self.head(self.trunk(x))


def pre_train(x, y):
    trunk = make_trunk()
    model = Classifier(trunk, nn.Linear(64, 5))
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(100):
        index = torch.randint(len(x), (32,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[index]), y[index]).backward()
        optimizer.step()
    return trunk


def sigmoid_head():
    layers = []
    for _ in range(8):
        layers += [nn.Linear(64, 64), nn.Sigmoid()]
    return nn.Sequential(*layers, nn.Linear(64, 5))


def main(watch, broken=None, steps=STEPS):
    x, y = fashion(2000)
    old = y < 5
    trunk = pre_train(x[old], y[old])
    x, y = x[~old], y[~old] - 5

    for parameter in trunk.parameters():
        parameter.requires_grad = False
    trunk.eval()
    if broken == "deep_sigmoid_head":
        head = sigmoid_head()
    else:
        head = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 5))
    model = Classifier(trunk, head)
    trained = [p for p in model.parameters() if p.requires_grad]
    rate = 10.0 if broken == "rate" else 0.01
    optimizer = torch.optim.SGD(trained, lr=rate, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    probe = watch(model, optimizer, loss_fn=criterion)
    for _ in range(steps):
        index = torch.randint(len(x), (32,))
        optimizer.zero_grad()
        loss = criterion(model(x[index]), y[index])
        loss.backward()
        optimizer.step()
    probe.close()
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()
