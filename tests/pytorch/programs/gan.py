# SPDX-License-Identifier: Apache-2.0
"""A GAN that draws digits: two networks, two optimisers, two watches. The score is how far the
mean image of what it draws is from the digits' mean image."""

import torch
import torch.nn.functional as F
from data import digits
from outcome import Fault, Goal
from torch import nn

GOAL = Goal("distance", at_most=0.2)
STEPS = 450
BROKEN = {
    "hasty_discriminator": Fault(
        "the discriminator's rate 150 times too high, log(1 - sigmoid(x)) by hand",
        "learning-rate-too-high", since=(0, 5), also=("non-finite",),
    ),
}  # fmt: skip


def generator():
    return nn.Sequential(
        nn.Linear(16, 64), nn.LeakyReLU(0.2),
        nn.Linear(64, 64), nn.LeakyReLU(0.2),
        nn.Linear(64, 64), nn.Sigmoid(),
    )  # fmt: skip


def discriminator():
    return nn.Sequential(
        nn.Linear(64, 64), nn.LeakyReLU(0.2),
        nn.Linear(64, 32), nn.LeakyReLU(0.2),
        nn.Linear(32, 1),
    )  # fmt: skip


def by_hand(logits, real):
    p = torch.sigmoid(logits)
    return -(torch.log(p) if real else torch.log(1 - p)).mean()


def by_pytorch(logits, real):
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def main(watch, broken=None, steps=STEPS):
    images = digits()[0].flatten(1)
    G, D = generator(), discriminator()
    loss_of = by_hand if broken else by_pytorch
    opt_g = torch.optim.Adam(G.parameters(), lr=2e-3, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(D.parameters(), lr=0.3 if broken else 2e-3, betas=(0.5, 0.999))
    probe_g = watch(G, opt_g, objective="gan")
    probe_d = watch(D, opt_d, objective="gan")
    for _ in range(steps):
        real = images[torch.randint(len(images), (32,))]
        fake = G(torch.randn(32, 16))

        opt_d.zero_grad()
        loss_d = loss_of(D(real), True) + loss_of(D(fake.detach()), False)
        probe_d.loss(loss_d)
        loss_d.backward()
        opt_d.step()

        opt_g.zero_grad()
        loss_g = loss_of(D(fake), True)
        probe_g.loss(loss_g)
        loss_g.backward()
        opt_g.step()
    probe_g.close()
    probe_d.close()
    with torch.no_grad():
        drawn = G(torch.randn(512, 16))
    return (drawn.mean(0) - images.mean(0)).abs().mean().item()
