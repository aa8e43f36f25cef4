# SPDX-License-Identifier: Apache-2.0
"""Help, manual page, completion, explain and version: all from the tables of options."""

import re
import subprocess
import unittest

from support import CommandTest

COMMANDS = ["demo", "train", "predict", "check", "show", "report", "serve", "diff", "explain", "version",
            "help", "completion"]


class Help(CommandTest):
    def test_overview(self):
        for arguments in (["help"], ["--help"], ["-h"]):
            self.assert_expected("help.txt", self.command(*arguments).stdout)
        result = self.command(code=2)
        self.assertEqual(result.stdout, "")
        self.assert_expected("help.txt", result.stderr)

    def test_each_command(self):
        for name in COMMANDS:
            by_option = self.command(name, "--help").stdout
            self.assert_expected(f"help-{name}.txt", by_option)
            self.assertEqual(by_option, self.command("help", name).stdout)
            self.assertEqual(by_option, self.command(name, "-h", "and", "more").stdout)
            for line in by_option.splitlines():
                self.assertLessEqual(len(line), 100)

    def test_overview_lists_every_command(self):
        overview = self.command("help").stdout
        self.assertEqual(re.findall(r"^  ([a-z]+) ", overview, re.M), COMMANDS)

    def test_manual_page(self):
        page = self.command("help", "--man").stdout
        self.assertTrue(page.startswith(".TH BACKPROBE 1"))
        for name in COMMANDS:
            self.assertIn(f'.SS "backprobe {name}', page)
            help_text = self.command(name, "--help").stdout
            for option in re.findall(r"--(?:\[no-\])?[a-z]+", help_text.split("options:")[1]):
                self.assertIn(option.replace("-", "\\-"), page)
        for line in page.splitlines():  # a line that begins with a dot is a request
            if line.startswith((".", "'")):
                self.assertRegex(line, r"^\.(TH|SH|SS|TP|PP|nf|fi|RS|RE)\b")
        self.assertTrue(page.isascii())

    def test_completion(self):
        script = self.command("completion", "bash").stdout
        (self.folder / "completion.sh").write_text(script)

        def complete(*words):
            quoted = " ".join(f"'{word}'" for word in words)
            test = (f"source ./completion.sh; COMP_WORDS=({quoted}); "
                    f"COMP_CWORD={len(words) - 1}; _backprobe; echo \"${{COMPREPLY[@]}}\"")
            done = subprocess.run(["bash", "-c", test], cwd=self.folder, text=True, check=True,
                                  capture_output=True, env=self.environment)
            return done.stdout.split()

        self.write("net.yaml", "")
        self.assertEqual(complete("backprobe", "tr"), ["train"])
        self.assertEqual(complete("backprobe", "train", "--ep"), ["--epochs"])
        self.assertEqual(complete("backprobe", "train", "--no-"), ["--no-watch"])
        self.assertEqual(complete("backprobe", "train", "n"), ["net.yaml"])
        self.assertEqual(complete("backprobe", "check", "--format", "js"), ["json", "jsonl"])
        self.assertEqual(complete("backprobe", "explain", "vani"), ["vanishing-gradient"])

    def test_explain(self):
        listed = self.command("explain").stdout
        names = re.findall(r"^([a-z-]+) ", listed, re.M)
        self.assertIn("vanishing-gradient", names)
        self.assertIn("exploding-gradient", names)
        for name in names:
            page = self.command("explain", name).stdout
            self.assertTrue(page.startswith(f"{name}\n\n"))
            self.assertIn("What helps", page)
        self.fails("explain", "vanishing",
                   message=["unknown problem 'vanishing': did you mean 'vanishing-gradient'?",
                            "'backprobe explain' lists them"])
        self.fails("explain", "zzz", message=["unknown problem 'zzz'",
                                              "'backprobe explain' lists them"])

    def test_version(self):
        version = self.command("version").stdout
        self.assertRegex(version, r"^backprobe \d+\.\d+\.\d+\n$")
        self.assertEqual(self.command("--version").stdout, version)
        verbose = self.command("version", "--verbose").stdout
        self.assertTrue(verbose.startswith(version))
        for word in ("compiler", "blas", "processor"):
            self.assertRegex(verbose, rf"(?m)^{word} +\S")

    def test_cpu_level(self):
        """BP_CPU takes levels away; every machine has the plain one."""
        verbose = self.command("version", "--verbose", environment={"BP_CPU": "scalar"}).stdout
        self.assertRegex(verbose, r"(?m)^processor .* by scalar$")
        self.environment["BP_CPU"] = "mmx"
        self.fails("version", message="BP_CPU is 'mmx': expected scalar, avx2, avx512 or neon")


if __name__ == "__main__":
    unittest.main()
