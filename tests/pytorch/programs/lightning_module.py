# SPDX-License-Identifier: Apache-2.0
"""A Lightning module with a validation loop, under Lightning's trainer and clipping."""

import logging
import warnings

import lightning
import torch
import torch.nn.functional as F
from data import digits
from outcome import Fault, Goal
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

GOAL = Goal("accuracy", at_least=0.85)
STEPS = 200
BROKEN = {
    "sigmoid": Fault("ten sigmoid layers", "vanishing-gradient", "net.1", "net.7"),
}


class Digits(lightning.LightningModule):
    def __init__(self, activation, depth, rate):
        super().__init__()
        layers = [nn.Flatten()]
        for _ in range(depth):
            layers += [nn.Linear(64, 64), activation()]
        self.net = nn.Sequential(*layers, nn.Linear(64, 10))
        self.rate = rate
        self.accuracy = 0.0

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, _):
        x, y = batch
        self.accuracy = (self(x).argmax(1) == y).float().mean().item()
        self.log("val_accuracy", self.accuracy)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.rate)


def main(watch, broken=None, steps=STEPS):
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    x, y = digits()
    train = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=32, shuffle=True)
    validation = DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397)
    if broken == "sigmoid":
        model = Digits(nn.Sigmoid, depth=10, rate=1e-3)
    else:
        model = Digits(nn.ReLU, depth=3, rate=1e-3)
    trainer = lightning.Trainer(
        max_steps=steps, accelerator="cpu", gradient_clip_val=1.0, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=watch.lightning(),
    )  # fmt: skip
    trainer.fit(model, train, validation)
    trainer.validate(model, validation, verbose=False)
    return model.accuracy
