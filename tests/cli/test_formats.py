# SPDX-License-Identifier: Apache-2.0
"""`backprobe check --format`, valid by the schemas of others, and which findings count. Needs
jsonschema and xmlschema, which ./check installs: without them these tests fail."""

import json
import unittest
import xml.etree.ElementTree as ElementTree

from support import EXPLODING, HEALTHY, ROOT, CommandTest

SCHEMAS = ROOT / "tests" / "schemas"
GOLDEN = str(ROOT / "tests" / "golden" / "runlog-1")
FORMATS = ("text", "json", "jsonl", "github", "markdown", "sarif", "junit")


def sarif_errors(document):
    import jsonschema

    schema = json.loads((SCHEMAS / "sarif-2.1.0-rtm.5.json").read_text())
    return [e.message for e in jsonschema.Draft4Validator(schema).iter_errors(document)]


def junit_errors(text):
    import xmlschema

    schema = xmlschema.XMLSchema(str(SCHEMAS / "junit-10.xsd"))
    return [e.reason for e in schema.iter_errors(text)]


class TheSchemas(unittest.TestCase):
    def test_they_refuse_what_is_wrong(self):
        self.assertEqual(sarif_errors({"version": "2.1.0", "runs": []}), [])
        self.assertNotEqual(sarif_errors({"version": "2.1.0", "runs": [{"results": []}]}), [])
        self.assertEqual(junit_errors("<testsuites/>"), [])
        self.assertNotEqual(junit_errors("<testsuites><testcase name='a'/></testsuites>"), [])


class Formats(CommandTest):
    def setUp(self):
        super().setUp()
        for name, text, code in (("big", EXPLODING, 1), ("net", HEALTHY, 0)):
            self.write(f"{name}.yaml", text)
            self.command("train", f"{name}.yaml", "--quiet", "--every", "1", "--run", name,
                         code=code)

    def check(self, *arguments, code=1):
        return self.command("check", *arguments, code=code).stdout

    def test_sarif(self):
        text = self.check("big", "net", "none", "--format", "sarif", code=2)
        document = json.loads(text)
        self.assertEqual(sarif_errors(document), [])
        big, net, none = document["runs"]
        self.assertEqual([r["ruleId"] for r in big["results"]],
                         ["weights-too-large", "exploding-gradient", "non-finite"])
        rules = big["tool"]["driver"]["rules"]
        for result in big["results"]:
            self.assertEqual(rules[result["ruleIndex"]]["id"], result["ruleId"])
            self.assertEqual(result["level"], "error")
            self.assertEqual(result["locations"][0]["physicalLocation"],
                             {"artifactLocation": {"uri": "big/network.yaml"},
                              "region": {"startLine": 3}})
        page = self.command("explain", "exploding-gradient").stdout
        self.assertIn(page.split("\n\n", 1)[1].strip()[:200], rules[1]["help"]["text"])
        self.assertEqual(net["results"], [])
        self.assertTrue(net["invocations"][0]["executionSuccessful"])
        self.assertFalse(none["invocations"][0]["executionSuccessful"])
        self.assertEqual(len({run["automationDetails"]["id"] for run in document["runs"]}), 3)

    def test_the_same_alert_in_another_run(self):
        self.command("train", "big.yaml", "--quiet", "--every", "1", "--run", "again", "--seed",
                     "7", code=1)
        prints = [json.loads(self.check(run, "--format", "sarif"))["runs"][0]["results"][0]
                  ["partialFingerprints"] for run in ("big", "again")]
        self.assertEqual(prints[0], prints[1])

    def test_junit(self):
        text = self.check("big", "net", "none", "--format", "junit", code=2)
        self.assertEqual(junit_errors(text), [])
        big, net, none = ElementTree.fromstring(text)
        self.assertEqual(len(big.findall("testcase/failure")), 3)
        self.assertEqual(big.get("failures"), "3")
        self.assertEqual(net.get("failures"), "0")
        self.assertEqual(len(net.findall("testcase")), int(net.get("tests")))
        self.assertEqual(len(none.findall("testcase/error")), 1)
        mild = ElementTree.fromstring(
            self.check("big", "--format", "junit", "--fail-on", "never", code=0))
        self.assertEqual(len(mild.findall("testsuite/testcase/failure")), 0)
        self.assertEqual(len(mild.findall("testsuite/testcase/system-out")), 3)

    def test_github(self):
        text = self.check("big", "net", "none", "--format", "github", "--network", "big.yaml",
                          code=2)
        first, last = text.splitlines()
        self.assertTrue(first.startswith(
            "::error file=big.yaml,line=3,title=weights-too-large in big::"), first)
        self.assertTrue(last.startswith("::error title=cannot check none::"), last)

    def test_jsonl(self):
        lines = [json.loads(line)
                 for line in self.check("big", "net", "--format", "jsonl").splitlines()]
        self.assertEqual([line["run"] for line in lines], ["big"] * 3)
        self.assertEqual([line["parent"] for line in lines], [None, 0, 1])
        [whole] = self.check("big", "--format", "json").splitlines()
        root = json.loads(whole)["findings"][0]
        root.pop("consequences")
        self.assertEqual(lines[0]["finding"], root)

    def test_markdown(self):
        text = self.check("big", "net", "--format", "markdown")
        self.assertEqual(text.count("\n### "), 1)
        self.assertIn("```diff\n@@ line 4 @@\n-init: {he: {gain: 3}}\n+init: he\n```", text)
        self.assertIn("## Backprobe: `net`\n\nno findings · 120 steps", text)

    def test_golden_log_in_every_format(self):
        for name in FORMATS[2:]:
            text = self.check(GOLDEN, "--format", name).replace(GOLDEN, "golden")
            text = text.replace(GOLDEN[1:].replace("/", "%2F"), "golden")
            if name == "sarif":  # the pages of all problems stand elsewhere
                [run] = json.loads(text)["runs"]
                text = json.dumps(run["results"], indent=1, ensure_ascii=False) + "\n"
            self.assert_expected(f"check-golden.{name}", text)

    def test_one_screen_for_one_cause(self):
        self.write("thousand.yaml", "version: 1\ndata: digits\n"
                   "net: [999 x dense 8 sigmoid, dense 10]\ntrain: {epochs: 1}\n")
        self.command("train", "thousand.yaml", "--quiet", "--every", "1", "--run", "thousand",
                     code=1)
        for run in ("big", "thousand"):
            first, *lines = self.check(run).splitlines()
            self.assertTrue(first.startswith(f"{run}: "))
            self.assertIn(len(lines), range(20, 40))
            self.assertEqual([line for line in lines if len(line) > 100], [])
        self.assertEqual(self.check("net", code=0).count("\n"), 1)


