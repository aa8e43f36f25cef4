# SPDX-License-Identifier: Apache-2.0
"""Training loops as people write them: accumulation, clipping, groups, frozen parts, closures,
evaluation between steps, exceptions. The records are those of the plain loop."""

import copy
import unittest

import data
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from watching import Watching, mlp, norm_of_rows, rms


class Loops(Watching):
    def setUp(self):
        super().setUp()
        self.x, self.y = data.digits(96)
        self.model, self.criterion = mlp(), nn.CrossEntropyLoss()
        self.twin = copy.deepcopy(self.model)

    def sgd(self, model=None, **options):
        return torch.optim.SGD((model or self.model).parameters(), lr=0.1, **options)

    def step(self, optimizer, x=None, y=None):
        x, y = (self.x, self.y) if x is None else (x, y)
        self.criterion(self.model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()


class Accumulation(Loops):
    def micro_steps(self, parts, weight):
        """Two steps, each over `parts`; then the same as one batch each."""
        optimizer = self.sgd()
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion)
        for _ in range(2):
            for x, y in parts:
                (self.criterion(self.model(x), y) * weight(len(x))).backward()
            optimizer.step()
            optimizer.zero_grad()
        accumulated = self.close(probe)
        self.model = self.twin
        optimizer = self.sgd()
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion, run=self.folder / "whole")
        for _ in range(2):
            self.step(optimizer)
        whole = self.close(probe)
        self.assertEqual([r.step for r in accumulated], [0, 1])
        for a, b in zip(accumulated, whole, strict=True):
            self.assertEqual(a["samples"], 96)
            self.assertEqual(a["loss_terms"], 96)
            self.assert_near(a["loss"], b["loss"], 1e-5)
            for name in ("activation_rms", "error_rms", "error_norm", "gradient_rms", "update_rms"):
                for layer in (1, 2, 3):
                    with self.subTest(quantity=name, layer=layer):
                        self.assert_near(a[name, layer], b[name, layer], 0.004)
            self.assert_near(a["variation", 1], b["variation", 1], 0.01)

    def test_of_equal_parts(self):
        parts = list(zip(self.x.split(32), self.y.split(32), strict=True))
        self.micro_steps(parts, lambda n: 1 / 3)

    def test_of_unequal_parts(self):
        parts = list(zip(self.x.split([64, 16, 16]), self.y.split([64, 16, 16]), strict=True))
        self.micro_steps(parts, lambda n: n / 96)

    def test_a_pass_that_was_thrown_away_does_not_count(self):
        optimizer = self.sgd()
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion)
        for _ in range(2):
            (self.criterion(self.model(self.x[:64] * 100), self.y[:64])).backward()
            optimizer.zero_grad()
            self.step(optimizer, self.x[:32], self.y[:32])
        first, second = self.close(probe)
        loss = F.cross_entropy(self.twin(self.x[:32]), self.y[:32])
        self.assert_near(first["loss"], loss, 1e-6)
        self.assert_near(first["activation_rms", 3], rms(self.twin(self.x[:32]).detach()))
        self.assertEqual((first["samples"], second["samples"]), (32, 32))

    def test_with_gradients_set_to_zero_instead_of_none(self):
        optimizer = self.sgd()
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion)
        for _ in range(3):
            self.criterion(self.model(self.x[:64] * 100), self.y[:64]).backward()
            optimizer.zero_grad(set_to_none=False)
            self.criterion(self.model(self.x[:32]), self.y[:32]).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
        for record in self.close(probe):
            self.assertEqual(record["samples"], 32)
            self.assertLess(record["activation_rms", 3], 10)


class Clipping(Loops):
    def clipped(self, clip):
        optimizer, plain = self.sgd(), self.sgd(self.twin)
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion)
        expected = []
        for _ in range(3):
            self.criterion(self.model(self.x), self.y).backward()
            clip(self.model.parameters())
            optimizer.step()
            optimizer.zero_grad()
            F.cross_entropy(self.twin(self.x), self.y).backward()
            before = self.norms(), rms(self.twin[1].weight.grad)
            clip(self.twin.parameters())
            expected.append((*before, self.norms(), rms(self.twin[1].weight.grad)))
            plain.step()
            plain.zero_grad()
        measured = self.close(probe)
        for record, (unclipped, unclipped_rms, clipped, clipped_rms) in zip(measured, expected, strict=True):
            self.assert_near(record["gradient_norm"], clipped)
            self.assert_near(record["gradient_rms", 1], clipped_rms)
            if record.step > 0:  # that somebody clips is learnt in the first
                self.assert_near(record["unclipped_norm"], unclipped)
                self.assert_near(record["unclipped_rms", 1], unclipped_rms)

    def norms(self):
        return torch.cat([p.grad.flatten() for p in self.twin.parameters()]).norm().item()

    def test_by_norm(self):
        self.clipped(lambda parameters: clip_grad_norm_(parameters, 0.05))

    def test_by_value(self):
        self.clipped(lambda parameters: clip_grad_value_(parameters, 0.005))

    def test_nobody_clips(self):
        optimizer = self.sgd()
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion)
        for _ in range(3):
            self.step(optimizer)
        self.assertEqual([r["unclipped_norm"] for r in self.close(probe)], [None] * 3)


