# SPDX-License-Identifier: Apache-2.0
"""Mixed precision: everything is told unscaled, the scale is recorded, skipped steps have a mark."""

import copy
import unittest

import data
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_
from watching import Watching, mlp, rms


class Precision(Watching):
    def setUp(self):
        super().setUp()
        self.x, self.y = data.digits(64)
        self.model, self.criterion = mlp(), nn.CrossEntropyLoss()
        self.twin = copy.deepcopy(self.model)

    def by_hand(self, steps, clip=None):
        """Loss, and of the second layer gradient and update, in f32 without a scaler."""
        plain = torch.optim.SGD(self.twin.parameters(), lr=0.1)
        for _ in range(steps):
            out = self.twin(self.x)
            out.retain_grad()
            loss = self.criterion(out, self.y)
            loss.backward()
            unclipped = torch.cat([p.grad.flatten() for p in self.twin.parameters()]).norm().item()
            if clip is not None:
                clip_grad_norm_(self.twin.parameters(), clip)
            weight = self.twin[3].weight
            yield loss.item(), rms(weight.grad), rms(0.1 * weight.grad), rms(out.grad * 64), unclipped
            plain.step()
            plain.zero_grad()

    def train(self, optimizer, scaler, steps, clip=None, parts=1):
        for _ in range(steps):
            for x, y in zip(self.x.chunk(parts), self.y.chunk(parts), strict=True):
                scaler.scale(self.criterion(self.model(x), y) / parts).backward()
            if clip is not None:
                scaler.unscale_(optimizer)
                clip_grad_norm_(self.model.parameters(), clip)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()


class Scaled(Precision):
    def compare(self, optimizer, clip=None, parts=1):
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion)
        self.train(optimizer, scaler, 4, clip, parts)
        measured = self.close(probe)
        self.assertEqual([r["loss_scale"] for r in measured], [1024, 1024, 2048, 2048])
        for record, figures in zip(measured, self.by_hand(4, clip), strict=True):
            loss, gradient, update, error, unclipped = figures
            self.assertFalse(record.skipped)
            self.assert_near(record["loss"], loss, 1e-4)
            self.assert_near(record["gradient_rms", 2], gradient, 0.004)
            self.assert_near(record["update_rms", 2], update, 0.004)
            self.assert_near(record["error_rms", 3], error, 0.004)
            if record.step:
                self.assert_near(record["unclipped_norm"], unclipped, 0.004)
        return measured

    def test_plain(self):
        self.compare(torch.optim.SGD(self.model.parameters(), lr=0.1))

    def test_fused(self):
        self.compare(torch.optim.SGD(self.model.parameters(), lr=0.1, fused=True))

    def test_with_accumulation(self):
        self.compare(torch.optim.SGD(self.model.parameters(), lr=0.1), parts=2)

    def test_with_clipping(self):
        self.compare(torch.optim.SGD(self.model.parameters(), lr=0.1), clip=0.05)

    def test_switched_off(self):
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion)
        self.train(optimizer, torch.amp.GradScaler("cpu", enabled=False), 3)
        measured = self.close(probe)
        for record, figures in zip(measured, self.by_hand(3), strict=True):
            self.assert_near(record["gradient_rms", 2], figures[1])
            self.assertIsNone(record["loss_scale"])


class Skipped(Precision):
    def skips(self, fused, every=1):
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion, every=every)
        for k in range(6):
            loss = self.criterion(self.model(self.x), self.y)
            if k in (2, 3):
                loss = loss * float("inf")
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        return self.close(probe)

    def test_by_the_scaler(self):
        measured = self.skips(fused=False)
        self.assertEqual([r.skipped for r in measured], [False, False, True, True, False, False])
        self.assertEqual([r["loss_scale"] for r in measured], [1024, 1024, 1024, 512, 256, 256])
        self.assertEqual([r["samples"] for r in measured], [64] * 6)
        self.assertIsNone(measured[2]["update_rms", 1])
        self.assertGreater(measured[4]["update_rms", 1], 0)

    def test_by_the_optimiser(self):
        measured = self.skips(fused=True)
        self.assertEqual([r.skipped for r in measured], [False, False, True, True, False, False])
        self.assertEqual([r["loss_scale"] for r in measured], [1024, 1024, 1024, 512, 256, 256])

    def test_in_light_steps(self):
        for fused in (False, True):
            with self.subTest(fused=fused):
                self.folder = self.folder / "deeper"
                measured = self.skips(fused, every=1000)
                self.assertEqual([r.skipped for r in measured], [False, False, True, True, False, False])

    def test_from_the_first_step_on(self):
        """The scaler is not known yet: it did not call the optimiser."""
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**18)
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion)
        for _ in range(12):
            with torch.autocast("cpu", torch.float16):
                loss = self.criterion(self.model(self.x) * 64, self.y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        measured = self.close(probe)
        skips = [r.skipped for r in measured]
        self.assertEqual(len(skips), 12)
        self.assertGreater(sum(skips), 1)
        self.assertEqual(skips, sorted(skips, reverse=True))
        self.assertGreater(measured[0]["error_inf", 3], 0)
        self.assertGreater(measured[1]["error_inf", 3], 0)
        self.assertEqual(measured[11]["error_inf", 3], 0)

    def test_all_of_them(self):
        """No step is ever made: the watch sees it all the same."""
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        self.x[0] = float("nan")
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion)
        self.train(optimizer, scaler, 8)
        self.assertEqual(probe.step, 7)  # of the last one nobody can tell yet
        self.assertIn("non-finite", [f.problem for f in probe.findings])
        self.assertIn("error[non-finite]", self.said)


class HalfPrecision(Precision):
    def test_autocast(self):
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion)
        for _ in range(2):
            with torch.autocast("cpu", torch.bfloat16):
                loss = self.criterion(self.model(self.x), self.y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            out = self.twin(self.x)
        self.assertEqual(out.dtype, torch.bfloat16)
        self.assert_near(self.close(probe)[0]["activation_rms", 3], rms(out.detach()))

    def test_of_the_parameters(self):
        for dtype in (torch.bfloat16, torch.float16, torch.float64):
            with self.subTest(dtype=dtype):
                model = mlp().to(dtype)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                probe = self.watch(model, optimizer, loss_fn=self.criterion, run=self.folder / str(dtype))
                weight = rms(model[1].weight.detach())
                for _ in range(2):
                    self.criterion(model(self.x.to(dtype)), self.y).backward()
                    optimizer.step()
                    optimizer.zero_grad()
                first, _ = self.close(probe)
                self.assert_near(first["weight_rms", 1], weight)
                self.assertGreater(first["update_rms", 1], 0)


if __name__ == "__main__":
    unittest.main()
