# SPDX-License-Identifier: Apache-2.0
"""Light steps of a loop that is known: told by the extension alone, and told the same."""

import unittest

import data
import torch
from torch import nn
from watching import Watching, mlp

from backprobe import _native

EVERY = 4


class Light(Watching):
    def setUp(self):
        super().setUp()
        self.x, self.y = data.digits(32)
        self.model, self.criterion = mlp(), nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05)
        self.losses = []

    def begin(self, **options):
        options.setdefault("every", EVERY)
        self.probe = self.watch(self.model, self.optimizer, **{"loss_fn": self.criterion, **options})

    def backward(self, x=None, y=None):
        loss = self.criterion(self.model(self.x if x is None else x), self.y if y is None else y)
        loss.backward()
        return loss.item()

    def step(self, optimizer=None):
        self.losses.append(self.backward())
        (optimizer or self.optimizer).step()
        self.optimizer.zero_grad()

    def is_left_to_the_extension(self):
        """Asked in a light step, behind its loss; the step is told by it."""
        return self.probe.light_step(self.optimizer) != 0

    def assert_losses(self, n):
        told = self.close(self.probe)
        self.assertEqual([r.step for r in told], list(range(n)))
        for record, loss in zip(told, self.losses, strict=True):
            self.assert_near(record["loss"], loss)
        self.assertEqual([r.step for r in told if r.is_full], list(range(0, n, EVERY)))
        return told

    def test_each_loss_is_told(self):
        self.begin()
        for _ in range(10):
            self.step()
        self.assert_losses(10)

    def test_such_steps_are_left_to_the_extension(self):
        self.begin()
        self.step()
        self.backward()
        self.assertTrue(self.is_left_to_the_extension())

    def test_what_is_not(self):
        other = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1)
        self.begin()
        self.backward()
        self.assertFalse(self.is_left_to_the_extension())  # a full step
        self.optimizer.step()
        self.assertEqual(self.probe.light_step(other), 0)
        with self.probe.paused():
            self.assertFalse(self.is_left_to_the_extension())

    def test_a_loop_of_other_kinds(self):
        """Two losses in one backward pass, and one told by hand."""
        def added():
            loss = self.criterion(self.model(self.x), self.y) + self.criterion(self.model(self.x), self.y)
            loss.backward()

        def by_hand():
            loss = self.criterion(self.model(self.x), self.y) * 2
            self.probe.loss(loss)
            loss.backward()

        for backward in (added, by_hand):
            with self.subTest(backward.__name__):
                self.begin(run=False)
                backward()
                self.optimizer.step()
                backward()
                self.assertFalse(self.is_left_to_the_extension())
                self.probe.close()

    def test_an_evaluation_does_not_count(self):
        self.begin()
        for _ in range(6):
            self.step()
            self.model.eval()
            self.criterion(self.model(-self.x), self.y)
            self.model.train()
            with torch.no_grad():
                self.criterion(self.model(-self.x), self.y)
            with self.probe.paused():
                self.criterion(self.model(-self.x), self.y)
        self.assert_losses(6)

    def test_micro_batches_are_one_step(self):
        self.begin()
        for _ in range(6):
            parts = [self.backward(x, y) for x, y in zip(self.x.split(16), self.y.split(16), strict=True)]
            self.losses.append(sum(parts) / 2)
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.assert_losses(6)

    def test_a_loss_that_is_not_finite_brings_full_steps(self):
        self.begin(every=None, budget=1e-9)
        while self.probe.cost["light_steps"] < 30:
            self.step()
        full = self.probe.cost["full_steps"]
        with torch.no_grad():
            self.model[-1].bias[0] = float("nan")
        for _ in range(3):
            self.step()
        self.assertGreater(self.probe.cost["full_steps"], full)
        self.assertEqual([f.problem for f in self.probe.findings], ["non-finite"])


class Hooks(unittest.TestCase):
    """Ours is put on a tensor by a shorter way than register_hook."""

    def setUp(self):
        self.native, self.seen = _native.Probe(), []
        self.native.on_backward = lambda number: self.seen.append(number)
        self.weight = torch.ones(3, requires_grad=True)

    def test_beside_the_users_own(self):
        for first in (True, False):
            with self.subTest(first=first):
                self.native.forget()
                self.seen.clear()
                loss = (self.weight * 2).sum()
                order = [lambda: self.native.loss(loss, 0),
                         lambda: loss.register_hook(lambda _: self.seen.append("user"))]
                handles = [put() for put in (order if first else order[::-1])]
                loss.backward(retain_graph=True)
                self.assertEqual(sorted(map(str, self.seen)), ["1", "user"])
                next(handle for handle in handles if handle is not None).remove()
                loss.backward()
                self.assertEqual(self.seen[2:], [2])

    def test_a_leaf_and_a_subclass(self):
        class Own(torch.Tensor):
            pass

        for loss in (torch.ones((), requires_grad=True), (self.weight * 2).sum().as_subclass(Own)):
            self.native.forget()
            self.seen.clear()
            self.native.loss(loss, 0)
            loss.backward()
            self.assertEqual(self.seen, [1])


if __name__ == "__main__":
    unittest.main()
