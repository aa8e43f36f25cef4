# SPDX-License-Identifier: Apache-2.0
"""Runs unittest files and ends with "N passed, M failed": run_tests.py FILE...

A test counts once, however many of its parts fail. No test at all is a failure."""

import importlib.util
import pathlib
import sys
import unittest


class Result(unittest.TextTestResult):
    """Remembers which tests did not pass."""

    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        self.bad = set()

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.bad.add(test.id())

    def addError(self, test, err):
        super().addError(test, err)
        self.bad.add(test.id())

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.bad.add(test.id())

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.bad.add(test.id())


def load(path: pathlib.Path) -> unittest.TestSuite:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent))
    spec.loader.exec_module(module)
    return unittest.defaultTestLoader.loadTestsFromModule(module)


def main(paths: list[str]) -> int:
    result = unittest.TextTestRunner(sys.stdout, verbosity=1, resultclass=Result).run(
        unittest.TestSuite(load(pathlib.Path(path).resolve()) for path in paths)
    )
    for test, why in result.skipped:
        print(f"not here: {test.id()}: {why}")
    failed = len(result.bad)
    passed = max(result.testsRun - failed - len(result.skipped), 0)
    if passed + failed == 0:
        print("there was no test to run")
        failed = 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
