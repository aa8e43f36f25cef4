# SPDX-License-Identifier: Apache-2.0
"""backprobe predict: theory beside a batch, verdict, exit codes, JSON."""

import json
import re
import unittest

from support import EXPLODING, HEALTHY, VANISHING, CommandTest, without_numbers


class PredictTest(CommandTest):
    def predict(self, text, *arguments, code=0):
        self.write("net.yaml", text)
        return self.command("predict", "net.yaml", *arguments, code=code)

    def prediction(self, text, *arguments, code=0):
        return json.loads(self.predict(text, "--json", *arguments, code=code).stdout)

    def test_a_vanishing_network(self):
        result = self.predict(VANISHING, "--seeds", "3", code=1)
        self.assertEqual(result.stderr, "")
        self.assert_expected("predict-vanishing.txt", re.sub("[ █▏▎▍▌▋▊▉]+", " ", without_numbers(result.stdout)))
        self.assertEqual(self.files(), ["net.yaml"])

    def test_a_healthy_one_and_an_exploding_one(self):
        self.assertIn("net.yaml: fine: ", self.predict(HEALTHY).stdout)
        told = self.prediction(EXPLODING, code=1)
        self.assertEqual(told["problem"], "exploding-gradient")
        self.assertEqual(told["remedy"], "use He initialisation")
        self.assertAlmostEqual(told["layers"][4]["gain"], 3, delta=0.01)

    def test_theory_and_batch_agree(self):
        told = self.prediction(VANISHING.replace("dense 16", "dense 64"), "--seeds", "5", code=1)
        self.assertEqual(told["schema"], "backprobe.prediction/1")
        self.assertEqual((told["seeds"], told["samples"]), (5, 32))
        hidden = told["layers"][1:-1]
        self.assertEqual(len(hidden), 15)
        for layer in hidden:
            self.assertLess(abs(layer["gain"] / layer["measured_gain"] - 1), 0.1, layer)
            self.assertGreater(layer["standard_error"], 0)  # no two seeds are alike
        mean = sum(layer["gain"] / layer["measured_gain"] for layer in hidden) / len(hidden)
        self.assertAlmostEqual(mean, 1, delta=0.03)

    def test_without_a_batch(self):
        told = self.prediction(VANISHING, "--no-measure", code=1)
        self.assertEqual((told["seeds"], told["samples"], told["loss"]), (0, 0, None))
        self.assertNotIn("measured_gain", told["layers"][2])
        text = "version: 1\ndata: {format: csv, path: none.csv, targets: y}\nnet: [9 x dense 64 tanh, dense 1]\n"
        self.write("net.yaml", text)
        failed = self.command("predict", "net.yaml", code=2)
        self.assertIn("none.csv", failed.stderr)
        shown = self.command("predict", "net.yaml", "--input", "20", code=0).stdout
        self.assertIn("no data were read", shown)
        self.fails("predict", "net.yaml", "--input", "3x", message="--input: expected 64 or 3x32x32, got '3x'")

    def test_what_theory_does_not_reach_is_said(self):
        text = "version: 1\ndata: {name: adding, samples: 200, steps: 8}\nnet: [lstm 8, dense 1]\nloss: mse\n"
        told = self.prediction(text, code=0)  # the batch says it
        self.assertIn("recurrent", told["not_predicted"])
        self.assertIsNone(told["layers"][0]["gain"])
        self.assertEqual(told["verdict_by"], "batch")
        self.assertRegex(told["verdict"], "^as measured, the error signal keeps within x")
        self.assertEqual(self.prediction(text, "--no-measure", code=2)["verdict_by"], "nothing")
        text = HEALTHY.replace("init: he", "init: {constant: 0.1}")
        self.assertIn("all its units are one", self.prediction(text, "--no-measure", code=2)["not_predicted"])

    def test_one_layer_is_blamed(self):
        text = HEALTHY.replace("2 x dense 16 relu", "4 x dense 32 relu, {dense: 32, init: {normal: 1e-6}}, 4 x dense 32 relu")
        text = text.replace("[", "\n  - ").replace("]", "").replace(", 4", "\n  - 4").replace(", {dense: 32", "\n  - {dense: 32").replace(", dense 10", "\n  - dense 10")
        told = self.prediction(text, code=1)
        self.assertEqual(told["blamed_layer"], 5, told["verdict"])
        self.assertEqual(told["edits"], [{"key": "net[1].init", "value": "xavier"}])

    def test_overrides_and_mistakes(self):
        self.write("net.yaml", VANISHING)
        told = self.command("predict", "net.yaml", "--set", "init=he", "--set", "net[0].activation=relu", code=0)
        self.assertIn("fine", told.stdout)
        self.fails("predict", "net.yaml", "--set", "init", message="--set: expected KEY=VALUE, got 'init'")
        self.fails("predict", "none.yaml", message="cannot open none.yaml: No such file or directory")


if __name__ == "__main__":
    unittest.main()
