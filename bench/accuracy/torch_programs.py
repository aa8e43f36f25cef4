# SPDX-License-Identifier: Apache-2.0
"""The PyTorch programs: what a program trains, by which loop, and what its faults change.

A program is a function of (case, version): it fills the case, which record_torch.py trains."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
import torch_data
from torch import nn


@dataclass
class Case:
    """A training to be recorded. `version` is the fault's name, "" for the healthy one."""

    version: str
    model: Any = None
    optimizer: Any = None
    parts: Any = None
    loss: Any = None  # (model, x, y) -> loss to be told and gone back from
    outputs: Any = None  # (model, x) -> predictions
    criterion: Any = None  # (predictions, y) -> loss, for held-out samples and for `loss`
    classes: bool = True
    steps: int = 300
    batch: int = 32
    schedule: Any = None  # step -> factor of the learning rate
    clip: float = 0.0
    micro: int = 1  # batches that are accumulated
    scaler: Any = None
    scale: float = 1.0  # of the loss before it goes back, by hand
    objective: str = "supervised"
    before: dict = field(default_factory=dict)  # step -> function, before it
    poison: tuple = ()  # step, factor of its inputs
    draw: Any = None  # () -> x, y; a batch, where it is not one of the parts
    autocast: Any = None
    trivial: float = math.nan
    calls: int = 0  # of the loss, where a fault counts them

    def is_(self, name):
        return self.version == name


def stack(widths, activation, out, norm=None):
    layers = []
    for n_in, n_out in zip(widths, widths[1:]):
        layers.append(nn.Linear(n_in, n_out))
        if norm:
            layers.append(norm(n_out))
        layers.append(activation())
    layers.append(nn.Linear(widths[-1], out))
    return nn.Sequential(*layers)


class Flat(nn.Module):
    """A stack on flattened inputs; `spare` is what a fault forgets to use."""

    def __init__(self, net, spare=None, detach_behind=-1):
        super().__init__()
        self.net = net
        if spare is not None:
            self.spare = spare
        self.detach_behind = detach_behind

    def forward(self, x):
        x = x.flatten(1)
        for index, layer in enumerate(self.net):
            x = layer(x)
            if index == self.detach_behind:
                x = x.detach()
        return x


def weighted(model):
    return [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]


def initialise(model, kind="he", gain=1.0):
    for module in weighted(model):
        if kind == "he":
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif kind == "xavier":
            nn.init.xavier_normal_(module.weight)
        elif kind == "constant":
            nn.init.constant_(module.weight, gain)
        elif kind == "normal":
            nn.init.normal_(module.weight, std=gain)
        if kind in ("he", "xavier"):
            module.weight.data *= gain
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def classify(case, net, optimizer, criterion=None):
    """The usual: a network, a criterion, a step an item."""
    case.model, case.optimizer = net, optimizer
    case.criterion = criterion or nn.CrossEntropyLoss()
    case.outputs = case.outputs or (lambda model, x: model(x))
    case.loss = lambda model, x, y: case.criterion(case.outputs(model, x), y)


def common(case, dead=None, dead_at=0):
    """Faults that many programs share."""
    version = case.version
    if version == "nan_in_data":
        case.parts.x[17].view(-1)[3] = math.nan
    elif version == "inputs_raw":
        case.parts.x, case.parts.held_x = 255 * case.parts.x + 400, 255 * case.parts.held_x + 400
    elif version == "permuted":
        case.parts.y = case.parts.y[torch.randperm(len(case.parts.y))]
    elif version == "softmax_twice":
        case.outputs = lambda model, x: F.softmax(model(x), dim=1)
    elif version.startswith("dead_"):
        def kill():
            with torch.no_grad():
                dead.bias.fill_(-30)
        case.before[dead_at] = kill


def rate(case, base, too_high=300.0, too_low=1e-3):
    return base * {"rate_high": too_high, "rate_low": too_low}.get(case.version, 1.0)


def strangle(case, modules):
    """strangled_POSITION: the module of that position is frozen at next to nothing."""
    if case.version.startswith("strangled_"):
        module = modules[case.version.removeprefix("strangled_")]
        nn.init.normal_(module.weight, std=1e-5)
        module.weight.requires_grad_(False)


# --- stacks on digits


