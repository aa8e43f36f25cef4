# SPDX-License-Identifier: Apache-2.0
"""What watch() refuses, and what it says then."""

import pathlib
import unittest

import torch
import torch.nn.functional as F
from torch import nn
from watching import Watching, mlp

import backprobe


class Arguments(Watching):
    def setUp(self):
        super().setUp()
        self.model = mlp()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

    def refuse(self, error, words, *args, **options):
        args = args or (self.model, self.optimizer)
        with self.assertRaises(error) as caught:
            backprobe.watch(*args, **options)
        self.assertIn(words, str(caught.exception))
        self.assertEqual(len(self.optimizer._optimizer_step_post_hooks), 0)
        return str(caught.exception)

    def test_what_is_no_model(self):
        self.refuse(TypeError, "expected an nn.Module, found a dict", {}, self.optimizer)
        self.refuse(ValueError, "Sequential has no parameters", nn.Sequential(), self.optimizer)

    def test_what_is_no_optimiser(self):
        self.refuse(TypeError, "expected a torch.optim.Optimizer", self.model, "adam")
        self.refuse(TypeError, "expected a torch.optim.Optimizer", self.model, self.model.parameters())
        self.refuse(ValueError, "found none", self.model, [])

    def test_an_optimiser_of_another_model(self):
        other = torch.optim.SGD(mlp().parameters(), lr=0.1)
        said = self.refuse(ValueError, "none of the 6 parameters of this SGD is the model's", self.model, other)
        self.assertIn("copied, after its optimizer", said)

    def test_a_loss_function_that_is_no_module(self):
        said = self.refuse(TypeError, "(cross_entropy) cannot be seen", loss_fn=F.cross_entropy)
        self.assertIn("nn.CrossEntropyLoss()", said)
        self.assertIn("probe.loss(loss)", said)
        self.refuse(TypeError, "expected an nn.Module, found str 'mse'", loss_fn="mse")

    def test_numbers(self):
        for budget in (0, -1, 1.5, float("nan")):
            self.refuse(ValueError, "budget: expected a share above 0 and at most 1", budget=budget)
        self.refuse(TypeError, "budget", budget="1%")
        self.refuse(ValueError, "every: expected 1 or more, found 0", every=0)
        self.refuse(TypeError, "every", every=2.5)
        self.refuse(TypeError, "max_log_bytes", max_log_bytes="2 GB")

    def test_words(self):
        self.refuse(ValueError, "'warn' or 'stop'", on_error="raise")
        self.refuse(TypeError, "expected a list", ignore="dead-units")
        self.refuse(TypeError, "on_finding", on_finding=3)
        self.refuse(TypeError, "objective", objective=None)
        self.refuse(TypeError, "name", name=7)
        self.refuse(TypeError, "run", run=True)
        self.refuse(ValueError, "probe.state_dict()", resume={"step": 3})

    def test_a_run_folder_in_use(self):
        (self.folder / "file").write_text("mine")
        self.refuse(FileExistsError, "expected a new or empty folder", run=self.folder)
        self.refuse(FileExistsError, "found a file", run=self.folder / "file")
        self.assertEqual((self.folder / "file").read_text(), "mine")

    def test_a_second_watch(self):
        probe = backprobe.watch(self.model, self.optimizer, run=False)
        wrapped = nn.DataParallel(self.model)
        for model in (self.model, wrapped, torch.compile(self.model)):
            with self.assertRaises(RuntimeError) as caught:
                backprobe.watch(model, self.optimizer, run=False)
            self.assertIn(f"{pathlib.Path(__file__).name}:", str(caught.exception))
        probe.close()
        backprobe.watch(wrapped, self.optimizer, run=False).close()

    def test_a_trainers_wrapper_of_the_optimiser(self):
        class Wrapper:
            def __init__(self, optimizer):
                self.optimizer = optimizer

        backprobe.watch(self.model, Wrapper(self.optimizer), run=False).close()


if __name__ == "__main__":
    unittest.main()
