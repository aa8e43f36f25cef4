# SPDX-License-Identifier: Apache-2.0
"""An LSTM that reads Fashion-MNIST row by row; the last state tells the class."""

import torch
from data import fashion
from outcome import Fault, Goal
from torch import nn

GOAL = Goal("accuracy", at_least=0.55)
STEPS = 150
BROKEN = {
    "deep_sigmoid_head": Fault(
        "eight sigmoid layers after the LSTM", "vanishing-gradient", "lstm", "head.4"
    ),
    "rate": Fault("learning rate 1000 times too high", "learning-rate-too-high", since=(0, 10)),
}


class RowReader(nn.Module):
    def __init__(self, hidden=48, head=None):
        super().__init__()
        self.lstm = nn.LSTM(input_size=28, hidden_size=hidden, num_layers=1, batch_first=True)
        self.head = head or nn.Linear(hidden, 10)

    def forward(self, images):
        rows = images.squeeze(1)
        output, (h, c) = self.lstm(rows)
        return self.head(output[:, -1])


def sigmoid_head(hidden):
    layers = []
    for _ in range(8):
        layers += [nn.Linear(hidden, hidden), nn.Sigmoid()]
    return nn.Sequential(*layers, nn.Linear(hidden, 10))


def train_epoch(model, batches, optimizer, criterion):
    model.train()
    for images, labels in batches:
        optimizer.zero_grad()
        criterion(model(images), labels).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def main(watch, broken=None, steps=STEPS):
    images, labels = fashion(32 * 50)
    batches = list(zip(images.split(32), labels.split(32), strict=True))
    model = RowReader(head=sigmoid_head(48) if broken == "deep_sigmoid_head" else None)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3.0 if broken == "rate" else 3e-3)
    with watch(model, optimizer, loss_fn=criterion):
        for _ in range(steps // len(batches)):
            train_epoch(model, batches, optimizer, criterion)
    model.eval()
    with torch.no_grad():
        return (model(images).argmax(-1) == labels).float().mean().item()
