# SPDX-License-Identifier: Apache-2.0
"""The lines of Python of every remedy parse, and use no name that their reader does not have."""

import ast
import builtins
import subprocess
import sys
import unittest

PROGRAM = sys.argv.pop()
# What the reader has (docs: Python on `model` and `optimizer`, with torch and nn), and what a
# training loop calls its own.
GIVEN = {"model", "optimizer", "torch", "nn", "inputs", "loss", "validation_loss", "best"}


def blocks():
    text = subprocess.run([PROGRAM, "--python"], capture_output=True, text=True, check=True).stdout
    for part in text.split("---- ")[1:]:
        problem, _, code = part.partition("\n")
        yield problem, code


class Cures(unittest.TestCase):
    def test_every_line_parses(self):
        with_code = 0
        for problem, code in blocks():
            with self.subTest(problem):
                tree = ast.parse(code)
                names = [n for n in ast.walk(tree) if isinstance(n, ast.Name)]
                bound = {n.id for n in names if isinstance(n.ctx, ast.Store)}
                used = {n.id for n in names} - bound - GIVEN - set(dir(builtins))
                self.assertEqual(used, set())
                for line in code.splitlines():
                    self.assertLessEqual(len(line), 100)
                with_code += bool(code.strip())
        self.assertGreaterEqual(with_code, 20)


if __name__ == "__main__":
    unittest.main()
