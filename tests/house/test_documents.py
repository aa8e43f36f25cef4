# SPDX-License-Identifier: Apache-2.0
"""The documents name only what is there."""

import pathlib
import re
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# A path in the text: it begins with a folder of the house and has no gap to be filled in.
PATH = re.compile(r"`((?:src|include|tests|tools|docs|data|python|examples|bench)/[^`\s<>*…]*)`")
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")


def dangling(root: pathlib.Path, document: pathlib.Path) -> list[str]:
    text = document.read_text(encoding="utf-8")
    paths = [(name, root / name) for name in PATH.findall(text)]
    paths += [(name, document.parent / name) for name in LINK.findall(text)]
    return [name for name, path in paths if not path.exists()]


class TheHouse(unittest.TestCase):
    def test_what_documents_name_is_there(self):
        documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("data/**/*.md")]
        names = {path.name for path in documents}
        self.assertLessEqual({"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"}, names)
        for document in documents:
            with self.subTest(document.name):
                self.assertEqual(dangling(ROOT, document), [])


class TheCheckItself(unittest.TestCase):
    def dangling(self, text):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "docs").mkdir()
            (root / "docs/a.md").write_text(text)
            return dangling(root, root / "docs/a.md")

    def test_good_names(self):
        text = "`docs/a.md` [b](a.md) [c](https://x.y/z) `src/<room>/x.c` `tests/…` [d](a.md#e)"
        self.assertEqual(self.dangling(text), [])

    def test_bad_names(self):
        self.assertEqual(self.dangling("`docs/b.md` [c](d.md)"), ["docs/b.md", "d.md"])


if __name__ == "__main__":
    unittest.main()
