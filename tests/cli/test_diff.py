# SPDX-License-Identifier: Apache-2.0
"""`backprobe diff A B`: where two runs part."""

import json
import re
import unittest

from support import HEALTHY, ROOT, VANISHING, CommandTest

KEYS = set(re.findall(r"^\| `([^|]*)` \|", (ROOT / "docs/diff.md").read_text(), re.M))


class Diff(CommandTest):
    def setUp(self):
        super().setUp()
        self.write("net.yaml", HEALTHY)
        self.train("a")

    def train(self, run, *more, every=("--every", "1"), file="net.yaml", code=0):
        self.command("train", file, "--quiet", "--run", run, *every, *more, code=code)

    def document(self, *arguments, code):
        text = self.command("diff", *arguments, "--json", code=code).stdout
        self.assertEqual(text.count("\n"), 1)
        document = json.loads(text)
        documented = {key.removesuffix("[]") for cell in KEYS for key in cell.split("`, `")}
        self.assertLessEqual(set(document), documented)
        self.assertEqual(document["same"], code == 0)
        return document

    def test_same(self):
        self.train("b")
        text = self.command("diff", "a", "b").stdout
        self.assertTrue(text.startswith("A a and B b are the same\n"), text)
        document = self.document("a", "b", code=0)
        self.assertEqual(document["parts"], [])
        self.assertEqual(document["recipe"], [])
        self.assertEqual(document["steps"]["common"], 120)

    def test_same_however_often_it_was_looked_at(self):
        self.train("b", every=("--every", "7"))
        self.assertEqual(self.document("a", "b", code=0)["parts"], [])

    def test_another_seed(self):
        self.train("b", "--seed", "2")
        document = self.document("a", "b", code=1)
        self.assertEqual([s["key"] for s in document["recipe"]], ["seed"])
        first = document["parts"][0]
        self.assertEqual((first["step"], first["phase"]), (0, "data"))
        order = [(part["step"],) for part in document["parts"]]
        self.assertEqual(order, sorted(order))
        self.assertIn("parameters", {part["phase"] for part in document["parts"]})
        text = self.command("diff", "a", "b", code=1).stdout
        self.assertRegex(text, r"^A a and B b part at step 0\n  first     the data: ")
        for line in text.splitlines():
            self.assertLessEqual(len(line), 100)
        self.assertLessEqual(text.count("\n"), 40)

    def test_another_rate(self):
        self.train("b", "--set", "train.learning_rate=0.1000001")
        document = self.document("a", "b", code=1)
        self.assertEqual(document["parts"][0]["phase"], "learning rate")
        losses = [part for part in document["parts"] if part["quantity"] == "loss"]
        self.assertEqual([part["step"] for part in losses], [1])
        self.document("a", "b", "--tolerance", "1%", code=0)
        self.document("a", "b", "--tolerance", "0.0000001%", code=1)

    def test_a_setting_that_changes_nothing(self):
        self.train("b", "--set", "train.clip_norm=1e6")
        document = self.document("a", "b", code=0)
        self.assertEqual([s["key"] for s in document["recipe"]], ["clip_norm"])

    def test_another_length(self):
        self.train("b", "--epochs", "2")
        document = self.document("a", "b", code=1)
        self.assertEqual(document["parts"], [])
        self.assertEqual((document["steps"]["last_a"], document["steps"]["last_b"]), (119, 79))
        text = self.command("diff", "a", "b", code=1).stdout
        self.assertIn(" are the same as far as both go\n", text)
        self.assertIn("A ends at step 119, B at step 79", text.replace("\n            ", " "))

    def test_another_network(self):
        self.write("deep.yaml", VANISHING)
        self.train("b", file="deep.yaml", code=1)
        document = self.document("a", "b", code=1)
        network = document["network"]
        self.assertEqual(network["only_a"], [])
        self.assertEqual(network["only_b"], [f"dense_{i}" for i in range(4, 18)])
        self.assertEqual(network["changed"][0]["settings"][0],
                         {"key": "activation", "a": "relu", "b": "sigmoid"})
        self.assertEqual(document["b"]["findings"][0]["problem"], "vanishing-gradient")
        text = self.command("diff", "a", "b", code=1).stdout
        self.assertRegex(text, r"\n  only in B vanishing-gradient \(error, since step 0\)")
        self.assertIn("  networks  only in B: dense_4, dense_5, dense_6, dense_7 and 10 more", text)

    def test_what_cannot_be_compared(self):
        result = self.command("diff", "a", "none", code=2)
        self.assertEqual(result.stdout, "")
        self.assertIn("backprobe: cannot open none", result.stderr)
        self.fails("diff", "a", "a", "--tolerance", "x", message=[
            "diff: --tolerance: expected a share such as 0.1% or 0.001, got 'x'",
            "try 'backprobe diff --help'"])
        self.fails("diff", "a", message=["diff: expected A B", "try 'backprobe diff --help'"])


if __name__ == "__main__":
    unittest.main()