def mlp(case):
    case.parts = torch_data.digits()
    spare = nn.Linear(64, 32) if case.is_("unused_head") else None
    net = Flat(stack((64, 64, 64, 64), nn.ReLU, 10), spare, 3 if case.is_("detached") else -1)
    initialise(net)
    if case.is_("zeros"):
        initialise(net, "constant", 0.0)
    if case.is_("constant"):
        initialise(net, "constant", 0.05)
    if case.is_("overfitting"):
        case.parts.keep(300)
        some = torch.rand(300) < 0.5
        case.parts.y[some] = torch.randint(10, (int(some.sum()),))
        case.steps = 1200
    if case.is_("memorising"):
        case.parts.keep(60)
        case.steps = 500
    if case.is_("clip_to_zero"):
        case.scale = 2.0**72
    case.clip = 5.0 if case.is_("clip_to_zero") else 0.0
    common(case, net.net[2], 120)
    optimizer = torch.optim.Adam(net.parameters(), rate(case, 1e-3))
    if case.is_("clip_to_zero"):
        optimizer = torch.optim.SGD(net.parameters(), 0.05)
    classify(case, net, optimizer)


def deep_tanh(case):
    case.parts = torch_data.digits()
    net = Flat(stack((64, *[48] * 10), nn.Sigmoid if case.is_("sigmoid") else nn.Tanh, 10))
    if not case.is_("sigmoid"):
        initialise(net, "xavier")
    if case.is_("tiny"):
        initialise(net, "normal", 0.01)
    if case.is_("large"):
        initialise(net, "normal", 1.0)
    strangle(case, {"early": net.net[4], "middle": net.net[10], "late": net.net[16]})
    if case.is_("poisoned_batch"):
        case.poison = (150, 3000.0)
    case.steps = 350
    classify(case, net, torch.optim.SGD(net.parameters(), rate(case, 0.05, 60)))


def deep_relu_sgd(case):
    case.parts = torch_data.digits()
    net = Flat(stack((64, *[48] * 12), nn.ReLU, 10))
    initialise(net, gain=3.0 if case.is_("large") else 1.0)
    strangle(case, {"middle": net.net[12]})
    common(case, net.net[12], 150)
    case.steps = 350
    base = rate(case, 0.02, 100)
    if case.is_("stalled_bf16"):
        net = net.bfloat16()
        case.parts.x, case.parts.held_x = case.parts.x.bfloat16(), case.parts.held_x.bfloat16()
        base = 0.002
    if case.is_("underflow_f16"):
        case.autocast = torch.float16
        case.scale, base = 1e-7, 0.02e7
    classify(case, net, torch.optim.SGD(net.parameters(), base))


def regression(case):
    case.parts = torch_data.digits()
    parts = case.parts
    for name in ("x", "held_x"):
        setattr(parts, name, getattr(parts, name).flatten(1))
    parts.y, parts.held_y = parts.x[:, 32:].clone(), parts.held_x[:, 32:].clone()
    parts.x, parts.held_x = parts.x[:, :32].clone(), parts.held_x[:, :32].clone()
    net = Flat(stack((32, *[64] * 5), nn.GELU, 32))
    initialise(net)
    if case.is_("tiny"):
        initialise(net, "normal", 0.001)
    strangle(case, {"middle": net.net[4]})
    case.classes = False
    classify(case, net, torch.optim.SGD(net.parameters(), rate(case, 0.05, 60), momentum=0.9), nn.MSELoss())


def multilabel(case):
    case.parts = torch_data.digits()
    for name in ("y", "held_y"):
        setattr(case.parts, name, F.one_hot(getattr(case.parts, name), 10).float())
    net = Flat(stack((64, 64, 64), nn.ReLU, 10))
    initialise(net)
    case.classes = False
    if case.is_("sigmoid_twice"):
        case.outputs = lambda model, x: torch.sigmoid(model(x))
    classify(case, net, torch.optim.Adam(net.parameters(), rate(case, 2e-3)), nn.BCEWithLogitsLoss())


def accumulated(case):
    case.parts, case.micro, case.batch, case.steps = torch_data.digits(), 4, 8, 200
    net = Flat(stack((64, 64, 64), nn.ReLU, 10))
    initialise(net)
    classify(case, net, torch.optim.AdamW(net.parameters(), rate(case, 2e-3)))


