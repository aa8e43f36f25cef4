# SPDX-License-Identifier: Apache-2.0
"""bench/watch.py does what it says, without a look at the clock and without the rivals that ./check
does not install."""

import importlib.util
import json
import math
import pathlib
import subprocess
import sys
import unittest

SCRIPT = pathlib.Path(__file__).with_name("watch.py")
RIVALS = ["empty forward hooks", "empty full-backward hooks", "p.grad.norm().item(), each",
          "torch._foreach_norm", "torch detect_anomaly"]


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, "--quick", *arguments], capture_output=True, text=True,
                          timeout=300)


def bench():
    spec = importlib.util.spec_from_file_location("bench_watch", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Watch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        done = run("--networks", "mlp-64-sgd", "resnet", "gpt", "--rivals", *RIVALS, "--rival-networks",
                   "mlp-64-adam")
        assert done.returncode == 0, done.stderr
        cls.lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        cls.text = done.stdout

    def of(self, bench):
        return [line for line in self.lines if line["bench"] == bench]

    def test_the_watch_on_each_network(self):
        self.assertEqual([line["samples"] for line in self.of("watch")], [64, 32, 1024])
        for line in self.of("watch"):
            with self.subTest(line["network"]):
                cost = line["cost_fraction"]
                self.assertLessEqual(cost["min"], cost["median"])
                self.assertLessEqual(cost["median"], cost["max"])
                self.assertTrue(0 <= line["full_steps_fraction"] <= 1)
                self.assertTrue(math.isfinite(line["told_cost_fraction"]))
                self.assertGreater(line["whole_seconds"], line["counted_seconds"])

    def test_each_rival(self):
        self.assertEqual([line["side"] for line in self.of("watch-rival")], RIVALS)

    def test_light_and_full_steps_are_what_they_are_called(self):
        lines = self.of("watch-overhead")
        self.assertEqual([line["optimiser"] for line in lines], ["sgd", "adam"])
        for line in lines:
            self.assertEqual(line["full_steps_fraction"], [0, 1])

    def test_tables(self):
        for row in ("| GPT, 4 layers, d = 256, 8×128, Adam | 1024 |", "| torch detect_anomaly |",
                    "| 32 × dense 8, tanh, adam |"):
            self.assertIn(row, self.text)


class Parts(unittest.TestCase):
    def test_twins_are_equal_and_apart(self):
        module = bench()
        make = module.twins_of("mlp-64-adam")
        one, other = make(), make()
        one.train(3)
        other.train(2)
        other.train(1)
        for mine, yours in zip(one.model.parameters(), other.model.parameters()):
            self.assertIsNot(mine, yours)
            self.assertEqual(mine.tolist(), yours.tolist())

    def test_costs_are_those_of_a_round(self):
        module = bench()
        sides = {"plain": iter([2.0, 4.0, 1.0]).__next__, "watch": iter([3.0, 5.0, 1.0]).__next__}
        rounds = module.Rounds({name: lambda _, turn=turn: turn() for name, turn in sides.items()}, 1)
        for _ in range(3):
            rounds.play()
        self.assertEqual(rounds.costs("watch"), [0.5, 0.25, 0.0])
        self.assertEqual(rounds.costs("watch", 1), [0.25, 0.0])
        self.assertAlmostEqual(rounds.mean_cost("watch"), 2 / 7)

    def test_the_interval_of_a_median(self):
        spread = bench().spread(list(range(100)))
        self.assertEqual((spread["low"], spread["median"], spread["high"]), (40, 49.5, 60))

    def test_refusals(self):
        self.assertEqual(run("--networks", "no-such").returncode, 2)


if __name__ == "__main__":
    unittest.main()
