# SPDX-License-Identifier: Apache-2.0
"""backprobe.check: the same findings as the command's, and an error for what is no run."""

import dataclasses
import json
import math
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import tracemalloc
import unittest
import warnings

import backprobe
from backprobe import choice, replay

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = pathlib.Path(sys.executable).parent / "backprobe"
GOLDEN = sorted((ROOT / "tests/golden").glob("*/"))


def by_command(path):
    result = subprocess.run(
        [COMMAND, "check", "--format", "json", path], capture_output=True, text=True, check=False
    )
    return json.loads(result.stdout, object_hook=without_diff)["findings"]


def without_diff(row):
    """A remedy's lines of the network file, which only the command makes."""
    return {key: value for key, value in row.items() if key != "diff"}


def as_json(value):
    """A finding in the form of docs/findings-json.md."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if not dataclasses.is_dataclass(value):
        return value
    row = {field.name: as_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, backprobe.Remedy):
        row.pop("diff")  # of the program that runs, which no log knows
    if isinstance(value, backprobe.Finding):
        ids = row.pop("layer_ids")
        row["layers"] = [{"id": i, "name": n} for i, n in zip(ids, row["layers"], strict=True)]
    elif "layer_id" in row:
        row["layer"] = row.pop("layer_id")
    return row


class Chosen(unittest.TestCase):
    """The same as the command's --select and --ignore."""

    def rows(self):
        layers = {0: ("net.0", "net.2"), 1: ("net.4",), 2: ()}
        problems = ("weights-too-large", "exploding-gradient", "non-finite")
        with_remedy = {"title": "t", "reason": "r", "edits": [], "code": None}
        return [
            {"problem": problem, "severity": "error", "since_step": 0, "since_earliest": 0,
             "since_latest": 0, "last_step": 9, "open": True, "layers": layers[i],
             "layer_ids": tuple(range(len(layers[i]))), "title": "", "cause": "", "note": "",
             "evidence": [], "gains": [], "symptoms": [], "remedy": with_remedy, "parent": i - 1}
            for i, problem in enumerate(problems)
        ]  # fmt: skip

    def nested(self, findings):
        return [(f.problem.split("-")[0], self.nested(f.consequences)) for f in findings]

    def chosen(self, **words):
        return replay.tree(self.rows(), choice.Choice(**words))

    def test_consequences_of_what_is_ignored_are_roots(self):
        whole = [("weights", [("exploding", [("non", [])])])]
        self.assertEqual(self.nested(self.chosen()), whole)
        found = self.chosen(ignore=("weights-too-large",))
        self.assertEqual(self.nested(found), whole[0][1])
        self.assertEqual(found[0].remedy.title, "t")
        self.assertIsNone(found[0].consequences[0].remedy)
        found = self.chosen(ignore=("exploding-*",))
        self.assertEqual(self.nested(found), [("weights", [("non", [])])])
        self.assertEqual(self.nested(self.chosen(select=("non-finite",))), [("non", [])])

    def test_layers(self):
        for ignore, n in ((("weights-*:net.0",), 1), (("weights-*:net.[02]",), 0),
                          (("*:net.0", "weights-too-large:net.2"), 0), (("net.?",), 0),
                          (("net.4",), 1), (("non-finite:*",), 1)):
            with self.subTest(ignore):
                found = [f for f in self.chosen(ignore=ignore) if f.problem == "weights-too-large"]
                self.assertEqual(len(found), n)
        self.assertEqual(self.nested(self.chosen(select=("*:net.4",))), [("exploding", [])])

    def test_of_a_run(self):
        self.assertEqual(backprobe.check(GOLDEN[0], ignore=["*"]), [])
        [found] = backprobe.check(GOLDEN[0], select=["non-*"])
        self.assertEqual(found.problem, "non-finite")
        with self.assertRaises(TypeError):
            backprobe.check(GOLDEN[0], ignore="non-finite")