def finetuned(case):
    """The lower half is frozen on purpose."""
    case.parts = torch_data.digits()
    net = Flat(stack((64, *[64] * 4), nn.ReLU, 10))
    initialise(net)
    for module in (net.net[0], net.net[2]):
        module.requires_grad_(False)
    classify(case, net, torch.optim.Adam([p for p in net.parameters() if p.requires_grad], rate(case, 1e-3)))


def tiny_batch(case):
    case.parts, case.batch, case.steps = torch_data.digits(), 4, 600
    net = Flat(stack((64, 48, 48), nn.Tanh, 10))
    initialise(net, "xavier")
    classify(case, net, torch.optim.SGD(net.parameters(), rate(case, 0.02, 300)))


def cosine_budget(case):
    case.parts, case.steps = torch_data.digits(), 500
    net = Flat(stack((64, 64, 64, 64), nn.ReLU, 10))
    initialise(net)
    case.schedule = lambda step: 0.5 * (1 + math.cos(math.pi * step / case.steps))
    common(case, net.net[2], 100)
    classify(case, net, torch.optim.AdamW(net.parameters(), rate(case, 2e-3)))


def spirals(case):
    case.parts, case.steps, case.batch = torch_data.spirals(), 600, 64
    net = Flat(stack((2, 32, 32, 32), nn.Tanh, 2))
    initialise(net, "xavier")
    if case.is_("same"):
        for module in weighted(net)[:-1]:
            module.weight.data[:] = module.weight.data[:1].clone()
    classify(case, net, torch.optim.Adam(net.parameters(), rate(case, 0.01)))


def autoencoder(case):
    case.parts = torch_data.digits()
    parts = case.parts
    for name in ("x", "held_x"):
        setattr(parts, name, getattr(parts, name).flatten(1))
    lowest, highest = parts.x.min(), parts.x.max()
    squeezed = not case.is_("targets_outside")
    for own, target in (("x", "y"), ("held_x", "held_y")):
        images = (getattr(parts, own) - lowest) / (highest - lowest)
        setattr(parts, own, images)
        setattr(parts, target, images if squeezed else 255 * images)
    inner = nn.Sigmoid if case.is_("sigmoid") else nn.ReLU
    layers = list(stack((64, 64, 64, 24, 64, 64), inner, 64))
    layers.append(nn.Hardtanh(0, 1) if case.is_("log_0") else nn.Sigmoid())
    net = Flat(nn.Sequential(*layers))
    case.classes = False
    criterion = nn.MSELoss()
    if case.is_("log_0"):
        criterion = by_hand
    classify(case, net, torch.optim.Adam(net.parameters(), rate(case, 3e-3)), criterion)


def by_hand(p, y):
    """Cross-entropy without a thought for log(0)."""
    return -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean()


def gan(case):
    """Two optimisers in turns; the loss tells nothing about learning."""
    case.parts, case.objective, case.classes = torch_data.digits(), "gan", False
    case.parts.x, case.parts.held_x = case.parts.x.flatten(1), case.parts.held_x.flatten(1)
    model = nn.ModuleDict({"generator": stack((16, 64, 64), nn.ReLU, 64),
                           "discriminator": stack((64, 64, 32), nn.LeakyReLU, 1)})
    case.model = model
    case.optimizer = torch.optim.Adam(model.parameters(), 5e-4, betas=(0.5, 0.999))
    target = nn.BCEWithLogitsLoss()

    def loss(model, x, _):
        fake = model["generator"](torch.randn(len(x), 16))
        real_score = model["discriminator"](x)
        fake_score = model["discriminator"](fake.detach())
        fooled = model["discriminator"](fake)
        return (target(real_score, torch.ones_like(real_score)) + target(fake_score, torch.zeros_like(fake_score))
                + 0.5 * target(fooled, torch.ones_like(fooled)))

    case.loss = loss


def siamese(case):
    """Pairs of digits; a contrastive loss."""
    case.parts, case.objective, case.classes = torch_data.digits(), "contrastive", False
    net = Flat(stack((64, 64, 64), nn.ReLU, 16))
    case.model, case.optimizer = net, torch.optim.Adam(net.parameters(), 1e-3)

    def loss(model, x, y):
        code = F.normalize(model(x), dim=1)
        likeness = code @ code.T / 0.2
        same = (y[:, None] == y[None, :]).float().fill_diagonal_(0)
        likeness = likeness - 1e9 * torch.eye(len(x))
        log = F.log_softmax(likeness, dim=1)
        return -(log * same).sum() / same.sum().clamp(min=1)

    case.loss = loss
