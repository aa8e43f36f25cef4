# SPDX-License-Identifier: Apache-2.0
"""backprobe.predict: gains as PyTorch itself gives them, a verdict, and a model that is afterwards
what it was, bit for bit."""

import collections
import copy
import math
import pickle
import random
import unittest

import numpy
import torch
from torch import nn
from watching import Watching

import backprobe
import data


class Everything(nn.Module):
    """Batch norm, dropout, a recurrent layer that keeps its state, random numbers from everywhere."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.3)
        self.lstm = nn.LSTM(32, 16, num_layers=2, batch_first=True, dropout=0.2)
        self.head = nn.Linear(16, 10)
        self.register_buffer("seen", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("last", None, persistent=False)
        self.register_buffer("noise", torch.full((3,), math.nan))
        self.calls = 0
        self.state = None

    def forward(self, x):
        self.calls += 1
        self.seen += 1
        self.noise = self.noise + random.random() + numpy.random.rand() + torch.rand(3)
        x = self.drop(torch.relu(self.bn(self.conv(x))))
        out, self.state = self.lstm(x.permute(0, 2, 1, 3).flatten(2))
        self.last = out[:, -1].detach()
        return self.head(out[:, -1])


def bits(value):
    """Everything that a tensor, or a structure of them, holds: NaN and the sign of zero, too."""
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape), value.detach().contiguous().view(torch.uint8).numpy().tobytes() \
            if value.dim() else value.detach().reshape(1).view(torch.uint8).numpy().tobytes()  # fmt: skip
    if isinstance(value, (tuple, list)):
        return tuple(map(bits, value))
    return value


def state_of(model):
    rows = []
    for name, module in model.named_modules():
        rows.append((name, module.training, sorted(module.__dict__)))
        rows += [(name, key, bits(value)) for key, value in module.__dict__.items()
                 if key in ("calls", "state")]  # fmt: skip
        rows += [(name, key, id(value), bits(value), getattr(value, "_version", None))
                 for key, value in module._buffers.items()]  # fmt: skip
        rows += [(name, len(getattr(module, hooks))) for hooks in
                 ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")]  # fmt: skip
    for name, p in model.named_parameters():
        rows.append((name, id(p), bits(p), id(p.grad), None if p.grad is None else bits(p.grad)))
        rows.append((name, p._version, p.requires_grad, len(p._backward_hooks or ())))
    return rows


def random_state():
    return (torch.get_rng_state().numpy().tobytes(), random.getstate(),
            pickle.dumps(numpy.random.get_state()))  # fmt: skip


class LeavesNoTrace(Watching):
    def assert_untouched(self, model, batch, *args, **options):
        before, numbers = state_of(model), random_state()
        grad_enabled = torch.is_grad_enabled()
        prediction = backprobe.predict(model, batch, *args, **options)
        self.assertEqual(random_state(), numbers)
        self.assertEqual(state_of(model), before)
        self.assertEqual(torch.is_grad_enabled(), grad_enabled)
        return prediction

    def batch(self, n=24):
        x, y = data.digits(n)
        return x, y

    def test_fresh_trained_and_in_evaluation(self):
        model = Everything()
        batch, criterion = self.batch(), nn.CrossEntropyLoss()
        self.assert_untouched(model, batch, criterion)
        optimizer = torch.optim.Adam(model.parameters())
        for _ in range(3):
            criterion(model(batch[0]), batch[1]).backward()
            optimizer.step()
        model.conv.weight.grad = None
        prediction = self.assert_untouched(model, batch, criterion)
        self.assertTrue(math.isfinite(prediction.loss))
        self.assertGreater(len(prediction.layers), 1)
        with torch.no_grad():
            self.assert_untouched(model.eval(), batch, criterion)

    def test_when_the_model_fails(self):
        class Failing(Everything):
            def forward(self, x):
                super().forward(x)
                raise ZeroDivisionError

        model = Failing()
        before, numbers = state_of(model), random_state()
        with self.assertRaises(ZeroDivisionError):
            backprobe.predict(model, self.batch(), nn.CrossEntropyLoss())
        self.assertEqual((state_of(model), random_state()), (before, numbers))

    def test_hooks_behind_gradients_are_not_called(self):
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        called = []
        model[1].weight.register_post_accumulate_grad_hook(lambda p: called.append(p))
        backprobe.predict(model, self.batch(), nn.CrossEntropyLoss())
        self.assertEqual(called, [])
        self.assertIsNone(model[1].weight.grad)

    def test_a_training_goes_on_as_without(self):
        losses = []
        for predicts in (False, True):
            torch.manual_seed(3)
            model = Everything()
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
            x, y = self.batch(64)
            for step in range(6):
                if predicts and step % 2:
                    backprobe.predict(model, (x, y), criterion)
                loss = criterion(model(x), y)
                if predicts:
                    backprobe.predict(model, (x, y), criterion)  # between forward and backward
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                losses.append(loss.item())
        self.assertEqual(losses[:6], losses[6:])

    def test_a_watch_hears_nothing(self):
        runs = []
        for predicts in (False, True):
            torch.manual_seed(3)
            random.seed(3)
            numpy.random.seed(3)
            model = Everything()
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
            probe = self.watch(model, optimizer, loss_fn=criterion, run=self.folder / str(predicts))
            x, y = self.batch(64)

            def look(model=model, criterion=criterion, x=x, y=y, predicts=predicts):
                if predicts:
                    backprobe.predict(model, (x, y), criterion)

            for _ in range(3):
                look()
                loss = criterion(model(x), y)
                look()
                loss.backward()
                look()
                optimizer.step()
                optimizer.zero_grad()
            runs.append(self.close(probe))
        self.assertEqual(len(runs[0]), 3)
        self.assertEqual(*([dict(record) for record in run] for run in runs))


class Gains(unittest.TestCase):
    def assert_near(self, measured, expected, part=0.003):
        self.assertIsNotNone(measured)
        self.assertLess(abs(measured / float(expected) - 1), part, (measured, float(expected)))

    def by_hand(self, model, x, y, criterion, modules):
        """Norms per sample of dL/d(output), rms over samples, and of the outputs."""
        outputs, handles = [], []
        for module in modules:
            handles.append(module.register_forward_hook(lambda m, a, o: outputs.append(o)))
        loss = criterion(model(x), y)
        for handle in handles:
            handle.remove()
        gradients = torch.autograd.grad(loss, outputs)
        n = len(x)
        errors = [(g.flatten(1).double().norm(dim=1) * n).square().mean().sqrt() for g in gradients]
        sizes = [o.detach().flatten(1).double().norm(dim=1).square().mean().sqrt() for o in outputs]
        return loss.item(), errors, sizes

    def check(self, model, modules, n=48):
        x, y = data.digits(n)
        criterion = nn.CrossEntropyLoss()
        loss, errors, sizes = self.by_hand(model, x, y, criterion, modules)
        prediction = backprobe.predict(model, x, criterion, target=y)
        self.assertEqual(prediction.loss, loss)
        self.assertEqual(len(prediction.layers), len(modules))
        for k, layer in enumerate(prediction.layers):
            self.assert_near(layer.error_norm, errors[k])
            if k:
                self.assert_near(layer.backward, errors[k - 1] / errors[k])
                self.assert_near(layer.forward, sizes[k] / sizes[k - 1])
                parts = [layer.activation, layer.norm, layer.weight]
                self.assert_near(math.prod(parts), layer.backward)
        self.assertIsNone(prediction.layers[0].backward)
        self.assert_near(prediction.backward, errors[0] / errors[-1], part=0.01)
        self.assert_near(prediction.layers[0].forward, sizes[0] / x.flatten(1).norm(dim=1).square().mean().sqrt())
        return prediction

    def test_a_deep_sigmoid(self):
        torch.manual_seed(1)
        layers = [nn.Flatten()]
        for _ in range(16):
            layers += [nn.Linear(64, 64), nn.Sigmoid()]
        model = nn.Sequential(*layers, nn.Linear(64, 10))
        prediction = self.check(model, [*model[2::2][:16], model[-1]])
        self.assertEqual(prediction.problem, "vanishing-gradient")
        self.assertRegex(prediction.verdict, r"^passes on 0\.1\d a layer: \de-1\d of the error at layer 17 reaches layer 1$")
        for layer in prediction.layers[1:-1]:
            self.assertLess(layer.activation, 0.25)

    def test_convolutions(self):
        torch.manual_seed(1)
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 8, 3, padding=1), nn.Tanh(),
            nn.Conv2d(8, 8, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(72, 10),
        )  # fmt: skip
        prediction = self.check(model, [model[1], model[3], model[5], model[7]])
        self.assertIsNone(prediction.problem)
        self.assertRegex(prediction.verdict, "^the error signal keeps within ×")

    def test_growth(self):
        torch.manual_seed(1)
        layers = [nn.Flatten()]
        for _ in range(12):
            layers += [nn.Linear(64, 64), nn.ReLU()]
            nn.init.normal_(layers[-2].weight, std=3 * (2 / 64) ** 0.5)
        model = nn.Sequential(*layers, nn.Linear(64, 10))
        prediction = self.check(model, [*model[2::2][:12], model[-1]])
        self.assertEqual(prediction.problem, "exploding-gradient")
        self.assertLess(abs(prediction.mean_gain / 3 - 1), 0.2)

    def test_samples_that_look_alike(self):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), *(m for _ in range(3) for m in (nn.Linear(64, 64), nn.Tanh())),
                              nn.Linear(64, 10))  # fmt: skip
        with torch.no_grad():
            model[3].weight.mul_(1e-5)
        prediction = backprobe.predict(model, data.digits(32), nn.CrossEntropyLoss())
        self.assertIn(prediction.problem, ("vanishing-gradient",))

    def test_numbers_that_are_not_finite(self):
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        with torch.no_grad():
            model[1].weight[0, 0] = math.inf
        prediction = backprobe.predict(model, data.digits(32), nn.CrossEntropyLoss())
        self.assertEqual(prediction.problem, "non-finite")


class Theory(unittest.TestCase):
    """Predicted beside measured: means over seeds."""

    def mean_off(self, build, *, seeds=4, n=64):
        """For each layer: mean over seeds of predicted / measured."""
        ratios = collections.defaultdict(list)
        for seed in range(seeds):
            torch.manual_seed(seed)
            prediction = backprobe.predict(build(), data.digits(n), nn.CrossEntropyLoss())
            self.assertEqual(prediction.not_predicted, "")
            self.assertIsNone(prediction.layers[0].predicted)
            for layer in prediction.layers[1:]:
                ratios[layer.layer].append(layer.predicted / layer.backward)
        return [sum(r) / len(r) for r in ratios.values()]

    def mlp(self, activation, norm=None):
        layers = [nn.Flatten()]
        for _ in range(8):
            layers += [nn.Linear(64, 64), *([norm(64)] if norm else []), activation()]
        return nn.Sequential(*layers, nn.Linear(64, 10))

    def test_plain_and_normalised(self):
        for activation in (nn.Sigmoid, nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU, nn.ELU, nn.SELU, nn.Softplus):
            for norm in (None, nn.BatchNorm1d, nn.LayerNorm):
                with self.subTest(activation=activation.__name__, norm=norm):
                    off = self.mean_off(lambda: self.mlp(activation, norm))
                    self.assertEqual(len(off), 8)
                    for ratio in off:
                        self.assertLess(abs(ratio - 1), 0.16)
                    self.assertLess(abs(sum(off) / len(off) - 1), 0.04)

    def test_residual(self):
        class Block(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.norm, self.b = nn.Linear(64, 64), nn.LayerNorm(64), nn.Linear(64, 64)

            def forward(self, x):
                return x + self.b(torch.relu(self.a(self.norm(x))))

        off = self.mean_off(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 64), *(Block() for _ in range(5)), nn.Linear(64, 10)))
        self.assertEqual(len(off), 6)
        for ratio in off:
            self.assertLess(abs(ratio - 1), 0.1)

    def test_depth_and_critical_weights(self):
        torch.manual_seed(1)
        prediction = backprobe.predict(self.mlp(nn.ReLU), data.digits(64), nn.CrossEntropyLoss())
        self.assertLess(abs(prediction.trainable_layers / 3.35 - 1), 0.15)  # 6 / ln 6
        self.assertLess(abs(prediction.layers[2].critical_std / (2 / 64) ** 0.5 - 1), 0.01)
        self.assertRegex(prediction.critical, r"^relu layers of this depth .* std 0\.18, that is 1\.41 ")

    def test_where_theory_ends(self):
        prediction = backprobe.predict(Everything(), data.digits(24), nn.CrossEntropyLoss())
        self.assertRegex(prediction.not_predicted, r"^from layer \d \(lstm.*recurrent")
        self.assertIn("not predicted:", str(prediction))
        self.assertTrue(all(layer.predicted is None for layer in prediction.layers))

    def test_tokens_tell_nothing_of_the_size_of_inputs(self):
        model = nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.Linear(40, 32), nn.Tanh(), nn.Linear(32, 3))
        prediction = backprobe.predict(model, torch.randint(0, 20, (16, 5)))
        self.assertEqual(prediction.not_predicted, "")
        self.assertIsNotNone(prediction.layers[-1].predicted)


class Calls(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(1)
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
        self.x, self.y = data.digits(48)

    def test_without_a_loss(self):
        prediction = backprobe.predict(self.model, self.x)
        self.assertIsNone(prediction.loss)
        self.assertEqual([layer.layer for layer in prediction.layers], ["1", "3"])
        self.assertEqual(str(prediction), str(backprobe.predict(self.model, self.x)))
        with_loss = backprobe.predict(self.model, self.x, nn.CrossEntropyLoss(), target=self.y)
        self.assertLess(abs(math.log(prediction.backward / with_loss.backward)), math.log(3))

    def test_keywords_and_a_loss_in_the_output(self):
        class Model(nn.Module):
            def __init__(self, inner):
                super().__init__()
                self.inner = inner

            def forward(self, pixels, labels=None):
                logits = self.inner(pixels)
                loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
                return collections.namedtuple("Output", "loss logits")(loss, logits)

        model = Model(self.model)
        prediction = backprobe.predict(model, {"pixels": self.x, "labels": self.y})
        expected = backprobe.predict(self.model, (self.x, self.y), nn.CrossEntropyLoss())
        self.assertEqual(prediction.loss, expected.loss)
        self.assertEqual([g.backward for g in prediction.layers], [g.backward for g in expected.layers])

    def test_a_function_for_a_loss(self):
        prediction = backprobe.predict(self.model, (self.x, self.y), nn.functional.cross_entropy)
        expected = backprobe.predict(self.model, (self.x, self.y), nn.CrossEntropyLoss())
        self.assertEqual(prediction.loss, expected.loss)

    def test_a_compiled_model(self):
        compiled = torch.compile(self.model, backend="eager")
        self.assertEqual(
            str(backprobe.predict(compiled, (self.x, self.y), nn.CrossEntropyLoss())),
            str(backprobe.predict(self.model, (self.x, self.y), nn.CrossEntropyLoss())),
        )

    def test_what_cannot_be_predicted(self):
        criterion = nn.CrossEntropyLoss()
        frozen = copy.deepcopy(self.model).requires_grad_(False)
        for model, batch, loss_fn, error, words in [
            (None, self.x, None, TypeError, "expected an nn.Module, found a NoneType"),
            (self.model, self.x, 3, TypeError, "loss_fn: expected a function"),
            (frozen, self.x, None, ValueError, "none of its parameters requires a gradient"),
            (nn.LazyLinear(3), self.x, None, ValueError, "lazy modules"),
            (self.model, (self.x, self.y), nn.CrossEntropyLoss(reduction="none"), ValueError, "one number"),
            (self.model, (self.x, self.y), lambda o, t: criterion(o.detach(), t), ValueError, "does not depend"),
        ]:  # fmt: skip
            with self.subTest(words), self.assertRaisesRegex(error, words):
                backprobe.predict(model, batch, loss_fn)

    def test_text(self):
        text = str(backprobe.predict(self.model, (self.x, self.y), nn.CrossEntropyLoss()))
        lines = text.splitlines()
        self.assertRegex(lines[0], "^prediction from one batch: the error signal keeps within ×")
        self.assertRegex(lines[1], r"^  loss 2\.\d+$")
        self.assertRegex(lines[2], r"^  layer (\(log scale\))? +error signal +gain +predicted +forward +variation$")
        self.assertRegex(lines[3], r"^  1 1   █+[▏▎▍▌▋▊▉]? +[\d.]+ +– +– +[\d.]+ +[\d.]+$")
        self.assertRegex(lines[4], r"^  2 3   █+[▏▎▍▌▋▊▉]? +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+$")
        self.assertRegex(text, r"\n  depth: about \d+ such layers can be trained, the network has 2\n")
        self.assertRegex(text, r"\n  critical: tanh layers of this depth pass the error signal on with weights of\s+std 0\.2")
        self.assertLessEqual(max(map(len, lines)), 100)


if __name__ == "__main__":
    unittest.main()
