# SPDX-License-Identifier: Apache-2.0
"""Copies, pickles, workers and forks of what is watched."""

import copy
import gc
import io
import os
import pickle
import pickletools
import unittest
import weakref

import data
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from watching import Watching, mlp


class Copies(Watching):
    def setUp(self):
        super().setUp()
        self.x, self.y = data.digits(64)
        self.model, self.criterion = mlp(), nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.probe = self.watch(self.model, self.optimizer, loss_fn=self.criterion)

    def train(self):
        self.criterion(self.model(self.x), self.y).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def test_a_copy_is_not_watched(self):
        for turn in range(2):
            model, criterion = copy.deepcopy((self.model, self.criterion))
            criterion(model(self.x), self.y).backward()
            torch.optim.SGD(model.parameters(), lr=0.1).step()
            self.assertEqual(self.probe.step, turn)
            self.train()
        copy.copy(self.model)(self.x)
        copy.deepcopy(self.optimizer).step()
        self.assertEqual(len(self.close(self.probe)), 2)

    def test_a_pickle_needs_nothing_of_ours(self):
        for _ in range(2):
            saved = pickle.dumps((self.model, self.criterion, self.optimizer))
            names = [argument for _, argument, _ in pickletools.genops(saved) if isinstance(argument, str)]
            self.assertFalse([name for name in names if "backprobe" in name])
            model, criterion, _ = pickle.loads(saved)
            criterion(model(self.x), self.y).backward()
            buffer = io.BytesIO()
            torch.save(self.model, buffer)
            buffer.seek(0)
            torch.load(buffer, weights_only=False)(self.x)
            self.train()
        self.assertEqual(len(self.close(self.probe)), 2)

    def test_a_probe_is_none_to_be_pickled(self):
        for make in (pickle.dumps, copy.copy, copy.deepcopy):
            with self.assertRaises(TypeError) as caught:
                make(self.probe)
            self.assertIn("state_dict()", str(caught.exception))

    def test_the_child_of_a_fork_is_not_watched(self):
        self.train()
        child = os.fork()
        if child == 0:
            try:
                self.assertTrue(self.probe.deaf)
                self.train()
                self.train()
                self.probe.validation(loss=1.0)
                self.probe.close()
                del self.probe
                gc.collect()
            except BaseException:
                os._exit(1)
            os._exit(0)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.train()
        measured = self.close(self.probe)
        self.assertEqual([r.step for r in measured], [0, 1])
        self.assertIsNone(measured[0]["validation_loss"])

    def test_workers(self):
        loader = DataLoader(TensorDataset(self.x, self.y), batch_size=32, num_workers=2, multiprocessing_context="fork")
        for _ in range(2):
            for x, y in loader:
                self.criterion(self.model(x), y).backward()
                self.optimizer.step()
                self.optimizer.zero_grad()
        self.assertEqual([r.step for r in self.close(self.probe)], list(range(4)))

    def test_a_closed_probe_lets_the_model_go(self):
        self.train()
        self.probe.close()
        model = weakref.ref(self.model)
        self.model = self.optimizer = None
        self.assertIsNone(model())


if __name__ == "__main__":
    unittest.main()
