# SPDX-License-Identifier: Apache-2.0
"""bench/predict.py makes its tables of a few networks, and theory is near on them."""

import os
import pathlib
import subprocess
import sys
import unittest


class Prediction(unittest.TestCase):
    def test_a_few_networks(self):
        script = pathlib.Path(__file__).with_name("predict.py")
        done = subprocess.run([sys.executable, script, os.environ["BACKPROBE"], "--quick"],
                              capture_output=True, text=True, timeout=240)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        rows = {}
        for line in done.stdout.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if len(cells) > 3 and cells[1].isdigit():
                rows.setdefault(cells[0], []).append(cells)
        plain, blocks = rows["all"]
        self.assertEqual(int(plain[1]), 3 * 5 * 20)
        self.assertGreater(float(plain[2].rstrip("%")), 85)  # 5 seeds leave 12% outside of 2 s.e.
        self.assertLess(abs(float(plain[5].rstrip("%"))), 1)
        self.assertEqual(blocks[2], "100.0%")


if __name__ == "__main__":
    unittest.main()
