# SPDX-License-Identifier: Apache-2.0
"""What is read of a loss, by its module, its function or the graph: kind, terms, the level of
guessing."""

import math
import unittest

import torch
import torch.nn.functional as F
from torch import nn

from backprobe import initialisers, losses

torch.set_num_threads(1)


def balanced(n, k):
    return torch.arange(n) % k


class Kinds(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.out = nn.Linear(3, 4)(torch.randn(40, 3))
        self.target = torch.randn(40, 4)

    def both(self, loss_fn, output, target):
        """By the module and by the graph alone."""
        loss = loss_fn(output, target)
        yield losses.facts_of(loss_fn, (output, target), loss)
        yield losses.facts_of(None, (), loss)

    def test_probabilities_are_told_from_logits(self):
        out = torch.randn(16, 4, requires_grad=True)
        classes, shares = torch.randint(0, 4, (16,)), torch.rand(16, 4)
        cases = [
            (F.cross_entropy(out, classes), False),
            (F.nll_loss(out.log_softmax(1), classes), False),
            (F.nll_loss(out.softmax(1).log(), classes), True),
            (F.binary_cross_entropy_with_logits(out, shares), False),
            (2 * F.binary_cross_entropy(out.sigmoid(), shares), True),
            (F.mse_loss(out.sigmoid(), shares), False),
        ]
        for loss, expected in cases:
            facts = losses.facts_of(None, (), loss)
            self.assertIs(facts.get("from_probabilities", False), expected, facts)

    def test_modules_and_nodes(self):
        labels, share = balanced(40, 4), torch.rand(40, 4)
        for loss_fn, target, word in (
            (nn.CrossEntropyLoss(), labels, "cross_entropy"),
            (nn.MSELoss(), self.target, "mse"),
            (nn.L1Loss(), self.target, "mae"),
            (nn.HuberLoss(), self.target, "huber"),
            (nn.SmoothL1Loss(), self.target, "huber"),
            (nn.BCEWithLogitsLoss(), share, "binary_cross_entropy"),
        ):
            for facts in self.both(loss_fn, self.out, target):
                self.assertEqual(facts["loss"], word)
        loss = nn.NLLLoss()(self.out.log_softmax(1), labels)
        self.assertEqual(losses.facts_of(None, (), loss)["loss"], "cross_entropy")
        loss = F.binary_cross_entropy(self.out.sigmoid(), share)
        self.assertEqual(losses.facts_of(None, (), loss)["loss"], "binary_cross_entropy")

    def test_functions(self):
        args = (self.out, balanced(40, 4))
        loss = F.cross_entropy(*args)
        facts = losses.facts_of(F.cross_entropy, args, loss)
        self.assertEqual((facts["loss"], facts["n_outputs"]), ("cross_entropy", 4))
        self.assertEqual(losses.terms_of(F.cross_entropy, args, loss), 40)
        own = lambda a, b: F.mse_loss(a, b)  # noqa: E731
        loss = own(self.out, self.target)
        self.assertEqual(losses.facts_of(own, (self.out, self.target), loss)["loss"], "mse")
        self.assertEqual(losses.terms_of(own, (self.out, self.target), loss), 160)

    def test_what_is_not_known(self):
        loss = F.mse_loss(self.out, self.target) + F.cross_entropy(self.out, balanced(40, 4))
        self.assertEqual(losses.facts_of(None, (), loss), {"loss": "other"})
        self.assertEqual(losses.terms_of(None, (), loss), 0)
        loss = self.out.square().sum()
        self.assertEqual(losses.facts_of(None, (), loss), {"loss": "other"})
        # Two that look like one with label smoothing, but are of different outputs.
        logs = (nn.Linear(3, 4)(torch.randn(40, 3))).log_softmax(1)
        loss = 0.9 * F.cross_entropy(self.out, balanced(40, 4)) + 0.1 * -logs.mean()
        self.assertEqual(losses.facts_of(None, (), loss), {"loss": "other"})

    def test_arguments_by_name(self):
        loss_fn, labels = nn.CrossEntropyLoss(), balanced(40, 4)
        loss = loss_fn(input=self.out, target=labels)
        self.assertEqual(losses.terms_of(loss_fn, (), loss), 40)
        self.assertEqual(losses.facts_of(loss_fn, (), loss)["n_outputs"], 4)
        loss.backward()
        self.assertEqual(losses.facts_of(loss_fn, (), loss), {"loss": "cross_entropy"})

    def test_a_graph_that_was_freed(self):
        loss = F.cross_entropy(self.out, balanced(40, 4))
        loss.backward()
        self.assertEqual(losses.facts_of(None, (), loss), {"loss": "cross_entropy"})
        self.assertEqual(losses.terms_of(None, (), loss), 0)


class Terms(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.out = nn.Linear(3, 4)(torch.randn(40, 3))

    def check(self, loss_fn, output, target, expected, by_graph=True):
        loss = loss_fn(output, target)
        self.assertEqual(losses.terms_of(loss_fn, (output, target), loss), expected)
        if by_graph:
            self.assertEqual(losses.terms_of(None, (), loss), expected)

    def test_classes(self):
        labels = balanced(40, 4)
        self.check(nn.CrossEntropyLoss(), self.out, labels, 40)
        self.check(nn.CrossEntropyLoss(reduction="sum"), self.out, labels, 1)
        self.check(nn.CrossEntropyLoss(label_smoothing=0.1), self.out, labels, 40)
        ignored = torch.where(labels == 3, -100, labels)
        self.check(nn.CrossEntropyLoss(), self.out, ignored, 30)
        self.check(nn.CrossEntropyLoss(ignore_index=2), self.out, labels, 30)
        soft = torch.rand(40, 4)
        self.check(nn.CrossEntropyLoss(), self.out, soft, 40, by_graph=False)

    def test_places_of_an_image(self):
        output = nn.Conv2d(1, 4, 1)(torch.randn(2, 1, 5, 6))
        self.check(nn.CrossEntropyLoss(), output, torch.zeros(2, 5, 6, dtype=torch.long), 60)

    def test_outputs(self):
        target = torch.rand(40, 4)
        self.check(nn.MSELoss(), self.out, target, 160)
        self.check(nn.MSELoss(reduction="sum"), self.out, target, 1)
        self.check(nn.BCEWithLogitsLoss(), self.out, target, 160)
        self.check(nn.HuberLoss(), self.out, target, 160)

    def test_a_factor_behind_the_loss(self):
        loss = F.cross_entropy(self.out, balanced(40, 4)) / 8
        self.assertEqual(losses.terms_of(None, (), loss), 320)
        loss = F.cross_entropy(self.out, balanced(40, 4), reduction="sum") / 40
        self.assertEqual(losses.terms_of(None, (), loss), 40)
        loss = F.cross_entropy(self.out, balanced(40, 4)) * 0.25
        self.assertEqual(losses.terms_of(None, (), loss), 160)
        loss = F.cross_entropy(self.out, balanced(40, 4)) * torch.rand((), requires_grad=True)
        self.assertEqual(losses.terms_of(None, (), loss), 0)


class Guessing(unittest.TestCase):
    def level(self, loss_fn, output, target):
        loss = loss_fn(output, target)
        return losses.facts_of(loss_fn, (output, target), loss)

    def logits(self, n, k):
        return torch.zeros(n, k, requires_grad=True) * 1

    def test_equal_classes(self):
        for k in (2, 10):
            facts = self.level(nn.CrossEntropyLoss(), self.logits(100, k), balanced(100, k))
            self.assertAlmostEqual(facts["trivial_loss"], math.log(k))
            self.assertAlmostEqual(facts["chance_accuracy"], 1 / k)
            self.assertEqual(facts["n_outputs"], k)

    def test_unequal_classes(self):
        labels = (torch.arange(1000) % 10 == 0).long()
        facts = self.level(nn.CrossEntropyLoss(), self.logits(1000, 2), labels)
        entropy = -0.1 * math.log(0.1) - 0.9 * math.log(0.9)
        self.assertAlmostEqual(facts["trivial_loss"], entropy + 1 / 2000)
        self.assertAlmostEqual(facts["chance_accuracy"], 0.9)

    def test_the_bias_of_small_batches(self):
        torch.manual_seed(0)
        levels = [
            self.level(nn.CrossEntropyLoss(), self.logits(64, 10), torch.randint(10, (64,)))
            for _ in range(200)
        ]
        told = [facts["trivial_loss"] for facts in levels if "trivial_loss" in facts]
        chance = [facts["chance_accuracy"] for facts in levels if "trivial_loss" in facts]
        self.assertLess(sum(chance) / len(chance), 0.105)  # the largest share is larger by chance
        self.assertGreater(len(told), 190)
        self.assertLessEqual(max(told), math.log(10))
        self.assertAlmostEqual(sum(told) / len(told), math.log(10), delta=0.03)

    def test_too_few_samples(self):
        for n, k in ((4, 2), (32, 1000), (12, 10)):
            facts = self.level(nn.CrossEntropyLoss(), self.logits(n, k), torch.arange(n) % k)
            self.assertNotIn("trivial_loss", facts)
            self.assertEqual(facts["n_outputs"], k)
        facts = self.level(nn.MSELoss(), self.logits(5, 2), torch.rand(5, 2))
        self.assertNotIn("trivial_loss", facts)

    def test_smoothing_weights_and_ignored_labels(self):
        labels = torch.where(torch.arange(1000) % 10 == 0, 1, 0)
        smooth = nn.CrossEntropyLoss(label_smoothing=0.2)
        q = [0.8 * 0.9 + 0.1, 0.8 * 0.1 + 0.1]
        expected = -sum(x * math.log(x) for x in q)
        facts = self.level(smooth, self.logits(1000, 2), labels)
        self.assertAlmostEqual(facts["trivial_loss"], expected, delta=0.001)
        loss = smooth(self.logits(1000, 2), labels)
        self.assertEqual(losses.facts_of(None, (), loss).keys(), facts.keys())
        self.assertAlmostEqual(
            losses.facts_of(None, (), loss)["trivial_loss"], facts["trivial_loss"]
        )
        # Weighted until they count alike.
        weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 9.0]))
        facts = self.level(weighted, self.logits(1000, 2), labels)
        self.assertAlmostEqual(facts["trivial_loss"], math.log(2), delta=0.001)
        ignoring = nn.CrossEntropyLoss(ignore_index=0)
        labels = torch.arange(300) % 3
        facts = self.level(ignoring, self.logits(300, 3), labels)
        self.assertAlmostEqual(facts["trivial_loss"], math.log(2), delta=0.01)

    def test_the_best_constant_is_not_beaten(self):
        """By brute force: no constant output has less than the level, but for its correction."""
        torch.manual_seed(1)
        targets = torch.randn(500, 2) ** 3
        for loss_fn, target in (
            (nn.MSELoss(), targets),
            (nn.L1Loss(), targets),
            (nn.HuberLoss(delta=0.7), targets),
            (nn.SmoothL1Loss(beta=0.5), targets),
            (nn.BCEWithLogitsLoss(), (targets > 1).float()),
        ):
            grid = torch.linspace(-6, 6, 2401)
            best = (
                sum(min(float(loss_fn(c.expand(500), column)) for c in grid) for column in target.T)
                / 2
            )
            facts = self.level(loss_fn, self.logits(500, 2), target)
            self.assertAlmostEqual(facts["trivial_loss"], best, delta=0.01 * best, msg=str(loss_fn))
            self.assertEqual(facts["n_outputs"], 2)

    def test_sums_and_factors(self):
        labels = balanced(100, 4)
        facts = self.level(nn.CrossEntropyLoss(reduction="sum"), self.logits(100, 4), labels)
        self.assertAlmostEqual(facts["trivial_loss"], 100 * math.log(4))
        loss = F.cross_entropy(self.logits(100, 4), labels) / 8
        self.assertAlmostEqual(losses.facts_of(None, (), loss)["trivial_loss"], math.log(4) / 8)

    def test_strange_targets_are_no_error(self):
        for target in (torch.full((3,), -100), torch.zeros(3, dtype=torch.long)):
            loss = F.cross_entropy(self.logits(3, 2), target)
            facts = losses.facts_of(None, (), loss)
            self.assertEqual(facts["loss"], "cross_entropy")
        empty = F.mse_loss(self.logits(0, 2), torch.zeros(0, 2))
        self.assertEqual(losses.facts_of(None, (), empty), {"loss": "mse"})
        target = torch.full((40, 2), math.nan)
        self.assertNotIn("trivial_loss", self.level(nn.MSELoss(), self.logits(40, 2), target))


