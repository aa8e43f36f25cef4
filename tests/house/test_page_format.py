# SPDX-License-Identifier: Apache-2.0
"""docs/page.md's reader of tiles reads the tiles that src/report/tile.c writes."""

import math
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# As tests/report/test_tile.c fills them: cell 3 c + r.
FIRST = {"mean": 2000, "min": 1000, "max": 3000}
SPECIAL = {4: (None, None, None), 5: (math.nan, math.nan, math.nan), 6: (0.5, 0.0, 1.0)}
FLAGS = {5: 1, 6: 3}


def reader():
    [program] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/page.md").read_text(), re.S)
    names: dict = {}
    exec(compile(program, "docs/page.md", "exec"), names)  # noqa: S102: our own document
    return names


class Tiles(unittest.TestCase):
    def assert_same(self, found, expected):
        if expected is None:
            self.assertIsNone(found)
        elif math.isnan(expected):
            self.assertTrue(math.isnan(found))
        else:
            self.assertAlmostEqual(found, expected, delta=1e-12 * abs(expected))

    def test_both_codecs(self):
        names = reader()
        for codec in ("log16", "f64"):
            data = bytes.fromhex((ROOT / f"tests/report/tile-{codec}.hex").read_text())
            tile = names["read_tile"](data)
            self.assertEqual((tile["last_step"], tile["first_octave"]), (47, -3))
            self.assertEqual(tile["starts"], (8, 16, 24, 40, 48, 2**50))
            for cell in range(15):
                column, row = divmod(cell, 3)
                self.assertEqual(tile["flags"][row][column], FLAGS.get(cell, 0))
                for i, (plane, first) in enumerate(FIRST.items()):
                    expected = SPECIAL[cell][i] if cell in SPECIAL else names["number"](first + cell)
                    self.assert_same(tile[plane][row][column], expected)

    def test_codes(self):
        number = reader()["number"]
        self.assertEqual((number(0), number(1), number(34657)), (0.0, 2.0**-152, 1.0))
        self.assertEqual(number(65209), 2.0**134)
        self.assertEqual(number(65534), math.inf)


if __name__ == "__main__":
    unittest.main()
