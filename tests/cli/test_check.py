# SPDX-License-Identifier: Apache-2.0
"""`backprobe check`: findings from logs, whole and damaged; text, JSON, exit codes."""

import json
import shutil
import unittest

from schema import validate
from support import EXPLODING, HEALTHY, ROOT, VANISHING, CommandTest, flatten

GOLDEN = ROOT / "tests" / "golden" / "runlog-1"
SCHEMA = json.loads((ROOT / "docs" / "findings.schema.json").read_text())


class Check(CommandTest):
    def train(self, name, text, code):
        self.write(f"{name}.yaml", text)
        self.command("train", f"{name}.yaml", "--quiet", "--every", "1", "--run", name, code=code)

    def document(self, *paths, code):
        lines = self.command("check", *paths, "--format", "json", code=code).stdout.splitlines()
        documents = [json.loads(line) for line in lines]
        for document in documents:
            self.assertEqual(list(validate(document, SCHEMA, SCHEMA)), [])
        return documents

    def test_golden_log(self):
        """A log of a released format, in every byte of the report."""
        shutil.copytree(GOLDEN, self.folder / "golden")
        result = self.command("check", "golden", code=1)
        self.assert_expected("check-golden.txt", result.stdout)
        self.assertEqual(result.stderr, "")
        of_file = self.command("check", "golden/log-000001.bplog", code=1).stdout
        self.assertEqual(of_file.replace("golden/log-000001.bplog", "golden"), result.stdout)
        [document] = self.document("golden", code=1)
        self.assert_expected("check-golden.json", json.dumps(
            {**document, "version": "x"}, indent=1, ensure_ascii=False) + "\n")

    def test_healthy(self):
        self.train("net", HEALTHY, 0)
        result = self.command("check", "net")
        self.assertEqual(result.stdout.count("\n"), 1)
        self.assertRegex(result.stdout, r"^net: no findings · 120 steps · loss [\d.]+ → [\d.]+ · "
                                        r"error signals keep within ×[\d.]+ over depth · "
                                        r"watching took [\d.]+ s, [\d.]+% of the time\n$")
        self.assertEqual(result.stderr, "")
        [document] = self.document("net", code=0)
        self.assertEqual((document["findings"], document["end"]), ([], "finished"))
        self.assertEqual(document["steps"], {"first": 0, "last": 119, "records": 120})
        watching = document["watching"]
        self.assertEqual([watching[key] for key in ("every", "budget_fraction", "full_steps",
                                                    "light_steps")], [1, None, 120, 0])
        self.assertLess(0, watching["watch_seconds"])
        self.assertLess(watching["watch_seconds"], watching["run_seconds"])

    def test_watched_by_budget(self):
        self.write("net.yaml", HEALTHY)
        self.command("train", "net.yaml", "--quiet", "--budget", "1%", "--run", "net")
        [document] = self.document("net", code=0)
        watching = document["watching"]
        self.assertEqual(watching["budget_fraction"], 0.01)
        self.assertIsNone(watching["every"])
        self.assertEqual(watching["full_steps"] + watching["light_steps"], 120)
        self.assertGreater(watching["light_steps"], 0)  # to learn what a plain step takes
        self.assertIn(" steps in full\n", self.command("check", "net").stdout)

    def test_vanishing(self):
        self.train("deep", VANISHING, 1)
        result = self.command("check", "deep", code=1)
        for part in ("error[vanishing-gradient]: layers 1–", "share of learning", "  cause: ",
                     "  help:  use tanh with Xavier initialisation",
                     "line 4: -net: [16 x dense 16 sigmoid, dense 10]",
                     "line 5: -init: pytorch_default", "+init: xavier",
                     "backprobe explain vanishing-gradient", "exploding gradient", "● "):
            self.assertIn(part, result.stdout)
        [document] = self.document("deep", code=1)
        root = document["findings"][0]
        self.assertEqual(root["problem"], "vanishing-gradient")
        self.assertEqual(root["layers"][0], {"id": 1, "name": "dense_1"})
        self.assertEqual(len(root["gains"]), 17)
        self.assertEqual(root["remedy"]["edits"][-1], {"key": "init", "value": "xavier"})
        self.assertEqual(root["remedy"]["diff"], [
            {"added": False, "line": 4, "text": "net: [16 x dense 16 sigmoid, dense 10]"},
            {"added": True, "line": 4, "text": "net: [16 x dense 16 tanh, dense 10]"},
            {"added": False, "line": 5, "text": "init: pytorch_default"},
            {"added": True, "line": 5, "text": "init: xavier"}])

    def test_live_and_replayed_findings_agree(self):
        for name, text, code in (("deep", VANISHING, 1), ("big", EXPLODING, 1),
                                 ("net", HEALTHY, 0)):
            self.train(name, text, code)
            live = json.loads((self.folder / name / "findings.json").read_text())
            self.assertEqual(list(validate(live, SCHEMA, SCHEMA)), [])
            [replayed] = self.document(name, code=code)
            self.assertEqual(live["findings"], replayed["findings"])

    def test_exploding(self):
        self.train("big", EXPLODING, 1)
        [document] = self.document("big", code=1)
        problems = [finding["problem"] for finding in flatten(document["findings"])]
        self.assertEqual(len(document["findings"]), 1, "consequences hang under their cause")
        self.assertIn("exploding-gradient", problems)
        self.assertIn("non-finite", problems)
        self.assertEqual(document["end"], "stopped")

    def test_several_paths(self):
        self.train("net", HEALTHY, 0)
        self.train("deep", VANISHING, 1)
        result = self.command("check", "net", "deep", code=1)
        self.assertIn("net: no findings", result.stdout)
        self.assertRegex(result.stdout, r"(?m)^deep: \d findings? ")
        self.assertEqual([d["run"] for d in self.document("net", "deep", code=1)],
                         ["net", "deep"])
        result = self.command("check", "deep", "none", "net", code=2)
        self.assertRegex(result.stdout, r"(?m)^deep: \d findings? ")
        self.assertIn("net: no findings", result.stdout)
        self.assertIn("cannot open none", result.stderr)

    def test_output_file(self):
        self.train("net", HEALTHY, 0)
        result = self.command("check", "net", "--output", "report.txt")
        self.assertEqual(result.stdout, "")
        self.assertEqual((self.folder / "report.txt").read_text(),
                         self.command("check", "net").stdout)
        result = self.command("check", "net", "-o", "no/such/file", code=2)
        self.assertIn("no/such/file", result.stderr)

    def test_network_file_is_optional(self):
        self.train("deep", VANISHING, 1)
        (self.folder / "deep" / "network.yaml").unlink()
        self.assertIn("net[0].activation: tanh",
                      self.command("check", "deep", code=1).stdout)
        self.assertIsNone(self.document("deep", code=1)[0]["findings"][0]["remedy"]["diff"])
        (self.folder / "deep" / "network.yaml").write_bytes(b"\xff{[\x1b" * 1000)
        result = self.command("check", "deep", code=1)
        self.assertIn("net[0].activation: tanh", result.stdout)
        self.assertNotIn("\x1b", result.stdout)