class Chosen(CommandTest):
    def setUp(self):
        super().setUp()
        self.write("big.yaml", EXPLODING)
        self.command("train", "big.yaml", "--quiet", "--every", "1", "--run", "big", code=1)

    def problems(self, *arguments, code=1):
        [line] = self.command("check", "big", "--format", "json", *arguments,
                              code=code).stdout.splitlines()
        document = json.loads(line)

        def nested(findings):
            return [(f["problem"], nested(f["consequences"])) for f in findings]

        return nested(document["findings"]), document["ignored"]

    def test_consequences_of_what_is_ignored_are_roots(self):
        chain = [("weights-too-large", [("exploding-gradient", [("non-finite", [])])])]
        self.assertEqual(self.problems(), (chain, 0))
        self.assertEqual(self.problems("--ignore", "weights-too-large"),
                         (chain[0][1], 1))
        self.assertEqual(self.problems("--ignore", "exploding-*"),
                         ([("weights-too-large", [("non-finite", [])])], 1))
        self.assertEqual(self.problems("--select", "non-finite"), ([("non-finite", [])], 2))
        self.assertEqual(self.problems("--ignore", "*-gradient", "--ignore", "non-finite,weights*",
                                       code=0), ([], 3))
        text = self.command("check", "big", "--ignore", "weights-too-large", code=1).stdout
        self.assertIn("big: 2 findings (1 ignored) · ", text)
        self.assertIn("\nerror[exploding-gradient]: ", text)
        text = self.command("check", "big", "--ignore", "*").stdout
        self.assertTrue(text.startswith("big: no findings (3 ignored) · "), text)

    def test_layers(self):
        chain = self.problems()[0]
        self.assertEqual(self.problems("--ignore", "weights-too-large:dense_1"), (chain, 0))
        self.assertEqual(self.problems("--ignore", "weights-too-large:dense_*"),
                         (chain[0][1], 1))
        self.assertEqual(self.problems("--select", "*:dense_2")[0], chain)
        self.assertEqual(self.problems("--select", "*:conv*", code=0), ([], 3))

    def test_what_fails(self):
        for severity, code in (("error", 1), ("warning", 1), ("hint", 1), ("never", 0)):
            self.command("check", "big", "--fail-on", severity, code=code)
        self.command("check", "big", "--fail-on", "error", "--select", "plateau", code=0)
        self.command("check", "big", "none", "--fail-on", "never", code=2)

    def test_train(self):
        """The same options for what is shown and for the exit code; the file is complete."""
        self.command("train", "big.yaml", "--quiet", "--run", "a", "--ignore", "plateau", code=1)
        result = self.command("train", "big.yaml", "--run", "b", "--select", "non-finite", code=1)
        self.assertIn("  findings   1 (2 ignored)\n", result.stdout)
        self.assertNotIn("[exploding-gradient]", result.stdout)
        saved = json.loads((self.folder / "b" / "findings.json").read_text())
        self.assertEqual(saved["ignored"], 0)
        self.assertEqual(saved["findings"][0]["problem"], "weights-too-large")
        self.write("slow.yaml", HEALTHY)
        self.command("train", "slow.yaml", "--run", "c", "--fail-on", "hint")
        self.fails("train", "big.yaml", "--ignore", "x", message=[
            "train: --ignore: unknown problem 'x'; 'backprobe explain' lists them",
            "try 'backprobe train --help'"])

    def test_train_fails_on_what_is_open(self):
        deep = "version: 1\ndata: digits\nnet: [16 x dense 16 sigmoid, dense 10]\n" \
               "init: pytorch_default\ntrain: {learning_rate: 0.1, epochs: 2}\n"
        self.write("deep.yaml", deep)
        for number, (severity, code) in enumerate((("error", 1), ("never", 0))):
            self.command("train", "deep.yaml", "--quiet", "--every", "1", "--run", f"d{number}",
                         "--fail-on", severity, code=code)
        self.command("train", "deep.yaml", "--quiet", "--every", "1", "--run", "d2",
                     "--ignore", "vanishing-gradient:dense_*,stalled-*")

    def test_unknown_problems(self):
        self.fails("check", "big", "--ignore", "dead-unit", message=[
            "check: --ignore: unknown problem 'dead-unit': did you mean 'dead-units'?",
            "try 'backprobe check --help'"])
        self.fails("check", "big", "--select", "plateau,zzz", message=[
            "check: --select: unknown problem 'zzz'; 'backprobe explain' lists them",
            "try 'backprobe check --help'"])


if __name__ == "__main__":
    unittest.main()
