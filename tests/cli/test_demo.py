# SPDX-License-Identifier: Apache-2.0
"""`backprobe demo`, whole."""

import json
import re
import unittest

from support import ROOT, CommandTest


class Demo(CommandTest):
    def test_demo(self):
        """What it shows, that its networks are the examples, and that nothing is staged."""
        result = self.command("demo")
        self.assertEqual(result.stderr, "")
        output = result.stdout
        for part in ("error[vanishing-gradient]: layers 1–", "exploding-gradient]", "non-finite]",
                     "runs/demo-1/vanishing-mended: no findings",
                     "runs/demo-1/exploding-mended: no findings",
                     "runs/demo-1/healthy: no findings", "+net: [20 x dense 64 tanh, dense 10]"):
            self.assertIn(part, output)
        pairs = re.findall(r"digits: ([\d.]+) before → ([\d.]+) after", output)
        self.assertEqual(len(pairs), 2)
        for before, after in pairs:
            self.assertLess(float(before), 0.2)
            self.assertGreater(float(after), 0.9)
        demo = self.folder / "runs" / "demo-1"
        for name in ("vanishing", "exploding", "healthy"):
            self.assertEqual((demo / f"{name}.yaml").read_text(),
                             (ROOT / "examples" / f"{name}.yaml").read_text())
        mended = (demo / "vanishing-mended.yaml").read_text()
        self.assertTrue(mended.startswith("# Twenty sigmoid layers"))
        self.command("train", "runs/demo-1/exploding.yaml", "-q", "--every", "1", "--run", "again",
                     code=1)
        checked = self.command("check", "again", code=1).stdout
        checked = re.sub(r" · watching took [\d.]+ s, [\d.]+% of the time", "", checked)
        self.assertIn(checked.replace("again: ", "runs/demo-1/exploding: ", 1), output)
        live = json.loads((demo / "exploding" / "findings.json").read_text())
        again = json.loads((self.folder / "again" / "findings.json").read_text())
        self.assertEqual(live["findings"], again["findings"])

    def test_leaves_nothing_when_asked(self):
        self.command("demo", "--no-keep", "--run", "gone")
        self.assertEqual(self.files(), [])

    def test_folder_in_use(self):
        (self.folder / "used").mkdir()
        self.write("used/precious", "x")
        self.fails("demo", "--no-keep", "--run", "used",
                   message="used: expected a new or empty folder, found one in use")
        self.assertEqual(self.files("used"), ["precious"])


if __name__ == "__main__":
    unittest.main()
