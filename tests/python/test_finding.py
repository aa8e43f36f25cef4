# SPDX-License-Identifier: Apache-2.0
"""A finding as people see it: the text that the command prints, too, and HTML for notebooks. Names
from elsewhere are harmless in both."""

import dataclasses
import html.parser
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import backprobe
from backprobe import picture, terminal

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = pathlib.Path(sys.executable).parent / "backprobe"


def gain(layer, error_norm, **parts):
    values = dict.fromkeys(
        ["share", "gain", "activation", "norm", "weight", "alignment", "branch", "contribution"]
    )
    return backprobe.Gain(
        layer=f"net.{layer}", layer_id=layer, error_norm=error_norm, **{**values, **parts}
    )


def finding(**changes):
    fields = {
        "problem": "vanishing-gradient",
        "severity": "error",
        "since_step": 0,
        "since_earliest": 0,
        "since_latest": 0,
        "last_step": 340,
        "open": True,
        "layers": ("net.1", "net.2"),
        "layer_ids": (1, 2),
        "title": "layers 1, 2 of 3 do not learn",
        "cause": "the chain rule multiplies the layers' gains",
        "note": "",
        "evidence": (),
        "gains": (gain(1, 1e-6), gain(2, 1e-3, gain=1e-3), gain(3, 1.0, gain=1e-3, share=1.0)),
        "symptoms": (),
        "remedy": backprobe.Remedy("use tanh", "", (), "# once\nmodel.net[1] = nn.Tanh()\n"),
        "consequences": (),
    }
    return backprobe.Finding(**{**fields, **changes})


HOSTILE = "\x1b[31m\r\x07\u202e<script>alert('x')</script>\"' onmouseover=\"a\" \ud800 " + "w" * 90


