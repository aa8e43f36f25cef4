# SPDX-License-Identifier: Apache-2.0
"""`backprobe train`: what it prints, what it leaves, how it ends."""

import json
import resource
import unittest

from support import EXPLODING, HEALTHY, VANISHING, CommandTest, without_numbers

RUN_FILES = ["checkpoints", "findings.json", "log-000001.bplog", "network.yaml", "weights.safetensors"]


class Healthy(CommandTest):
    def setUp(self):
        super().setUp()
        self.write("net.yaml", HEALTHY)

    def test_output(self):
        result = self.command("train", "net.yaml")
        self.assertEqual(result.stderr, "")
        self.assert_expected("train-healthy.txt", without_numbers(result.stdout))
        self.assertEqual(self.files("runs/net-1"), RUN_FILES)
        self.assertEqual((self.folder / "runs/net-1/network.yaml").read_text(), HEALTHY)

    def test_same_seed_same_bits(self):
        self.command("train", "net.yaml", "--quiet")
        self.command("train", "net.yaml", "--quiet")
        self.command("train", "net.yaml", "--quiet", "--seed", "7")
        self.command("train", "net.yaml", "--quiet", "--no-watch")
        weights = [(self.folder / f"runs/net-{n}/weights.safetensors").read_bytes()
                   for n in (1, 2, 3, 4)]
        self.assertEqual(weights[0], weights[1])
        self.assertNotEqual(weights[0], weights[2])
        self.assertEqual(weights[0], weights[3], "a watch changed what it watched")
        self.assertEqual(self.files("runs/net-4"), ["checkpoints", "network.yaml", "weights.safetensors"])

    def test_quiet(self):
        result = self.command("train", "net.yaml", "--quiet")
        self.assertEqual(result.stdout + result.stderr, "")

    def test_overrides(self):
        self.command("train", "net.yaml", "-q", "--set", "train.learning_rate=0.01", "-s",
                     "init=xavier", "--epochs", "1", "--seed", "5", "--run", "a/b/c")
        used = (self.folder / "a/b/c/network.yaml").read_text()
        self.assertIn("init: xavier\n", used)
        self.assertIn("learning_rate: 0.01", used)
        self.assertIn("epochs: 1", used)
        self.assertIn("seed: 5", used)
        self.assertIn("# small", used, "an edit lost a comment")
        self.assertEqual((self.folder / "net.yaml").read_text(), HEALTHY)

    def test_start_from_weights(self):
        self.command("train", "net.yaml", "-q", "--run", "first")
        events = self.events("train", "net.yaml", "--json", "--weights",
                             "first/weights.safetensors", "--run", "second")
        fresh = self.events("train", "net.yaml", "--json", "--run", "third")
        self.assertLess(events[1]["loss"], 0.8 * fresh[1]["loss"])

    def events(self, *arguments, code=0):
        return [json.loads(line) for line in
                self.command(*arguments, code=code).stdout.splitlines()]

    def test_events(self):
        events = self.events("train", "net.yaml", "--json")
        self.assertEqual([e["event"] for e in events if e["event"] != "checkpoint"],
                         ["start"] + ["epoch"] * 3 + ["end"])
        self.assertEqual(events[0]["schema"], "backprobe.events/1")
        self.assertEqual(events[0]["run"], "runs/net-1")
        self.assertEqual(events[-1]["end"], "finished")
        self.assertEqual(events[-1]["steps"], 3 * events[0]["epoch_steps"])
        self.assertEqual(events[-1]["findings"], 0)
        self.assertGreater(events[-1]["test_accuracy"], 0.5)


class Sick(CommandTest):
    def test_vanishing(self):
        self.write("deep.yaml", VANISHING)
        result = self.command("train", "deep.yaml", code=1)
        self.assertIn("error[vanishing-gradient]: layers 1", result.stdout)
        self.assertIn("-net: [16 x dense 16 sigmoid, dense 10]", result.stdout)
        self.assertIn("+net: [16 x dense 16 tanh, dense 10]", result.stdout)
        self.assertIn("  see        backprobe check runs/deep-1\n", result.stdout)
        self.assertEqual(result.stderr, "")

    def test_exploding_stops(self):
        self.write("big.yaml", EXPLODING)
        result = self.command("train", "big.yaml", code=1)
        self.assertRegex(result.stdout, r"(?m)^stopped after 2\d steps, .* samples/s: loss and "
                                        r"parameters are no longer finite since step \d+$")
        self.assertNotIn("--resume", result.stdout)
        self.assertEqual(self.files("runs/big-1/checkpoints"), [])
        self.assertEqual(self.files("runs/big-1"), RUN_FILES)
        document = json.loads((self.folder / "runs/big-1/findings.json").read_text())
        self.assertEqual(document["end"], "stopped")

    def test_quiet_prints_findings(self):
        self.write("big.yaml", EXPLODING)
        result = self.command("train", "big.yaml", "--quiet", code=1)
        self.assertTrue(result.stdout.startswith("error["))
        self.assertNotIn("epoch", result.stdout)

    def test_unwatched_and_stopped(self):
        self.write("big.yaml", EXPLODING)
        result = self.command("train", "big.yaml", "--no-watch", code=1)
        self.assertIn("stopped after", result.stdout)
        self.assertNotIn("error[", result.stdout)


class Disk(CommandTest):
    """A limit on the size of files; full disks are in tests/torture."""

    def test_log_of_small_files(self):
        self.write("net.yaml", HEALTHY)

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384))

        result = self.command("train", "net.yaml", "--every", "1", preexec_fn=limit)
        self.assertIn("trained after", result.stdout)
        self.assertEqual(result.stderr, "")
        logs = [name for name in self.files("runs/net-1") if name.endswith(".bplog")]
        self.assertGreater(len(logs), 2)
        checked = self.command("check", "runs/net-1")
        self.assertIn("no findings · 120 steps", checked.stdout)
        self.assertEqual(checked.stderr, "")

    def test_nothing_fits(self):
        self.write("net.yaml", HEALTHY)

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))

        for more in ([], ["--run", "here"]):
            result = self.command("train", "net.yaml", *more, code=2, preexec_fn=limit)
            self.assertEqual(result.stdout, "")
            self.assertIn("network.yaml", result.stderr)
            self.assertIn("File too large", result.stderr)
            self.assertEqual(self.files(), ["net.yaml"])

    def test_log_cannot_begin(self):
        self.write("net.yaml", HEALTHY)

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))

        result = self.command("train", "net.yaml", code=2, preexec_fn=limit)
        self.assertIn(".bplog", result.stderr)
        self.assertEqual(self.files(), ["net.yaml"])

    def test_weights_do_not_fit(self):
        self.write("net.yaml", HEALTHY.replace("dense 16", "dense 256"))

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))

        result = self.command("train", "net.yaml", "--epochs", "1", code=2, preexec_fn=limit)
        self.assertIn("weights.safetensors", result.stderr)
        self.assertIn("File too large", result.stderr)
        left = self.files("runs/net-1")
        self.assertFalse([name for name in left if "weights" in name or "tmp" in name], left)


if __name__ == "__main__":
    unittest.main()
