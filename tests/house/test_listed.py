# SPDX-License-Identifier: Apache-2.0
"""Every test is run by somebody: a merge loses a line of a list without a word."""

import pathlib
import re
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEST = re.compile(r"^static void (\w+)\(void \*\*\w+\) ", re.MULTILINE)


def unlisted_functions(tests: pathlib.Path) -> list[str]:
    """Test functions of cmocka that their own file names but once."""
    found = []
    for path in sorted(tests.rglob("*.c")):
        text = path.read_text(encoding="utf-8")
        found += [f"{path.name}: {name}" for name in TEST.findall(text)
                  if len(re.findall(rf"\b{name}\b", text)) < 2]
    return found


def unlisted_files(tests: pathlib.Path) -> list[str]:
    """Test programs whose name no meson.build has."""
    listed = " ".join(path.read_text(encoding="utf-8") for path in tests.rglob("meson.build"))
    words = set(re.findall(r"[\w-]+", listed))
    return [path.name for path in sorted(tests.rglob("test_*.c"))
            if not {path.stem, path.stem.removeprefix("test_")} & words]


class Listed(unittest.TestCase):
    def test_functions(self):
        self.assertEqual(unlisted_functions(ROOT / "tests"), [])

    def test_files(self):
        self.assertEqual(unlisted_files(ROOT / "tests"), [])

    def test_what_is_lost_is_noticed(self):
        with tempfile.TemporaryDirectory() as folder:
            tests = pathlib.Path(folder)
            (tests / "meson.build").write_text("foreach name : ['kept']\n")
            (tests / "test_kept.c").write_text("static void lost(void **state) {\n}\n")
            (tests / "test_gone.c").write_text("")
            self.assertEqual(unlisted_functions(tests), ["test_kept.c: lost"])
            self.assertEqual(unlisted_files(tests), ["test_gone.c"])


if __name__ == "__main__":
    unittest.main()
