# SPDX-License-Identifier: Apache-2.0
"""bench/units says what it promises, without a look at the clock."""

import json
import os
import subprocess
import unittest


def run(*words):
    return subprocess.run([os.environ["PROGRAM"], *words], capture_output=True, text=True, timeout=60)


class Units(unittest.TestCase):
    def test_a_line_a_result_and_a_table(self):
        done = run("1", "0.01")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        whats = {line["what"] for line in lines}
        self.assertEqual(whats, {"summary", "units", "channels", "update", "panel"})
        self.assertTrue(all(line["ratio"]["median"] > 0 for line in lines))
        self.assertIn("| 64 × 256 |", done.stdout)

    def test_refusals(self):
        self.assertEqual(run().returncode, 2)
        self.assertEqual(run("0", "1").returncode, 2)
        self.assertEqual(run("1", "x").returncode, 2)


if __name__ == "__main__":
    unittest.main()
