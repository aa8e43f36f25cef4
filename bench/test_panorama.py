# SPDX-License-Identifier: Apache-2.0
"""bench/panorama writes what its head says, and the bad step is in every tile; without a look at the clock."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest


class Panorama(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.run_folder = pathlib.Path(temporary.name)

    def panorama(self, *words, code=0):
        done = subprocess.run([os.environ["PROGRAM"], *map(str, words)], capture_output=True, text=True, timeout=120,
                              check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def look(self, bad_step, *series):
        """Lines about the tiles of a run whose bad step is in layer 14."""
        lines = self.panorama("look", self.run_folder, bad_step, 14, 200, 2, *series)
        zooms = [line for line in lines if line["look"] == "zoom"]
        self.assertGreater(len(zooms), 8)
        for line in zooms:
            self.assertTrue(line["bad_step"], line)
        return [line for line in lines if line["look"] == "whole"]

    def test_a_run(self):
        self.panorama("write", self.run_folder, 20, 5000, 10, 3210, 14)
        whole = self.look(3210, "gradient_rms", "gain", "dead_fraction", "loss")
        self.assertEqual([line["rows"] for line in whole], [21, 21, 21, 21, 21, 21, 1, 1])
        self.assertEqual({line["steps"] for line in whole}, {4991, 5000})
        self.assertTrue(all(line["kept"] and line["bytes"] > 0 for line in whole))

    def test_every_step(self):
        self.panorama("dense", self.run_folder, 20, 3000, 1234, 14)
        self.assertEqual(self.look(1234, "gradient_rms")[0]["steps"], 3000)

    def test_a_step_that_is_not_bad_is_not_seen(self):
        self.panorama("write", self.run_folder, 20, 2000, 10, 9000, 0)
        lines = self.panorama("look", self.run_folder, 1000, 14, 100, 1, "gradient_rms")
        self.assertFalse(any(line["bad_step"] for line in lines if line["look"] == "zoom"))

    def test_refusals(self):
        self.panorama("sing", code=2)
        self.panorama("write", self.run_folder, 5, 10, 0, 1, 1, code=2)
        self.panorama("write", self.run_folder, 5, "x", 1, 1, 1, code=2)


if __name__ == "__main__":
    unittest.main()
