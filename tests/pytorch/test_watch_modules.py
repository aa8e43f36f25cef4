# SPDX-License-Identifier: Apache-2.0
"""Models as people build them: modules called twice, never, through functions, inside a
checkpoint; shared weights; nested and lazy modules. Each is trained for a few steps on the digits."""

import unittest

import data
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from watching import Watching, norm_of_rows, rms


class Models(Watching):
    def setUp(self):
        super().setUp()
        self.x, self.y = data.digits(48)
        self.criterion = nn.CrossEntropyLoss()

    def run_of(self, model, steps=3, **options):
        """The probe and the records of a few steps."""
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        probe = self.watch(model, optimizer, loss_fn=self.criterion, **options)
        for _ in range(steps):
            self.criterion(model(self.x), self.y).backward()
            optimizer.step()
            optimizer.zero_grad()
        self.layers = {layer["name"]: n for n, layer in enumerate(probe._structure.layers, 1)}
        return probe, self.close(probe)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(16, 16)

    def forward(self, x):
        return torch.tanh(self.fc(x))


class Net(nn.Module):
    """A stem, two blocks, a head: blocks as they are, or inside a checkpoint."""

    def __init__(self, reentrant=None, same=False):
        super().__init__()
        self.stem = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh())
        first = Block()
        self.blocks = nn.ModuleList([first, first if same else Block()])
        self.head = nn.Linear(16, 10)
        self.reentrant = reentrant

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            if self.reentrant is None:
                x = block(x)
            else:
                x = checkpoint(block, x, use_reentrant=self.reentrant)
        return self.head(x)


class Checkpointed(Models):
    def test_counts_once(self):
        plain = Net()
        _, expected = self.run_of(plain)
        for reentrant in (False, True):
            with self.subTest(reentrant=reentrant):
                torch.manual_seed(1)
                net = Net(reentrant)
                probe, measured = self.run_of(net, run=self.folder / f"reentrant-{reentrant}")
                fc = self.layers["blocks.0.fc"]
                for a, b in zip(measured, expected, strict=True):
                    self.assertEqual(a["samples"], 48)
                    self.assertEqual(a["loss"], b["loss"])
                    for name in ("gradient_rms", "update_rms", "weight_rms"):
                        self.assert_near(a[name, fc], b[name, fc])
                self.assertEqual(probe.blind, None)


class CalledTwice(Models):
    def test_one_module(self):
        torch.manual_seed(1)
        net = Net(same=True)

        first = net.blocks[0].fc(net.stem(self.x))
        second = net.blocks[0].fc(torch.tanh(first))
        activation = ((rms(first.detach()) ** 2 + rms(second.detach()) ** 2) / 2) ** 0.5
        _, measured = self.run_of(net)
        self.assertEqual(sum(name.startswith("blocks") for name in self.layers), 1)
        fc = self.layers["blocks.0.fc"]
        # Two readings of each sample: their mean square.
        self.assert_near(measured[0]["activation_rms", fc], activation)
        self.assertGreater(measured[0]["error_rms", fc], 0)

    def test_shared_weights(self):
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
        net[3].weight = net[1].weight
        weights = sum(p.numel() for p in net.parameters())
        _, measured = self.run_of(net)
        counted = sum(measured[0]["parameters", n] or 0 for n in self.layers.values())
        self.assertEqual(counted, weights)


