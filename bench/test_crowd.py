# SPDX-License-Identifier: Apache-2.0
"""bench/crowd.py at its full size, for a short time and without a look at the clock: everybody new is
answered, every stream hears of the training, and the training is not disturbed by a bit."""

import json
import os
import pathlib
import subprocess
import sys
import unittest

SCRIPT = pathlib.Path(__file__).with_name("crowd.py")


class Crowd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        done = subprocess.run([sys.executable, SCRIPT, os.environ["BACKPROBE"], "--epochs", "120", "--asks", "15"],
                              capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stdout + done.stderr
        cls.lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def only(self, key):
        (line,) = [line for line in self.lines if key in line]
        return line

    def test_a_new_client_is_served(self):
        times = [line for line in self.lines if "client" in line]
        self.assertEqual([line["client"] for line in times], ["alone"] * 3 + ["in the crowd"] * 3)
        for line in times:
            self.assertGreater(line["n"], 0, line)

    def test_the_crowd_was_there_and_heard_of_the_training(self):
        line = self.only("streams_that_heard")
        self.assertEqual(line["streams_that_heard"], line["streams"], line)
        self.assertGreaterEqual(line["connected"] + line["dropped"], 0.9 * line["wanted"], line)

    def test_the_training_is_the_same_bit_for_bit(self):
        line = self.only("alone_s")
        self.assertTrue(line["log_is_the_same"], line)
        self.assertTrue(line["weights_are_the_same"], line)


if __name__ == "__main__":
    unittest.main()
