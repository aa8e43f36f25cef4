# SPDX-License-Identifier: Apache-2.0
"""What detectors need beside sizes: what units do, formats, targets, gradients that are missing and
that fade over time steps; number by number against plain PyTorch, on planted faults."""

import unittest
import unittest.mock

import torch
import torch.nn.functional as F
from torch import nn
from watching import Watching, rms

from backprobe.device import DeviceStage, HasCome


class Evidence(Watching):
    def train(self, model, steps, batch, loss_fn=None, lr=0.0, **options):
        """batch(step) gives inputs and targets. Weights stay as they are unless lr says else."""
        loss_fn = loss_fn or nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        probe = self.watch(model, optimizer, loss_fn=loss_fn, **options)
        for step in range(steps):
            x, y = batch(step)
            loss_fn(model(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
        return self.close(probe)

    @staticmethod
    def vectors(n=64, features=20, classes=4):
        return lambda step: (torch.randn(n, features), torch.randint(classes, (n,)))


class Units(Evidence):
    def mlp(self, activation=nn.ReLU):
        return nn.Sequential(nn.Linear(20, 32), activation(), nn.Linear(32, 16), activation(), nn.Linear(16, 4))

    def test_silent_units_of_an_mlp(self):
        model = self.mlp()
        with torch.no_grad():
            model[0].bias[:5] = -100
            model[2].bias[3:5] = -100
        record = self.train(model, 2, self.vectors())[1]
        self.assertEqual([record["units", k] for k in (1, 2, 3)], [32, 16, 4])
        self.assertEqual([record["silent_units", k] for k in (1, 2, 3)], [5, 2, None])
        self.assertEqual([record["distinct_units", k] for k in (1, 2, 3)], [28, 15, 4])
        self.assertIsNone(record["dead_units", 1])
        self.assertIsNone(record["saturated_units", 1])
        self.assertIsNone(record["units", 0])

    def test_few_samples_are_gathered_first(self):
        records = self.train(self.mlp(), 5, self.vectors(12))
        self.assertEqual([r["units", 1] for r in records], [None, None, 32, None, None])

    def test_dead_is_silent_for_ten_thousand_samples(self):
        model = self.mlp()
        with torch.no_grad():
            model[0].bias[:5] = -100
        records = self.train(model, 90, self.vectors(120))
        told = [r.step for r in records if r["dead_units", 1] is not None]
        self.assertEqual(told, list(range(83, 90)))
        self.assertEqual(records[83]["dead_units", 1], 5)
        self.assertEqual(records[83]["dead_units", 2], 0)

    def test_dead_is_silent_for_an_epoch(self):
        model = self.mlp()
        with torch.no_grad():
            model[0].bias[:5] = -100
        records = self.train(model, 110, self.vectors(120), train_samples=12_120)
        told = [r.step for r in records if r["dead_units", 1] is not None]
        self.assertEqual(told, list(range(100, 110)))

    def test_a_unit_that_wakes_is_not_dead(self):
        model = self.mlp()
        with torch.no_grad():
            model[0].weight[0], model[0].bias[0] = 0, -1
            model[0].weight[0, 0] = 1

        def batch(step):
            x = torch.randn(120, 20).clamp(-0.9, 0.9)
            if step == 40:
                x[7, 0] = 5.0
            return x, torch.randint(4, (120,))

        records = self.train(model, 125, batch)
        self.assertEqual([records[k]["silent_units", 1] for k in (39, 40, 41)], [1, 0, 1])
        self.assertEqual([records[k]["dead_units", 1] for k in (83, 123, 124)], [0, 0, 1])

    def test_evaluation_does_not_count(self):
        model = self.mlp()
        with torch.no_grad():
            model[0].bias[0] = -100
        optimizer, loss_fn = torch.optim.SGD(model.parameters(), lr=0.0), nn.CrossEntropyLoss()
        probe = self.watch(model, optimizer, loss_fn=loss_fn)
        for _ in range(2):
            model.eval()
            model(torch.full((64, 20), 1e6))
            with torch.no_grad():
                model[0](torch.full((64, 20), 1e6))
            model.train()
            loss_fn(model(torch.randn(64, 20)), torch.randint(4, (64,))).backward()
            optimizer.step()
            optimizer.zero_grad()
        self.assertEqual(self.close(probe)[1]["silent_units", 1], 1)

    def test_saturated_units(self):
        model = self.mlp(nn.Tanh)
        with torch.no_grad():
            model[0].bias[:3] = 20
            model[0].weight[3:5] *= 300
            model[0].bias[5:7] = 2  # 1 - tanh(2)^2 is 7%
        torch.manual_seed(3)
        record = self.train(model, 1, self.vectors())[0]
        torch.manual_seed(3)
        h = torch.tanh(model[0](self.vectors()(0)[0])).double()
        expected = int(((1 - h.square()).mean(0) < 0.01).sum())
        self.assertIn(expected, (3, 4, 5))
        self.assertEqual(record["saturated_units", 1], expected)
        self.assertIsNone(record["silent_units", 1])

    def test_saturated_sigmoid(self):
        model = self.mlp(nn.Sigmoid)
        with torch.no_grad():
            model[2].bias[:6] = -20
        self.assertEqual(self.train(model, 1, self.vectors())[0]["saturated_units", 2], 6)

    def test_flat_tails(self):
        for activation, size in ((nn.GELU, -5.0), (nn.SiLU, -12.0)):
            with self.subTest(activation.__name__):
                self.folder = self.folder / "deeper"
                model = self.mlp(activation)
                with torch.no_grad():
                    model[0].weight[:2] *= 0.01
                    model[0].bias[:2] = size
                self.assertEqual(self.train(model, 1, self.vectors())[0]["silent_units", 1], 2)

    def test_copies(self):
        model = self.mlp()
        with torch.no_grad():
            model[0].weight[1:8] = model[0].weight[0]
            model[0].bias[1:8] = model[0].bias[0]
            model[0].bias[:8] += 5
        self.assertEqual(self.train(model, 1, self.vectors())[0]["distinct_units", 1], 25)

    def test_all_alike(self):
        model = self.mlp()
        for p in model.parameters():
            nn.init.constant_(p, 0.1)
        records = self.train(model, 2, self.vectors(), lr=0.1)
        self.assertEqual([r["distinct_units", 1] for r in records], [1, 1])

    def test_functional_activations(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.b, self.c = nn.Linear(20, 32), nn.Linear(32, 16), nn.Linear(16, 4)

            def forward(self, x):
                x = F.dropout(F.relu(self.a(x)), 0.5, self.training)
                return F.relu(self.c(F.gelu(self.b(x))))

        model = Net()
        with torch.no_grad():
            model.a.bias[:5] = -100
            model.b.bias[:3] = -100
        records = self.train(model, 3, self.vectors(256))
        for record in records:
            self.assertEqual([record["silent_units", k] for k in (1, 2)], [5, 3])
            self.assertIsNone(record["distinct_units", 1])  # dropped at random: copies differ
            self.assertEqual(record["distinct_units", 2], 14)
            # Nobody reads what the last activation gives: only what it is given is seen.
            self.assertIsNone(record["units", 3])

    def test_a_norm_behind_the_activation(self):
        model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Linear(32, 4))
        record = self.train(model, 1, self.vectors())[0]
        self.assertEqual(record["units", 1], 32)
        self.assertIsNone(record["silent_units", 1])


class Channels(Evidence):
    @staticmethod
    def images(n=40, size=12):
        return lambda step: (torch.randn(n, 3, size, size), torch.randint(4, (n,)))

    def test_modules(self):
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.BatchNorm2d(6),
                              nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))  # fmt: skip
        with torch.no_grad():
            model[0].bias[:3] = -100
            model[3].bias[4] = -100
            model[2].weight[1], model[2].bias[1] = model[2].weight[0], model[2].bias[0]
        record = self.train(model, 2, self.images())[1]
        self.assertEqual([record["units", k] for k in (1, 2)], [8, 6])
        self.assertEqual([record["silent_units", k] for k in (1, 2)], [3, 1])
        self.assertEqual([record["distinct_units", k] for k in (1, 2)], [6, 5])

    def test_functions_and_a_flattened_end(self):
        class Net(nn.Module):
            def __init__(self, size):
                super().__init__()
                self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3)
                self.c = nn.Linear(6 * ((size - 2) // 2 - 2) ** 2, 4)

            def forward(self, x):
                x = F.max_pool2d(F.relu(self.a(x)), 2)
                return self.c(torch.flatten(F.relu(self.b(x)), 1))

        for size in (12, 64):  # a large one is looked at in places, from the second step on
            self.folder = self.folder / "deeper"
            model = Net(size)
            with torch.no_grad():
                model.a.bias[:3] = -100
                model.b.bias[4] = -100
            for record in self.train(model, 3, self.images(size=size)):
                large = size == 64 and record.step == 0
                self.assertEqual([record["units", k] for k in (1, 2)], [None, None] if large else [8, 6])
                self.assertEqual([record["silent_units", k] for k in (1, 2)], [None, None] if large else [3, 1])

    def test_all_places_are_seen_in_the_end(self):
        """Of 8 channels with 64 x 64 pixels each, 1 is active at a single place."""
        model = nn.Sequential(nn.Conv2d(1, 8, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
        with torch.no_grad():
            model[0].weight.fill_(1)
            model[0].bias[:] = torch.tensor([-100.0, -3, 0, 0, 0, 0, 0, 0])

        def batch(step):
            x = torch.rand(128, 1, 64, 64)
            x[:, :, 37, 50] = 9
            return x, torch.randint(4, (128,))

        records = self.train(model, 80, batch)
        silent = {r["silent_units", 1] for r in records[1:]}
        self.assertEqual(silent, {1, 2})
        self.assertEqual(records[-1]["units", 1], 8)
        self.assertEqual(records[-1]["dead_units", 1], 1)

    def test_sequences(self):
        """Tokens, then a transformer's dense layers: units are the last dimension."""
        model = nn.Sequential(nn.Embedding(11, 8), nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 8), nn.Flatten(),
                              nn.Linear(8 * 6, 4))  # fmt: skip
        with torch.no_grad():
            model[1].bias[:7] = -100

        def batch(step):
            return torch.randint(11, (40, 6)), torch.randint(4, (40,))

        record = self.train(model, 2, batch)[1]
        self.assertEqual([record["units", k] for k in (1, 2, 3)], [8, 24, 8])
        self.assertEqual(record["silent_units", 2], 7)


class Formats(Evidence):
    def tiny(self, tensor):
        tensor = tensor.double().abs()
        other = tensor[tensor > 0]
        return float((other < 2.0**-14).double().mean())

    def test_autocast_to_half(self):
        model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
        seen = {}
        handle = model[1].register_forward_hook(
            lambda module, args, out: out.register_hook(lambda g: seen.setdefault("error", g.clone())) and None
        )
        optimizer, loss_fn = torch.optim.SGD(model.parameters(), lr=0.0), nn.CrossEntropyLoss()
        probe = self.watch(model, optimizer, loss_fn=loss_fn)
        with torch.autocast("cpu", torch.float16):
            loss = loss_fn(model(torch.randn(64, 20)), torch.randint(4, (64,)))
        (loss / 32).backward()
        optimizer.step()
        handle.remove()
        record = self.close(probe)[0]
        self.assertEqual(seen["error"].dtype, torch.float16)
        self.assertEqual([record["activation_precision", k] for k in (0, 1, 2)], [24, 11, 11])
        self.assertEqual(record["error_precision", 1], 11)
        self.assertEqual(record["parameter_precision", 1], 24)
        expected = self.tiny(seen["error"])
        self.assertGreater(expected, 0.1)
        self.assertLess(expected, 1)
        self.assertEqual(record["error_tiny", 1], expected)
        self.assertIsNone(record["gradient_tiny", 1])  # gradients are f32

    def half(self, dtype, shrink):
        model = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 4)).to(dtype)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        probe = self.watch(model, optimizer)
        for _ in range(2):
            loss = model(torch.randn(64, 20, dtype=dtype)).float().square().mean() * shrink
            probe.loss(loss)
            loss.backward()
            gradient = model[0].weight.grad.clone()
            optimizer.step()
            optimizer.zero_grad()
        return gradient, self.close(probe)[1]

    def test_half_parameters(self):
        gradient, record = self.half(torch.float16, 2.0**-4)
        expected = self.tiny(gradient)
        self.assertGreater(expected, 0.1)
        self.assertLess(expected, 1)
        self.assertEqual(record["gradient_tiny", 1], expected)
        self.assertEqual([record["parameter_precision", k] for k in (1, 2)], [11, 11])
        self.assertEqual(record["activation_precision", 1], 11)

    def test_brain_floats(self):
        _, record = self.half(torch.bfloat16, 2.0**-20)
        self.assertEqual(record["gradient_tiny", 1], 0)
        self.assertEqual(record["parameter_precision", 1], 8)
        self.assertEqual(record["error_precision", 1], 8)

    def test_single_and_double(self):
        for dtype, bits in ((torch.float32, 24), (torch.float64, 53)):
            self.folder = self.folder / "deeper"
            _, record = self.half(dtype, 1.0)
            self.assertEqual(record["parameter_precision", 1], bits)
            self.assertEqual(record["activation_precision", 2], bits)
            self.assertEqual(record["error_precision", 2], bits)
            self.assertIsNone(record["error_tiny", 1])

    def test_a_scaler_counts_as_stored(self):
        """Scaled errors of a half model are no longer tiny; the gradients' share is that before unscaling."""
        model = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 4))
        optimizer, loss_fn = torch.optim.SGD(model.parameters(), lr=0.0), nn.CrossEntropyLoss()
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
        probe = self.watch(model, optimizer, loss_fn=loss_fn)
        for _ in range(3):
            with torch.autocast("cpu", torch.float16):
                loss = loss_fn(model(torch.randn(64, 20)), torch.randint(4, (64,))) * 2.0**-8
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        record = self.close(probe)[2]
        self.assertLess(record["error_tiny", 1], 0.01)


