# SPDX-License-Identifier: Apache-2.0
"""A convolutional network with batch norm, trained by a class Trainer with a scheduler and tqdm."""

import torch
import torch.nn.functional as F
from data import fashion
from outcome import Fault, Goal
from torch import nn
from tqdm import tqdm

GOAL = Goal("accuracy", at_least=0.7)
STEPS = 120
BROKEN = {
    "no_norm_std_1": Fault("no batch norm, normal_(std=1)", "weights-too-large", "conv2", "conv4"),
    "no_norm_tiny": Fault(
        "no batch norm, normal_(std=0.001)", "weights-too-small", "conv1", "conv4",
        also=("vanishing-gradient",),
    ),
}  # fmt: skip


class Net(nn.Module):
    def __init__(self, norm=True):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.conv3 = nn.Conv2d(16, 16, 3, padding=1)
        self.conv4 = nn.Conv2d(16, 32, 3, padding=1)
        make = nn.BatchNorm2d if norm else lambda _: nn.Identity()
        self.bn1, self.bn2, self.bn3, self.bn4 = make(8), make(16), make(16), make(32)
        self.dropout = nn.Dropout(0.1)
        self.fc = nn.Linear(32 * 3 * 3, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        x = F.relu(self.bn3(self.conv3(x)))
        x = F.max_pool2d(F.relu(self.bn4(self.conv4(x))), 2)
        return self.fc(self.dropout(x.view(x.size(0), -1)))


class Trainer:
    def __init__(self, model, optimizer, criterion, scheduler, steps):
        self.model, self.optimizer = model, optimizer
        self.criterion, self.scheduler, self.steps = criterion, scheduler, steps

    def fit(self, x, y, batch_size=32):
        self.model.train()
        for _ in tqdm(range(self.steps), leave=False, disable=None):
            index = torch.randperm(len(x))[:batch_size]
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.criterion(self.model(x[index]), y[index])
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()

    @torch.no_grad()
    def evaluate(self, x, y):
        self.model.eval()
        return (self.model(x).argmax(dim=1) == y).float().mean().item()


def main(watch, broken=None, steps=STEPS):
    x, y = fashion(1000)
    model = Net(norm=broken is None)
    criterion = nn.CrossEntropyLoss()
    if broken:
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=1 if broken == "no_norm_std_1" else 0.001)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    probe = watch(model, optimizer, loss_fn=criterion)
    trainer = Trainer(model, optimizer, criterion, scheduler, steps)
    trainer.fit(x, y)
    accuracy = trainer.evaluate(x, y)
    probe.close()
    return accuracy
