# SPDX-License-Identifier: Apache-2.0
"""`backprobe report`, of real runs. A build without the page fails here: tools/page.sh makes it."""

import base64
import html.parser
import json
import os
import re
import shutil
import struct
import subprocess
import unittest
import xml.etree.ElementTree as ElementTree
import zlib

from support import COMMAND, HEALTHY, VANISHING, CommandTest, flatten

ABSENT, FIRST, PER_OCTAVE, MIN_EXPONENT = 65533, 1, 228, -152  # src/record/log16.h
SVG = "{http://www.w3.org/2000/svg}"
EVIL = "<img src=x onerror=alert(1)><!--\"'&]]>"


class Page(html.parser.HTMLParser):
    """What a browser would make of the file: the data, and all that it would run or fetch."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.fetched, self.tags, self.inside = [], [], [], None
        self.feed(text)
        self.close()
        [data] = [body for kind, body in self.scripts if kind == "application/json"]
        self.data = json.loads(data)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        self.inside = tag
        if tag == "script":
            self.scripts.append((values.get("type", ""), ""))
        self.fetched += [values[name] for name in ("src", "href")
                         if name in values and not values[name].startswith("data:")]

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside == "script":
            kind, body = self.scripts[-1]
            self.scripts[-1] = (kind, body + data)


class Tile:
    """docs/page.md, read as the page reads it."""

    def __init__(self, text):
        data = zlib.decompress(base64.b64decode(text, validate=True))
        magic, codec, rows, columns, last, _, _ = struct.unpack_from("<4sIIIqiI", data)
        assert magic == b"BPT1" and codec in (0, 1), (magic, codec)
        self.rows, self.columns, self.last = rows, columns, last
        self.starts = struct.unpack_from(f"<{columns + 1}d", data, 32)
        at, n = 32 + 8 * (columns + 1), rows * columns
        code = "d" if codec else "H"
        size = n * struct.calcsize(code)
        self.mean = struct.unpack_from(f"<{n}{code}", data, at)
        at += 3 * (size + -size % 8)
        self.flags = data[at:at + n]
        assert len(self.flags) == n, (len(self.flags), n)


class Report(CommandTest):
    def train(self, text, name, *more, code=None):
        self.write(f"{name}.yaml", text)
        code = (0 if text == HEALTHY else 1) if code is None else code
        self.command("train", f"{name}.yaml", "--quiet", "--every", "1", "--run", name, *more,
                     code=code)

    def page(self, path):
        return Page((self.folder / path).read_text(encoding="utf-8"))

    def sizes(self, path):
        """Of the file, and of what is not its data."""
        text = (self.folder / path).read_bytes()
        data = text.index(b'id="backprobe-data">')
        return len(text), len(text) - (text.index(b"</script>", data) - data)

    # --- html ---------------------------------------------------------------------------------

    def test_a_run(self):
        """Findings as `check` tells them, every step of every layer, and nothing from elsewhere."""
        self.train(VANISHING, "deep")
        before = self.files("deep")
        result = self.command("report", "deep")
        self.assertRegex(result.stdout, r"^deep\.html: \d+(\.\d+)? kB\n$")
        self.assertEqual(result.stderr, "")
        self.assertEqual(self.files("deep"), before)  # nothing is left there
        page = self.page("deep.html")
        self.assertEqual(page.fetched, [])
        self.assertEqual(page.data["schema"], "backprobe.page/1")
        self.assertEqual(page.data["note"], "")
        [run] = page.data["runs"]
        self.assertEqual(run["run"]["name"], "deep")
        checked = json.loads(self.command("check", "deep", "--format", "json", code=1).stdout)
        self.assertEqual(run["run"]["findings"]["findings"], checked["findings"])
        for name in ("loss", "gradient_rms", "gain", "error_norm", "update_ratio", "weight_rms",
                     "validation_loss", "non_finite", "learning_rate", "activation_rms"):
            self.assertIn(name, run["tiles"])
        steps = checked["steps"]["last"] + 1
        tile = Tile(run["tiles"]["gradient_rms"])
        self.assertEqual((tile.rows, tile.columns, tile.last), (18, steps, steps - 1))
        self.assertEqual(tile.starts, tuple(range(steps + 1)))
        self.assertEqual(set(tile.mean[:steps]), {ABSENT})  # the input has no gradient
        self.assertEqual(set(tile.flags), {0})
        early, late = (tile.mean[row * steps + steps - 1] for row in (1, 17))
        decades = (late - early) / PER_OCTAVE * 0.30103
        self.assertGreater(decades, 8)  # the gradient that vanished
        loss = Tile(run["tiles"]["loss"])
        self.assertEqual((loss.rows, loss.columns), (1, steps))
        self.assertAlmostEqual(loss.mean[-1], checked["steps"]["last"] and
                               checked["loss"]["last"], delta=0.2)

    def test_histograms(self):
        """Of every layer's gradients and weights, as shares of all elements."""
        self.train(VANISHING, "deep")
        self.command("report", "deep")
        [run] = self.page("deep.html").data["runs"]
        self.assertEqual(sorted(run["histograms"]), sorted(run["run"]["histograms"]))
        self.assertIn("gradient", run["histograms"])
        for layers in run["histograms"].values():
            self.assertEqual(sorted(map(int, layers)), list(range(1, 18)))
        tile = Tile(run["histograms"]["gradient"]["1"])
        column = [tile.mean[row * tile.columns] for row in range(tile.rows)]
        shares = [2 ** ((code - FIRST) / PER_OCTAVE + MIN_EXPONENT) if code else 0
                  for code in column]
        self.assertAlmostEqual(sum(shares), 1, delta=0.02)

    def test_histograms_give_way(self):
        """At first to those of layers that findings name, then all of them."""
        self.train(VANISHING.replace("epochs: 2", "epochs: 12"), "deep")
        self.command("report", "deep", "-o", "whole.html")
        whole, page = self.sizes("whole.html")

        named = set(range(1, 15)) | {17}  # by vanishing-gradient, constant-output
        seen = []
        for part in range(19, 5, -2):
            limit = page + (whole - page) * part // 20
            self.command("report", "deep", "-o", "small.html", "--max-size", str(limit))
            data = self.page("small.html").data
            [run] = data["runs"]
            layers = set(map(int, run["histograms"].get("gradient", {})))
            seen.append(len(layers))
            if layers == named:
                self.assertIn("histograms only of layers that findings name", data["note"])
            elif not layers:
                self.assertIn("without histograms", data["note"])
                self.assertEqual((run["histograms"], run["run"]["histograms"]), ({}, []))
            else:
                self.assertNotIn("histograms", data["note"])
        self.assertEqual(sorted(set(seen), reverse=True), [17, 15, 0], seen)

    def test_two_runs(self):
        self.train(HEALTHY, "a")
        self.train(HEALTHY, "b", "--seed", "7")
        self.command("report", "a", "b/")
        first, second = self.page("a-b.html").data["runs"]
        self.assertEqual([run["run"]["name"] for run in (first, second)], ["a", "b"])
        self.assertNotEqual(first["run"]["id"], second["run"]["id"])
        self.assertNotEqual(first["tiles"]["loss"], second["tiles"]["loss"])

    def test_two_runs_of_one_name(self):
        for place in ("x", "y"):
            (self.folder / place).mkdir()
        self.train(HEALTHY, "net")
        shutil.copytree(self.folder / "net", self.folder / "x" / "net")
        os.rename(self.folder / "net", self.folder / "y" / "net")
        self.command("report", "x/net", "y/net", "-o", "two.html")
        self.assertEqual([run["run"]["name"] for run in self.page("two.html").data["runs"]],
                         ["x/net", "y/net"])

    def test_the_budget_is_kept(self):
        """Coarser, then without what is least needed; the note says so."""
        self.train(VANISHING.replace("epochs: 2", "epochs: 50"), "deep")
        self.command("report", "deep", "-o", "whole.html")
        whole, page = self.sizes("whole.html")
        steps = Tile(self.page("whole.html").data["runs"][0]["tiles"]["loss"]).last
        for share in (0.9, 0.5, 0.05):
            limit = page + int((whole - page) * share)
            result = self.command("report", "deep", "-o", "small.html", "--max-size", str(limit))
            self.assertLessEqual((self.folder / "small.html").stat().st_size, limit)
            data = self.page("small.html").data
            self.assertRegex(data["note"], r"^up to \d+ steps share a column")
            self.assertEqual(result.stderr, f"backprobe: small.html: {data['note']}\n")
            [run] = data["runs"]
            tile = Tile(run["tiles"]["loss"])
            self.assertLessEqual(tile.columns, run["run"]["view_columns"])
            self.assertGreater(tile.starts[-1], steps)
            self.assertLess(tile.starts[-1], steps * 1.1)
            for name in run["tiles"]:
                self.assertNotRegex(data["note"], rf"\b{name}\b")
        self.assertIn("without ", data["note"])

    def test_a_budget_that_nothing_keeps(self):
        self.train(HEALTHY, "net")
        result = self.command("report", "net", "--max-size", "1K", code=2)
        self.assertRegex(result.stderr, r"^backprobe: the report cannot be as small as 1024 bytes: "
                                        r"the page alone has \d+\n$")
        self.assertNotIn("net.html", self.files())

    def test_names_with_markup(self):
        layer = "</script></svg><!--<script>"
        self.write("net.yaml", HEALTHY.replace(
            "2 x dense 16 relu", f"{{dense: 16, activation: relu, name: '{layer}'}}"))
        self.command("train", "net.yaml", "--quiet", "--every", "1", "--run", "plain")
        os.rename(self.folder / "plain", self.folder / EVIL)
        self.command("report", EVIL, "-o", "evil.html")
        clean = self.page("evil.html")
        self.assertEqual(clean.data["runs"][0]["run"]["name"], EVIL)
        self.assertNotIn("img", clean.tags)
        network = clean.data["runs"][0]["run"]["findings"]["network"]
        self.assertEqual(network["layers"][0]["name"], layer)
        self.command("report", EVIL, "-o", "evil.svg")
        picture = ElementTree.parse(self.folder / "evil.svg").getroot()
        self.assertEqual(picture.findtext(f"{SVG}title"), f"{EVIL}: gradient_rms")
        self.assertIn(f"1 {layer}", [text.text for text in picture.iter(f"{SVG}text")])

    # --- where it goes --------------------------------------------------------------------------

    def test_standard_output(self):
        self.train(HEALTHY, "net")
        before = self.files()
        written = self.command("report", "net", "-o", "-").stdout
        self.assertEqual(Page(written).data["runs"][0]["run"]["name"], "net")
        self.assertEqual(self.files(), before)

    def test_the_old_file_stands_when_it_cannot(self):
        self.train(HEALTHY, "net")
        self.write("net.html", "old")
        self.command("report", "nowhere", "-o", "net.html", code=2)
        self.command("report", "net", "-o", "net.html", "--max-size", "1K", code=2)
        self.assertEqual((self.folder / "net.html").read_text(), "old")
        self.command("report", "net")  # and is replaced when it can
        self.assertEqual(self.page("net.html").data["runs"][0]["run"]["name"], "net")
        self.command("report", "net", "-o", "nowhere/net.html", code=2)
        self.assertEqual(self.files(), ["net", "net.html", "net.yaml"])

    def test_a_folder_that_is_read_only(self):
        self.train(HEALTHY, "net")
        os.chmod(self.folder / "net", 0o500)
        self.addCleanup(os.chmod, self.folder / "net", 0o700)
        self.command("report", "net")

    def test_a_damaged_log(self):
        """As `check` reads it: what is whole is shown."""
        self.train(HEALTHY, "net")
        [log] = (self.folder / "net").glob("*.bplog")
        data = bytearray(log.read_bytes())
        data[len(data) // 2] ^= 255
        log.write_bytes(data)
        self.command("report", "net")
        [run] = self.page("net.html").data["runs"]
        self.assertGreater(run["run"]["findings"]["damage"]["damaged_places"], 0)
        self.assertEqual(Tile(run["tiles"]["loss"]).last, 119)

    # --- svg --------------------------------------------------------------------------------------

    def test_svg(self):
        self.train(VANISHING, "deep")
        result = self.command("report", "deep", "-o", "map.svg")
        self.assertRegex(result.stdout, r"^map\.svg: \d+(\.\d+)? kB\n$")
        picture = ElementTree.parse(self.folder / "map.svg").getroot()
        texts = ["".join(text.itertext()) for text in picture.iter(f"{SVG}text")]
        self.assertIn("17 dense_17", texts)
        self.assertIn("step", texts)
        self.assertTrue(any(text.startswith("error layers 1–") for text in texts), texts)
        self.command("report", "deep", "--series", "gain", "-f", "svg")
        picture = ElementTree.parse(self.folder / "deep.svg").getroot()
        self.assertEqual(picture.findtext(f"{SVG}title"), "deep: gain")

    # --- md ---------------------------------------------------------------------------------------

    def test_markdown(self):
        """What `check` says, then the map, the losses and the layers as text."""
        self.train(VANISHING, "deep")
        result = self.command("report", "deep", "-o", "issue.md")
        self.assertRegex(result.stdout, r"^issue\.md: \d+(\.\d+)? kB\n$")
        text = (self.folder / "issue.md").read_text()
        checked = self.command("check", "deep", "--format", "markdown", code=1).stdout
        self.assertTrue(text.startswith(checked), text)
        [picture] = re.findall(r"^```text\n(.*?)^```$", text, re.M | re.S)
        self.assertIn("17 dense_17 ", picture)
        self.assertIn("× validation loss", picture)
        self.assertIn("① error[vanishing-gradient]: layers 1–", picture)
        self.assertRegex(text, r"\n\| 1 \| `dense_1` \| \S+e-\d+ \| \S+e-\d+ \| – \| – \| ")
        self.assertEqual(text.count("\n| 17 | `dense_17` |"), 2)  # of the finding, of all layers
        self.assertTrue(text.endswith("\n</details>\n"))
        gain = self.command("report", "deep", "-f", "md", "-o", "-", "-s", "gain").stdout
        self.assertIn("\n  gain: ", gain)
        both = self.command("report", "deep", "deep", "-f", "md", "-o", "-").stdout
        self.assertEqual(both.count("\n## Backprobe: "), 1)
        self.assertEqual(both.count("```text\n"), 2)

    # --- what is refused --------------------------------------------------------------------------

    def test_errors(self):
        self.train(HEALTHY, "net")
        self.fails("report", "net", "--series", "gian", "-f", "svg",
                   message="net: the run has no series 'gian' of layers: did you mean 'gain'?")
        self.fails("report", "net", "--series", "loss", "-f", "svg",
                   message="net: the run has no series 'loss' of layers")
        self.fails("report", "net", "net", "-f", "svg", message=[
            "report: an svg shows one run, got two", "try 'backprobe report --help'"])
        self.fails("report", "net", "--max-size", "big", message=[
            "report: --max-size: expected a size such as 500K or 5M, got 'big'",
            "try 'backprobe report --help'"])
        self.fails("report", message=["report: expected RUN [RUN]",
                                      "try 'backprobe report --help'"])
        self.assertEqual(self.files(), ["net", "net.yaml"])

    def test_a_run_without_a_step(self):
        """A log that was cut behind its model: there is nothing to draw."""
        self.train(HEALTHY, "net")
        [log] = (self.folder / "net").glob("*.bplog")
        whole = log.read_bytes()
        (self.folder / "empty").mkdir()
        for n_bytes in range(200, len(whole), 100):
            (self.folder / "empty" / log.name).write_bytes(whole[:n_bytes])
            if "0 steps" in subprocess.run([COMMAND, "check", "empty"], cwd=self.folder, text=True,
                                           capture_output=True, check=False).stdout:
                break
        else:
            self.fail("no cut leaves the model alone")
        self.command("report", "empty")
        self.assertEqual(self.page("empty.html").data["runs"][0]["tiles"], {})
        text = self.command("report", "empty", "-f", "md", "-o", "-").stdout
        self.assertIn("no findings · 0 steps", text)
        self.fails("report", "empty", "-f", "svg",
                   message=["empty: the run has nothing to draw: no layer was measured"])


if __name__ == "__main__":
    unittest.main()
