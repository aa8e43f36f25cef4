# SPDX-License-Identifier: Apache-2.0
"""Which process this is, and how several agree on a run folder without any framework."""

import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

from backprobe import ranks

LAUNCHERS = {name for pair in ranks._RANK_AND_WORLD for name in pair}


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if name not in LAUNCHERS}
    return mock.patch.dict(os.environ, {**kept, **more}, clear=True)


class WhichProcess(unittest.TestCase):
    def test_alone(self):
        with environment():
            self.assertEqual((ranks.rank(), ranks.world()), (0, 1))

    def test_launchers(self):
        for rank, world in ranks._RANK_AND_WORLD:
            with environment(**{rank: "3", world: "8"}):
                self.assertEqual((ranks.rank(), ranks.world()), (3, 8))

    def test_torchrun_goes_before_slurm(self):
        with environment(RANK="1", WORLD_SIZE="2", SLURM_PROCID="0", SLURM_NTASKS="1"):
            self.assertEqual((ranks.rank(), ranks.world()), (1, 2))

    def test_nonsense_is_one_process(self):
        for rank, world in (("x", "2"), ("2", "2"), ("-1", "2"), ("0", ""), ("", "")):
            with environment(RANK=rank, WORLD_SIZE=world):
                self.assertEqual((ranks.rank(), ranks.world()), (0, 1))
        with environment(RANK="1"):
            self.assertEqual((ranks.rank(), ranks.world()), (0, 1))

    def test_no_framework_is_loaded(self):
        code = "import sys; from backprobe import ranks; ranks.rank(); print('torch' in sys.modules)"
        said = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
        self.assertEqual(said.stdout.strip(), "False", said.stderr)


class Folders(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name).resolve()
        patched = mock.patch.object(ranks.tempfile, "gettempdir", return_value=str(self.folder))
        patched.start()
        self.addCleanup(patched.stop)

    def make(self):
        made = self.folder / "run-1"
        made.mkdir()
        return made

    def test_one_process_makes_its_folder(self):
        with environment():
            self.assertEqual(ranks.agree_on_folder(self.make), self.folder / "run-1")
        self.assertEqual([path.name for path in self.folder.iterdir()], ["run-1"])

    def test_own_folder(self):
        run = self.folder / "some/run"
        with environment(RANK="0", WORLD_SIZE="3"):
            self.assertEqual(ranks.own_folder(run), run)
        with environment(RANK="2", WORLD_SIZE="3"):
            self.assertEqual(ranks.own_folder(run), run / "rank-2")
        self.assertTrue((run / "rank-2").is_dir())
        for folder in (run, run / "rank-2", run / "rank-10"):
            self.assertEqual(ranks.run_of(folder), run)
        self.assertEqual(ranks.run_of("x/rank-02"), pathlib.Path("x/rank-02"))

    def agree(self, rank, job, **options):
        with environment(RANK=str(rank), WORLD_SIZE="2", MASTER_PORT=job):
            with mock.patch.object(ranks, "_agreements", 0):
                return ranks.agree_on_folder(self.make, **options)

    def test_the_others_learn_its_name(self):
        made = self.agree(0, "1")
        self.assertEqual(self.agree(1, "1", patience_s=5), made / "rank-1")

    def test_the_others_wait_for_it(self):
        context = multiprocessing.get_context("fork")
        first = context.Process(target=lambda: (time.sleep(0.3), self.agree(0, "2")))
        first.start()
        self.assertEqual(self.agree(1, "2", patience_s=30), self.folder / "run-1/rank-1")
        first.join()

    def test_but_not_for_ever(self):
        with self.assertRaisesRegex(ranks.NoFolder, r"rank 1 does not know .* after 0\.2 s"):
            self.agree(1, "3", patience_s=0.2)
        named = self.agree(1, "3", known=self.folder / "named", patience_s=0.1)
        self.assertEqual(named, self.folder / "named/rank-1")

    def test_another_job_is_another(self):
        self.agree(0, "4")
        with self.assertRaises(ranks.NoFolder):
            self.agree(1, "5", patience_s=0.1)

    def test_an_earlier_job_of_the_same_name_is_none(self):
        later = ranks._process_began() + 3600
        self.agree(0, "6")
        with mock.patch.object(ranks, "_process_began", return_value=later):
            with self.assertRaises(ranks.NoFolder):
                self.agree(1, "6", patience_s=0.1)

    def test_damaged_names_are_none(self):
        self.agree(0, "7")
        [path] = self.folder.glob("*.json")
        for text in ("", "[]", "{", '{"run": "x"}', '{"run": "x", "time": "y"}'):
            path.write_text(text)
            with self.assertRaises(ranks.NoFolder):
                self.agree(1, "7", patience_s=0)

    def test_rank_0_that_has_no_folder_tells_so(self):
        def refuse():
            raise OSError("the disk is full")

        with environment(RANK="0", WORLD_SIZE="2", MASTER_PORT="8"):
            with mock.patch.object(ranks, "_agreements", 0):
                with self.assertRaises(OSError):
                    ranks.agree_on_folder(refuse)
        with self.assertRaisesRegex(ranks.NoFolder, "rank 0 keeps no log"):
            self.agree(1, "8", patience_s=60)

    def test_this_process_began_before_now(self):
        self.assertLess(abs(time.time() - ranks._process_began()), 24 * 3600)
        self.assertLessEqual(ranks._process_began(), time.time() + 1)


if __name__ == "__main__":
    unittest.main()
