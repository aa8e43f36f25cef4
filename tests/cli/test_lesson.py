# SPDX-License-Identifier: Apache-2.0
"""`backprobe demo lesson`: its numbers are worked out here a second time, in float32 by struct."""

import os
import pathlib
import pty
import re
import select
import struct
import subprocess
import time
import unittest

from support import COMMAND, CommandTest, without_numbers

TITLES = ["The chain rule multiplies", "An update that changes nothing", "From large to NaN",
          "Weights decide which", "Which gradient does a model suffer from?", "Learnt by heart"]
DOCUMENT = pathlib.Path(os.environ["SOURCE_ROOT"]) / "docs/lesson.md"


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def half_unit(value):
    """Half of the distance to the next float32 above."""
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    return (struct.unpack("<f", struct.pack("<I", bits + 1))[0] - f32(value)) / 2


class Lesson(CommandTest):
    def page(self, number):
        return self.command("demo", "lesson", "--page", str(number)).stdout

    def test_transcript(self):
        result = self.command("demo", "lesson")
        self.assertEqual(result.stderr, "")
        self.assertNotIn("\x1b", result.stdout)
        self.assertNotIn("Enter", result.stdout, "paused without a terminal")
        for number, title in enumerate(TITLES, 1):
            self.assertIn(f"{number}/{len(TITLES)}  {title}\n", result.stdout)
        for line in result.stdout.splitlines():
            self.assertLessEqual(len(line), 80, line)
        self.assertEqual(self.files("."), [], "it left something behind")
        again = self.command("demo", "lesson", "--no-pause").stdout
        self.assertEqual(result.stdout, again, "not the same numbers each time")

    def test_document_is_current(self):
        """docs/lesson.md holds the transcript; numbers may differ by another machine's rounding."""
        told = re.search(r"```text\n(.*)```\n", DOCUMENT.read_text(), re.S).group(1)
        found = self.command("demo", "lesson").stdout
        plain = [re.sub(r"[\s█▏▎▍▌▋▊▉·o]+", " ", without_numbers(text)) for text in (told, found)]
        self.assertEqual(plain[0].split("Learnt by heart")[0], plain[1].split("Learnt by heart")[0])

    def test_factors(self):
        rows = re.findall(r"^ +(\d+) +(\S+) +(\S+) .*? (\d+) +(\d+) +[█▏▎▍▌▋▊▉ ]*$", self.page(1),
                          re.M)
        self.assertEqual([int(row[0]) for row in rows], list(range(11, 0, -1)))
        for layer, small, small_law, large, large_law in rows:
            k = 11 - int(layer)
            factor = 1.0
            for _ in range(k):
                factor = f32(factor * f32(0.1))
            self.assertAlmostEqual(float(small) / factor, 1, places=2)
            self.assertAlmostEqual(float(small_law) / 0.1**k, 1, places=9)
            self.assertEqual(int(large), 2**k)
            self.assertEqual(int(large_law), 2**k)

    def test_update(self):
        text = self.page(2)
        rows = re.findall(r"^ +(\d+) +(\S+) +(\S+) +(\S+) +(\S+)  (the same|moved)$", text, re.M)
        self.assertEqual(len(rows), 7)
        for layer, old, step, half, new, verdict in rows:
            self.assertAlmostEqual(float(half) / half_unit(0.1), 1, places=2)
            moved = f32(f32(0.1) - f32(float(step)))
            self.assertAlmostEqual(float(new), moved, delta=2e-9)
            self.assertEqual(verdict == "the same", float(step) < half_unit(0.1), layer)
            self.assertEqual(verdict == "the same", old == new)
        self.assertEqual({row[5] for row in rows}, {"the same", "moved"})
        still, of = map(int, re.search(r"(\d+) of (\d+) weights are bit for bit", text).groups())
        self.assertEqual(of, 11)
        self.assertEqual(still, sum(0.1 * 0.1**k < half_unit(0.1) for k in range(11)))

    def test_overflow(self):
        text = self.page(3)
        rows = re.findall(r"^ +(\d+) +(\S+) +(\S+) +(\S+) +(\d+) of 11$", text, re.M)
        self.assertEqual(float(rows[0][1]), 0.25)
        self.assertAlmostEqual(float(rows[0][2]), 2**10, delta=5)
        self.assertEqual(rows[-1][3], "NaN")
        self.assertEqual(int(rows[-1][4]), 11)
        step = int(re.search(r"After the update of\s+step (\d+)", text).group(1))
        self.assertEqual(step, int(rows[-1][0]))
        deep = list(map(int, re.search(r"a chain of\s+(\d+) .*?with (\d+)\s+it is", text,
                                       re.S).groups()))
        # 2^(n - 1) of n layers: the largest float32 is just below 2^128
        self.assertEqual(deep, [128, 129])

    def test_scales(self):
        text = self.page(4)
        rows = re.findall(r"^ +(\S+)   [█▏▎▍▌▋▊▉ ]+ (0\.\d+|NaN)", text, re.M)
        scores = {float(scale): 0 if score == "NaN" else float(score) for scale, score in rows}
        self.assertEqual(len(scores), 11)
        best = max(scores, key=scores.get)
        self.assertTrue(0.7 <= best <= 1.3, best)
        self.assertGreater(scores[best], 0.75)
        self.assertLess(scores[min(scores)], 0.2)
        self.assertEqual(scores[max(scores)], 0)
        errors = re.findall(r"^ +\d+ +(\S+)[█▏▎▍▌▋▊▉ ]+(\d\S+)[█▏▎▍▌▋▊▉ ]+(\d\S+)", text, re.M)
        first, last = errors[0], errors[-1]
        self.assertLess(float(first[0]) / float(last[0]), 1e-4, "weights too small: it vanishes")
        self.assertTrue(0.1 < float(first[1]) / float(last[1]) < 10)
        self.assertGreater(float(first[2]) / float(last[2]), 1e3, "weights too large: it explodes")

    def test_table(self):
        text = self.page(5)
        self.assertEqual(len(re.findall("●", text)) >= 5, True, text)
        self.assertIn("do not learn", text)
        self.assertIn("parameters are not finite", text)

    def test_overfitting(self):
        text = " ".join(self.page(6).split())
        low, epoch, best, end = re.search(
            r"falls to (\S+)\. .*? after epoch (\d+), at (\S+), and is up at (\S+) at the end",
            text).groups()
        self.assertLess(float(low), 0.01)
        self.assertLess(int(epoch), 40)
        self.assertGreater(float(end), 1.2 * float(best))

    def test_wrong_words(self):
        self.assertIn("did you mean 'lesson'", self.command("demo", "leson", code=2).stderr)
        self.command("demo", "lesson", "--page", "7", code=2)


class Pauses(unittest.TestCase):
    def read_until(self, file, wanted, text=""):
        end = time.monotonic() + 60
        while wanted not in text and time.monotonic() < end:
            if select.select([file], [], [], 1)[0]:
                try:
                    text += os.read(file, 65536).decode(errors="replace")
                except OSError:
                    break
        self.assertIn(wanted, text)
        return text

    def test_enter_and_q(self):
        ours, theirs = pty.openpty()
        process = subprocess.Popen([COMMAND, "demo", "lesson"], stdin=theirs, stdout=theirs,
                                   stderr=theirs, env={**os.environ, "NO_COLOR": "1"})
        os.close(theirs)
        first = self.read_until(ours, "q leaves")
        self.assertIn(TITLES[0], first)
        self.assertNotIn(TITLES[1], first)
        os.write(ours, b"\n")
        self.assertIn(TITLES[1], self.read_until(ours, "q leaves"))
        os.write(ours, b"q\n")
        self.assertEqual(process.wait(60), 0)
        os.close(ours)


if __name__ == "__main__":
    unittest.main()
