# SPDX-License-Identifier: Apache-2.0
"""tools/mutate.py finds what a test does not notice, and leaves the tree alone."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from mutants import mutants  # noqa: E402

MESON = """project('planted', 'c')
test('limit', executable('test_limit', 'test_limit.c', 'limit.c'), suite: 'room')
test('other', executable('other', 'other.c'), suite: 'elsewhere')
"""
LIMIT = """#include "limit.h"
int limited(int value, int most) { /* value + most */
    if (value > most) return most + 1;
    return value < 0 ? 0 : value;
}
"""
HEADER = "int limited(int value, int most);\n"
# Nothing asks for a value that is just not too large.
TEST = """#include "limit.h"
int main(void) {
    if (limited(9, 5) != 6 || limited(3, 5) != 3) return 1;
    return limited(-2, 5) != 0;
}
"""


def whats(text):
    return {mutant.what for mutant in mutants(text)}


class Changes(unittest.TestCase):
    def test_code_alone(self):
        text = '#include <a-b.h>\n#if A + 1 > 2\n#endif\n// x + 1\n/* a < b */ char *s = "1 + 1";\n'
        self.assertEqual(whats(text), set())

    def test_operators(self):
        found = whats("y = a < b && -c * 2 == d;")
        self.assertLessEqual({"< -> <=", "< -> >=", "&& -> ||", "== -> !=", "* -> /", "2 -> 3",
                              "2 -> 1", "- -> "}, found)
        self.assertNotIn("- -> +", found)

    def test_statements(self):
        found = whats("int f(void) {\n    int a = 1;\n    g(a);\n    if (a) a = (int)h(2);\n"
                      "    for (;;) break;\n    return k(a);\n}\n")
        self.assertLessEqual({"drop: g(a);", "drop: a = (int)h(2);", "drop: break;",
                              "(a) -> (!(a))"}, found)
        self.assertFalse([what for what in found if what.startswith(("drop: h", "drop: k", "drop: int"))])

    def test_pointers_are_no_products(self):
        self.assertEqual(whats("void f(const float *at, x_t *b);"), set())

    def test_arrays_are_not_made_larger(self):
        self.assertEqual(whats("double lanes[2];"), {"2 -> 1"})
        self.assertEqual(whats("x = lanes[2];"), {"2 -> 1", "2 -> 3", "drop: x = lanes[2];"})

    def test_code_in_macros(self):
        self.assertIn("+ -> -", whats("#define ADD(A, B) \\\n    ((A) + (B))\n"))

    def test_intrinsics(self):
        found = whats("x = _mm512_min_epi32(_mm512_mask_add_epi32(a, k, a, b), _mm256_loadu_ps(p));")
        self.assertLessEqual({"_mm512_min_epi32 -> _mm512_max_epi32", "k -> ~(k)",
                              "_mm512_mask_add_epi32 -> _mm512_mask_sub_epi32"}, found)

    def test_places(self):
        text = "a = 1;\nb = c +\n    d;\n"
        plus = next(m for m in mutants(text) if m.what == "+ -> -")
        self.assertEqual((plus.line, plus.key), (2, "b = c -"))
        self.assertEqual(plus.apply(text), "a = 1;\nb = c -\n    d;\n")


class Planted(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name) / "tree"
        self.root.mkdir()
        files = {"meson.build": MESON, "limit.c": LIMIT, "limit.h": HEADER, "test_limit.c": TEST,
                 "other.c": "int main(void) { return 0; }\n"}
        for name, text in files.items():
            (self.root / name).write_text(text)
        subprocess.run(["git", "init", "-q", str(self.root)], check=True)

    def mutate(self, *words):
        command = [sys.executable, ROOT / "tools/mutate.py", "--root", self.root, "--build",
                   self.root.parent / "build", "--equivalent", "equivalent.txt", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    def test_survivors_are_told(self):
        done = self.mutate("limit.c", "--suite", "room", "--jobs", "2")
        survivors = [line for line in done.stdout.splitlines() if line.startswith("survived")]
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertEqual([line.split(": ", 1)[1] for line in survivors], ["> -> >="])
        self.assertRegex(done.stdout, r"killed by: limit \d+\n")
        self.assertIn("1 survived", done.stdout)
        self.assertRegex(done.stdout, r"[1-9]\d* same code")  # 0 is 0
        self.assertEqual((self.root / "limit.c").read_text(), LIMIT)

        line = "limit.c: if (value >= most) return most + 1;"
        self.assertIn(f"    {line}\n", done.stdout)
        (self.root / "equivalent.txt").write_text(f"# why\n{line}  # as if\n")
        again = self.mutate("limit.c", "--suite", "room")
        self.assertEqual(again.returncode, 0, again.stdout + again.stderr)
        self.assertIn("0 survived", again.stdout)
        self.assertIn("1 equivalent as listed", again.stdout)

    def test_refusals(self):
        for words in (("limit.c", "--suite", "nowhere"), ("other.c", "--suite", "room"),
                      ("limit.h", "--suite", "room")):
            self.assertEqual(self.mutate(*words).returncode, 1)
        (self.root / "equivalent.txt").write_text("limit.c: without a reason\n")
        self.assertIn("expected", self.mutate("limit.c", "--suite", "room").stderr)
        (self.root / "equivalent.txt").unlink()
        (self.root / "test_limit.c").write_text("int main(void) { return 1; }\n")
        self.assertIn("fails without a mutant", self.mutate("limit.c", "--suite", "room").stderr)


if __name__ == "__main__":
    unittest.main()
