# SPDX-License-Identifier: Apache-2.0
"""torch.compile: attached before and after, in eager parts of a compiled model, and no recompilation."""

import copy
import unittest

import data
import torch
from torch import nn
from watching import Watching, mlp, rms


class Compiled(Watching):
    def setUp(self):
        super().setUp()
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        self.x, self.y = data.digits(32)
        self.model, self.criterion = mlp(depth=1), nn.CrossEntropyLoss()
        self.twin = copy.deepcopy(self.model)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

    def train(self, model, steps=4):
        for _ in range(steps):
            loss = self.criterion(model(self.x), self.y)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()

    def check(self, probe, steps=4):
        self.assertIn("not seen", self.said)
        self.assertIn("compile", self.said)
        graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        self.assertEqual(graphs, 1)
        plain = torch.optim.SGD(self.twin.parameters(), lr=0.1)
        for record in self.close(probe):
            loss = self.criterion(self.twin(self.x), self.y)
            loss.backward()
            self.assert_near(record["loss"], loss, 1e-4)
            self.assert_near(record["gradient_rms", 1], rms(self.twin[1].weight.grad), 0.005)
            self.assert_near(record["update_rms", 2], rms(0.1 * self.twin[3].weight.grad), 0.005)
            self.assertIsNone(record["activation_rms", 1])
            plain.step()
            plain.zero_grad()
            steps -= 1
        self.assertEqual(steps, 0)

    def test_attached_before(self):
        probe = self.watch(self.model, self.optimizer, loss_fn=self.criterion)
        self.train(torch.compile(self.model, backend="aot_eager"))
        self.check(probe)

    def test_attached_after(self):
        compiled = torch.compile(self.model, backend="aot_eager")
        compiled(self.x)
        probe = self.watch(compiled, self.optimizer, loss_fn=self.criterion)
        self.train(compiled)
        self.check(probe)

    def test_in_place(self):
        self.model.compile(backend="aot_eager")
        probe = self.watch(self.model, self.optimizer, loss_fn=self.criterion)
        self.train(self.model)
        self.check(probe)

    def test_a_part(self):
        probe = self.watch(self.model, self.optimizer, loss_fn=self.criterion)
        self.model[1].compile(backend="aot_eager")
        self.train(self.model, 3)
        measured = self.close(probe)
        self.assertEqual(len(measured), 3)
        self.assertGreater(measured[2]["activation_rms", 2], 0)

    def test_compiled_later(self):
        probe = self.watch(self.model, self.optimizer, loss_fn=self.criterion, every=2)
        self.train(self.model, 3)
        self.train(torch.compile(self.model, backend="aot_eager"), 4)
        measured = self.close(probe)
        self.assertEqual(len(measured), 7)
        self.assertGreater(measured[0]["activation_rms", 1], 0)
        self.assertGreater(measured[6]["update_rms", 1], 0)


if __name__ == "__main__":
    unittest.main()
