# SPDX-License-Identifier: Apache-2.0
"""Histograms of exponents in a run's log, element by element against torch.frexp."""

import collections
import copy
import struct
import unittest

import data
import torch
from torch import nn
from watching import Watching, mlp

HISTOGRAM = 13  # type of a record; docs/runlog-format.md
WEIGHTS, GRADIENTS = 5, 6  # roles


def varints(payload):
    number = shift = 0
    for byte in payload:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number
            number = shift = 0


def histograms(run):
    """(step, layer, role): octaves -> elements, with the keys "zero" and "non-finite"."""
    found = {}
    for segment in sorted(run.glob("log-*.bplog")):
        log, at = segment.read_bytes(), 96
        while at < len(log):
            kind, _, length = struct.unpack_from("<HHI", log, at + 4)
            if kind == HISTOGRAM:
                step, layer, role, zero, bad, n, *rest = varints(log[at + 36 : at + 36 + length])
                first = rest.pop(0) - 1074 if n else 0
                octaves = {first + i: count for i, count in enumerate(rest) if count}
                found[step, layer, role] = octaves | {"zero": zero, "non-finite": bad}
            at += 36 + length
    return found


def octaves_of(*tensors):
    """The same, reckoned by PyTorch."""
    x = torch.cat([t.detach().double().flatten() for t in tensors])
    finite = x[x.isfinite() & (x != 0)]
    exponents = torch.frexp(finite).exponent - 1
    seen = collections.Counter(exponents.tolist())
    return dict(seen) | {"zero": int((x == 0).sum()), "non-finite": int((~x.isfinite()).sum())}


class Histograms(Watching):
    def setUp(self):
        super().setUp()
        self.x, self.y = data.digits(96)
        self.expected = {}

    def expect(self, step, layer, weights, gradients, factor=1.0):
        self.expected[step, layer, WEIGHTS] = octaves_of(*weights)
        self.expected[step, layer, GRADIENTS] = octaves_of(*(g / factor for g in gradients))

    def train(self, model, optimizer, steps, micro=1, scaler=None, **options):
        """Watched; what is expected of each Linear is noted before its update."""
        linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
        probe = self.watch(model, optimizer, **options)
        for step in range(steps):
            for part in range(micro):
                pick = slice((step + part) % 3 * 32, (step + part) % 3 * 32 + 32)
                loss = nn.functional.cross_entropy(model(self.x[pick]).float(), self.y[pick]) / micro
                (scaler.scale(loss) if scaler else loss).backward()
            if scaler and not getattr(optimizer, "_step_supports_amp_scaling", False):
                scaler.unscale_(optimizer)
            factor = scaler.get_scale() if scaler and optimizer.defaults.get("fused") else 1.0
            for number, module in enumerate(linear, 1):
                self.expect(step, number, [module.weight], [module.weight.grad], factor)
            if scaler:
                scaler.step(optimizer)
                scaler.update()
            else:
                optimizer.step()
            optimizer.zero_grad()
        return self.close(probe)

    def compare(self, steps=None):
        found = histograms(self.folder / "run")
        expected = {k: v for k, v in self.expected.items() if steps is None or k[0] in steps}
        self.assertGreater(len(expected), 0)
        self.assertEqual(sorted(found), sorted(expected))
        for key, octaves in expected.items():
            with self.subTest(step=key[0], layer=key[1], role=key[2]):
                self.assertEqual(found[key], octaves)

    def test_weights_and_gradients(self):
        model = mlp()
        self.train(model, torch.optim.Adam(model.parameters()), 5)
        self.compare()

    def test_zeros_and_non_finite(self):
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
        with torch.no_grad():
            model[1].weight[:4] = -1  # units that never speak: gradients of 0
            model[3].weight[0, 0] = float("inf")
        self.train(model, torch.optim.SGD(model.parameters(), lr=0.1), 2)
        self.compare()
        found = histograms(self.folder / "run")
        self.assertGreater(found[0, 1, GRADIENTS]["zero"], 0)
        self.assertGreater(found[0, 2, WEIGHTS]["non-finite"], 0)

    def test_micro_batches_as_the_optimiser_gets_them(self):
        model = mlp()
        self.train(model, torch.optim.SGD(model.parameters(), lr=0.1), 3, micro=3)
        self.compare()

    def test_other_formats(self):
        for dtype in (torch.bfloat16, torch.float64):
            with self.subTest(dtype=dtype):
                self.folder = self.folder / str(dtype)
                self.folder.mkdir()
                self.expected = {}
                self.x = self.x.to(dtype)
                model = mlp().to(dtype)
                self.train(model, torch.optim.SGD(model.parameters(), lr=0.1), 2)
                self.compare()

    def test_a_loss_scale(self):
        """Whoever divides by it, the gradient is told as without."""
        for fused in (False, True):
            with self.subTest(fused=fused):
                self.folder = self.folder / str(fused)
                self.folder.mkdir()
                self.expected = {}
                model = mlp()
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
                scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
                self.train(model, optimizer, 3, scaler=scaler)
                self.compare()

    def test_a_scale_that_is_no_power_of_two(self):
        """Where the optimiser divides: the octaves of what it gets are not known."""
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
        self.train(model, optimizer, 2, scaler=torch.amp.GradScaler("cpu", init_scale=1000.0))
        found = histograms(self.folder / "run")
        self.assertEqual({role for _, _, role in found}, {WEIGHTS})

    def test_some_full_steps_alone(self):
        model = mlp(depth=1)
        self.train(model, torch.optim.SGD(model.parameters(), lr=0.1), 100, every=2)
        full = [*range(16), *range(16, 50, 8)]
        self.compare(steps={2 * number for number in full})

    def test_weights_of_one_layer(self):
        """Attention's q, k and v, and what comes out of them."""

        class Attends(nn.Module):
            def __init__(self):
                super().__init__()
                self.attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=4, batch_first=True)
                self.out = nn.Linear(64, 10)

            def forward(self, x):
                x = x.reshape(-1, 8, 8)
                return self.out(self.attention(x, x[..., :6], x[..., :4])[0].flatten(1))

        model = Attends()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        probe = self.watch(model, optimizer)
        parts = [getattr(model.attention, f"{name}_proj_weight") for name in "qkv"]
        parts.append(model.attention.out_proj.weight)
        nn.functional.cross_entropy(model(self.x), self.y).backward()
        self.expect(0, 1, parts, [p.grad for p in parts])
        self.expect(0, 2, [model.out.weight], [model.out.weight.grad])
        optimizer.step()
        self.close(probe)
        self.compare()

    def test_nothing_changes(self):
        model = mlp()
        twin = copy.deepcopy(model)
        self.train(model, torch.optim.Adam(model.parameters()), 20)
        optimizer = torch.optim.Adam(twin.parameters())
        for step in range(20):
            pick = slice(step % 3 * 32, step % 3 * 32 + 32)
            nn.functional.cross_entropy(twin(self.x[pick]), self.y[pick]).backward()
            optimizer.step()
            optimizer.zero_grad()
        for watched, plain in zip(model.parameters(), twin.parameters(), strict=True):
            self.assertTrue(torch.equal(watched, plain))


if __name__ == "__main__":
    unittest.main()
