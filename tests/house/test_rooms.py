# SPDX-License-Identifier: Apache-2.0
"""A room includes only what its row in ARCHITECTURE.md names."""

import pathlib
import re
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

TITLES = ["room", "public header", "in one sentence", "may include"]
OUTSIDE_TITLES = ["header from outside", "only in"]
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
SUBDIRS = re.compile(r"foreach room : \[([^\]]*)\]")


def table(text: str, titles: list[str]) -> list[list[str]]:
    """The cells of the table under these column titles."""
    rows, inside = [], False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells == titles:
            inside = True
        elif inside and line.strip().startswith("|"):
            if set(line) - set("|-: "):
                rows.append(cells)
        else:
            inside = False
    return rows


class House:
    """The rules of a tree, and what breaks them."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        self.problems: list[str] = []
        text = (root / "ARCHITECTURE.md").read_text(encoding="utf-8")
        self.allowed: dict[str, set[str]] = {}
        self.room_of_header: dict[str, str] = {}
        for row in table(text, TITLES):
            self._read_row(row)
        if not self.allowed:
            self.problems.append(f"ARCHITECTURE.md has no table of {TITLES}")
        self.outside = {row[0]: set(row[1].split()) for row in table(text, OUTSIDE_TITLES)}
        self.n_includes = 0

    def _read_row(self, row: list[str]) -> None:
        if len(row) != len(TITLES):
            self.problems.append(f"ARCHITECTURE.md: a row of {len(row)} cells: {row}")
            return
        room, header, _, names = row
        may = set(self.allowed) if names == "all above" else set(names.split()) - {"-"}
        for name in sorted(may - set(self.allowed)):
            self.problems.append(f"ARCHITECTURE.md: {room} names {name}, which is no row above it")
        self.allowed[room] = may | {room}
        if header != "-":
            self.room_of_header[header] = room

    def check(self) -> list[str]:
        self._check_folders()
        self._check_order_of_build()
        for path in self._files("src", ".c", ".h", ".in"):
            parts = path.relative_to(self.root / "src").parts
            if len(parts) > 1 and parts[0] in self.allowed:
                self._check_includes(path, parts[0])
        for path in self._files("include", ".h"):
            if path.name in self.room_of_header:
                self._check_includes(path, self.room_of_header[path.name])
            else:
                self.problems.append(f"{self._name(path)}: no row names this public header")
        for path in self._files("python", ".c", ".h"):
            for kind, target in self._includes(path):
                its_own = "/" not in target and (path.parent / target).is_file()
                if kind == '"' and not its_own:
                    self.problems.append(f"{self._name(path)}: python sees public headers only, not {target}")
        for header in self.room_of_header:
            if not (self.root / "include/backprobe" / header).is_file():
                self.problems.append(f"ARCHITECTURE.md: include/backprobe/{header} does not exist")
        return self.problems

    def _files(self, folder: str, *suffixes: str) -> list[pathlib.Path]:
        return sorted(p for p in (self.root / folder).rglob("*") if p.suffix in suffixes)

    def _name(self, path: pathlib.Path) -> str:
        return str(path.relative_to(self.root))

    def _includes(self, path: pathlib.Path) -> list[tuple[str, str]]:
        found = INCLUDE.findall(path.read_text(encoding="utf-8"))
        self.n_includes += len(found)
        return found

    def _check_folders(self) -> None:
        folders = {path.name for path in (self.root / "src").iterdir() if path.is_dir()}
        for folder in sorted(folders - set(self.allowed)):
            self.problems.append(f"src/{folder}: a room without a row in ARCHITECTURE.md")
        for room in sorted(set(self.allowed) - folders):
            self.problems.append(f"ARCHITECTURE.md: src/{room} does not exist")

    def _check_order_of_build(self) -> None:
        path = self.root / "src/meson.build"
        lists = SUBDIRS.findall(path.read_text(encoding="utf-8"))
        order = [word for words in lists for word in re.findall(r"'([^']+)'", words)]
        if order != list(self.allowed):
            self.problems.append(f"src/meson.build: rooms in the order {order}, the table has {list(self.allowed)}")

    def _check_includes(self, path: pathlib.Path, room: str) -> None:
        for kind, target in self._includes(path):
            head, _, rest = target.partition("/")
            if kind == '"' and not rest:
                self.problems.append(f'{self._name(path)}: "{target}" is not spelled "room/file.h"')
                continue
            if kind == '"' or head == "backprobe":
                of = head if kind == '"' else self.room_of_header.get(rest)
                if of not in self.allowed[room]:
                    self.problems.append(f"{self._name(path)}: {room} may not include {target}")
                continue
            for header in {target, f"{head}/"} & set(self.outside):
                if room not in self.outside[header]:
                    self.problems.append(f"{self._name(path)}: {target} belongs in {self.outside[header]}")


class TheHouse(unittest.TestCase):
    def test_every_include_is_allowed(self):
        house = House(ROOT)
        self.assertEqual(house.check(), [])
        self.assertGreater(house.n_includes, 100, "hardly any include was looked at")
        self.assertGreaterEqual(len(house.allowed), 15)
        self.assertIn("cblas.h", house.outside)

    def test_one_file_knows_blas(self):
        files = [p for p in (ROOT / "src").rglob("*.[ch]") if "<cblas.h>" in p.read_text(encoding="utf-8")]
        self.assertEqual(len(files), 1, files)


GOOD = {
    "ARCHITECTURE.md": """# House
