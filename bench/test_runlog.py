# SPDX-License-Identifier: Apache-2.0
"""bench/runlog does what bench/runlog.py asks of it, without TensorBoard and without a look at the
clock."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

SIDES = ("ring", "direct", "frame")
LAYERS, STEPS = 5, 40


class Bench(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="backprobe-test-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def bench(self, *arguments, code=0):
        done = subprocess.run([os.environ["PROGRAM"], *map(str, arguments)], capture_output=True,
                              text=True, timeout=60)
        self.assertEqual(done.returncode, code, done.stderr)
        return json.loads(done.stdout) if code == 0 else done.stderr

    def test_what_is_written_is_loaded(self):
        sums = []
        for side in SIDES:
            with self.subTest(side):
                written = self.bench("write", side, self.folder / side, LAYERS, STEPS)
                loaded = self.bench("load", side, self.folder / side, 2)
                self.assertEqual(written["values"], 4 * LAYERS * STEPS)
                self.assertEqual(loaded["values"], written["values"])
                self.assertEqual(len(loaded["seconds"]), 2)
                self.assertGreater(loaded["peak_bytes"], 0)
                sums.append(loaded["sum"])
        for value in sums[:2]:  # a code of our log is at most 0.153% off, on average not at all
            self.assertAlmostEqual(value / sums[2], 1, delta=1e-4)

    def test_each_disk(self):
        for side in SIDES:
            for disk in ("quiet", "busy", "frozen"):
                with self.subTest(f"{side}, {disk}"):
                    folder = self.folder / f"{side}-{disk}"
                    times = self.bench("pace", side, folder, LAYERS, STEPS, 50, disk)
                    self.assertEqual(times["steps"], STEPS)
                    self.assertGreater(times["mean_us"], 0)
                    order = [times[key] for key in ("p50_us", "p99_us", "p999_us", "max_us")]
                    self.assertEqual(order, sorted(order))
                    self.assertFalse((folder / "busy").exists())
                    self.assertGreater(self.bench("load", side, folder, 1)["values"], 0)

    def test_refusals(self):
        self.assertIn("usage", self.bench("write", "paper", self.folder / "x", 1, 1, code=2))
        self.assertIn("usage", self.bench("write", "ring", self.folder / "x", 0, 1, code=2))
        self.assertIn("usage", self.bench("sing", "ring", self.folder / "x", 1, 1, code=2))
        self.assertIn("folder", self.bench("write", "ring", self.folder, 1, 1, code=1))
        self.assertIn("x", self.bench("load", "ring", self.folder / "x", 1, code=1))
        (self.folder / "frames").write_bytes(b"\x10\0\0\0" + 20 * b"\0")
        self.assertIn("damaged", self.bench("load", "frame", self.folder, 1, code=1))


if __name__ == "__main__":
    unittest.main()