class Parameters(Evidence):
    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.used, self.unused = nn.Linear(20, 16), nn.Linear(16, 4), nn.Linear(16, 7)

        def forward(self, x):
            return self.used(torch.relu(self.body(x)))

    def test_spread_of_weights(self):
        model = self.TwoHeads()
        with torch.no_grad():
            model.used.weight.fill_(0.3)
            model.body.weight += 0.2
        record = self.train(model, 1, self.vectors())[0]
        weight = model.body.weight.detach().double()
        self.assert_near(record["weight_spread", 1], weight.std(unbiased=False) / rms(weight))
        spreads = [value for (name, _), value in record.items() if name == "weight_spread"]
        self.assertEqual(len(spreads), 3)
        self.assertEqual(spreads.count(0), 1)

    def missing(self, record):
        return sorted(value for (name, _), value in record.items() if name == "missing_gradients")

    def test_an_unused_head(self):
        for record in self.train(self.TwoHeads(), 3, self.vectors()):
            self.assertEqual(self.missing(record), [0, 0, 16 * 7 + 7])

    def test_frozen_on_purpose(self):
        model = self.TwoHeads()
        optimizer, loss_fn = torch.optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss()
        probe = self.watch(model, optimizer, loss_fn=loss_fn)
        for step in range(3):
            if step == 1:
                model.body.requires_grad_(False)
            loss_fn(model(torch.randn(32, 20)), torch.randint(4, (32,))).backward()
            optimizer.step()
            optimizer.zero_grad()
        self.assertEqual([self.missing(r) for r in self.close(probe)], [[0, 0, 119]] * 3)


