# SPDX-License-Identifier: Apache-2.0
"""Trainings of two processes: one log a rank, read as one. DistributedDataParallel, FSDP2, ranks that
part, ranks that are killed.

`python test_ranks.py --runs 200` kills so many (20 otherwise)."""

import json
import math
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import warnings

import ranked
import torch
from watching import records

import backprobe
from backprobe import _native

KILLS = 20


def code(value):
    """As the log's 16-bit logarithm gives it back."""
    return 2 ** (math.floor(228 * math.log2(value) + 0.5) / 228) if value else 0.0


class Ranks(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name).resolve()
        self.run_folder = self.folder / "run"

    def both(self, what, **options):
        options.setdefault("run", self.run_folder)
        ranked.run(what, self.folder, **options)

    def said(self, rank):
        return "".join((self.folder / f"{name}-{rank}").read_text() for name in ("err", "out"))

    def check(self, run=None):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return backprobe.check(run or self.run_folder)

    def ranks(self):
        return _native.check(os.fsencode(self.run_folder))["ranks"]

    def assert_whole(self, steps):
        self.assertEqual(self.ranks(), [
            {"rank": rank, "first": 0, "last": steps - 1, "records": steps, "missing": 0,
             "end": "finished", "error": None} for rank in range(ranked.WORLD)])  # fmt: skip

    def assert_close(self, found, expected, part, words):
        self.assertIsNotNone(found, words)
        self.assertLessEqual(abs(found - expected), part * abs(expected), words)


class DataParallel(Ranks):
    def test_torchrun(self):
        """As people start it: no option of ours, folders found by the ranks themselves."""
        subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
             ranked.__file__, self.folder],
            check=True, timeout=240, capture_output=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
        self.run_folder = self.folder / "runs/ranked-1"
        self.assertEqual(sorted(os.listdir(self.folder / "runs")), ["ranked-1"])
        self.assertEqual(sorted(os.listdir(self.run_folder)), ["log-000001.bplog", "rank-1"])
        self.assertEqual(os.listdir(self.run_folder / "rank-1"), ["log-000001.bplog"])
        self.assert_whole(ranked.STEPS)
        self.assertEqual(self.check(), [])
        self.assertIn("watching 3 layers", self.said(0))
        self.assertEqual(self.said(1), "")

    def test_equals_one_process_with_the_whole_batch(self):
        self.both(ranked.data_parallel)
        ranked.alone(run=self.folder / "one")
        two, one = records(self.run_folder), records(self.folder / "one")
        self.assertEqual(self.check(), [])
        self.assertEqual([r.step for r in two], [r.step for r in one])
        self.assertEqual(len(two), ranked.STEPS)
        # Codes are 0.3% apart: half of it each, and little drift of the parameters.
        near = ("error_norm", "error_rms", "error_pre_activation", "activation_norm",
                "activation_rms", "gradient_rms", "bias_gradient_rms", "weight_rms", "update_rms")  # fmt: skip
        for mine, whole in zip(two, one, strict=True):
            self.assert_close(mine["loss"], whole["loss"], 1e-4, mine.step)
            for quantity in ("samples", "loss_terms"):
                self.assertEqual(mine[quantity], whole[quantity])
            self.assertEqual(mine["ranks"], ranked.WORLD)
            for layer in (1, 2, 3):
                for quantity in near:
                    if whole[quantity, layer] is not None:
                        self.assert_close(mine[quantity, layer], whole[quantity, layer], 0.005,
                                          (mine.step, quantity, layer))  # fmt: skip
                for quantity in ("activation_max", "error_max"):
                    self.assert_close(mine[quantity, layer], whole[quantity, layer], 0.005, quantity)
                self.assert_close(mine["effect", layer], whole["effect", layer], 0.02, "effect")
                self.assertEqual(mine["parameters", layer], whole["parameters", layer])
                self.assertEqual(mine["parameter_spread", layer], 0)
                self.assertEqual(mine["gradient_spread", layer], 0)

    def test_by_budget(self):
        self.both(ranked.by_budget)
        self.assert_whole(60)
        self.assertEqual(self.check(), [])
        self.assertEqual(records(self.run_folder)[0]["ranks"], ranked.WORLD)

    def test_other_ranks_do_not_wait_for_ever(self):
        self.both(ranked.only_other_ranks_watch, run=None)
        self.assertRegex(self.said(1), r"\Abackprobe: no log is kept \(rank 1 does not know rank 0's run "
                                       r"folder after 0\.2 s; .*\); watching and training go on\n")  # fmt: skip


class Mismatch(Ranks):
    def finding(self, what, severity, since, layers):
        self.both(what)
        [found] = self.check()
        self.assertEqual(found.problem, "rank-mismatch")
        self.assertEqual(found.severity, severity)
        self.assertEqual(found.since_step, since)
        self.assertEqual(found.layers, layers)
        self.assertIsNone(found.remedy)
        self.assertEqual(self.said(1), "")
        return found

    def test_ranks_that_train_networks_of_their_own(self):
        found = self.finding(ranked.without_wrapper, "error", 0, ("0", "2", "4"))
        self.assertIn("began with different parameters", found.cause)
        self.assertIn("not averaged", found.cause)
        values = {row.name: row.value for row in found.evidence}
        self.assertEqual((values["rank"], values["ranks"]), (1, 2))
        self.assertGreater(values["parameter_spread"], 0.01)

    def test_one_rank_changes_its_parameters(self):
        found = self.finding(ranked.changed_by_one_rank, "error", 10, ("2",))
        self.assertIn("one rank changed its parameters alone", found.cause)

    def test_the_mean_is_left_out(self):
        self.both(ranked.not_averaged)
        [found] = self.check()
        self.assertEqual((found.problem, found.severity, found.since_step), ("rank-mismatch", "error", 5))
        self.assertIn("gradients differ since step 5", found.cause)


