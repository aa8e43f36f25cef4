# SPDX-License-Identifier: Apache-2.0
"""bench/stats does what bench/stats.py asks of it, without PyTorch and without a look at the clock."""

import os
import re
import pathlib
import subprocess
import unittest


def run(*arguments, turns=""):
    return subprocess.run([os.environ["PROGRAM"], *arguments], input=turns, capture_output=True,
                          text=True, timeout=60)


class Turns(unittest.TestCase):
    def test_everything_that_the_bench_asks_for(self):
        text = (pathlib.Path(__file__).parent / "stats.py").read_text(encoding="utf-8")
        ours = re.findall(r'"([^"]+)"', re.search(r"OURS = \[(.*?)\]", text, re.DOTALL)[1])
        self.assertGreater(len(ours), 8)
        for n in ("1", "100", "5000"):
            with self.subTest(n):
                done = run(n, turns="".join(f"{what} 2\n" for what in [*ours, "many"]))
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                times = [float(line) for line in done.stdout.splitlines()]
                self.assertEqual([time > 0 for time in times], (len(ours) + 1) * [True])

    def test_levels(self):
        self.assertEqual(run("10", "scalar", turns="level 1\n").stdout, "scalar\n")
        self.assertIn(run("10", turns="level 1\n").stdout.strip(),
                      ("scalar", "avx2", "avx512", "neon"))

    def test_refusals(self):
        self.assertEqual(run("0").returncode, 2)
        self.assertEqual(run("10", "mmx").returncode, 2)
        self.assertEqual(run("10", turns="f8 3\n").returncode, 2)


if __name__ == "__main__":
    unittest.main()