class Targets(Evidence):
    def linear(self):
        return nn.Linear(20, 4)

    def extremes(self, records):
        return [(r["target_min"], r["target_max"]) for r in records]

    def test_classes_and_accuracy(self):
        model, expected, accuracy = self.linear(), [], []

        def batch(step):
            x, y = torch.randn(50, 20), torch.randint(3, (50,)) + step % 2
            y[:10] = -100
            expected.append((float(y[10:].min()), float(y.max())))
            accuracy.append(float((model(x).argmax(1) == y)[10:].double().mean()))
            return x, y

        records = self.train(model, 4, batch)
        self.assertEqual(self.extremes(records), expected)
        self.assertEqual([r["train_accuracy"] for r in records], accuracy)

    def test_of_a_function_by_the_graph(self):
        model, accuracy = self.linear(), []
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        probe = self.watch(model, optimizer)
        for _ in range(3):
            x, y = torch.randn(50, 20), torch.randint(1, 3, (50,))
            output = model(x)
            accuracy.append(float((output.argmax(1) == y).double().mean()))
            loss = F.cross_entropy(output, y)
            probe.loss(loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        records = self.close(probe)
        self.assertEqual(self.extremes(records), [(1, 2)] * 3)
        self.assertEqual([r["train_accuracy"] for r in records], accuracy)

    def test_micro_batches(self):
        model, loss_fn = self.linear(), nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        probe = self.watch(model, optimizer, loss_fn=loss_fn)
        x, y = torch.randn(60, 20), torch.randint(1, 3, (60,))
        y[0], y[1] = 0, 3
        for some in (slice(0, 40), slice(40, 60)):
            (loss_fn(model(x[some]), y[some]) / 2).backward()
        optimizer.step()
        record = self.close(probe)[0]
        self.assertEqual(self.extremes([record]), [(0, 3)])
        self.assertEqual(record["train_accuracy"], float((model(x).argmax(1) == y).double().mean()))

    def test_numbers(self):
        y = torch.randn(50, 4) * 255
        records = self.train(self.linear(), 2, lambda step: (torch.randn(50, 20), y), nn.MSELoss())
        self.assertEqual(self.extremes(records), [(float(y.min()), float(y.max()))] * 2)
        self.assertIsNone(records[0]["train_accuracy"])

    def test_shares_of_classes(self):
        y = torch.rand(50, 4).softmax(1)
        record = self.train(self.linear(), 1, lambda step: (torch.randn(50, 20), y))[0]
        self.assertEqual(self.extremes([record]), [(float(y.min()), float(y.max()))])
        self.assertIsNone(record["train_accuracy"])


class Features(Evidence):
    def scales(self, x):
        """Of a table's columns: the lower median of those that vary."""
        deviations = x.double().var(0, unbiased=False).sqrt()
        varying = deviations[deviations > 0]
        return float(varying.max() / varying.median())

    def test_a_table(self):
        x = torch.randn(100, 20)
        x[:, 3] *= 1e4
        x[:, 5] = 1
        record = self.train(nn.Linear(20, 4), 1, lambda step: (x, torch.randint(4, (100,))))[0]
        self.assert_near(record["feature_scales", 0], self.scales(x))

    def test_channels(self):
        x = torch.randn(40, 3, 8, 8)
        x[:, 1] *= 50
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 4))
        record = self.train(model, 1, lambda step: (x, torch.randint(4, (40,))))[0]
        deviations = x.double().movedim(1, 0).flatten(1).std(1, unbiased=False)
        self.assert_near(record["feature_scales", 0], deviations.max() / deviations.median())

    def test_tokens_have_none(self):
        model = nn.Sequential(nn.Embedding(11, 8), nn.Flatten(), nn.Linear(48, 4))
        record = self.train(model, 1, lambda step: (torch.randint(11, (40, 6)), torch.randint(4, (40,))))[0]
        self.assertIsNone(record["feature_scales", 0])


