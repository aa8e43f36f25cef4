# SPDX-License-Identifier: Apache-2.0
"""bench/train does what bench/train.py asks of it, without PyTorch and without a look at the clock."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest


def run(network, turns, every="1"):
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run([os.environ["PROGRAM"], network, folder, every], input=turns,
                              capture_output=True, text=True, timeout=60)


class Turns(unittest.TestCase):
    def test_each_network_takes_turns(self):
        for network in ("mlp", "small", "deep", "lenet"):
            with self.subTest(network):
                done = run(network, "plain 2\nwatched 2\nplain 1\n")
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertEqual([float(line) > 0 for line in done.stdout.splitlines()], 3 * [True])

    def test_what_a_core_can_do(self):
        done = run("small", "fma 0.001\nsgemm 0.001\n")
        fma, sgemm = map(float, done.stdout.splitlines())
        self.assertTrue(fma == 0 or fma > 1e8)  # 0: none known for this CPU
        self.assertGreater(sgemm, 1e6)

    def test_what_the_watch_tells(self):
        done = run("small", "watched 50\nfull 0\ntold 0\n", every="10")
        _, full, told = map(float, done.stdout.splitlines())
        self.assertEqual(full, 5)
        self.assertGreater(told, 0)

    def test_the_cost_of_watching_as_a_table(self):
        script = pathlib.Path(__file__).with_name("train.py")
        done = subprocess.run([sys.executable, script, os.environ["PROGRAM"], "--watch", "--rounds", "2",
                               "--seconds", "0.01", "--warm", "0.02", "--networks", "small", "mlp"],
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        self.assertEqual([(r["bench"], r["batch"]) for r in results], [("watch", 16), ("watch", 64)])
        self.assertIn("| 784-256-256-10 | 64 |", done.stdout)

    def test_refusals(self):
        self.assertEqual(run("large", "").returncode, 2)
        self.assertEqual(run("small", "", every="-1").returncode, 2)
        self.assertEqual(run("small", "sing 3\n").returncode, 2)


if __name__ == "__main__":
    unittest.main()
