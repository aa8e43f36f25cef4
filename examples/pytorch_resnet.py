# SPDX-License-Identifier: Apache-2.0
"""A ResNet on the bundled digits whose norms were forgotten and whose weights are too large:
python examples/pytorch_resnet.py, and with --norm a healthy one."""

import argparse
import pathlib

import torch
from torch import nn

import backprobe

DIGITS = pathlib.Path(__file__).resolve().parents[1] / "data/digits/digits.txt"


def digits():
    """Images [1797, 1, 8, 8] with mean 0 and deviation 1, and their classes."""
    lines = DIGITS.read_text().splitlines()
    x = torch.tensor([[int(c, 17) for c in line[2:] if c != " "] for line in lines]).float()
    x = (x - x.mean()) / x.std()
    return x.view(-1, 1, 8, 8), torch.tensor([int(line[0]) for line in lines])


class Block(nn.Module):
    def __init__(self, n_in, n_out, stride, norm):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        self.norm1 = norm(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.norm2 = norm(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.skip = nn.Identity()
        if n_in != n_out:
            self.skip = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), norm(n_out))

    def forward(self, x):
        out = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        return self.relu(out + self.skip(x))


class ResNet(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), norm(16), nn.ReLU())
        self.layer1 = nn.Sequential(*(Block(16, 16, 1, norm) for _ in range(3)))
        self.layer2 = nn.Sequential(
            Block(16, 32, 2, norm), Block(32, 32, 1, norm), Block(32, 32, 1, norm)
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        return self.fc(self.pool(self.layer2(self.layer1(self.stem(x)))).flatten(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--norm", action="store_true", help="with batch norm and Kaiming's weights")
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    torch.manual_seed(1)
    x, y = digits()
    model = ResNet(nn.BatchNorm2d if arguments.norm else lambda _: nn.Identity())
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            if not arguments.norm:
                module.weight.data *= 3
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    probe = backprobe.watch(model, optimizer, loss_fn=criterion)
    for _ in range(arguments.steps):
        batch = torch.randint(len(x), (32,))
        optimizer.zero_grad()
        loss = criterion(model(x[batch]), y[batch])
        loss.backward()
        optimizer.step()
    probe.close()


if __name__ == "__main__":
    main()
