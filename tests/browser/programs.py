# SPDX-License-Identifier: Apache-2.0
"""Trainings in PyTorch for the page to show, below the folder that is given:
mlp       a deep sigmoid network that vanishes
resnet    modules in modules, for the map's groups; healthy
blink     one step in the middle meets NaN; nothing else is wrong
hostile   names that want to be markup, in a folder whose name does, too"""

import pathlib
import sys

import torch
from torch import nn

import backprobe

HERE = pathlib.Path(__file__).resolve().parent
DIGITS = HERE.parents[1] / "data/digits/digits.txt"
BLINK_STEP = 137
# The same in hostile.mjs, which asks whether they are shown letter by letter.
HOSTILE_FOLDER = "<img src=x onerror=alert(1)>\u202egpj.exe"
HOSTILE_NAMES = (HERE / "hostile-names.txt").read_text(encoding="utf-8").splitlines()


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    lines = DIGITS.read_text().splitlines()
    x = torch.tensor([[int(c, 17) for c in line[2:] if c != " "] for line in lines]).float()
    return (x - x.mean()) / x.std(), torch.tensor([int(line[0]) for line in lines])


X, Y = digits()


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.relu = nn.ReLU()
        self.second = nn.Linear(width, width)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(self.relu(self.first(x)))


def train(folder: pathlib.Path, model: nn.Module, steps: int, bad_step: int | None = None) -> None:
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with backprobe.watch(model, optimizer, loss_fn=criterion, run=folder, every=1):
        for step in range(steps):
            batch = torch.randint(len(X), (32,))
            inputs = X[batch] * float("nan") if step == bad_step else X[batch]
            optimizer.zero_grad()
            criterion(model(inputs), Y[batch]).backward()
            for parameter in model.parameters():
                parameter.grad.nan_to_num_(0.0)  # the bad step changes nothing
            optimizer.step()


def mlp() -> nn.Module:
    layers: list[nn.Module] = [nn.Linear(64, 32), nn.Sigmoid()]
    for _ in range(9):
        layers += [nn.Linear(32, 32), nn.Sigmoid()]
    return nn.Sequential(*layers, nn.Linear(32, 10))


def resnet() -> nn.Module:
    stages = {"stem": nn.Linear(64, 32)}
    for name in ("stage1", "stage2"):
        stages[name] = nn.Sequential(*(Residual(32) for _ in range(3)))
    stages["head"] = nn.Linear(32, 10)
    model = nn.Sequential()
    for name, module in stages.items():
        model.add_module(name, module)
    return model


def blink() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(),
                         nn.Linear(32, 10))


def hostile() -> nn.Module:
    model, width = nn.Sequential(), 64
    for name in HOSTILE_NAMES:
        model.add_module(name, nn.Linear(width, 16))
        model.add_module(f"{name[:20]} activation", nn.Sigmoid())
        width = 16
    model.add_module("x" * 10000, nn.Linear(width, 10))
    return model


def main(root: pathlib.Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(1)
    train(root / "mlp", mlp(), 200)
    train(root / "resnet", resnet(), 100)
    train(root / "blink", blink(), 1000, BLINK_STEP)
    train(root / HOSTILE_FOLDER, hostile(), 60)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