| room | public header | in one sentence | may include |
| --- | --- | --- | --- |
| low | low.h | numbers | - |
| middle | - | words | low |
| high | high.h | all | low middle |

| header from outside | only in |
| --- | --- |
| yaml.h | middle |
| json-c/ | high |
""",
    "src/meson.build": "foreach room : ['low', 'middle']\nforeach room : ['high']\n",
    "src/low/low.c": '#include "low/low.h"\n#include <stdio.h>\n',
    "src/low/low.h": "#include <backprobe/low.h>\n",
    "src/middle/middle.c": '#include "low/low.h"\n#include <yaml.h>\n',
    "src/high/high.c": '#include "middle/middle.h"\n#include <json-c/json.h>\n',
    "include/backprobe/low.h": "#include <stddef.h>\n",
    "include/backprobe/high.h": "#include <backprobe/low.h>\n",
    "python/native/module.c": '#include "native.h"\n#include <backprobe/high.h>\n',
    "python/native/native.h": "#include <backprobe/low.h>\n",
}


class TheCheckItself(unittest.TestCase):
    """Each fault, put into a good tree, is found."""

    def problems(self, **changes):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in {**GOOD, **changes.get("files", {})}.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            return House(root).check()

    def assert_found(self, word, files):
        problems = self.problems(files=files)
        self.assertEqual(len(problems), 1, problems)
        self.assertIn(word, problems[0])

    def edited(self, old, new):
        self.assertIn(old, GOOD["ARCHITECTURE.md"])
        return {"ARCHITECTURE.md": GOOD["ARCHITECTURE.md"].replace(old, new)}

    def test_a_good_tree_has_no_problem(self):
        self.assertEqual(self.problems(), [])

    def test_a_lower_room_includes_a_higher_one(self):
        self.assert_found("low may not include", {"src/low/x.c": '#include "high/high.h"\n'})

    def test_also_with_odd_spaces(self):
        self.assert_found("low may not include", {"src/low/x.c": '  # include"high/high.h"\n'})

    def test_also_below_a_folder_of_the_room(self):
        self.assert_found("low may not include", {"src/low/k/x.c": '#include "middle/m.h"\n'})

    def test_also_by_its_public_header(self):
        self.assert_found("low may not include", {"src/low/x.c": "#include <backprobe/high.h>\n"})

    def test_a_public_header_follows_its_room(self):
        self.assert_found(
            "low may not include", {"include/backprobe/low.h": "#include <backprobe/high.h>\n"}
        )

    def test_a_path_without_a_room(self):
        self.assert_found("not spelled", {"src/low/x.c": '#include "low.h"\n'})

    def test_a_room_without_a_row(self):
        self.assert_found("without a row", {"src/cellar/x.c": "int x;\n"})

    def test_a_row_without_a_room(self):
        problems = self.problems(files=self.edited("| high | high.h", "| attic | - | dust | - |\n| high | high.h"))
        self.assertIn("ARCHITECTURE.md: src/attic does not exist", problems)

    def test_a_row_that_names_a_lower_row(self):
        self.assert_found("no row above", self.edited("| numbers | - |", "| numbers | high |"))

    def test_a_public_header_without_a_row(self):
        self.assert_found("no row names", {"include/backprobe/new.h": "int x;\n"})

    def test_rooms_built_in_another_order(self):
        self.assert_found("order", {"src/meson.build": "foreach room : ['middle', 'low', 'high']\n"})

    def test_python_sees_public_headers_only(self):
        self.assert_found("public headers only", {"python/native/x.c": '#include "low/low.h"\n'})
        self.assert_found("public headers only", {"python/native/x.c": '#include "other.h"\n'})

    def test_an_outside_header_in_the_wrong_room(self):
        self.assert_found("yaml.h belongs", {"src/high/x.c": "#include <yaml.h>\n"})
        self.assert_found("json-c/json.h belongs", {"src/low/x.c": "#include <json-c/json.h>\n"})

    def test_no_table(self):
        problems = self.problems(files={"ARCHITECTURE.md": "# House\n"})
        self.assertTrue(any("has no table" in problem for problem in problems), problems)


if __name__ == "__main__":
    unittest.main()