class Functional(Models):
    def test_use_of_a_modules_weights(self):
        class Tied(nn.Module):
            def __init__(self):
                super().__init__()
                self.encode = nn.Linear(64, 12)
                self.head = nn.Linear(64, 10)

            def forward(self, x):
                x = torch.sigmoid(self.encode(x.flatten(1)))
                x = F.linear(x, self.encode.weight.t())
                return self.head(x)

        net = Tied()
        weight = rms(net.encode.weight.detach())
        _, measured = self.run_of(net)
        self.assert_near(measured[0]["weight_rms", self.layers["encode"]], weight)
        self.assertGreater(measured[0]["update_rms", self.layers["encode"]], 0)

    def test_a_module_that_is_never_called(self):
        net = Net()
        net.spare = nn.Linear(3, 3)
        probe, measured = self.run_of(net)
        self.assertIn("spare", self.layers)
        self.assertTrue(any("spare" in text for text in probe.unseen))
        self.assertIsNone(measured[0]["activation_rms", self.layers["spare"]])

    def test_everything_by_functions(self):
        class Bare(nn.Module):
            def __init__(self):
                super().__init__()
                self.w = nn.Parameter(torch.randn(64, 10) / 8)

            def forward(self, x):
                return x.flatten(1) @ self.w

        net = Bare()
        _, measured = self.run_of(net)
        self.assertEqual(list(self.layers), ["Bare"])
        self.assertGreater(measured[2]["update_rms", 1], 0)
        self.assertGreater(measured[2]["error_rms", 1], 0)
        self.assertLess(measured[2]["loss"], measured[0]["loss"])


class Kinds(Models):
    def test_nested(self):
        net = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Sequential(nn.Linear(64, 9), nn.ReLU()), nn.Linear(9, 10)))
        self.run_of(net)
        self.assertEqual(list(self.layers), ["1.0.0", "1.1"])

    def test_lazy(self):
        net = nn.Sequential(nn.Flatten(), nn.LazyLinear(9), nn.ReLU(), nn.LazyLinear(10))
        _, measured = self.run_of(net)
        self.assert_near(measured[0]["activation_norm", 0], norm_of_rows(self.x))
        self.assertGreater(measured[2]["update_rms", 2], 0)

    def test_convolutions_with_norms_and_in_place_activations(self):
        net = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1),
            nn.Linear(6, 10),
        )  # fmt: skip
        _, measured = self.run_of(net)
        for record in measured:
            for name in ("0", "4", "9"):
                self.assertGreater(record["activation_rms", self.layers[name]], 0)
                self.assertGreater(record["error_rms", self.layers[name]], 0)

    def test_recurrent(self):
        class Reader(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = nn.LSTM(8, 12, batch_first=True)
                self.head = nn.Linear(12, 10)

            def forward(self, x):
                out, _ = self.lstm(x.squeeze(1))
                return self.head(out[:, -1])

        _, measured = self.run_of(Reader())
        self.assertGreater(measured[2]["update_rms", self.layers["lstm"]], 0)
        self.assertGreater(measured[2]["activation_rms", self.layers["lstm"]], 0)

    def test_attention(self):
        class Attends(nn.Module):
            def __init__(self):
                super().__init__()
                self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
                self.head = nn.Linear(8, 10)

            def forward(self, x):
                return self.head(self.block(x.squeeze(1)).mean(1))

        _, measured = self.run_of(Attends())
        self.assertEqual(len(measured), 3)
        self.assertGreater(measured[2]["gradient_rms", self.layers["head"]], 0)

    def test_an_output_that_holds_the_loss(self):
        """As Hugging Face's models give it."""

        class Output(dict):
            def __getattr__(self, name):
                return self[name]

        class Holds(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(64, 10)

            def forward(self, pixels, labels=None):
                logits = self.fc(pixels.flatten(1))
                return Output(loss=F.cross_entropy(logits, labels), logits=logits)

        net = Holds()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
        probe = self.watch(net, optimizer, every=2)
        expected = []
        for _ in range(4):
            output = net(pixels=self.x, labels=self.y)
            output.loss.backward()
            expected.append(output.loss.item())
            optimizer.step()
            optimizer.zero_grad()
        measured = self.close(probe)
        self.assertEqual([r["loss"] for r in measured], expected)
        self.assertEqual([r["samples"] for r in measured if r.is_full], [48] * 2)
        self.assertGreater(measured[2]["error_rms", 1], 0)


if __name__ == "__main__":
    unittest.main()
