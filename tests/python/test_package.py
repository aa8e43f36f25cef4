# SPDX-License-Identifier: Apache-2.0
"""The package itself: what it brings into a process, and what it says of itself."""

import ast
import pathlib
import re
import subprocess
import sys
import unittest

import backprobe
from backprobe import _native
from backprobe.finding import Edit, Finding, Remedy

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = pathlib.Path(sys.executable).parent / "backprobe"


def fresh(code):
    """What a new interpreter prints."""
    result = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    return result.stdout


def declared(body):
    """Names that a stub says are there when it runs: not its aliases, imports and typed dictionaries."""
    names = set()
    for node in body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            names.add(node.target.id)
        elif isinstance(node, ast.ClassDef) and "TypedDict" not in [ast.unparse(b) for b in node.bases]:
            names.add(node.name)
    return names


def public(thing):
    return {name for name in dir(thing) if not name.startswith("_")}


def finding(**changes):
    fields = {
        "problem": "vanishing-gradient",
        "severity": "error",
        "since_step": 3,
        "since_earliest": 3,
        "since_latest": 3,
        "last_step": 9,
        "open": True,
        "layers": ("a",),
        "layer_ids": (1,),
        "title": "title",
        "cause": "cause",
        "note": "",
        "evidence": (),
        "gains": (),
        "symptoms": (),
        "remedy": None,
        "consequences": (),
    }
    return Finding(**{**fields, **changes})


class Package(unittest.TestCase):
    def test_import_brings_no_framework(self):
        modules = fresh("import backprobe, sys; print(*sys.modules, sep='\\n')").split()
        self.assertIn("backprobe._native", modules)
        heads = {name.split(".")[0] for name in modules}
        self.assertEqual(heads & {"torch", "numpy", "tensorflow", "jax", "keras", "lightning"}, set())

    @unittest.skipUnless(sys.platform == "linux", "looks into /proc")
    def test_import_brings_no_other_library(self):
        maps = fresh("import backprobe; print(open('/proc/self/maps').read())")
        self.assertIn("_native", maps)
        self.assertEqual(re.findall(r"\S*(?:blas|yaml|json-c|gomp|gfortran)\S*", maps), [])

    def test_version_is_one(self):
        meson = (ROOT / "meson.build").read_text(encoding="utf-8")
        self.assertEqual(backprobe.__version__, re.search(r"version: '([^']+)'", meson)[1])
        said = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, check=True).stdout
        self.assertIn(backprobe.__version__, said)

    def test_all_names_exist_and_have_words(self):
        for name in backprobe.__all__:
            with self.subTest(name):
                self.assertTrue(getattr(backprobe, name).__doc__)

    def test_types_are_shipped(self):
        folder = pathlib.Path(backprobe.__file__).parent
        for name in ("py.typed", "_native.pyi"):
            self.assertTrue((folder / name).is_file(), name)

    def test_all_of_the_source_is_installed(self):
        def names(folder):
            return {path.name for path in folder.iterdir() if path.suffix in (".py", ".pyi", ".typed")}

        self.assertEqual(names(pathlib.Path(backprobe.__file__).parent), names(ROOT / "python/backprobe"))

    def test_the_stub_says_what_the_extension_has(self):
        stub = pathlib.Path(backprobe.__file__).with_name("_native.pyi").read_text(encoding="utf-8")
        body = ast.parse(stub).body
        self.assertEqual(declared(body), public(_native))
        classes = {node.name: node.body for node in body if isinstance(node, ast.ClassDef)}
        for name in declared(body) & set(classes):
            with self.subTest(name):
                self.assertEqual(declared(classes[name]) - {"__init__"}, public(getattr(_native, name)))

    def test_extension_serves_later_pythons(self):
        folder = pathlib.Path(backprobe.__file__).parent
        self.assertEqual([p.name for p in folder.glob("*.so")], ["_native.abi3.so"])


class Text(unittest.TestCase):
    def test_layout(self):
        remedy = Remedy("use tanh", "gain 0.9", (Edit("net[0].activation", "tanh"),))
        inner = finding(problem="non-finite", severity="warning", open=False, title="inner")
        self.assertEqual(
            str(finding(note="note", remedy=remedy, consequences=(inner,))),
            """error[vanishing-gradient]: title
  since step 3 · now step 9
  cause: cause
  note:  note
  help:  use tanh
         gain 0.9
         net[0].activation: tanh
  see:   backprobe explain vanishing-gradient
    └ warning[non-finite]: inner · since step 3, over""",
        )

    def test_a_terminal_is_not_obeyed(self):
        text = str(finding(title="\x1b[31mred\x07\u202e", cause="a\x1b]0;b"))
        self.assertNotRegex(text, "[\x00-\x09\x0b-\x1f\u202e]")
        self.assertIn("\\x1b[31mred", text)


if __name__ == "__main__":
    unittest.main()