class Recurrent(nn.Module):
    def __init__(self, kind, batch_first, embed=True):
        super().__init__()
        self.batch_first = batch_first
        self.embedding = nn.Embedding(11, 8) if embed else nn.Identity()
        self.rnn = kind(8, 12, batch_first=batch_first)
        self.head = nn.Linear(12, 4)

    def forward(self, x):
        x = self.embedding(x)
        out, _ = self.rnn(x if self.batch_first else x.transpose(0, 1))
        return self.head(out[:, -1] if self.batch_first else out[-1])


class ThroughTime(Evidence):
    def batch(self, step):
        return torch.randint(11, (16, 40)), torch.randint(4, (16,))

    def expected(self, model, x, y):
        seen = {}

        def keep(module, args):
            args[0].retain_grad()
            seen["x"] = args[0]

        handle = model.rnn.register_forward_pre_hook(keep)
        nn.CrossEntropyLoss()(model(x), y).backward()
        handle.remove()
        model.zero_grad()
        gradient = seen["x"].grad.transpose(0, 1) if model.batch_first else seen["x"].grad
        return rms(gradient[:4]) / rms(gradient[-4:])

    def test_behind_an_embedding(self):
        for kind in (nn.RNN, nn.GRU, nn.LSTM):
            for batch_first in (True, False):
                with self.subTest(kind.__name__, batch_first=batch_first):
                    self.folder = self.folder / "deeper"
                    model = Recurrent(kind, batch_first)
                    batches = [self.batch(0) for _ in range(3)]
                    records = self.train(model, 3, lambda step: batches[step])
                    for record, (x, y) in zip(records, batches, strict=True):
                        expected = self.expected(model, x, y)
                        self.assertLess(expected, 0.5)
                        self.assert_near(record["error_through_time", 2], expected)
                        self.assertIsNone(record["error_through_time", 1])
                        self.assertGreater(record["error_norm", 1], 0)

    def test_nothing_reaches_the_beginning(self):
        model = Recurrent(nn.RNN, True)
        with torch.no_grad():
            model.rnn.weight_hh_l0.zero_()
        self.assertEqual(self.train(model, 1, self.batch)[0]["error_through_time", 2], 0)

    def test_micro_batches_count_together(self):
        model, loss_fn = Recurrent(nn.GRU, True), nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        probe = self.watch(model, optimizer, loss_fn=loss_fn)
        x, y = self.batch(0)
        for some in (slice(0, 8), slice(8, 16)):
            (loss_fn(model(x[some]), y[some]) / 2).backward()
        optimizer.step()
        optimizer.zero_grad()
        self.assert_near(self.close(probe)[0]["error_through_time", 2], self.expected(model, x, y))

    def test_data_without_a_gradient(self):
        model = Recurrent(nn.LSTM, True, embed=False)
        optimizer, loss_fn = torch.optim.SGD(model.parameters(), lr=0.0), nn.CrossEntropyLoss()
        probe = self.watch(model, optimizer, loss_fn=loss_fn)
        x = torch.randn(16, 40, 8)
        loss_fn(model(x), torch.randint(4, (16,))).backward()
        optimizer.step()
        self.assertFalse(x.requires_grad)
        self.assertIn("needs no gradient: rnn", " ".join(probe.unseen))
        record = self.close(probe)[0]
        self.assertFalse([key for key in record if key[0] == "error_through_time"])


