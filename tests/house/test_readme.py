# SPDX-License-Identifier: Apache-2.0
"""The README's commands do what it says.

Every ```console block is run, in one folder, in the order of the page, with the installed command:
each line that starts with "$ " (and the lines that continue it behind a backslash), by bash. It
must exit with 0, or with what the comment above the block says of its last command:

    <!-- exit 1 -->
    <!-- not run: it asks for a second machine -->

A ```python block is run in the same folder, by the Python that has the package.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECONDS = 300
BLOCK = re.compile(r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```console\n(?P<body>.*?)^```$", re.M | re.S)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)


def blocks(text: str) -> list[tuple[list[str], int]]:
    """(commands, exit code of the last) of each block that is to be run."""
    found = []
    for match in BLOCK.finditer(text):
        mark = match["mark"] or ""
        if mark.startswith("not run: "):
            continue
        code = re.fullmatch(r"exit (\d+)", mark)
        if mark and not code:
            raise ValueError(f"unknown mark above a console block: {mark!r}")
        body = match["body"].replace("\\\n", " ")
        commands = [line[2:] for line in body.splitlines() if line.startswith("$ ")]
        if not commands:
            raise ValueError(f"a console block without a '$ ' line: {body!r}")
        found.append((commands, int(code[1]) if code else 0))
    return found


def run_page(text: str, folder: pathlib.Path, path: str) -> list[str]:
    """What did not exit as written."""
    wrong = []
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}", "NO_COLOR": "1"}
    for commands, last in blocks(text):
        for command, expected in zip(commands, [0] * (len(commands) - 1) + [last]):
            result = subprocess.run(
                ["bash", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS, check=False,
            )  # fmt: skip
            if result.returncode != expected:
                said = result.stdout.decode(errors="replace")[-2000:]
                wrong.append(f"$ {command}\n{said}\nexit {result.returncode}, README says {expected}")
    return wrong


def run_python(text: str, folder: pathlib.Path, python: pathlib.Path) -> list[str]:
    """What Python said of the blocks that failed."""
    wrong = []
    for code in PYTHON.findall(text):
        result = subprocess.run(
            [python, "-c", code], cwd=folder, capture_output=True, text=True, timeout=SECONDS,
            check=False,
        )  # fmt: skip
        if result.returncode != 0:
            wrong.append(code + result.stderr)
    return wrong


class TheHouse(unittest.TestCase):
    def test_every_command_exits_as_written(self):
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        self.assertGreater(len(blocks(text)), 0, "the README has no command to run")
        self.assertTrue((ROOT / ".venv/bin/backprobe").is_file(), "run ./start --no-demo first")
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "examples").symlink_to(ROOT / "examples")
            self.assertEqual(run_page(text, pathlib.Path(folder), str(ROOT / ".venv/bin")), [])
            python = ROOT / ".venv/bin/python"
            self.assertEqual(run_python(text, pathlib.Path(folder), python), [])


class TheCheckItself(unittest.TestCase):
    def wrong(self, text):
        with tempfile.TemporaryDirectory() as folder:
            return run_page(text, pathlib.Path(folder), "/usr/bin")

    def test_good_commands(self):
        page = "```console\n$ echo a > b\nmade-up output\n$ cat \\\n  b\n```\n"
        self.assertEqual(blocks(page), [(["echo a > b", "cat    b"], 0)])
        self.assertEqual(self.wrong(page), [])

    def test_a_command_that_fails(self):
        self.assertEqual(len(self.wrong("text\n```console\n$ false\n$ true\n```\n")), 1)

    def test_a_documented_failure(self):
        self.assertEqual(self.wrong("<!-- exit 1 -->\n```console\n$ true\n$ false\n```\n"), [])
        self.assertEqual(len(self.wrong("<!-- exit 1 -->\n```console\n$ true\n```\n")), 1)

    def test_a_block_that_is_not_run(self):
        self.assertEqual(blocks("<!-- not run: x -->\n```console\n$ false\n```\n"), [])

    def test_python_that_fails(self):
        page = "```python\nimport os\n```\n```python\nraise SystemExit(3)\n```\n"
        with tempfile.TemporaryDirectory() as folder:
            wrong = run_python(page, pathlib.Path(folder), pathlib.Path(sys.executable))
        self.assertEqual(wrong, ["raise SystemExit(3)\n"])

    def test_a_wrong_mark_or_an_empty_block(self):
        for page in ("<!-- exti 1 -->\n```console\n$ true\n```\n", "```console\ntrue\n```\n"):
            with self.assertRaises(ValueError):
                blocks(page)


if __name__ == "__main__":
    unittest.main()
