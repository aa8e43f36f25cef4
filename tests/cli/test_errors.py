# SPDX-License-Identifier: Apache-2.0
"""Bad command lines, bad network files, folders that cannot be: place, expectation, exit code 2,
nothing left behind."""

import unittest

from support import HEALTHY, CommandTest


class CommandLine(CommandTest):
    def usage(self, command, *arguments, message):
        self.fails(command, *arguments,
                   message=[f"{command}: {message}", f"try 'backprobe {command} --help'"])

    def test_unknown_command(self):
        self.fails("trian", message=["unknown command 'trian': did you mean 'train'?",
                                     "try 'backprobe help'"])
        self.fails("xyzzy", message=["unknown command 'xyzzy'", "try 'backprobe help'"])
        self.fails("--versoin", message=["unknown option '--versoin': did you mean '--version'?",
                                         "try 'backprobe help'"])
        self.fails("help", "chekc", message="unknown command 'chekc': did you mean 'check'?")
        self.fails("completion", "zsh", message="unknown shell 'zsh'")

    def test_unknown_option(self):
        self.usage("train", "--epohcs", "3", "n.yaml",
                   message="unknown option '--epohcs': did you mean '--epochs'?")
        self.usage("train", "--no-wacth", "n.yaml",
                   message="unknown option '--no-wacth': did you mean '--no-watch'?")
        self.usage("train", "--no-epochs", "n.yaml",
                   message="unknown option '--no-epochs': did you mean '--epochs'?")
        for share in ("0", "101%", "x", "%", "-1%", "nan"):
            self.usage("train", "n.yaml", f"--budget={share}",
                       message="--budget: expected a share above 0 and at most 100%, such as 2% or "
                               f"0.02, got '{share}'")
        self.usage("train", "n.yaml", "--budget", "2%", "--every", "3",
                   message="--every and --budget exclude each other")
        for size in ("", "3", "1023K", "3Q", "9223372036854775807G", "-5G", "G"):
            self.usage("train", "n.yaml", f"--max-log={size}",
                       message="--max-log: expected a size of at least 1M, such as 500M or 2G, got "
                               f"'{size}'")
        self.usage("train", "-z", "n.yaml", message="unknown option '-z'")
        self.usage("check", "--zzzzzz", "run", message="unknown option '--zzzzzz'")

    def test_values(self):
        self.usage("train", "--epochs", "0", "n.yaml",
                   message="--epochs: expected a whole number from 1 to 1000000, got '0'")
        self.usage("train", "--epochs=many", "n.yaml",
                   message="--epochs: expected a whole number from 1 to 1000000, got 'many'")
        self.usage("train", "n.yaml", "--epochs", message="--epochs needs a value: N")
        self.usage("train", "n.yaml", "-e", message="-e needs a value: N")
        self.usage("train", "--quiet=1", "n.yaml", message="--quiet takes no value")
        self.usage("check", "--format", "xml", "run",
                   message="--format: expected text|json|jsonl|github|markdown|sarif|junit, got 'xml'")
        self.usage("check", "run", "--color", "pink",
                   message="--color: expected auto|always|never, got 'pink'")

    def test_arguments(self):
        self.usage("train", message="expected NET.yaml or --resume RUN")
        self.usage("check", message="expected PATH…")
        self.usage("train", "a.yaml", "b.yaml", message="unexpected argument 'b.yaml'")
        self.usage("demo", "now", message="unexpected argument 'now'")

    def test_hostile_words_are_escaped(self):
        self.fails("tr\x1b[31m", message=["unknown command 'tr\\x1b[31m'",
                                          "try 'backprobe help'"])

    def test_dashes(self):
        self.write("-odd.yaml", "")
        self.fails("train", "--", "-odd.yaml",
                   message="-odd.yaml:1:1: the file is empty; it needs version, data and net")


