# SPDX-License-Identifier: Apache-2.0
"""./check counts what it says: failures and empty programs never pass as tests."""

import contextlib
import io
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import check  # noqa: E402
from check import Count, count_program  # noqa: E402

# stdout and stderr of a cmocka 1.1.5 program of four tests.
CMOCKA = """[==========] Running 4 test(s).
[ RUN      ] good
[       OK ] good
[ RUN      ] bad
[  FAILED  ] bad
[ RUN      ] elsewhere
[  SKIPPED ] elsewhere
[ RUN      ] without_setup
[==========] 4 test(s) run.

[  ERROR   ] --- 0x1 != 0x2
Could not run test: Test setup failed
[  ERROR   ] without_setup
[  PASSED  ] 1 test(s).
[  SKIPPED ] 1 test(s), listed below:
[  SKIPPED ] elsewhere

 1 SKIPPED TEST(S)
[  FAILED  ] 1 test(s), listed below:
[  FAILED  ] bad

 2 FAILED TEST(S)
"""


class Programs(unittest.TestCase):
    def test_cmocka_is_counted_by_test(self):
        self.assertEqual(count_program(CMOCKA, False), Count(1, 2))

    def test_skipped_tests_are_named_once(self):
        self.assertEqual(set(check.SKIPPED.findall(CMOCKA)), {"elsewhere"})

    def test_two_groups_add_up(self):
        output = "[  PASSED  ] 3 test(s).\n[  PASSED  ] late: 4 test(s).\n"
        self.assertEqual(count_program(output, True), Count(7, 0))

    def test_a_crash_behind_good_tests_is_a_failure(self):
        self.assertEqual(count_program("[  PASSED  ] 3 test(s).\n", False), Count(3, 1))

    def test_a_program_without_a_test_fails(self):
        self.assertEqual(count_program("[  PASSED  ] 0 test(s).\n", True), Count(0, 1))

    def test_another_program_is_one_test(self):
        self.assertEqual(count_program("fine\n", True), Count(1, 0))
        self.assertEqual(count_program("", False), Count(0, 1))

    def test_unittest_is_counted_by_test(self):
        head = "....\n-----\n"
        self.assertEqual(count_program(head + "Ran 7 tests in 4.1s\n\nOK\n", True), Count(7, 0))
        failed = "Ran 7 tests in 4.1s\n\nFAILED (failures=1, errors=2, skipped=1)\n"
        self.assertEqual(count_program(head + failed, False), Count(3, 3))
        self.assertEqual(count_program("Ran 0 tests in 0.0s\n\nOK\n", True), Count(0, 1))

    def test_a_last_line_counts(self):
        self.assertEqual(count_program("x\n12 passed, 2 failed\n", False), Count(12, 2))


class Unittests(unittest.TestCase):
    def run_file(self, text):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "made_up_tests.py"
            path.write_text("import unittest\nclass A(unittest.TestCase):\n" + text)
            with contextlib.redirect_stdout(io.StringIO()):
                good, output = check.run(sys.executable, ROOT / "tools/run_tests.py", path)
            return good, count_program(output, good)

    def test_passed_and_failed(self):
        text = "    def test_a(self): pass\n    def test_b(self): self.fail()\n"
        self.assertEqual(self.run_file(text), (False, Count(1, 1)))

    def test_many_failing_parts_are_one_test(self):
        text = (
            "    def test_a(self):\n"
            "        for i in range(3):\n"
            "            with self.subTest(i): self.fail()\n"
        )
        self.assertEqual(self.run_file(text), (False, Count(0, 1)))

    def test_no_test_is_a_failure(self):
        self.assertEqual(self.run_file("    pass\n"), (False, Count(0, 1)))


class Stages(unittest.TestCase):
    def needs(self, what, *stages):
        command = (sys.executable, ROOT / "tools/check.py", "--needs", what, *stages)
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def test_who_needs_pytorch(self):
        self.assertTrue(self.needs("torch"))
        self.assertTrue(self.needs("torch", "format", "pytorch"))
        self.assertFalse(self.needs("torch", "fast"))
        self.assertFalse(self.needs("torch", "python", "install"))
        self.assertFalse(self.needs("torch", "pytroch"))

    def test_who_needs_a_browser(self):
        self.assertTrue(self.needs("browser"))
        self.assertTrue(self.needs("browser", "format", "browser"))
        self.assertTrue(self.needs("torch", "browser"))  # it shows PyTorch's runs
        self.assertFalse(self.needs("browser", "fast"))

    def pytorch_of(self, *files):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as said:
            root = pathlib.Path(folder)
            for name in ("tests/pytorch", "bench", "tools"):
                (root / name).mkdir(parents=True)
            shutil.copy(ROOT / "tools/run_tests.py", root / "tools")
            for name, body in files:
                (root / name).write_text(f"import unittest\nclass A(unittest.TestCase):\n    {body}\n")
            with unittest.mock.patch.object(check, "ROOT", root):
                count = check.check_pytorch()
        return count, said.getvalue()

    def test_pytorch_runs_each_file_and_the_benches(self):
        good, bad = "def test_a(self): pass", "def test_a(self): import no_such_framework"
        count, said = self.pytorch_of(("tests/pytorch/test_a.py", good), ("tests/pytorch/test_b.py", bad),
                                      ("tests/pytorch/support.py", bad), ("bench/test_watch.py", good),
                                      ("bench/test_accuracy_torch.py", good))
        self.assertEqual(count, Count(3, 1))
        self.assertRegex(said, r"(?m)^tests/pytorch/test_b.py +0 passed, 1 failed, \d+\.\d s$")

    def test_pytorch_without_a_test_is_nothing(self):
        self.assertEqual(self.pytorch_of()[0], Count())



if __name__ == "__main__":
    unittest.main()
