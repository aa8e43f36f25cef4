# SPDX-License-Identifier: Apache-2.0
"""A ResNet of CIFAR-style basic blocks on Fashion-MNIST, with argparse and OneCycleLR."""

import argparse

import torch
import torch.nn.functional as F
from data import fashion
from outcome import Fault, Goal
from torch import nn

GOAL = Goal("accuracy", at_least=0.65)
STEPS = 80
BROKEN = {
    "init_x3": Fault(
        "no norm, and Kaiming's weights times 3", "weights-too-large", "layer1.0.conv1"
    ),
    "rate": Fault(
        "learning rate 1000 times too high, no norm", "learning-rate-too-high", since=(0, 12)
    ),
    "masked_mean": Fault("mean over an empty mask: 0 / 0", "non-finite", since=(20, 20)),
}


def conv3x3(n_in, n_out, stride=1):
    return nn.Conv2d(n_in, n_out, kernel_size=3, stride=stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    def __init__(self, n_in, n_out, stride=1, norm=nn.BatchNorm2d):
        super().__init__()
        self.conv1 = conv3x3(n_in, n_out, stride)
        self.bn1 = norm(n_out)
        self.conv2 = conv3x3(n_out, n_out)
        self.bn2 = norm(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or n_in != n_out:
            projection = nn.Conv2d(n_in, n_out, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, norm(n_out))

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, widths=(8, 16, 32), blocks=2, norm=nn.BatchNorm2d):
        super().__init__()
        self.conv1 = conv3x3(1, widths[0], stride=2)
        self.bn1 = norm(widths[0])
        stages, n_in = [], widths[0]
        for i, width in enumerate(widths):
            stage = [BasicBlock(n_in, width, 1 if i == 0 else 2, norm)]
            stage += [BasicBlock(width, width, 1, norm) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(*stage))
            n_in = width
        self.layer1, self.layer2, self.layer3 = stages
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(widths[-1], 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def no_norm(_):
    return nn.Identity()


def train(args, watch):
    x, y = fashion(args.images)
    x = (x - 0.286) / 0.353
    model = ResNet(blocks=args.blocks, norm=nn.BatchNorm2d if args.norm else no_norm)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            module.weight.data.mul_(args.init_scale)
    optimizer = torch.optim.SGD(model.parameters(), args.lr, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.steps)
    probe = watch(model, optimizer)
    for step in range(args.steps):
        index = torch.randint(len(x), (args.batch_size,))
        loss = F.cross_entropy(model(x[index]), y[index], reduction="none")
        hard = loss > (1e9 if args.empty_mask_at == step else -1)
        loss = (loss * hard).sum() / hard.sum()
        probe.loss(loss)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
    probe.close()
    model.eval()
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def main(watch, broken=None, steps=STEPS):
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--init-scale", type=float, default=1.0)
    parser.add_argument("--norm", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--empty-mask-at", type=int, default=-1)
    options = {
        None: [],
        "init_x3": ["--no-norm", "--init-scale", "3", "--lr", "0.02"],
        "rate": ["--no-norm", "--lr", "100"],
        "masked_mean": ["--empty-mask-at", "20"],
    }
    return train(parser.parse_args(options[broken]), watch)