class Groups(Loops):
    def test_rate_is_the_mean_by_weights(self):
        groups = [
            {"params": self.model[1].parameters(), "lr": 0.1},
            {"params": self.model[3].parameters(), "lr": 0.5},
            {"params": self.model[5].parameters(), "lr": 0.0},
        ]
        optimizer = torch.optim.SGD(groups, lr=1.0, momentum=0.9)
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion)
        self.step(optimizer)
        optimizer.param_groups[2]["lr"] = 1.0
        self.step(optimizer)
        counts = [sum(p.numel() for p in self.model[i].parameters()) for i in (1, 3, 5)]
        first, second = self.close(probe)
        weighted = counts[0] * 0.1 + counts[1] * 0.5
        self.assert_near(first["learning_rate"], weighted / sum(counts), 1e-9)
        self.assert_near(second["learning_rate"], (weighted + counts[2]) / sum(counts), 1e-9)
        self.assertEqual(first["update_rms", 3], 0)

    def test_two_optimisers_make_one_step(self):
        body = torch.optim.SGD([*self.model[1].parameters(), *self.model[3].parameters()], lr=0.1)
        head = torch.optim.Adam(self.model[5].parameters(), lr=0.01)
        probe = self.watch(self.model, [body, head], loss_fn=self.criterion)
        for _ in range(2):
            self.criterion(self.model(self.x), self.y).backward()
            before = [self.model[i].weight.detach().clone() for i in (1, 3, 5)]
            body.step()
            head.step()
            body.zero_grad()
            head.zero_grad()
        changes = [rms(self.model[i].weight.detach() - w) for i, w in zip((1, 3, 5), before, strict=True)]
        measured = self.close(probe)
        self.assertEqual(len(measured), 2)
        for layer, change in enumerate(changes, 1):
            self.assert_near(measured[1]["update_rms", layer], change)
        self.assertIsNone(measured[1]["adaptivity", 1])
        self.assertGreater(measured[1]["adaptivity", 3], 0.5)

    def test_frozen_and_forgotten_parts(self):
        self.model[1].requires_grad_(False)
        optimizer = torch.optim.SGD(
            [*self.model[1].parameters(), *self.model[5].parameters()], lr=0.1
        )  # and layer 2 stands in no optimiser
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion)
        for _ in range(2):
            self.step(optimizer)
        for record in self.close(probe):
            self.assertIsNone(record["gradient_rms", 1])
            self.assertIsNone(record["update_rms", 2])
            self.assertGreater(record["update_rms", 3], 0)
            self.assertGreater(record["activation_rms", 1], 0)

    def test_a_parameter_without_a_gradient(self):
        self.model.spare = nn.Parameter(torch.ones(3))
        optimizer = self.sgd()
        self.model.forward = lambda x: nn.Sequential.forward(nn.Sequential(*list(self.model)[:6]), x)
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion)
        for _ in range(2):
            self.step(optimizer)
        self.assertEqual(len(self.close(probe)), 2)


class Closures(Loops):
    def test_lbfgs(self):
        optimizer = torch.optim.LBFGS(self.model.parameters(), max_iter=5)
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion, every=2)
        expected = []
        calls = 0

        def closure():
            nonlocal calls
            calls += 1
            optimizer.zero_grad()
            loss = self.criterion(self.model(self.x), self.y)
            loss.backward()
            return loss

        for _ in range(3):
            with probe.paused():
                expected.append(self.criterion(self.model(self.x), self.y).item())
            before = self.model[1].weight.detach().clone()
            optimizer.step(closure)
            change = rms(self.model[1].weight.detach() - before)
        self.assertGreater(calls, 9)
        measured = self.close(probe)
        self.assertEqual(len(measured), 3)
        for record, loss in zip(measured, expected, strict=True):
            self.assert_near(record["loss"], loss, 1e-6)
        self.assertEqual(measured[2]["samples"], 96)
        self.assert_near(measured[2]["update_rms", 1], change)

    def test_of_sgd_by_keyword(self):
        optimizer = self.sgd()
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion, every=2)

        def closure():
            optimizer.zero_grad()
            loss = self.criterion(self.model(self.x), self.y)
            loss.backward()
            return loss

        for _ in range(4):
            self.assertIsInstance(optimizer.step(closure=closure), torch.Tensor)
        measured = self.close(probe)
        self.assertEqual([r.is_full for r in measured], [True, False, True, False])
        self.assertLess(measured[3]["loss"], measured[0]["loss"])

    def test_one_that_raises(self):
        optimizer = self.sgd()
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion)

        def closure(fails=False):
            optimizer.zero_grad()
            loss = self.criterion(self.model(self.x), self.y)
            loss.backward()
            if fails:
                raise ZeroDivisionError
            return loss

        optimizer.step(closure)
        with self.assertRaises(ZeroDivisionError):
            optimizer.step(lambda: closure(True))
        optimizer.step(closure)
        optimizer.step(closure)
        measured = self.close(probe)
        self.assertEqual([r.is_full for r in measured], [True] * 3)


