# SPDX-License-Identifier: Apache-2.0
"""`mpirun -n 2 backprobe train`: one run of two processes. A build without MPI says so."""

import json
import os
import shutil
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

    def check(self, run, code=0):
        result = self.command("check", "--format", "json", run, code=code)
        return json.loads(result.stdout), result.stderr

    def test_are_checked_as_one(self):
        self.mpirun("net.yaml", "-q", "--run", "two")
        self.command("train", "net.yaml", "-q", "--run", "one", "-s", "train.batch=64")
        (two, told), (one, _) = self.check("two"), self.check("one")
        self.assertEqual(told, "")
        self.assertEqual(two["ranks"], [
            {"rank": rank, "first": 0, "last": 119, "records": 120, "missing": 0, "end": "finished",
             "error": None} for rank in (0, 1)])
        self.assertIsNone(one["ranks"])
        self.assertAlmostEqual(two["backward_span_log"], one["backward_span_log"], delta=0.05)
        for key in ("first", "last"):
            self.assertAlmostEqual(two["loss"][key] / one["loss"][key], 1, delta=0.01)
        self.assertIn("two: no findings · 2 ranks · 120 steps", self.command("check", "two").stdout)
        self.assertNotIn("ranks", self.command("check", "two/rank-1").stdout)

    def test_copies_that_differ(self):
        for seed in (1, 2):
            self.mpirun("net.yaml", "-q", "--run", f"seed-{seed}", "-s", f"train.seed={seed}")
        shutil.rmtree(self.folder / "seed-1/rank-1")
        shutil.copytree(self.folder / "seed-2/rank-1", self.folder / "seed-1/rank-1")
        [finding] = self.check("seed-1", code=1)[0]["findings"]
        self.assertEqual((finding["problem"], finding["severity"], finding["since_step"]),
                         ("rank-mismatch", "error", 0))
        self.assertEqual([layer["id"] for layer in finding["layers"]], [1, 2, 3])
        self.assertIsNone(finding["remedy"])
        values = {row["name"]: row["value"] for row in finding["evidence"]}
        self.assertEqual((values["rank"], values["ranks"]), (1, 2))
        text = self.command("check", "seed-1", code=1).stdout
        self.assertIn("error[rank-mismatch]: 2 ranks hold different parameters in layers 1–3 of 3",
                      text)

    def test_a_log_that_lacks_something(self):
        self.mpirun("net.yaml", "-q", "--run", "two")
        log = self.folder / "two/rank-1/log-000001.bplog"
        log.write_bytes(log.read_bytes()[:log.stat().st_size // 2])
        whole, told = self.check("two")
        self.assertEqual(whole["steps"]["records"], 120)
        self.assertEqual(whole["ranks"][0]["last"], 119)
        self.assertLess(whole["ranks"][1]["last"], 119)
        self.assertEqual(whole["ranks"][1]["end"], "open")
        self.assertRegex(told, r"two: the log of rank 1 ends at step \d+, that of others at step 119")
        log.unlink()
        whole, told = self.check("two")
        self.assertIn("holds no run log", whole["ranks"][1]["error"])
        self.assertIn("two: rank 1 takes no part: two/rank-1 holds no run log", told)

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
