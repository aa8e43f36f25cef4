# SPDX-License-Identifier: Apache-2.0
"""The PyTorch side of the accuracy benchmark: a fixed sample of its runs, recorded and judged."""

import json
import os
import pathlib
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent / "accuracy"
sys.path.insert(0, str(HERE))

import judge  # noqa: E402
import plan  # noqa: E402
import record  # noqa: E402
import record_torch  # noqa: E402
import rivals  # noqa: E402
import score  # noqa: E402
import tables  # noqa: E402
import torch  # noqa: E402
import torch_runs  # noqa: E402
import truth  # noqa: E402

import backprobe  # noqa: E402


class Programs(unittest.TestCase):
    def test_each_of_the_plan_is_there(self):
        for program in torch_runs.PROGRAMS:
            self.assertTrue(callable(record_torch.program_of(program.name)), program.name)

    def test_evidence_has_the_columns_of_the_c_driver(self):
        source = (HERE / "evidence.c").read_text(encoding="utf-8").replace('"\n    "', "").replace('\\"', '"')
        for columns in (record_torch.ACTIVATIONS, record_torch.PARAMETERS):
            self.assertIn(json.dumps(columns), source)


class Sample(unittest.TestCase):
    def test_a_fixed_sample(self):
        torch.set_num_threads(1)
        runs = plan.with_twins(plan.SAMPLE_PYTORCH)
        judged, again = [], []
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            for run in runs:
                folder = root / run["id"]
                record.make_folder(folder, run, "")
                record_torch.record(folder, run)
                self.assertEqual(set(rivals.judge(folder)), set(rivals.RULES))
            for run in runs:
                folder = root / run["id"]
                found = list(record_torch.flat(backprobe.check(os.fspath(folder / "log"))))
                live = json.loads((folder / "live.json").read_text())
                again.append((run["id"], "live", judge.agrees(found, live)))
                judged.append(score.judge(run, truth.of(run, root), found))
            truth.outcome.cache_clear()
        self.assertEqual(list(tables.wrong(judged, again, hints=False)), [])
        self.assertEqual({j["kind"] for j in judged}, {"healthy", "faulty"})


if __name__ == "__main__":
    unittest.main()
