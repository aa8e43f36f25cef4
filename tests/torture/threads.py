# SPDX-License-Identifier: Apache-2.0
"""Several watched runs in one process, each in a thread of its own, next to one another: each trains
as alone and leaves a complete log. HOST is the path of the built tests/torture/host.c."""

import json
import pathlib
import subprocess
import tempfile
import unittest

from support import HOST

THREADS, STEPS = 4, 300


def host(what, folder, *options):
    done = subprocess.run([HOST, what, folder, *options], text=True, capture_output=True, timeout=120,
                          check=False)
    return done.returncode, done.stdout, done.stderr


class Threads(unittest.TestCase):
    def together(self, *options):
        with tempfile.TemporaryDirectory(prefix="backprobe-threads-") as name:
            folder = pathlib.Path(name)
            options = (f"steps={STEPS}", "pace_us=100", *options)
            together = host("train", folder, f"threads={THREADS}", *options)
            self.assertEqual((together[0], together[2]), (0, ""))
            alone = ""
            for i in range(THREADS):
                code, output, _ = host("look", folder / str(i + 1), f"seed={i + 1}")
                self.assertEqual(code, 0)
                log = json.loads(output)
                self.assertEqual((log["steps"], log["missing"], log["wrong"], log["lost"],
                                  log["places"], log["end"]), (STEPS, 0, 0, 0, 0, 1))
                (folder / f"alone-{i}").mkdir()
                alone += host("train", folder / f"alone-{i}", f"seed={i + 1}", *options)[1]
            self.assertEqual(together[1], alone)

    def test_watched(self):
        self.together()

    def test_written_in_many_segments(self):
        self.together("writer=1", "segment_bytes=3000")


if __name__ == "__main__":
    unittest.main()
