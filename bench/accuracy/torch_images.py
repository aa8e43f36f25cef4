# SPDX-License-Identifier: Apache-2.0
"""PyTorch programs on images: convolutions, residual networks, mixers, mixed precision."""

import math

import torch
import torch_data
from torch import nn
from torch_programs import classify, common, initialise, rate


def cnn_plain(case):
    case.parts, case.steps = torch_data.digits(), 220
    layers = []
    for n_in, n_out in ((1, 8), (8, 12), (12, 12), (12, 16)):
        layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU()]
    net = Classifier(nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 16, 10)))
    initialise(net, gain=8.0 if case.is_("large") else 1.0)
    if case.is_("tiny"):
        initialise(net, "normal", 0.001)
    common(case, net.net[2])
    classify(case, net, torch.optim.SGD(net.parameters(), rate(case, 0.02), momentum=0.9))


class Classifier(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)


def cnn_norm(case):
    case.parts, case.steps = torch_data.fashion(), 150
    layers, n_in = [], 1
    for n_out in (8, 16, 16):
        layers += [nn.Conv2d(n_in, n_out, 3, padding=1, stride=2), nn.BatchNorm2d(n_out), nn.ReLU()]
        n_in = n_out
    net = Classifier(nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.1), nn.Linear(16 * 16, 10)))
    common(case)
    case.schedule = lambda step: 0.5 * (1 + math.cos(math.pi * step / case.steps))
    optimizer = torch.optim.SGD(net.parameters(), rate(case, 0.05, 1000, 1e-4), momentum=0.9, weight_decay=1e-4)
    classify(case, net, optimizer)


class BasicBlock(nn.Module):
    def __init__(self, n_in, n_out, stride, norm):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), norm(n_out)
        self.conv2, self.bn2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), norm(n_out)
        self.relu = nn.ReLU()
        self.down = None
        if stride != 1 or n_in != n_out:
            self.down = nn.Conv2d(n_in, n_out, 1, stride, bias=False)

    def forward(self, x):
        kept = x if self.down is None else self.down(x)
        return self.relu(kept + self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))


class ResNet(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(1, 8, 3, 2, 1, bias=False), norm(8), nn.ReLU()
        blocks = [BasicBlock(8, 8, 1, norm), BasicBlock(8, 16, 2, norm), BasicBlock(16, 16, 1, norm),
                  BasicBlock(16, 24, 2, norm)]
        self.blocks = nn.Sequential(*blocks)
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(24, 10)

    def forward(self, x):
        x = self.blocks(self.relu(self.bn1(self.conv1(x))))
        return self.fc(self.pool(x).flatten(1))


def resnet(case):
    case.parts, case.steps = torch_data.fashion(), 120
    bare = case.is_("no_norm_large")
    net = ResNet((lambda _: nn.Identity()) if bare else nn.BatchNorm2d)
    initialise(net, gain=4.0 if bare else 1.0)
    common(case)
    case.schedule = lambda step: min(1.0, (step + 1) / 30) * (1 - step / case.steps)
    optimizer = torch.optim.SGD(net.parameters(), rate(case, 0.05, 1000), momentum=0.9)
    classify(case, net, optimizer)
    if case.is_("masked_mean"):
        case.loss = lambda model, x, y: masked(model(x), y, case)


def masked(outputs, y, case):
    """The mean over the hard samples; one day there is none."""
    each = nn.functional.cross_entropy(outputs, y, reduction="none")
    case.calls += 1
    hard = each > (1e9 if case.calls == 60 else -1)
    return (each * hard).sum() / hard.sum()


class MixerBlock(nn.Module):
    """Tolstikhin et al. 2021: across patches, then across channels."""

    def __init__(self, patches, channels):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.across = nn.Sequential(nn.Linear(patches, 32), nn.GELU(), nn.Linear(32, patches))
        self.within = nn.Sequential(nn.Linear(channels, 64), nn.GELU(), nn.Linear(64, channels))

    def forward(self, x):
        x = x + self.across(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.within(self.norm2(x))


class Mixer(nn.Module):
    def __init__(self, spare):
        super().__init__()
        self.embed = nn.Linear(4, 32)
        self.blocks = nn.Sequential(*(MixerBlock(16, 32) for _ in range(4)))
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, 10)
        if spare:
            self.spare = nn.Linear(32, 10)

    def forward(self, x):
        patches = x.unfold(2, 2, 2).unfold(3, 2, 2).reshape(len(x), 16, 4)
        return self.head(self.norm(self.blocks(self.embed(patches))).mean(1))


def mixer(case):
    case.parts, case.steps = torch_data.digits(), 250
    net = Mixer(case.is_("unused_head"))
    case.schedule = lambda step: min(1.0, (step + 1) / 30)
    classify(case, net, torch.optim.AdamW(net.parameters(), rate(case, 2e-3)))


class Standardise(nn.Module):
    """Each sample to mean 0 and deviation 1, through a bare square root."""

    def forward(self, x):
        x = x - x.mean(dim=1, keepdim=True)
        return x / x.pow(2).mean(dim=1, keepdim=True).sqrt()


def autocast_bf16(case):
    case.parts, case.steps, case.autocast = torch_data.digits(), 200, torch.bfloat16
    layers = [nn.Flatten()]
    if case.is_("sqrt_0"):
        case.parts.x[40] = 0.25  # a blank image
        layers.append(Standardise())
    for _ in range(8):
        layers.append(nn.Linear(64, 64))
        layers += [] if case.is_("no_norm_large") else [nn.LayerNorm(64)]
        layers.append(nn.ReLU())
    net = Classifier(nn.Sequential(*layers, nn.Linear(64, 10)))
    initialise(net, gain=4.0 if case.is_("no_norm_large") else 1.0)
    classify(case, net, torch.optim.RMSprop(net.parameters(), rate(case, 1e-3)))


def autocast_f16(case):
    case.parts, case.steps, case.autocast = torch_data.digits(), 180, torch.float16
    case.scaler = torch.amp.GradScaler("cpu", enabled=not case.is_("overflow"), growth_interval=50)
    case.clip = 5.0
    if case.is_("overflow"):
        case.parts.x, case.parts.held_x = 60000 * case.parts.x, 60000 * case.parts.held_x
    net = Classifier(nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(8 * 16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)))
    classify(case, net, torch.optim.AdamW(net.parameters(), rate(case, 2e-3)))