class Initialisers(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)

    def measured(self, fill, rows=64, columns=128, what="matrix"):
        weight = torch.empty(rows, columns)
        fill(weight)
        return initialisers.measure(weight, columns, rows, what=what)

    def test_named(self):
        init = nn.init
        for fill, word in (
            (lambda w: init.kaiming_uniform_(w, a=math.sqrt(5)), "pytorch_default"),
            (lambda w: init.kaiming_normal_(w, nonlinearity="relu"), "he"),
            (lambda w: init.kaiming_uniform_(w, nonlinearity="relu"), "he"),
            (init.xavier_normal_, "xavier"),
            (init.xavier_uniform_, "xavier"),
            (lambda w: init.kaiming_normal_(w, nonlinearity="linear"), "lecun"),
            (init.orthogonal_, "orthogonal"),
        ):
            for _ in range(5):
                found, gain = self.measured(fill)
                self.assertEqual(found, word)
                self.assertAlmostEqual(gain, 1, places=4)
        self.assertEqual(self.measured(init.zeros_), ("zeros", 0))
        self.assertEqual(self.measured(lambda w: init.constant_(w, 0.5)), ("constant", 0.5))
        word, gain = self.measured(lambda w: init.orthogonal_(w, gain=2.0))
        self.assertEqual(word, "orthogonal")
        self.assertAlmostEqual(gain, 2, places=4)

    def test_by_their_deviation(self):
        word, std = self.measured(lambda w: nn.init.normal_(w, std=0.02))
        self.assertEqual(word, "normal")
        self.assertAlmostEqual(std, 0.02, delta=0.001)
        word, bound = self.measured(lambda w: nn.init.uniform_(w, -0.3, 0.3))
        self.assertEqual(word, "uniform")
        self.assertAlmostEqual(bound, 0.3, delta=0.01)
        self.assertEqual(self.measured(nn.init.normal_, what="table")[0], "normal")

    def test_small_tensors_and_half_precision(self):
        for n in (2, 4, 16, 64):
            for seed in range(20):
                torch.manual_seed(seed)
                layer = nn.Linear(9, n)
                found = initialisers.measure(layer.bias, 9, n, what="bias")
                self.assertEqual(found[0], "pytorch_default", (n, seed))
        for dtype in (torch.float16, torch.bfloat16, torch.float64):
            layer = nn.Linear(100, 100).to(dtype)
            self.assertEqual(initialisers.measure(layer.weight, 100, 100)[0], "pytorch_default")

    def test_what_cannot_be_measured(self):
        meta = torch.empty(3, 4, device="meta")
        for tensor in (meta, torch.empty(0, 4), torch.ones(3, 4, dtype=torch.int8)):
            self.assertEqual(initialisers.measure(tensor, 4, 3)[0], "unknown")
        self.assertEqual(initialisers.measure(torch.full((3, 4), math.nan), 4, 3)[0], "unknown")


if __name__ == "__main__":
    unittest.main()
