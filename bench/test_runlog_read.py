# SPDX-License-Identifier: Apache-2.0
"""bench/runlog_read does what its head says, without a look at the clock."""

import json
import os
import subprocess
import tempfile
import unittest


def run(mode, *arguments):
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run([os.environ["PROGRAM"], mode, folder, *map(str, arguments)],
                              capture_output=True, text=True, timeout=60)


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


class Reading(unittest.TestCase):
    def test_loading(self):
        done = run("load", 5, 1500, 2, 3)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual([line["values"] for line in lines(done)], 3 * [15000])

    def test_views(self):
        done = run("view", 3, 5000, 100, 2)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for line in lines(done):
            self.assertTrue(75 <= line["columns"] <= 100 and 75 <= line["tenth_columns"] <= 100)

    def test_refusals(self):
        self.assertEqual(run("sing").returncode, 2)
        self.assertEqual(run("load", 5, 10, 9).returncode, 2)


if __name__ == "__main__":
    unittest.main()