class NetworkFiles(CommandTest):
    def bad(self, text, message):
        self.write("net.yaml", text)
        self.fails("train", "net.yaml", message=message)
        self.assertEqual(self.files(), ["net.yaml"])

    def test_places(self):
        begin = "version: 1\ndata: digits\n"
        self.bad(begin + "net: [dense 10]\ntrain: {lerning_rate: 1}\n",
                 "net.yaml:4:9: unknown key 'lerning_rate' in train; did you mean "
                 "'learning_rate'?")
        self.bad(begin + "net: [dense 64 sigmiod, dense 10]\n",
                 "net.yaml:3:16: net[0]: unknown activation 'sigmiod'; did you mean 'sigmoid'?")
        self.bad(begin + "net: [dense 64 relu, dense 5]\n",
                 "net.yaml:3:22: layer 2 (dense_2), the last one, has 5 units, but the data set "
                 "'digits' has 10 classes")
        self.bad("version: 1\ndata: digts\nnet: [dense 10]\n",
                 "net.yaml:2:7: unknown data set 'digts'; did you mean 'digits'?")
        self.bad("version: 1\n\tdata: digits\n", "net.yaml:2:1: a tab cannot indent; use spaces")
        self.bad("version: 1\0", "net.yaml: expected a text, found a NUL byte")

    def test_sizes(self):
        begin = "version: 1\ndata: digits\n"
        self.bad(begin + "net: [9 x dense 1000000 relu, dense 10]\n",
                 "net.yaml:3:7: the parameters up to layer 2 (dense_2) alone need more than 8 GiB "
                 "of memory, the limit")
        self.bad(begin + "net: [avg_pool 3, dense 10]\n",
                 "net.yaml:3:7: layer 1 (avg_pool_1): avg_pool 3 does not divide the size 8")

    def test_hostile(self):
        for text in ("[" * 1_000_000, "{a: " * 200_000, "a" * 3_000_000, "&a [*a, *a]\n",
                     "\xff\xfe".encode("latin-1"), "- " * 100_000, "%YAML 9.9\n---\n", "? ? ?\n"):
            self.write("net.yaml", text)
            result = self.command("train", "net.yaml", code=2)
            self.assertTrue(result.stderr.startswith("backprobe: net.yaml:"), result.stderr[:200])
            self.assertEqual(result.stderr.count("\n"), 1)
            self.assertEqual(self.files(), ["net.yaml"])

    def test_missing(self):
        self.fails("train", "no.yaml",
                   message="cannot open no.yaml: No such file or directory")
        self.fails("train", ".", message="cannot read .: Is a directory")

    def test_overrides(self):
        self.write("net.yaml", HEALTHY)
        self.fails("train", "net.yaml", "--set", "epochs",
                   message="--set: expected KEY=VALUE, got 'epochs'")
        self.fails("train", "net.yaml", "--set", "init=xavir",
                   message="init=xavir: init must be an initialiser, found 'xavir'; did you mean "
                           "'xavier'?")
        self.fails("train", "net.yaml", "--weights", "none.safetensors",
                   message="cannot open none.safetensors: No such file or directory")
        self.assertEqual(self.files(), ["net.yaml"])


class Folders(CommandTest):
    def setUp(self):
        super().setUp()
        self.write("net.yaml", HEALTHY)

    def test_parent_is_a_file(self):
        self.fails("train", "net.yaml", "--run", "net.yaml/run",
                   message="cannot make the folder net.yaml/run: Not a directory")

    def test_folder_in_use(self):
        (self.folder / "used").mkdir()
        (self.folder / "used" / "precious").write_text("x")
        self.fails("train", "net.yaml", "--run", "used",
                   message="used: expected a new or empty folder, found one in use")
        self.assertEqual(self.files("used"), ["precious"])

    def test_runs_is_a_file(self):
        self.write("runs", "")
        self.fails("train", "net.yaml",
                   message="cannot make the folder runs/net-1: Not a directory")

    def test_check(self):
        self.fails("check", "none",
                   message="cannot open none, expected a run folder or a run log: No such file or "
                           "directory")
        self.fails("check", ".", message=". holds no run log: expected files named "
                                         "log-000001.bplog, found none")
        result = self.command("check", "net.yaml", code=2)
        self.assertIn("net.yaml is no run log", result.stderr)


if __name__ == "__main__":
    unittest.main()