class ARun(unittest.TestCase):
    """A deep sigmoid network, trained for one epoch by the command."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.run_folder = pathlib.Path(folder.name) / "a run"
        subprocess.run(
            [COMMAND, "train", ROOT / "examples/vanishing.yaml", "--epochs", "1", "--quiet",
             "--run", cls.run_folder],
            check=False, capture_output=True,
        )  # fmt: skip
        cls.findings = backprobe.check(cls.run_folder)

    def test_vanishing_is_found(self):
        self.assertIsInstance(self.findings, list)
        finding = self.findings[0]
        self.assertIsInstance(finding, backprobe.Finding)
        self.assertEqual(finding.problem, "vanishing-gradient")
        self.assertEqual(finding.severity, "error")
        self.assertEqual(finding.since_step, 0)
        self.assertEqual(finding.layer_ids[:3], (1, 2, 3))
        self.assertEqual(finding.layers[:2], ("dense_1", "dense_2"))
        self.assertIn("chain rule", finding.cause)
        self.assertIn("net[0].activation", [edit.key for edit in finding.remedy.edits])
        self.assertEqual([gain.layer_id for gain in finding.gains], list(range(1, 22)))
        self.assertEqual(len(finding.symptoms), 3)

    def test_the_command_says_the_same(self):
        self.assertEqual(as_json(self.findings), by_command(self.run_folder))

    def test_one_segment_file_is_enough(self):
        self.assertEqual(backprobe.check(next(self.run_folder.glob("*.bplog"))), self.findings)

    def test_text_is_to_be_read(self):
        text = str(self.findings[0])
        self.assertEqual(text, repr(self.findings[0]))
        lines = text.splitlines()
        self.assertTrue(lines[0].startswith("error[vanishing-gradient]: layers 1"))
        self.assertTrue(lines[1].startswith("  since step 0 · now step "))
        self.assertIn("  see:   backprobe explain vanishing-gradient", lines)
        self.assertLessEqual(max(map(len, lines)), 100)

    def test_a_finding_is_a_value(self):
        finding = self.findings[0]
        with self.assertRaises(dataclasses.FrozenInstanceError):
            finding.title = "another"
        self.assertEqual({finding, *backprobe.check(self.run_folder)}, {finding})

    def test_many_threads_at_once(self):
        results = []
        threads = [
            threading.Thread(target=lambda: results.append(backprobe.check(self.run_folder)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(results, [self.findings] * 8)

    def test_damage_in_the_middle_warns(self):
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder) / "log-000001.bplog"
            data = bytearray(next(self.run_folder.glob("*.bplog")).read_bytes())
            data[len(data) // 2] ^= 0xFF  # one byte: it lies in one record
            log.write_bytes(data)
            with self.assertWarnsRegex(backprobe.DamagedLogWarning, "1 records lost at 1 damaged"):
                self.assertEqual(backprobe.check(log)[0].problem, "vanishing-gradient")

    def test_no_memory_is_lost(self):
        backprobe.check(self.run_folder)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            backprobe.check(self.run_folder)
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        self.assertLess(after - before, 20_000)


class GoldenLogs(unittest.TestCase):
    def test_the_command_says_the_same(self):
        self.assertGreater(len(GOLDEN), 0)
        for path in GOLDEN:
            with self.subTest(path.name), warnings.catch_warnings():
                warnings.simplefilter("error")
                if path.name == "runlog-1b":  # it holds the record of a gap
                    warnings.simplefilter("ignore", backprobe.replay.DamagedLogWarning)
                self.assertEqual(as_json(backprobe.check(path)), by_command(path))


class NoRun(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def test_a_missing_path(self):
        missing = self.folder / "missing"
        with self.assertRaisesRegex(FileNotFoundError, "missing"):
            backprobe.check(missing)

    def test_a_folder_without_a_log(self):
        with self.assertRaisesRegex(ValueError, "expected"):
            backprobe.check(str(self.folder))

    def test_another_file(self):
        (self.folder / "text").write_text("nothing to see")
        with self.assertRaisesRegex(ValueError, "expected"):
            backprobe.check(self.folder / "text")

    def test_an_empty_file(self):
        (self.folder / "log-000001.bplog").touch()
        with self.assertRaises(ValueError):
            backprobe.check(self.folder)

    def test_a_log_cut_in_its_head(self):
        shutil.copytree(GOLDEN[0], self.folder / "cut")
        log = next((self.folder / "cut").glob("*.bplog"))
        log.write_bytes(log.read_bytes()[:30])
        with self.assertRaises(ValueError):
            backprobe.check(self.folder / "cut")

    def test_a_path_with_a_zero_byte(self):
        with self.assertRaises(ValueError):
            backprobe.check("a\0b")

    def test_no_path(self):
        with self.assertRaises(TypeError):
            backprobe.check(3.5)


if __name__ == "__main__":
    unittest.main()