class Modes(Loops):
    def test_evaluation_is_not_training(self):
        optimizer = self.sgd()
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion)
        for _ in range(2):
            self.criterion(self.model(self.x[:32]), self.y[:32]).backward()
            self.model.eval()
            self.criterion(self.model(self.x * 100), self.y)  # with a graph
            with torch.no_grad():
                self.criterion(self.model(self.x * 100), self.y)
            self.model.train()
            with torch.no_grad():
                self.criterion(self.model(self.x * 100), self.y)
            self.criterion(self.model(self.x * 100), self.y)  # its backward pass never comes
            optimizer.step()
            optimizer.zero_grad()
        probe.validation(loss=0.5, accuracy=torch.tensor(0.75))
        measured = self.close(probe)
        out = self.twin(self.x[:32])
        self.assert_near(measured[0]["loss"], self.criterion(out, self.y[:32]), 1e-6)
        self.assert_near(measured[0]["activation_rms", 3], rms(out.detach()))
        self.assert_near(measured[0]["activation_norm", 0], norm_of_rows(self.x[:32]))
        self.assertEqual(measured[1]["validation_loss"], 0.5)
        self.assertEqual(measured[1]["validation_accuracy"], 0.75)

    def test_paused(self):
        optimizer = self.sgd()
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion)
        for _ in range(2):
            with probe.paused():
                self.criterion(self.model(self.x * 100), self.y).backward()
                optimizer.zero_grad()
            self.step(optimizer, self.x[:32], self.y[:32])
        with probe.paused():
            self.step(optimizer)
        self.assertEqual(probe.step, 2)
        first, second = self.close(probe)
        self.assert_near(first["activation_norm", 0], norm_of_rows(self.x[:32]))
        self.assertEqual(second["samples"], 32)

    def test_training_in_evaluation_mode(self):
        optimizer = self.sgd()
        self.model.eval()
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion)
        for _ in range(3):
            self.step(optimizer)
        measured = self.close(probe)
        self.assertEqual(len(measured), 2)  # the first showed that it is so
        self.assertGreater(measured[0]["activation_rms", 1], 0)

    def test_exceptions_in_the_loop(self):
        optimizer = self.sgd()
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion)
        for k in range(4):
            try:
                out = self.model(self.x[:32] * (100 if k == 1 else 1))
                if k == 1:
                    raise MemoryError("out of memory, say")
                self.criterion(out, self.y[:32]).backward()
                optimizer.step()
            except MemoryError:
                pass
            optimizer.zero_grad()
        measured = self.close(probe)
        self.assertEqual([r["samples"] for r in measured], [32] * 3)
        for record in measured:
            self.assertLess(record["activation_norm", 0], 20)

    def test_a_step_before_anything(self):
        optimizer = self.sgd()
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion)
        optimizer.step()  # schedules are started so
        self.step(optimizer)
        self.assertEqual(len(self.close(probe)), 1)


class LossByHand(Loops):
    def run_with(self, tell):
        optimizer = self.sgd()
        probe = self.watch(self.model, optimizer, every=2)
        expected = []
        for _ in range(4):
            loss = F.cross_entropy(self.model(self.x), self.y)
            expected.append(loss.item())
            tell(probe, loss)
            optimizer.step()
            optimizer.zero_grad()
        measured = self.close(probe)
        for record, loss in zip(measured, expected, strict=True):
            self.assert_near(record["loss"], loss, 1e-6)
        return measured

    def test_before_the_backward_pass(self):
        def tell(probe, loss):
            probe.loss(loss)
            (loss / 4).backward()

        measured = self.run_with(tell)
        self.twin.zero_grad()
        out = self.twin(self.x)
        out.retain_grad()
        F.cross_entropy(out, self.y).backward()
        self.assert_near(measured[0]["error_rms", 3], rms(out.grad * 96))

    def test_after_it(self):
        def tell(probe, loss):
            loss.backward()
            probe.loss(loss)

        self.run_with(tell)

    def test_as_a_number(self):
        def tell(probe, loss):
            loss.backward()
            probe.loss(loss.item())

        self.run_with(tell)

    def test_instead_of_what_the_hook_heard(self):
        optimizer = self.sgd()
        probe = self.watch(self.model, optimizer, loss_fn=self.criterion)
        for _ in range(3):
            loss = self.criterion(self.model(self.x), self.y) + 1
            probe.loss(loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        measured = self.close(probe)
        self.assertGreater(measured[1]["loss"], measured[0]["loss"] + 0.5)

    def test_nobody_tells(self):
        optimizer = self.sgd()
        probe = self.watch(self.model, optimizer)
        for _ in range(2):
            self.step(optimizer)
        self.assertIn("probe.loss(loss)", self.said)
        self.assertTrue(any("loss" in text for text in probe.unseen))
        measured = self.close(probe)
        self.assertIsNone(measured[1]["loss"])
        self.assertGreater(measured[1]["gradient_rms", 1], 0)


if __name__ == "__main__":
    unittest.main()
