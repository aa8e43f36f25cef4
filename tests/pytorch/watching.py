# SPDX-License-Identifier: Apache-2.0
"""What the tests of watch() share: a run in a folder of its own, its records, and plain figures."""

import contextlib
import io
import os
import pathlib
import tempfile
import unittest

import torch
from torch import nn

import backprobe
from backprobe import _native

torch.set_num_threads(1)

SKIPPED = 1  # flag of a record


class Watching(unittest.TestCase):
    """Each test has a folder, a seed, and what was said on stderr in `self.said`."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.stderr = io.StringIO()
        quiet = contextlib.redirect_stderr(self.stderr)
        quiet.__enter__()
        self.addCleanup(quiet.__exit__, None, None, None)
        torch.manual_seed(1)

    @property
    def said(self):
        return self.stderr.getvalue()

    def watch(self, model, optimizer, **options):
        options.setdefault("every", 1)
        options.setdefault("run", self.folder / "run")
        probe = backprobe.watch(model, optimizer, **options)
        self.addCleanup(probe.close)
        return probe

    def close(self, probe):
        """Its records, and that nothing went wrong inside."""
        blind = probe.blind
        probe.close()
        self.assertIsNone(blind)
        return records(probe.run_folder)

    def assert_near(self, measured, expected, part=0.002):
        """As near as a logged figure is: 16 bits of a logarithm."""
        self.assertIsNotNone(measured)
        self.assertLessEqual(abs(measured - float(expected)), part * abs(float(expected)) + 1e-30,
                             f"{measured} is not {float(expected)}")  # fmt: skip


class Record(dict):
    """A step's record: record["weight_rms", 1], or record["loss"]; None where it was not measured."""

    def __init__(self, row):
        super().__init__(
            ((name, number), value)
            for name, rows in row["quantities"].items()
            for number, value in rows.items()
        )
        self.step = row["step"]
        self.skipped = bool(row["flags"] & SKIPPED)

    def __getitem__(self, key):
        return self.get(key if isinstance(key, tuple) else (key, 0))

    @property
    def is_full(self):
        return any(name == "weight_rms" for name, _ in self)


def records(folder):
    return [Record(row) for row in _native.records(os.fsencode(folder))]


def mlp(width=24, depth=2, activation=nn.ReLU):
    layers = [nn.Flatten()]
    size = 64
    for _ in range(depth):
        layers += [nn.Linear(size, width), activation()]
        size = width
    return nn.Sequential(*layers, nn.Linear(size, 10))


def rms(tensor):
    return tensor.double().pow(2).mean().sqrt().item()


def norm_of_rows(tensor):
    """rms over samples of their norms."""
    return tensor.double().flatten(1).pow(2).sum(1).mean().sqrt().item()