class Validation(Evidence):
    def test_in_light_steps(self):
        """It stands in the record of the step before it, which says no more than is known."""
        model, loss_fn = nn.Linear(20, 4), nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        probe = self.watch(model, optimizer, loss_fn=loss_fn, every=4)
        for step in range(9):
            loss_fn(model(torch.randn(32, 20)), torch.randint(4, (32,))).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % 2:
                probe.validation(loss=step + 0.5, accuracy=step / 10)
        records = self.close(probe)
        self.assertEqual([r.step for r in records], list(range(9)))
        for record in records:
            told = record.step % 2 == 1
            self.assertEqual(record["validation_loss"], record.step + 0.5 if told else None)
            self.assertEqual(record["validation_accuracy"], record.step / 10 if told else None)
            self.assertGreater(record["loss"], 0)
            self.assertEqual(record["samples"], None if record.step % 4 else 32)
            self.assertEqual(record["loss_terms"], None if record.step % 4 else 32)
            self.assertIn(record["learning_rate"], (None, 0.1) if record.step % 4 else (0.1,))


class Late:
    """The same of tensors that are played to lie on an accelerator."""

    def setUp(self):
        super().setUp()
        def staged(probe, parameters):
            return DeviceStage(probe, "cpu", event=lambda device: HasCome())

        patch = unittest.mock.patch("backprobe.probe.stage_for", staged)
        patch.start()
        self.addCleanup(patch.stop)


class LateUnits(Late, Units):
    pass


class LateChannels(Late, Channels):
    pass


class LateFormats(Late, Formats):
    pass


class LateParameters(Late, Parameters):
    pass


class LateTargets(Late, Targets):
    pass


class LateFeatures(Late, Features):
    pass


class LateThroughTime(Late, ThroughTime):
    pass


class LateValidation(Late, Validation):
    pass


if __name__ == "__main__":
    unittest.main()
