# SPDX-License-Identifier: Apache-2.0
"""The command under test in a folder of its own. BACKPROBE is its path, SOURCE_ROOT the project's.

Exact outputs lie in expected/; BACKPROBE_UPDATE=1 writes them anew, to be looked at with git diff.
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

COMMAND = os.environ["BACKPROBE"]
ROOT = pathlib.Path(os.environ["SOURCE_ROOT"])
EXPECTED = pathlib.Path(__file__).resolve().parent / "expected"

# Small enough for milliseconds, deep enough to be sick.
HEALTHY = """version: 1
data: digits
net: [2 x dense 16 relu, dense 10]  # small
init: he
train: {learning_rate: 0.1, epochs: 3}
"""
VANISHING = """# the gradients of this one vanish
version: 1
data: digits
net: [16 x dense 16 sigmoid, dense 10]
init: pytorch_default
train: {learning_rate: 0.1, epochs: 2}
"""
EXPLODING = """version: 1
data: digits
net: [10 x dense 32 relu, dense 10]
init: {he: {gain: 3}}
train: {learning_rate: 0.05, epochs: 2}
"""


class CommandTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="backprobe-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.environment = {k: v for k, v in os.environ.items()
                            if k not in ("NO_COLOR", "FORCE_COLOR", "TERM")}

    def write(self, name, text):
        path = self.folder / name
        if isinstance(text, bytes):
            path.write_bytes(text)
        else:
            path.write_text(text)
        return name

    def command(self, *arguments, code=0, environment=None, **more):
        """Runs to the end; the exit code must be `code`."""
        result = subprocess.run([COMMAND, *arguments], cwd=self.folder, capture_output=True,
                                text=True, timeout=120, check=False,
                                env={**self.environment, **(environment or {})}, **more)
        self.assert_sound(result.stderr)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result

    def start(self, *arguments, **more):
        return subprocess.Popen([COMMAND, *arguments], cwd=self.folder, env=self.environment,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)

    def assert_sound(self, errors):
        for word in ("AddressSanitizer", "LeakSanitizer", "runtime error:", "Assertion"):
            self.assertNotIn(word, errors)

    def fails(self, *arguments, message):
        """Exit code 2, nothing on stdout, exactly these lines on stderr."""
        result = self.command(*arguments, code=2)
        self.assertEqual(result.stdout, "")
        lines = [message] if isinstance(message, str) else message
        self.assertEqual(result.stderr, "".join(f"backprobe: {line}\n" for line in lines))

    def assert_expected(self, name, text):
        path = EXPECTED / name
        if os.environ.get("BACKPROBE_UPDATE"):
            path.write_text(text)
        self.assertEqual(text, path.read_text())

    def files(self, folder="."):
        return sorted(p.name for p in (self.folder / folder).iterdir())


def without_numbers(text):
    """Figures depend on the processor's BLAS kernels; the words do not."""
    return re.sub(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?", "#", text)


def flatten(findings):
    for finding in findings:
        yield finding
        yield from flatten(finding["consequences"])
