# SPDX-License-Identifier: Apache-2.0
"""A host of the extension, as small as it can be: two layers whose every tensor passes a site."""

import math
import os
import pathlib
import tempfile
import unittest

import torch

from backprobe import _native
from backprobe._native import ACTIVATION, ERROR, SPREAD, Probe

torch.set_num_threads(1)
ALL = ACTIVATION | SPREAD | ERROR
LOG = 0.004  # a 16-bit logarithm


def dense(name, units_in, units_out, **words):
    shape = {"fan_in": units_in, "fan_out": units_out, "output_shape": (units_out, 1, 1)}
    return {"name": name, "kind": "dense", "has_bias": True, **shape, **words}


def records_of(path):
    """The records of a log, each quantity as a list over the three rows that our networks have."""
    records = []
    for record in _native.records(path):
        rows = {name: [values.get(row) for row in range(3)] for name, values in record["quantities"].items()}
        records.append({"step": record["step"], "flags": record["flags"], **rows})
    return records


class Case(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_folder(self, name="run"):
        (self.folder / name).mkdir()
        return os.fsencode(self.folder / name)

    def near(self, found, expected, relative=LOG):
        self.assertIsNotNone(found)
        self.assertTrue(
            math.isclose(found, float(expected), rel_tol=relative, abs_tol=1e-12),
            f"found {found}, expected {float(expected)}",
        )


class Net:
    """Two layers whose every tensor passes a site, as a host would have it."""

    SITES = [
        (0, 0, "activation"),
        (1, 1, "activation"),
        (1, 1, "error_output"),
        (2, 1, "error_pre_activation"),
        (3, 2, "activation"),
        (3, 2, "error_output"),
    ]

    def __init__(self, **options):
        torch.manual_seed(1)
        self.model = torch.nn.Sequential(torch.nn.Linear(6, 10), torch.nn.Tanh(), torch.nn.Linear(10, 4))
        self.parameters = list(self.model.parameters())
        self.optimiser = torch.optim.SGD(self.parameters, lr=0.1)
        self.probe = Probe()
        self.options = {"every": 1, **options}

    def open(self):
        slots = [(1, "weight", 0), (1, "bias", 0), (2, "weight", 0), (2, "bias", 0)]
        layers = [dense("0", 6, 10, activation="tanh"), dense("2", 10, 4)]
        recipe = {"loss": "cross_entropy", "optimiser": "sgd", "learning_rate": 0.1, "trivial_loss": math.log(4)}
        self.probe.open(layers, recipe, (6, 1, 1), self.SITES, slots, self.options)
        return self

    def forward(self, x):
        see = self.probe.forward
        see(0, x, ACTIVATION | SPREAD)
        z = self.model[0](x)
        see(2, z, ERROR)
        h = self.model[1](z)
        see(1, h, ALL)
        out = self.model[2](h)
        see(3, out, ALL)
        return out

    def loss(self, x, y):
        loss = torch.nn.functional.cross_entropy(self.forward(x), y)
        self.probe.loss(loss, len(y))
        return loss

    def update(self, samples, *, factor=1.0, skipped=False, scale=1.0, clip=None):
        gradients = [p.grad for p in self.parameters]
        self.probe.gradients(gradients)
        if clip:
            torch.nn.utils.clip_grad_norm_(self.parameters, clip)
        self.probe.before_update(self.parameters, gradients, factor)
        if not skipped:
            self.optimiser.step()
        self.probe.after_update(self.parameters)
        full = self.probe.end_step(0.1, samples, skipped, scale)
        self.optimiser.zero_grad()
        return full


def batch(n=32, seed=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 6, generator=generator), torch.randint(0, 4, (n,), generator=generator)


class Stepping(Case):
    def net(self, name="run", **options):
        self.path = self.run_folder(name)
        return Net(run_folder=self.path, **options)

    def records(self, net):
        net.probe.close("finished")
        return records_of(self.path)

    def same(self, a, b, but=(), relative=LOG):
        skip = {"step", "flags", *but}
        self.assertEqual(a.keys() - skip, b.keys() - skip)
        for name in a.keys() - skip:
            for row, (one, other) in enumerate(zip(a[name], b[name], strict=True)):
                with self.subTest(name, row=row):
                    if one is None or other is None:
                        self.assertIs(one, other)
                    else:
                        self.near(one, other, relative)

    def plain(self, name="plain"):
        """The record of one step over one batch."""
        net = self.net(name).open()
        net.loss(*batch()).backward()
        net.update(32)
        return self.records(net)[0]
