# SPDX-License-Identifier: Apache-2.0
"""bench/diagnosis feeds a healthy run to all detectors, and none of them minds; the clock is not looked at."""

import json
import os
import pathlib
import subprocess
import sys
import unittest


class Cost(unittest.TestCase):
    def test_all_detectors_are_fed(self):
        for layers in (1, 3, 100):
            with self.subTest(layers):
                done = subprocess.run([os.environ["PROGRAM"], str(layers), "400", "2"],
                                      capture_output=True, text=True, timeout=120)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                rounds = [json.loads(line) for line in done.stdout.splitlines()]
                self.assertEqual([r["findings"] for r in rounds], [0, 0])
                self.assertGreater(rounds[0]["ns_a_step"], 0)

    def test_the_table(self):
        script = pathlib.Path(__file__).with_name("diagnosis.py")
        done = subprocess.run([sys.executable, script, os.environ["PROGRAM"], "--layers", "5", "100",
                               "--steps", "50", "--rounds", "2"], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout.splitlines()[-1], r"^\| 100 \| [\d.]+ \([\d.]+–[\d.]+\) \| 20 \|")

    def test_mistakes(self):
        done = subprocess.run([os.environ["PROGRAM"], "0", "5", "1"], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (2, "diagnosis: out of range\n"))


if __name__ == "__main__":
    unittest.main()
