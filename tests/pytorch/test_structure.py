# SPDX-License-Identifier: Apache-2.0
"""Layers, cut points, places and parameters of networks as people write them."""

import gc
import unittest
import weakref

import networks
import torch
import torch.nn.functional as F
from discovering import (
    cut_points,
    discover,
    hang,
    input_at,
    parameters_of,
    rows,
    seen_at,
    supervised,
)
from torch import nn
from torch.utils.checkpoint import checkpoint

from backprobe import structure


class Architectures(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.classes = nn.CrossEntropyLoss()

    def classify(self, model, inputs, k=3, **options):
        batch = len(inputs[0]) if isinstance(inputs, tuple) else len(inputs)
        step = supervised(model, inputs, torch.arange(batch) % k, self.classes)
        return discover(model, step, self.classes, **options), step

    def check(self, found, model, step, expected, data_modules):
        """The lines, and the cut points against brute force."""
        self.assertEqual(rows(found), expected)
        zero = {n for n, layer in enumerate(found.layers, 1) if layer["depth_in_blocks"] == 0}
        self.assertEqual(zero, cut_points(model, step, found, data_modules))

    def test_modules_in_a_row(self):
        model = nn.Sequential(
            nn.Linear(10, 20),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(20, 20),
            nn.Dropout(0.5),
            nn.Tanh(),
            nn.Linear(20, 4),
        )
        found, step = self.classify(model, torch.randn(32, 10), k=4)
        expected = [
            "0 dense relu none 0",
            "2 dropout linear none 0",
            "3 dense tanh none 0",
            "6 dense linear none 0",
        ]
        self.check(found, model, step, expected, ["0"])
        self.assertEqual(found.input_shape, (10, 1, 1))
        self.assertEqual(input_at(found), {"activation": "0.input"})
        self.assertEqual(
            seen_at(found, "0"),
            {
                "activation": "1.output",
                "error_output": "1.output",
                "error_pre_activation": "0.output",
            },
        )
        self.assertEqual(seen_at(found, "3")["error_pre_activation"], "4.output")
        self.assertEqual(parameters_of(found, "3"), {"3.weight": "weight", "3.bias": "bias"})
        self.assertEqual(found.layers[1]["drop_fraction"], 0.2)
        first = found.layers[0]
        self.assertEqual((first["fan_in"], first["fan_out"]), (10, 20))
        self.assertEqual(first["weight_init"], ("pytorch_default", 1.0))
        self.assertTrue(first["has_bias"])
        self.assertEqual(found.unseen, [])

    def test_functions_are_seen_in_the_graph(self):
        model = networks.Functional()
        found, step = self.classify(model, torch.randn(32, 10), k=4)
        expected = [
            "first dense leaky_relu none 0",
            "second dense sigmoid none 0",
            "last dense softmax none 0",
        ]
        self.check(found, model, step, expected, ["first"])
        self.assertAlmostEqual(found.layers[0]["activation_slope"], 0.2)
        self.assertEqual(
            seen_at(found, "first"),
            {
                "activation": "second.input",
                "error_output": "second.input",
                "error_pre_activation": "first.output",
            },
        )
        # What only the loss reads is seen where it is made.
        self.assertEqual(seen_at(found, "last")["error_output"], "last.output")
        self.assertNotIn("error_pre_activation", seen_at(found, "last"))

    def test_convolutions_with_one_activation_in_place(self):
        model = networks.Convolutional()
        found, step = self.classify(model, torch.randn(20, 1, 14, 14), k=10)
        expected = [
            "conv1 conv relu batch_norm 0",
            "conv2 conv relu batch_norm 0",
            "pool max_pool linear none 0",
            "fc dense linear none 0",
        ]
        self.check(found, model, step, expected, ["conv1"])
        # The module that is called twice shows neither.
        self.assertEqual(
            seen_at(found, "conv1"),
            {
                "activation": "conv2.input",
                "error_output": "conv2.input",
                "error_pre_activation": "bn1.output",
                "error_pre_norm": "conv1.output",
            },
        )
        conv1, conv2, pool, _ = found.layers
        self.assertEqual(conv1["output_shape"], (8, 14, 14))
        self.assertEqual((conv1["kernel"], conv1["stride"], conv1["padding"]), (3, 1, 1))
        self.assertEqual((conv1["fan_in"], conv1["fan_out"]), (9, 72))
        self.assertEqual((conv2["kernel"], conv2["stride"], conv2["padding"]), (3, 2, 0))
        self.assertEqual((conv1["has_bias"], conv2["has_bias"]), (False, True))
        self.assertEqual(pool["output_shape"], (16, 3, 3))
        self.assertEqual(
            parameters_of(found, "conv1"),
            {"conv1.weight": "weight", "bn1.weight": "norm_gain", "bn1.bias": "norm_bias"},
        )

    def test_pooling_as_a_function(self):
        model = networks.LeNet()
        loss_fn = nn.NLLLoss()
        step = supervised(model, torch.randn(30, 1, 28, 28), torch.arange(30) % 10, loss_fn)
        found = discover(model, step, loss_fn)
        expected = [
            "conv1 conv relu none 0",
            "conv2 conv relu none 0",
            "fc1 dense relu none 0",
            "fc2 dense linear none 0",
        ]
        self.check(found, model, step, expected, ["conv1"])
        self.assertEqual(
            seen_at(found, "conv1"), {"activation": "conv2.input", "error_output": "conv2.input"}
        )
        self.assertEqual(seen_at(found, "conv2")["error_output"], "fc1.input")
        # Behind a dropout: what comes back there is no longer the activation's alone.
        self.assertEqual(
            seen_at(found, "fc1"), {"activation": "fc2.input", "error_output": "fc2.input"}
        )
        self.assertNotIn("kernel", found.layers[0])  # its output is seen pooled
        self.assertEqual(found.recipe["loss"], "cross_entropy")

    def test_residual_blocks(self):
        model = networks.ResNet()
        found, step = self.classify(model, torch.randn(20, 3, 8, 8), k=10)
        expected = [
            "conv1 conv relu batch_norm 0",
            "layer1.0.conv1 conv relu batch_norm 1",
            "layer1.0.conv2 conv linear batch_norm 1",
            "layer1.0.sum residual relu none 0",
            "layer1.1.conv1 conv relu batch_norm 1",
            "layer1.1.conv2 conv linear batch_norm 1",
            "layer1.1.sum residual relu none 0",
            "layer2.0.conv1 conv relu batch_norm 1",
            "layer2.0.conv2 conv linear batch_norm 1",
            "layer2.0.downsample.0 conv linear batch_norm 1",
            "layer2.0.sum residual relu none 0",
            "layer2.1.conv1 conv relu batch_norm 1",
            "layer2.1.conv2 conv linear batch_norm 1",
            "layer2.1.sum residual relu none 0",
            "avgpool global_avg_pool linear none 0",
            "fc dense linear none 0",
        ]
        self.check(found, model, step, expected, ["conv1"])
        sums = [layer for layer in found.layers if layer["kind"] == "residual"]
        self.assertEqual([layer["n_branch"] for layer in sums], [2, 2, 3, 2])
        self.assertEqual([layer["skip_from"] for layer in sums], [1, 4, 10, 11])
        self.assertEqual(
            seen_at(found, "layer1.0.sum"),
            {"activation": "layer1.1.conv1.input", "error_output": "layer1.1.conv1.input"},
        )
        self.assertEqual(seen_at(found, "layer2.1.sum")["error_output"], "avgpool.input")
        self.assertNotIn("kernel", found.layers[9])  # the layer before is not its input

    def test_residual_blocks_that_begin_with_the_norm(self):
        model = networks.PreActivation()
        found, step = self.classify(model, torch.randn(9, 1, 8, 8))
        expected = [
            "stem conv linear none 0",
            "blocks.0.norm1 batch_norm relu batch_norm 1",
            "blocks.0.conv1 conv relu batch_norm 1",
            "blocks.0.conv2 conv linear none 1",
            "blocks.0.sum residual linear none 0",
            "blocks.1.norm1 batch_norm relu batch_norm 1",
            "blocks.1.conv1 conv relu batch_norm 1",
            "blocks.1.conv2 conv linear none 1",
            "blocks.1.sum residual relu none 0",
            "fc dense linear none 0",
        ]
        self.check(found, model, step, expected, ["stem"])
        self.assertEqual(seen_at(found, "blocks.1.sum")["error_output"], "fc.input")
        # The norm's input has another reader, so what comes back there is not the norm's alone.
        self.assertNotIn("error_pre_norm", seen_at(found, "blocks.0.norm1"))
        self.assertEqual(
            seen_at(found, "blocks.0.conv1")["error_pre_norm"], "blocks.0.conv1.output"
        )

    def test_gpt(self):
        model = networks.GPT()
        tokens = torch.arange(32).reshape(4, 8) % 30

        def step():
            output = model(tokens)
            return F.cross_entropy(output, tokens.flatten()), ()

        found = discover(model, step)
        expected = ["pos embedding linear none 1", "tok embedding linear none 0"]
        for block in ("blocks.0", "blocks.1"):
            expected += [
                f"{block}.ln1 layer_norm linear layer_norm 1",
                f"{block}.attn.qkv dense linear none 1",
                f"{block}.attn.proj dense linear none 1",
                f"{block}.sum residual linear none 0",
                f"{block}.ln2 layer_norm linear layer_norm 1",
                f"{block}.mlp.0 dense gelu none 1",
                f"{block}.mlp.2 dense linear none 1",
                f"{block}.sum_2 residual linear none 0",
            ]
        expected += ["ln_f layer_norm linear layer_norm 0", "head dense linear none 0"]
        self.check(found, model, step, expected, ["tok"])
        sums = [layer for layer in found.layers if layer["kind"] == "residual"]
        self.assertEqual([layer["n_branch"] for layer in sums], [3, 3, 3, 3])
        self.assertEqual([layer["skip_from"] for layer in sums], [2, 6, 10, 14])
        self.assertEqual(input_at(found), {})  # tokens are names, not numbers
        self.assertEqual(found.input_shape, (8, 1, 1))
        # Tied: told once, where it is used first.
        self.assertEqual(parameters_of(found, "tok"), {"tok.weight": "weight"})
        self.assertEqual(parameters_of(found, "head"), {})
        names = [name for name, *_ in found.parameters]
        self.assertEqual(sorted(names), sorted(name for name, _ in model.named_parameters()))
        self.assertEqual(seen_at(found, "ln_f")["error_pre_norm"], "ln_f.input")
        self.assertEqual(found.layers[1]["vocabulary"], 30)
        self.assertEqual(found.recipe["loss"], "cross_entropy")
        self.assertEqual(found.recipe["n_outputs"], 30)

    def test_positions_that_are_the_same_for_all_samples(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.tok, self.pos = nn.Embedding(9, 4), nn.Embedding(5, 4)
                self.fc = nn.Linear(4, 3)

            def forward(self, x, places):
                positions = self.pos(places)
                if len(positions) not in (1, x.shape[1], len(x)):
                    positions = positions.mean((0, 1))
                return self.fc((self.tok(x) + positions).mean(1))

        tokens, square = torch.randint(9, (7, 5)), torch.randint(9, (5, 5))
        for x, places, depth in (
            (tokens, torch.arange(5), 0),
            (tokens, torch.arange(5)[None], 0),
            (tokens, torch.arange(5).expand(7, 5), 0),
            (tokens, torch.randint(5, (9, 9)), 0),  # distances
            (square, torch.arange(5), 0),
            (tokens, torch.randint(5, (7, 5)), 1),  # data, too
            (tokens, torch.randint(5, (7, 1)), 1),
        ):
            found, _ = self.classify(Net(), (x, places))
            depths = {layer["name"]: layer["depth_in_blocks"] for layer in found.layers}
            self.assertEqual(depths, {"tok": depth, "pos": 1, "fc": 0}, (x.shape, places.shape))

    def test_transformer_layers_of_pytorch(self):
        x = torch.randn(9, 6, 5)
        model = networks.Encoder(norm_first=False)
        found, step = self.classify(model, x)
        expected = ["embed dense linear none 0"]
        for layer in ("encoder.layers.0", "encoder.layers.1"):
            expected += [
                f"{layer}.self_attn other linear none 1",
                f"{layer}.sum residual linear none 0",
                f"{layer}.norm1 layer_norm linear layer_norm 0",
                f"{layer}.linear1 dense relu none 1",
                f"{layer}.linear2 dense linear none 1",
                f"{layer}.sum_2 residual linear none 0",
                f"{layer}.norm2 layer_norm linear layer_norm 0",
            ]
        expected.append("fc dense linear none 0")
        self.check(found, model, step, expected, ["embed"])
        attention = parameters_of(found, "encoder.layers.0.self_attn")
        self.assertEqual(
            {name.split("self_attn.")[1]: slot for name, slot in attention.items()},
            {
                "in_proj_weight": "weight",
                "in_proj_bias": "bias",
                "out_proj.weight": "weight",
                "out_proj.bias": "bias",
            },
        )
        self.assertEqual((found.layers[1]["fan_in"], found.layers[1]["fan_out"]), (16, 16))

        model = networks.Encoder(norm_first=True)
        found, step = self.classify(model, x)
        expected = ["embed dense linear none 0"]
        for layer in ("encoder.layers.0", "encoder.layers.1"):
            expected += [
                f"{layer}.norm1 layer_norm linear layer_norm 1",
                f"{layer}.self_attn other linear none 1",
                f"{layer}.sum residual linear none 0",
                f"{layer}.norm2 layer_norm linear layer_norm 1",
                f"{layer}.linear1 dense relu none 1",
                f"{layer}.linear2 dense linear none 1",
                f"{layer}.sum_2 residual linear none 0",
            ]
        expected.pop()  # what follows the last sum is a mean
        expected.append("fc dense linear none 0")
        self.check(found, model, step, expected, ["embed"])
        self.assertEqual(
            found.unseen, ["the sum at the end of 1 residual block: no module reads it as it is"]
        )

    def test_parameters_beside_modules(self):
        model = networks.VisionTransformer()
        found, step = self.classify(model, torch.randn(9, 1, 8, 8))
        expected = [
            "cls other linear none 1",
            "pos other linear none 1",
            "patch conv linear none 0",
            "layer.norm1 layer_norm linear layer_norm 1",
            "layer.self_attn other linear none 1",
            "layer.sum residual linear none 0",
            "layer.norm2 layer_norm linear layer_norm 1",
            "layer.linear1 dense gelu none 1",
            "layer.linear2 dense linear none 1",
            "layer.sum_2 residual linear none 0",
            "head dense linear none 0",
        ]
        self.check(found, model, step, expected, ["patch"])
        self.assertEqual(parameters_of(found, "cls"), {"cls": "weight"})
        self.assertEqual(found.layers[0]["fan_in"], 1)  # so that the diagnosis counts it
        self.assertEqual([layer["skip_from"] for layer in found.layers[5::4]], [3, 6])
        self.assertEqual(seen_at(found, "layer.sum_2")["error_output"], "head.input")

    def test_a_branch_that_a_parameter_scales(self):
        model = nn.Sequential(
            nn.Conv2d(3, 8, 4, 4),
            networks.ScaledBlock(),
            networks.ScaledBlock(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 3),
        )
        found, step = self.classify(model, torch.randn(9, 3, 16, 16))
        expected = ["0 conv linear none 0"]
        for block in "12":
            expected += [
                f"{block}.gamma other linear none 1",
                f"{block}.depthwise conv linear layer_norm 1",
                f"{block}.wide dense gelu none 1",
                f"{block}.narrow dense linear none 1",
                f"{block}.sum residual linear none 0",
            ]
        expected += ["3 global_avg_pool linear none 0", "5 dense linear none 0"]
        self.check(found, model, step, expected, ["0"])
        sums = [layer for layer in found.layers if layer["kind"] == "residual"]
        self.assertEqual([layer["n_branch"] for layer in sums], [3, 3])
        self.assertEqual([layer["skip_from"] for layer in sums], [1, 6])
        self.assertEqual(parameters_of(found, "1.gamma"), {"1.gamma": "bias"})

    def test_modules_of_another_kind(self):
        scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 8), nn.ReLU()))
        lazy = nn.LazyLinear(5)  # never called: of no shape yet
        model = nn.ModuleDict(
            {"in": scripted, "mix": nn.Bilinear(8, 8, 6), "lazy": lazy, "out": nn.Linear(6, 3)}
        )
        model.forward = lambda x: model["out"](model["mix"](*[model["in"](x)] * 2))
        found, _ = self.classify(
            model,
            torch.randn(9, 4),
            optimizer=torch.optim.SGD(list(model["mix"].parameters()), 0.1),
        )
        expected = [
            "in.0.weight other linear none 1",
            "in.0.bias other linear none 1",
            "mix other linear none 0",
            "lazy dense linear none 1",
            "out dense linear none 0",
        ]
        self.assertEqual(rows(found), expected)
        self.assertEqual((found.layers[2]["fan_in"], found.layers[2]["fan_out"]), (64, 48))
        self.assertEqual(
            [layer["frozen"] for layer in found.layers], [True, True, False, True, True]
        )

    def test_concatenation(self):
        model = networks.UNet()
        loss_fn = nn.MSELoss()
        step = supervised(model, torch.randn(9, 1, 8, 8), torch.randn(9, 1, 8, 8), loss_fn)
        found = discover(model, step, loss_fn)
        expected = [
            "down1 conv relu none 0",
            "down2 conv relu none 1",
            "up other relu none 1",
            "out conv linear none 0",
        ]
        self.check(found, model, step, expected, ["down1"])

        model = networks.DenseNet()
        found, step = self.classify(model, torch.randn(9, 1, 8, 8))
        expected = [
            "stem conv linear none 0",
            "block.0.norm batch_norm relu batch_norm 1",
            "block.0.conv conv linear none 1",
            "block.1.norm batch_norm relu batch_norm 1",
            "block.1.conv conv linear none 1",
            "norm batch_norm relu batch_norm 0",
            "pool global_avg_pool linear none 0",
            "fc dense linear none 0",
        ]
        self.check(found, model, step, expected, ["stem"])
        self.assertEqual(seen_at(found, "norm")["error_pre_norm"], "norm.input")

    def test_two_inputs(self):
        model = networks.TwoInputs()
        found, step = self.classify(model, (torch.randn(9, 4), torch.randn(9, 6)))
        expected = [
            "left dense relu none 1",
            "right dense relu none 1",
            "fuse dense tanh none 0",
            "fc dense linear none 0",
        ]
        self.check(found, model, step, expected, ["left", "right"])
        self.assertEqual(input_at(found), {"activation": "left.input"})

    def test_a_trunk_that_is_called_twice(self):
        model = networks.Siamese()
        x, y = torch.randn(9, 4), torch.randn(9, 4)
        found = discover(model, lambda: (model(x, y).mean(), ()))
        expected = [
            "first dense relu none 0",
            "branch dense relu none 1",
            "sum residual linear none 0",
            "after dense linear none 0",
        ]
        self.check(found, model, lambda: (model(x, y).mean(), ()), expected, ["first"])
        self.assertEqual(seen_at(found, "sum")["error_output"], "after.input")
        self.assertEqual(seen_at(found, "first")["error_output"], "branch.input")
        self.assertEqual(len(found.parameters), 6)

    def test_recurrent_networks(self):
        tokens = torch.randint(20, (9, 7))
        for reads, depth, place in (
            ("states", 0, "lstm.output"),
            ("last", 0, "fc.input"),  # what the module returns first leads nowhere
            ("both", 1, "lstm.output"),  # two ways around each other
        ):
            with self.subTest(reads):
                model = networks.LSTMClassifier(reads)
                found, step = self.classify(model, tokens)
                expected = [
                    "embed embedding linear none 0",
                    f"lstm lstm linear none {depth}",
                    "fc dense linear none 0",
                ]
                self.check(found, model, step, expected, ["embed"])
                self.assertEqual(seen_at(found, "lstm")["error_output"], place)
                self.assertEqual(
                    parameters_of(found, "lstm"),
                    {
                        "lstm.weight_ih_l0": "weight",
                        "lstm.weight_hh_l0": "recurrent_weight",
                        "lstm.bias_ih_l0": "bias",
                        "lstm.bias_hh_l0": "recurrent_bias",
                    },
                )
                self.assertEqual(found.layers[1]["weight_init"][0], "pytorch_default")

    def test_a_cell_in_a_loop_has_no_one_place_in_depth(self):
        model = networks.CellLoop()
        found, step = self.classify(model, torch.randn(9, 5, 4))
        self.check(
            found, model, step, ["cell rnn linear none 1", "fc dense linear none 0"], ["cell"]
        )

    def test_autoencoder(self):
        model = nn.Sequential(
            nn.Linear(10, 4), nn.ReLU(), nn.Linear(4, 2), nn.Linear(2, 10), nn.Sigmoid()
        )
        x, loss_fn = torch.rand(16, 10), nn.MSELoss()
        step = supervised(model, x, x, loss_fn)
        found = discover(model, step, loss_fn)
        expected = ["0 dense relu none 0", "2 dense linear none 0", "3 dense sigmoid none 0"]
        self.check(found, model, step, expected, ["0"])

    def test_heads_for_training_and_never(self):
        model = networks.Heads()
        x, y = torch.randn(9, 4), torch.arange(9) % 3

        def step():
            out, aux = model(x)
            return F.cross_entropy(out, y) + 0.3 * F.cross_entropy(aux, y), ()

        found = discover(model, step)
        expected = [
            "trunk dense relu none 0",
            "deep dense relu none 1",
            "never dense linear none 1",
            "head dense linear none 1",
            "aux dense linear none 1",
        ]
        self.check(found, model, step, expected, ["trunk"])
        self.assertEqual(found.unseen, ["not called in the first step: never"])
        self.assertEqual(
            parameters_of(found, "never"), {"never.weight": "weight", "never.bias": "bias"}
        )
        self.assertEqual(seen_at(found, "never"), {})
        self.assertEqual(found.recipe["loss"], "other")

    def test_a_part_that_is_not_trained(self):
        trunk = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        trunk.requires_grad_(False)
        model = nn.Sequential(trunk, nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3))
        found, step = self.classify(
            model,
            torch.randn(9, 1, 6, 6),
            optimizer=torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1),
        )
        expected = [
            "0.0 conv linear none 1",
            "0.1 batch_norm linear batch_norm 1",
            "1 dense relu none 0",
            "3 dense linear none 0",
        ]
        self.check(found, model, step, expected, ["1"])
        self.assertEqual([layer["frozen"] for layer in found.layers], [True, True, False, False])
        self.assertEqual(seen_at(found, "0.0"), {"activation": "0.0.output"})
        self.assertEqual(input_at(found), {"activation": "0.0.input"})
        self.assertEqual(found.input_shape, (1, 6, 6))
        trained = ["1.weight", "1.bias", "3.weight", "3.bias"]
        self.assertEqual([name for name, *_ in found.parameters], trained)
        found, _ = self.classify(model, torch.randn(9, 1, 6, 6))  # the optimiser has all
        self.assertEqual([layer["frozen"] for layer in found.layers], [True, True, False, False])
        self.assertEqual([name for name, *_ in found.parameters], trained)

    def test_what_no_optimiser_has_is_frozen(self):
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
        found, _ = self.classify(
            model, torch.randn(9, 4), optimizer=torch.optim.SGD(model[2].parameters(), 0.1)
        )
        self.assertEqual(rows(found)[0], "0 dense linear batch_norm 0")
        self.assertEqual([layer["frozen"] for layer in found.layers], [True, False])
        bare = nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(4, affine=False),
            nn.Flatten(),
            nn.Linear(36, 3),
        )
        found, _ = self.classify(bare, torch.randn(9, 1, 8, 8))
        self.assertEqual(rows(found)[2], "2 batch_norm linear batch_norm 0")
        self.assertEqual([layer["frozen"] for layer in found.layers], [False, False, True, False])
        # A norm that learns behind an operator that does not is a layer of its own.
        found, _ = self.classify(
            model,
            torch.randn(9, 4),
            optimizer=torch.optim.SGD([*model[1].parameters(), *model[2].parameters()], 0.1),
        )
        self.assertEqual(
            rows(found),
            [
                "0 dense linear none 0",
                "1 batch_norm linear batch_norm 0",
                "2 dense linear none 0",
            ],
        )
        self.assertEqual([layer["frozen"] for layer in found.layers], [True, False, False])

    def test_orders_of_norm_and_activation(self):
        for between, expected in (
            ([nn.BatchNorm1d(8), nn.ReLU()], ("relu", "batch_norm", False)),
            ([nn.ReLU(), nn.BatchNorm1d(8)], ("relu", "batch_norm", True)),
            ([nn.ReLU(inplace=True), nn.LayerNorm(8)], ("relu", "layer_norm", True)),
            ([nn.Dropout(0.3), nn.RMSNorm(8), nn.GELU()], ("gelu", "layer_norm", False)),
            ([nn.GroupNorm(2, 8), nn.SiLU(inplace=True)], ("silu", "layer_norm", False)),
            ([nn.Identity(), nn.ELU(0.5)], ("elu", "none", False)),
            ([nn.PReLU()], ("leaky_relu", "none", False)),
            ([nn.ReLU6()], ("relu", "none", False)),
            ([nn.Hardswish()], ("silu", "none", False)),
            ([nn.SELU()], ("selu", "none", False)),
            ([nn.Softmax(-1)], ("softmax", "none", False)),
        ):
            with self.subTest(str(between)):
                model = nn.Sequential(nn.Linear(4, 8), *between, nn.Linear(8, 3))
                found, step = self.classify(model, torch.randn(9, 4))
                first = found.layers[0]
                self.assertEqual(len(found.layers), 2)
                shown = [site.module for site in found.discovery.sites]
                self.assertFalse(any(isinstance(module, nn.Identity) for module in shown))
                self.assertEqual(
                    (first["activation"], first["norm"], first["norm_after_activation"]), expected
                )
                for role in ("error_pre_activation", "error_pre_norm"):
                    has = expected[0] != "linear" if "act" in role else expected[1] != "none"
                    self.assertEqual(role in seen_at(found, "0"), has, role)

    def test_a_norm_for_two_operators_is_a_layer_of_its_own(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 8)
                self.norm, self.last = nn.LayerNorm(8), nn.Linear(8, 3)

            def forward(self, x):
                x = torch.tanh(self.norm(self.first(x)))
                return self.last(self.norm(self.second(x)))

        model = Net()
        found, step = self.classify(model, torch.randn(9, 4))
        expected = [
            "first dense linear none 0",
            "norm layer_norm linear layer_norm 1",  # at two places in depth
            "second dense linear none 0",
            "last dense linear none 0",
        ]
        self.check(found, model, step, expected, ["first"])

    def test_pooling_between_operator_and_activation(self):
        """The activation's slope is no part of the gain that the layer's size would tell."""
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)
        )
        found, step = self.classify(model, torch.randn(9, 1, 8, 8))
        self.check(found, model, step, ["0 conv relu none 0", "4 dense linear none 0"], ["0"])
        self.assertEqual(
            seen_at(found, "0"), {"activation": "2.output", "error_output": "2.output"}
        )

    def test_shapes_and_kernels(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.plain = nn.Conv2d(2, 4, 3, padding=1)
                self.grouped = nn.Conv2d(4, 4, 3, padding=1, groups=2)
                self.wide = nn.Conv2d(4, 4, (3, 5), padding=1)
                self.holes = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
                self.same = nn.Conv2d(4, 4, 3, padding="same")
                self.flat = nn.Conv1d(4, 4, 3, padding=1)
                self.fc = nn.Linear(4 * 48, 3)

            def forward(self, x):
                x = F.relu(self.grouped(F.relu(self.plain(x))))
                x = F.relu(self.same(self.holes(self.wide(x))))
                return self.fc(F.relu(self.flat(x.flatten(2))).flatten(1))

        model = Net()
        found, _ = self.classify(model, torch.randn(9, 2, 8, 8))
        layers = {layer["name"]: layer for layer in found.layers}
        self.assertEqual([name for name in layers if "kernel" in layers[name]], ["plain"])
        fans = {name: (layer["fan_in"], layer["fan_out"]) for name, layer in layers.items()}
        for name, module in model.named_children():
            self.assertEqual(fans[name], nn.init._calculate_fan_in_and_fan_out(module.weight), name)
        self.assertEqual(layers["same"]["output_shape"], (4, 8, 6))
        # Seen as a vector, told as the layer has it.
        self.assertEqual(seen_at(found, "flat")["error_output"], "fc.input")
        self.assertEqual(layers["flat"]["output_shape"], (4, 48, 1))

    def test_never_called_in_a_block(self):
        class Block(networks.PreActivation.Block):
            def __init__(self):
                super().__init__()
                last = self.conv2
                del self.conv2
                self.spare = nn.Linear(3, 3)
                self.conv2 = last
                self.last_spare = nn.Linear(3, 3)

        model = networks.PreActivation()
        model.blocks = nn.Sequential(Block(), Block())
        model.fc = nn.Linear(64, 3)
        found, _ = self.classify(model, torch.randn(9, 1, 8, 8))
        names = [layer["name"] for layer in found.layers]
        self.assertEqual(len(names), 14)
        for number, layer in enumerate(found.layers):
            if layer["kind"] == "residual":
                branch = names[number - layer["n_branch"] : number]
                self.assertEqual(
                    [name.rsplit(".", 1)[-1] for name in branch], ["norm1", "conv1", "conv2"]
                )
                skip = names[layer["skip_from"] - 1]
                self.assertEqual(skip, "stem" if "blocks.0" in layer["name"] else "blocks.0.sum")
        self.assertEqual(names[-1], "fc")

    def test_a_second_name_for_the_same_weights(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.shared, self.embed, self.fc = (
                    nn.Embedding(9, 4),
                    nn.Embedding(9, 4),
                    nn.Linear(4, 3),
                )
                self.embed.weight = self.shared.weight

            def forward(self, x):
                return self.fc(self.embed(x).mean(1))

        found, _ = self.classify(Net(), torch.randint(9, (9, 5)))
        self.assertEqual(rows(found), ["embed embedding linear none 0", "fc dense linear none 0"])
        self.assertEqual(parameters_of(found, "embed"), {"shared.weight": "weight"})
        self.assertEqual(found.unseen, [])

    def test_sums_that_do_not_end_alike(self):
        """A module reads the sum as it is in one pass and behind an activation in the other."""

        class Net(networks.Siamese):
            def forward(self, x, y):
                a, b = F.relu(self.first(x)), F.relu(self.first(y))
                a, b = a + self.branch(a), F.relu(b + self.branch(b))
                return self.after(a) - self.after(b)

        found, _ = self.classify(Net(), (torch.randn(9, 4), torch.randn(9, 4)), k=8)
        self.assertNotIn("residual", [layer["kind"] for layer in found.layers])

    def test_what_no_module_shows_is_no_cut_point(self):
        """Without its error signal there would be no profile at all."""

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm, self.weight = (
                    nn.LSTM(4, 8, batch_first=True),
                    nn.Parameter(torch.ones(8, 3)),
                )

            def forward(self, x):
                return self.lstm(x)[1][0][-1] @ self.weight

        found, _ = self.classify(Net(), torch.randn(9, 5, 4))
        depths = {layer["name"]: layer["depth_in_blocks"] for layer in found.layers}
        self.assertEqual(depths, {"weight": 1, "lstm": 1})

    def test_activations_as_functions(self):
        for name, word, slope in (
            ("relu", "relu", 0),
            ("relu6", "relu", 0),
            ("tanh", "tanh", 0),
            ("hardtanh", "tanh", 0),
            ("sigmoid", "sigmoid", 0),
            ("gelu", "gelu", 0),
            ("silu", "silu", 0),
            ("leaky_relu", "leaky_relu", 0.01),
            ("elu", "elu", 1),
            ("celu", "elu", 1),
            ("selu", "selu", 0),
            ("softplus", "softplus", 0),
        ):
            with self.subTest(name):
                function = getattr(F, name)

                class Net(nn.Module):
                    def __init__(self):
                        super().__init__()
                        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)

                    def forward(self, x):
                        return self.last(function(self.first(x)))  # noqa: B023

                found, _ = self.classify(Net(), torch.randn(9, 4))
                first = found.layers[0]
                self.assertEqual(first["activation"], word)
                self.assertAlmostEqual(first["activation_slope"], slope)
                self.assertEqual(seen_at(found, "first")["error_output"], "last.input")

    def test_weights_without_a_call(self):
        model = networks.FunctionalWeights()
        found, step = self.classify(model, torch.randn(9, 4))
        expected = [
            "first dense relu none 0",
            "middle dense linear none 1",
            "last dense linear none 0",
        ]
        self.check(found, model, step, expected, ["first"])
        self.assertEqual(len(found.unseen), 1)
        self.assertIn("without a call of their module", found.unseen[0])
        self.assertIn("middle", found.unseen[0])

    def test_checkpointed_parts(self):
        class Net(nn.Module):
            def __init__(self, reentrant):
                super().__init__()
                self.first, self.inside, self.last = (
                    nn.Linear(4, 8),
                    nn.Linear(8, 8),
                    nn.Linear(8, 3),
                )
                self.reentrant = reentrant

            def forward(self, x):
                x = F.relu(self.first(x))
                x = checkpoint(self.run, x, use_reentrant=self.reentrant)
                return self.last(x)

            def run(self, x):
                return F.relu(self.inside(x))

        found, _ = self.classify(Net(reentrant=False), torch.randn(9, 4))
        self.assertEqual(
            rows(found),
            ["first dense relu none 0", "inside dense relu none 0", "last dense linear none 0"],
        )
        found, _ = self.classify(Net(reentrant=True), torch.randn(9, 4))
        self.assertEqual(rows(found)[1], "inside dense linear none 1")
        self.assertEqual(  # its error signal comes when it is computed again
            seen_at(found, "inside"),
            {"activation": "inside.output", "error_output": "inside.output"},
        )
        self.assertIn("outside the graph", found.unseen[0])

    def test_no_call_was_seen(self):
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        discovery = structure.Discovery(model)
        found = structure.describe(
            discovery, model, torch.optim.SGD(model.parameters(), 0.1), objective="supervised"
        )
        self.assertEqual(rows(found), ["0 dense linear none 1", "2 dense linear none 1"])
        self.assertEqual(found.sites, [])
        self.assertEqual(len(found.parameters), 4)
        self.assertEqual([layer["output_shape"] for layer in found.layers], [(8, 1, 1), (3, 1, 1)])
        self.assertEqual(len(found.unseen), 1)
        self.assertIn("torch.compile", found.unseen[0])

    def test_no_loss_was_seen(self):
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        discovery = structure.Discovery(model)
        _, handles = hang(model, discovery)
        model(torch.randn(9, 4)).sum().backward()
        found = structure.describe(
            discovery, model, torch.optim.SGD(model.parameters(), 0.1), objective="supervised"
        )
        self.assertEqual(rows(found), ["0 dense relu none 0", "2 dense linear none 0"])
        self.assertIn("the loss was not seen", found.unseen[0])

    def test_an_evaluation_before_the_first_step(self):
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
        x, y = torch.randn(9, 4), torch.arange(9) % 3

        def step():
            model.eval()
            with torch.no_grad():
                model(torch.randn(5, 4))
            model.train()
            output = model(x)
            return self.classes(output, y), (output, y)

        found = discover(model, step, self.classes)
        self.assertEqual(rows(found), ["0 dense relu batch_norm 0", "3 dense linear none 0"])
        self.assertEqual(found.unseen, [])

    def test_names_without_what_wrappers_put_in(self):
        class Wrapper(nn.Module):
            def __init__(self, module):
                super().__init__()
                self.module = module

            def forward(self, x):
                return self.module(x)

        inner = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
        found, _ = self.classify(Wrapper(inner), torch.randn(9, 4))
        self.assertEqual([layer["name"] for layer in found.layers], ["0", "1"])
        self.assertEqual([name for name, *_ in found.parameters][0], "0.weight")
        found, _ = self.classify(nn.Linear(4, 3), torch.randn(9, 4))
        self.assertEqual([layer["name"] for layer in found.layers], ["Linear"])

    def test_normalised_weights_stay_one_layer(self):
        first = nn.utils.parametrizations.weight_norm(nn.Linear(4, 8))
        found, _ = self.classify(
            nn.Sequential(first, nn.ReLU(), nn.Linear(8, 3)), torch.randn(9, 4)
        )
        self.assertEqual(rows(found)[0], "0 dense relu none 0")
        self.assertEqual(len(parameters_of(found, "0")), 3)

    def test_two_optimisers_and_what_is_not_the_models(self):
        model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
        foreign = nn.Parameter(torch.zeros(2))
        optimizers = [
            torch.optim.SGD(model[0].parameters(), 0.1),
            torch.optim.Adam([*model[1].parameters(), foreign], 0.1),
        ]
        found, _ = self.classify(model, torch.randn(9, 4), optimizer=optimizers)
        self.assertEqual(len(found.parameters), 4)
        self.assertEqual(len(found.unseen), 1)
        self.assertIn("1 parameters that are not the model's", found.unseen[0])

    def test_an_objective_that_its_loss_does_not_tell(self):
        found, _ = self.classify(nn.Linear(4, 3), torch.randn(9, 4), objective="adversarial")
        self.assertIs(found.recipe["unsupervised"], True)
        found, _ = self.classify(nn.Linear(4, 3), torch.randn(9, 4))
        self.assertIs(found.recipe["unsupervised"], False)


class Effects(unittest.TestCase):
    """A discovery leaves nothing behind and changes nothing."""

    def test_no_tensor_and_no_node_is_held(self):
        torch.manual_seed(0)
        model = networks.ResNet()
        discovery = structure.Discovery(model)
        _, handles = hang(model, discovery)
        output = model(torch.randn(4, 3, 8, 8))
        loss = output.sum()
        watched = [weakref.ref(output), weakref.ref(loss)]
        discovery.loss_is(loss, None, ())
        for handle in handles:
            handle.remove()
        loss.backward()
        found = structure.describe(
            discovery, model, torch.optim.SGD(model.parameters(), 0.1), objective="supervised"
        )
        del output, loss
        gc.collect()
        self.assertEqual([ref() for ref in watched], [None, None])
        reachable, waiting = set(), [discovery, found]
        while waiting:
            thing = waiting.pop()
            if id(thing) in reachable or isinstance(thing, (type, nn.Module, str, int, float)):
                continue
            reachable.add(id(thing))
            self.assertNotIn("Backward", type(thing).__name__)
            if isinstance(thing, torch.Tensor):
                self.assertIsInstance(thing, nn.Parameter)
                continue
            if callable(thing):
                continue
            waiting += gc.get_referents(thing)

    def test_later_passes_are_heard_without_being_kept(self):
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        discovery = structure.Discovery(model)
        observed, _ = hang(model, discovery)
        for _ in range(3):  # micro-batches
            loss = model(torch.randn(5, 4)).sum()
            discovery.loss_is(loss, None, ())
            loss.backward()
        self.assertEqual(len(observed), 3 * len(set(site for site, _ in observed)))
        found = structure.describe(
            discovery, model, torch.optim.SGD(model.parameters(), 0.1), objective="supervised"
        )
        self.assertEqual(rows(found), ["0 dense relu none 0", "2 dense linear none 0"])

    def test_no_random_number_is_drawn_and_no_value_changed(self):
        torch.manual_seed(3)
        model = networks.Convolutional()
        x = torch.randn(9, 1, 14, 14)
        before = [p.detach().clone() for p in model.parameters()]
        state = torch.random.get_rng_state()
        discover(model, lambda: (model(x).sum(), ()))
        self.assertTrue(torch.equal(state, torch.random.get_rng_state()))
        for was, parameter in zip(before, model.parameters(), strict=True):
            self.assertTrue(torch.equal(was, parameter))

    def test_every_use_is_of_a_site_that_the_first_step_observed(self):
        torch.manual_seed(0)
        model = networks.ResNet()
        found = discover(model, lambda: (model(torch.randn(4, 3, 8, 8)).sum(), ()))
        observed = {site for site, _ in found.observed}
        self.assertLessEqual({use.site for use in found.sites}, observed)
        for layer in range(1, len(found.layers) + 1):
            roles = {use.role: use.what for use in found.sites if use.layer == layer}
            self.assertEqual(roles["activation"], structure.ACTIVATION | structure.SPREAD)
            self.assertEqual(roles["error_output"], structure.ERROR)


if __name__ == "__main__":
    unittest.main()
