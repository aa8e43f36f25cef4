# SPDX-License-Identifier: Apache-2.0
"""bench/train does what bench/train.py asks of it, without PyTorch and without a look at the clock."""

import os
import subprocess
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

    def test_refusals(self):
        self.assertEqual(run("large", "").returncode, 2)
        self.assertEqual(run("small", "", every="0").returncode, 2)
        self.assertEqual(run("small", "sing 3\n").returncode, 2)


if __name__ == "__main__":
    unittest.main()
