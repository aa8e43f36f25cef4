# SPDX-License-Identifier: Apache-2.0
"""`mpirun -n 2 backprobe train`: one run of two processes. A build without MPI says so."""

import json
import os
import subprocess
import unittest

from support import COMMAND, HEALTHY, CommandTest

HAS_MPI = "not built in" not in subprocess.run([COMMAND, "version", "--verbose"], check=True,
                                               capture_output=True, text=True).stdout
# Containers: root, fewer cores than processes, and no reading of another process's memory.
OPEN_MPI = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_rmaps_base_oversubscribe": "1",
            "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
            # Open MPI frees not all at its end; leaks of ours show in the runs of one process.
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}


class Ranks(CommandTest):
    def setUp(self):
        super().setUp()
        self.write("net.yaml", HEALTHY.replace("epochs: 3", "epochs: 6, batch: 32"))

    def mpirun(self, *arguments, code=0):
        result = subprocess.run(["mpirun", "-n", "2", COMMAND, "train", *arguments],
                                cwd=self.folder, capture_output=True, text=True, timeout=120,
                                check=False, env={**self.environment, **OPEN_MPI})
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result

    def epochs(self, text):
        events = [json.loads(line) for line in text.splitlines()]
        return [(e["loss"], e["validation_loss"]) for e in events if e["event"] == "epoch"]


class Build(Ranks):
    def test_version_names_it(self):
        words = "mpi         Open MPI v" if HAS_MPI else "mpi         not built in"
        self.assertIn(words, self.command("version", "--verbose").stdout)

    def test_told_where_it_is_missing(self):
        result = self.command("train", "net.yaml", "-q", code=0 if HAS_MPI else 2,
                              environment={} if HAS_MPI else {"OMPI_COMM_WORLD_SIZE": "2"})
        self.assertEqual("MPI was not built in" in result.stderr, not HAS_MPI)


class TwoProcesses(Ranks):
    def test_equals_one_with_the_double_batch(self):
        two = self.mpirun("net.yaml", "--json", "--run", "two")
        one = self.command("train", "net.yaml", "--json", "--run", "one", "-s", "train.batch=64")
        self.assertEqual(two.stderr, "")
        losses = list(zip(self.epochs(two.stdout), self.epochs(one.stdout), strict=True))
        self.assertEqual(len(losses), 6)
        for mine, expected in losses:
            for a, b in zip(mine, expected, strict=True):
                self.assertAlmostEqual(a / b, 1, delta=1e-5)
        self.assertEqual(json.loads(two.stdout.splitlines()[0])["processes"], 2)
        self.assertEqual(self.files("two"), ["checkpoints", "findings.json", "log-000001.bplog",
                                             "network.yaml", "rank-1", "weights.safetensors"])
        self.assertEqual(self.files("two/rank-1"), ["log-000001.bplog"])
        logs = [json.loads(self.command("check", "--format", "json", f"two{part}").stdout)
                for part in ("", "/rank-1")]
        self.assertEqual(logs[0]["steps"], logs[1]["steps"])
        self.assertEqual(logs[0]["steps"]["records"], 6 * 20)

    def test_text(self):
        output = self.mpirun("net.yaml", "--epochs", "2").stdout
        self.assertIn("2 processes, each with a batch of 32\n", output)
        self.assertEqual(output.count("epoch 1/2"), 1)
        self.assertEqual(self.files("runs"), ["net-1"])

    def test_resume(self):
        more = ["-q", "--checkpoint-every", "1"]
        self.mpirun("net.yaml", *more, "--run", "whole")
        self.mpirun("net.yaml", *more, "--run", "run", "--epochs", "2")
        self.mpirun("--resume", "run", *more, "--epochs", "6")
        weights = [(self.folder / run / "weights.safetensors").read_bytes()
                   for run in ("run", "whole")]
        self.assertEqual(*weights)
        log = json.loads(self.command("check", "--format", "json", "run/rank-1").stdout)
        self.assertEqual(log["steps"]["records"], 6 * 20)
        result = self.command("train", "--resume", "run", "--epochs", "9", code=2)
        self.assertIn("expected processes 1, found 2", result.stderr)

    def test_bad_files_are_told_once(self):
        for text, more in (("rulu", []), ("relu", ["--weights", "none"]),
                           ("relu", ["--run", "net.yaml/run"])):
            self.write("net.yaml", HEALTHY.replace("relu", text))
            result = self.mpirun("net.yaml", *more, code=2)
            told = [line for line in result.stderr.splitlines() if line.startswith("backprobe: ")]
            self.assertEqual(len(told), 1, result.stderr)
            self.assertEqual(result.stdout, "")
            self.assertEqual(self.files(), ["net.yaml"])


if not HAS_MPI:
    del TwoProcesses

if __name__ == "__main__":
    unittest.main()