class Damage(CommandTest):
    def setUp(self):
        super().setUp()
        self.write("net.yaml", HEALTHY)
        self.command("train", "net.yaml", "--quiet", "--run", "run", "--epochs", "1")
        self.log = self.folder / "run" / "log-000001.bplog"
        self.whole = self.log.read_bytes()

    def test_flipped_bit(self):
        middle = len(self.whole) // 2
        self.log.write_bytes(self.whole[:middle] + bytes([self.whole[middle] ^ 4]) +
                             self.whole[middle + 1:])
        result = self.command("check", "run")
        self.assertIn("run: no findings · 39 steps", result.stdout)
        self.assertRegex(result.stderr, r"^backprobe: run: the log is damaged: 1 record lost, 1 "
                                        r"damaged place \(\d+ bytes\); first: run/log-000001.bplog")

    def test_cut(self):
        self.log.write_bytes(self.whole[:-20 - len(self.whole) // 3])
        result = self.command("check", "run")
        self.assertIn("no end recorded: still running or killed", result.stdout)
        self.assertIn("the last record is cut", result.stderr)

    def test_every_length_is_survived(self):
        for length in range(0, len(self.whole), max(1, len(self.whole) // 40)):
            self.log.write_bytes(self.whole[:length])
            result = self.command_of_any_code("check", "run")
            self.assertIn(result.returncode, (0, 2))
            self.assertTrue(result.stdout or result.stderr)

    def command_of_any_code(self, *arguments):
        import subprocess

        from support import COMMAND
        result = subprocess.run([COMMAND, *arguments], cwd=self.folder, capture_output=True,
                                text=True, check=False, timeout=60)
        self.assert_sound(result.stderr)
        return result


if __name__ == "__main__":
    unittest.main()