class Sharded(Ranks):
    def compare(self, what, counted=("shard_weights",)):
        self.both(what)
        self.assertEqual(self.said(1), "")
        merged = records(self.run_folder)
        expected = json.loads((self.folder / "whole.json").read_text())
        self.assertEqual(len(merged), len(expected))
        for record, step in zip(merged, expected, strict=True):
            for number, layer in enumerate(step["layers"], 1):
                self.compare_layer(record, number, layer, counted)
        return merged, expected

    def compare_layer(self, record, number, layer, counted):
        words = f"step {record.step}, layer {number}: "
        for quantity in ("weight_max", "gradient_max"):
            found = record[quantity, number]
            self.assert_close(found, code(layer[quantity]), 1e-9, words + quantity)
        for quantity in ("weight_rms", "bias_rms", "gradient_rms", "bias_gradient_rms", "update_rms"):
            if quantity in layer:
                self.assert_close(record[quantity, number], layer[quantity], 0.002, words + quantity)
        for quantity in ("parameters", *counted):
            self.assertEqual(record[quantity, number], layer[quantity], words + quantity)
        for quantity in ("parameter_nan", "gradient_inf", "update_bad"):
            self.assertEqual(record[quantity, number], 0, words + quantity)

    def test_shards_give_the_whole(self):
        merged, expected = self.compare(ranked.sharded)
        self.assert_whole(len(expected))
        for record, step in zip(merged, expected, strict=True):
            self.assert_close(record["gradient_norm"], step["gradient_norm"], 0.002, record.step)
            self.assertIsNone(record["ranks"])  # parts are not compared
        own = records(self.run_folder / "rank-1")
        self.assertEqual([own[0]["shard_weights", layer] for layer in (1, 2, 3, 4)], [2 * 64, 3 * 5, 5 * 7, 0])
        self.assertEqual([f.problem for f in self.check()], [])

    def test_shards_beside_copies(self):
        merged, _ = self.compare(ranked.sharded_in_part, counted=())
        for record in merged:
            self.assertEqual([record["shard_weights", layer] for layer in (1, 2, 3, 4)],
                             [5 * 64, 7 * 5, None, None])  # fmt: skip
            self.assertEqual([record["parameter_spread", layer] for layer in (1, 2, 3, 4)], [None, None, 0, 0])
            self.assertIsNone(record["gradient_norm"])  # of neither kind
        self.assertEqual([f.problem for f in self.check()], [])

    def test_replicas_of_shards_count_once(self):
        merged, expected = self.compare(ranked.replicated_shards)
        for record, step in zip(merged, expected, strict=True):
            self.assert_close(record["gradient_norm"], step["gradient_norm"], 0.002, record.step)
        own = records(self.run_folder / "rank-1")
        self.assertEqual([own[0]["shard_weights", layer] for layer in (1, 2, 3, 4)], [0, 0, 0, 0])


class Killed(Ranks):
    def test_one_of_two(self):
        chance = random.Random(5)
        counts = {"read": 0, "with a gap": 0, "damaged": 0, "steps": 0}
        for number in range(KILLS):
            run = self.folder / f"run-{number}"
            self.kill_one(run, chance.randrange(ranked.WORLD), chance.uniform(0, 0.5))
            for log in (run, run / "rank-1"):
                self.read(log, counts)
            merged = _native.check(os.fsencode(run))
            self.assertEqual([rank["error"] for rank in merged["ranks"]], [None, None])
        self.assertEqual(counts["read"], 2 * KILLS)
        self.assertEqual((counts["with a gap"], counts["damaged"]), (0, 0))
        if "--runs" in sys.argv:
            print(f"{KILLS} kills: {counts}", file=sys.stderr)

    def kill_one(self, run, rank, after_s):
        for number in range(ranked.WORLD):
            (self.folder / f"steps-{number}").write_bytes(b"")
        processes = ranked.start(ranked.endless, self.folder, run=run)
        while min((self.folder / f"steps-{number}").stat().st_size for number in range(2)) < 3:
            if not all(process.is_alive() for process in processes):
                self.fail(self.said(0) + self.said(1))
            time.sleep(0.01)
        time.sleep(after_s)
        os.kill(processes[rank].pid, signal.SIGKILL)
        for process in processes:  # the other's collective fails
            process.join(60)
            self.assertIsNotNone(process.exitcode)
        self.assertEqual(processes[rank].exitcode, -signal.SIGKILL)

    def read(self, log, counts):
        """Every step that was told to have ended but the last is there."""
        steps = [record.step for record in records(log)]
        counts["read"] += 1
        counts["steps"] += len(steps)
        counts["with a gap"] += steps != list(range(len(steps)))
        number = 1 if log.name == "rank-1" else 0
        ended = (self.folder / f"steps-{number}").stat().st_size
        self.assertGreaterEqual(len(steps), ended - 1)
        damage = _native.check(os.fsencode(log))["damage"]
        counts["damaged"] += damage["damaged_places"] + damage["lost_records"]


if __name__ == "__main__":
    if "--runs" in sys.argv:
        at = sys.argv.index("--runs")
        KILLS = int(sys.argv[at + 1])
        unittest.main(argv=[sys.argv[0], "Killed"])
    torch.set_num_threads(1)
    unittest.main()