class AsTheCommandPrintsIt(unittest.TestCase):
    """Findings of a real run, beside what the command says of it."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.runs = {}
        for name in ("vanishing", "exploding"):
            cls.runs[name] = pathlib.Path(folder.name) / name
            subprocess.run(
                [COMMAND, "train", ROOT / f"examples/{name}.yaml", "--epochs", "1", "--quiet",
                 "--run", cls.runs[name]],
                check=False, capture_output=True,
            )  # fmt: skip

    def test_every_line_but_the_loss_and_the_change_of_the_file(self):
        for name, run in self.runs.items():
            with self.subTest(name):
                printed = subprocess.run(
                    [COMMAND, "check", run], capture_output=True, text=True, check=False
                ).stdout
                printed = re.sub(r" · train loss .*", "", printed)
                lines = str(backprobe.check(run)[0]).splitlines()
                changes = [line for line in lines if re.match(r" {9}(net|init|train)[\[:.]", line)]
                self.assertTrue(changes)
                kept = [line for line in lines if line not in changes]
                self.assertGreater(len(kept), 15)
                at = printed.index(kept[0])
                for line in kept:
                    self.assertIn(line + "\n", printed[at:], line)
                    at = printed.index(line + "\n", at)

    def test_numbers_are_the_commands(self):
        for value, text in {
            0.0: "0", 1.0: "1", 0.14: "0.14", 0.0001: "0.0001", 0.00001: "1e-5", 123456.0: "120000",
            1234567.0: "1.2e6", 3.14e-18: "3.1e-18", 0.999: "1", -2.5: "-2.5", 1e-4 * 0.999: "0.0001",
            float("inf"): "Infinity", float("nan"): "NaN", 5e-324: "4.9e-324",
        }.items():  # fmt: skip
            self.assertEqual(terminal.number(value), text)


class Text(unittest.TestCase):
    def test_whole(self):
        text = str(finding(consequences=(finding(problem="non-finite", open=False, remedy=None),)))
        self.assertEqual(
            text,
            "error[vanishing-gradient]: layers 1, 2 of 3 do not learn\n"
            "  since step 0 · now step 340\n"
            "  layer   (log scale)                   error signal     gain  share of learning\n"
            "  1 net.1 ▏                                     1e-6        –                  –\n"
            "  2 net.2 ██████████████                       0.001    0.001                  –\n"
            "  3 net.3 ████████████████████████████             1    0.001                  1\n"
            "  cause: the chain rule multiplies the layers' gains\n"
            "  help:  use tanh\n"
            "         # once\n"
            "         model.net[1] = nn.Tanh()\n"
            "  see:   backprobe explain vanishing-gradient\n"
            "    └ error[non-finite]: layers 1, 2 of 3 do not learn · since step 0, over",
        )

    def test_a_change_of_the_source_takes_the_place_of_code(self):
        remedy = backprobe.Remedy("use tanh", "", (), "model.a = 1\n", "--- net.py\n-x\n+y\n z")
        text = finding(remedy=remedy).text(width=100, colour=True)
        self.assertNotIn("model.a", text)
        self.assertIn("\033[31m-x\033[0m", text)
        self.assertIn("\033[32m+y\033[0m", text)
        self.assertIn("         z\n", re.sub(r"\033\[\d*(;\d+)?m", "", text))

    def test_no_line_is_wider_than_asked(self):
        long = finding(
            title="word " * 60, cause="x" * 300, note="ä" * 200, layers=("名" * 80,),
            gains=tuple(
                dataclasses.replace(gain(k, 10.0**-k), layer="名前" * 30) for k in range(1, 31)
            ),
        )  # fmt: skip
        for width in range(60, 101):
            for line in long.text(width=width).splitlines():
                self.assertLessEqual(terminal.columns(line), width, line)
        self.assertEqual(long.text(width=10), long.text(width=60))

    def test_the_terminals_width(self):
        for columns, width in {"80": 80, "20": 60, "300": 100, "x": 100}.items():
            with mock.patch.dict(os.environ, {"COLUMNS": columns}):
                self.assertEqual(terminal.width(), width)

    def test_hostile_names_are_escaped(self):
        text = finding(
            title=HOSTILE, cause=HOSTILE, gains=(dataclasses.replace(gain(1, 1.0), layer=HOSTILE),)
        ).text(width=100)
        self.assertNotRegex(text, "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]")
        self.assertIn("\\x1b[31m\\x0d\\x07\\u202e<script>", text)

    def test_colour_changes_nothing_else(self):
        coloured = finding().text(width=100, colour=True)
        self.assertIn("\033[1;31merror[vanishing-gradient]\033[0m", coloured)
        plain = re.sub(r"\033\[\d*(;\d+)?m", "", coloured)
        self.assertEqual(plain, finding().text(width=100))

    def test_colours_are_asked_for(self):
        stream = mock.Mock()
        for environment, is_terminal, expected in [
            ({}, True, True), ({}, False, False), ({"NO_COLOR": "1"}, True, False),
            ({"FORCE_COLOR": "1"}, False, True), ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
            ({"TERM": "dumb"}, True, False),
        ]:  # fmt: skip
            stream.isatty.return_value = is_terminal
            with mock.patch.dict(os.environ, environment, clear=True):
                self.assertEqual(terminal.colour(stream), expected)


class Picture(unittest.TestCase):
    def test_rows(self):
        gains = [gain(k, 1.0, contribution=0.6 if k == 17 else 0.01) for k in range(1, 41)]
        rows = picture.rows(gains)
        self.assertEqual(len(rows), 7)
        self.assertEqual((rows[0], rows[-1]), (0, 39))
        self.assertIn(16, rows)
        self.assertEqual(picture.rows(gains[:5]), [0, 1, 2, 3, 4])
        nothing = [gain(k, None, contribution=float("nan")) for k in range(1, 41)]
        self.assertEqual(len(picture.rows(nothing)), 7)

    def test_what_was_not_measured_has_no_bar(self):
        text = finding(gains=tuple(gain(k, None) for k in range(1, 4))).text(width=100)
        self.assertNotIn("█", text)
        self.assertNotIn("(log scale)", text)
        odd = [gain(1, 0.0), gain(2, float("inf")), gain(3, float("nan")), gain(4, 1.0)]
        lines = finding(gains=tuple(odd)).text(width=100).splitlines()
        self.assertNotIn("▏", lines[3])
        self.assertIn("█" * 28, lines[4])
        self.assertIn("NaN", lines[5])


class _Reader(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.open, self.seen = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.seen += data


def read(text):
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


class Html(unittest.TestCase):
    def test_it_says_what_the_text_says(self):
        reader = read(finding()._repr_html_())
        for part in ("error[vanishing-gradient]", "since step 0", "net.2", "0.001", "use tanh",
                     "model.net[1] = nn.Tanh()", "backprobe explain vanishing-gradient"):  # fmt: skip
            self.assertIn(part, reader.seen)
        bars = [a["style"] for tag, a in reader.tags if a.get("class", "").startswith("bar")]
        self.assertEqual(bars, ["width:0.0%", "width:50.0%", "width:100.0%"])

    def test_nothing_is_loaded_or_run(self):
        many = tuple(gain(k, 10.0**-k) for k in range(1, 41))
        hostile = finding(
            problem=HOSTILE, severity='x" onclick="y', title=HOSTILE, cause=HOSTILE, note=HOSTILE,
            gains=(dataclasses.replace(gain(1, 1.0), layer=HOSTILE), *many),
            remedy=backprobe.Remedy(HOSTILE, HOSTILE, (backprobe.Edit(HOSTILE, HOSTILE),), HOSTILE,
                                    f"+{HOSTILE}\n-{HOSTILE}\n@@{HOSTILE}\n {HOSTILE}"),
        )  # fmt: skip
        text = dataclasses.replace(hostile, consequences=(hostile,))._repr_html_()
        reader = read(text)
        allowed = {"style", "div", "h4", "b", "p", "span", "table", "tr", "th", "td", "details",
                   "summary", "pre", "code"}  # fmt: skip
        self.assertLessEqual({tag for tag, _ in reader.tags}, allowed)
        attributes = {name for _, a in reader.tags for name in a}
        self.assertLessEqual(attributes, {"class", "style"})
        for _, a in reader.tags:
            self.assertRegex(a.get("class", ""), r"^[a-z ]*$")
            self.assertRegex(a.get("style", "width:1.0%"), r"^width:[\d.]+%$")
        self.assertNotRegex(text, r"url\(|@import|https?:")
        self.assertNotRegex(text, "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]")
        self.assertIn("<script>alert('x')</script>", reader.seen)

    def test_light_and_dark(self):
        self.assertIn("prefers-color-scheme:dark", finding()._repr_html_())


if __name__ == "__main__":
    unittest.main()
