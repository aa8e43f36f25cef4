# SPDX-License-Identifier: Apache-2.0
"""A run from its first step to its end: where the log goes, what is said, how it stops, how it goes
on later."""

import contextlib
import os
import pathlib
import subprocess
import sys
import unittest

import data
import torch
from torch import nn
from watching import Watching, mlp, records

import backprobe
from backprobe import _native
from backprobe.settings import Settings


class Runs(Watching):
    def setUp(self):
        super().setUp()
        self.x, self.y = data.digits(64)
        self.criterion = nn.CrossEntropyLoss()
        self.model = mlp()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

    def train(self, steps=1, scale=1.0):
        for _ in range(steps):
            (self.criterion(self.model(self.x), self.y) * scale).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()

    def start(self, **options):
        return self.watch(self.model, self.optimizer, loss_fn=self.criterion, **options)

    def train_until_told(self, probe):
        for _ in range(150):
            self.train()
            if probe.findings:
                break
        self.train(2)  # it is told when the next step begins

    def sicken(self):
        """A deep sigmoid network in place of the model."""
        self.model = mlp(width=20, depth=14, activation=nn.Sigmoid)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)


class Folder(Runs):
    def test_by_default_is_numbered(self):
        with contextlib.chdir(self.folder):
            for number in (1, 2):
                probe = self.start(run=None, name="a b/c")
                self.assertIsNone(probe.run_folder)
                self.assertEqual(os.path.isdir("runs"), number > 1)
                self.train()
                self.assertEqual(probe.run_folder, os.path.realpath(f"runs/a-b-c-{number}"))
                self.assertIn(f"log in runs/a-b-c-{number}", self.said)
                probe.close()
                self.assertEqual(len(records(f"runs/a-b-c-{number}")), 1)

    def test_has_the_scripts_name(self):
        script = self.folder / "my train.py"
        script.write_text(PROGRAM)
        result = run_program(script, cwd=self.folder)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("log in runs/my-train-1", result.stderr)
        self.assertEqual(_native.check(os.fsencode(self.folder / "runs/my-train-1"))["end"], "finished")

    def test_none_is_kept(self):
        with contextlib.chdir(self.folder):
            probe = self.start(run=False)
            self.train(2)
            self.assertEqual(os.listdir(), [])
            self.assertIsNone(probe.run_folder)
            self.assertIn("no log is kept", self.said)

    def test_one_that_cannot_be_made(self):
        (self.folder / "file").write_text("")
        probe = self.start(run=self.folder / "file/below")
        self.train(3)
        self.assertEqual(probe.step, 3)
        self.assertIn("no log is kept", self.said)
        self.assertIsNone(probe.run_folder)

    def test_one_that_is_in_use_by_the_first_step(self):
        probe = self.start()
        (self.folder / "run").mkdir()
        (self.folder / "run/mine").write_text("mine")
        self.train(2)
        self.assertIsNone(probe.run_folder)
        self.assertEqual(os.listdir(self.folder / "run"), ["mine"])


class Ends(Runs):
    def end_of(self, probe):
        return _native.check(os.fsencode(probe.run_folder))["end"]

    def test_by_close(self):
        probe = self.start()
        self.train(2)
        probe.close()
        probe.close()
        self.assertEqual(self.end_of(probe), "finished")
        self.train(2)
        self.assertEqual(probe.step, 2)

    def test_of_a_with_block(self):
        for error, end in ((None, "finished"), (KeyboardInterrupt, "interrupted"), (ZeroDivisionError, "stopped")):
            with self.subTest(end=end):
                with contextlib.suppress(KeyboardInterrupt, ZeroDivisionError), self.start(run=self.folder / end) as probe:
                    self.train()
                    if error is not None:
                        raise error
                self.assertEqual(self.end_of(probe), end)

    def test_of_the_program(self):
        for line, end in (("", "finished"), ("raise KeyboardInterrupt", "interrupted"), ("1 / 0", "stopped")):
            with self.subTest(end=end):
                (self.folder / f"{end}.py").write_text(PROGRAM + line)
                run_program(self.folder / f"{end}.py", cwd=self.folder)
                told = _native.check(os.fsencode(self.folder / f"runs/{end}-1"))["end"]
                self.assertEqual(told, end)

    def test_before_the_first_step(self):
        probe = self.start()
        self.assertEqual(probe.findings, [])
        self.assertIn("before the first step", repr(probe))
        probe.close()
        self.assertFalse((self.folder / "run").exists())
        self.assertEqual(self.said, "")


class Findings(Runs):
    def test_are_those_of_the_log(self):
        self.sicken()
        probe = self.start()
        self.train_until_told(probe)
        live = probe.findings
        self.assertIn("vanishing-gradient", [f.problem for f in live])
        self.assertIn("error[vanishing-gradient]", self.said)
        self.assertIn("vanishing-gradient", repr(probe))
        probe.close()
        self.assertEqual([str(f) for f in probe.findings], [str(f) for f in live])
        self.assertEqual([str(f) for f in backprobe.check(probe.run_folder)], [str(f) for f in live])

    def test_are_told_once(self):
        self.sicken()
        told = []
        probe = self.start(on_finding=told.append)
        self.train_until_told(probe)
        self.train(10)
        self.assertEqual(probe._worth_telling(), [])  # at the news of another finding
        self.assertEqual([f.problem for f in told].count("vanishing-gradient"), 1)
        self.assertNotIn("vanishing", self.said)

    def test_what_a_callback_raises_comes_through(self):
        self.sicken()

        def no(finding):
            raise LookupError(finding.problem)

        self.start(on_finding=no)
        with self.assertRaises(LookupError):
            self.train(120)

    def test_stop_the_training(self):
        self.sicken()
        probe = self.start(on_error="stop")
        with self.assertRaises(backprobe.TrainingStopped) as caught:
            self.train(120)
        self.assertEqual(caught.exception.finding.problem, "vanishing-gradient")
        self.assertIn("vanishing-gradient", str(caught.exception))
        self.assertEqual(_native.check(os.fsencode(probe.run_folder))["end"], "stopped")
        step = probe.step
        self.train(2)
        self.assertEqual(probe.step, step)

    def test_a_callback_may_close(self):
        self.sicken()
        probe = self.start(on_finding=lambda finding: probe.close())
        self.train(120)
        self.assertLess(probe.step, 120)

    def test_ignored(self):
        self.sicken()
        entries = ["vanishing-gradient"], ["vanishing-gradient:*"], ["*"], ["vanishing-gradient:nowhere.*"]
        probe = self.start()
        self.train_until_told(probe)
        found = probe.findings[0]
        for number, ignore in enumerate(entries):
            with self.subTest(ignore=ignore):
                self.assertEqual(Settings(ignore=tuple(ignore)).ignores(found), number < 3)
        probe.close()
        probe = self.start(ignore=["vanishing-gradient"], run=self.folder / "ignoring")
        self.train(40)
        self.assertEqual([f.problem for f in probe.findings], [])
        self.assertNotIn("vanishing", self.said.split("ignoring")[1])

    def test_a_healthy_run_is_quiet(self):
        probe = self.start()
        self.train(100)
        probe.close()
        lines = self.said.splitlines()
        self.assertEqual(len(lines), 2, self.said)
        self.assertIn("watching 3 layers, log in", lines[0])
        self.assertIn("100 steps watched, nothing found", lines[1])
        self.assertLess(len(repr(probe).splitlines()), 5)


class Resumed(Runs):
    def test_the_log_goes_on(self):
        probe = self.start()
        self.train(5)
        state = probe.state_dict()
        self.train(3)  # lost with the process
        probe.close()
        later = self.start(resume=state, run=None)
        self.train(4)
        self.assertEqual(later.step, 9)
        self.assertEqual(later.run_folder, probe.run_folder)
        self.assertEqual([r.step for r in self.close(later)], list(range(9)))

    def test_by_load_state_dict(self):
        probe = self.start()
        self.train(2)
        state = probe.state_dict()
        probe.close()
        later = self.start(run=False)
        later.load_state_dict(state)
        with self.assertRaises(ValueError):
            later.load_state_dict({})
        later.close()
        later = self.start(run=None)
        later.load_state_dict(state)
        self.train(1)
        self.assertEqual(later.step, 3)
        with self.assertRaises(RuntimeError):
            later.load_state_dict(state)

    def test_the_folder_is_gone(self):
        with contextlib.chdir(self.folder):
            state = {"version": 1, "step": 40, "run_folder": str(self.folder / "gone")}
            probe = self.start(resume=state, run=None)
            self.train(2)
            self.assertIn("is gone", self.said)
            self.assertIsNotNone(probe.run_folder)


class Blind(Runs):
    def test_an_error_of_ours(self):
        probe = self.start()
        self.train(2)
        probe._rates = None
        self.train(3)
        self.assertIn("training goes on", self.said)
        self.assertEqual(self.said.count("stopped watching"), 1)
        self.assertIsNotNone(probe.blind)
        hooks = sum(len(m._forward_hooks) for m in [*self.model.modules(), self.criterion])
        self.assertEqual(hooks, 0)

    def test_a_hook_that_fails(self):
        class Odd:
            @property
            def grad_fn(self):
                raise RuntimeError("odd")

        probe = self.start()
        self.train()
        probe.passes = lambda site, tensor: Odd().grad_fn
        self.train(2)
        self.assertIn("RuntimeError: odd", probe.blind)
        before = self.model[1].weight.detach().clone()
        self.train()
        self.assertFalse(torch.equal(before, self.model[1].weight))


PROGRAM = f"""\
import sys
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
import data, torch, backprobe
from watching import mlp
x, y = data.digits(64)
model, criterion = mlp(), torch.nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
probe = backprobe.watch(model, optimizer, loss_fn=criterion)
for _ in range(3):
    criterion(model(x), y).backward()
    optimizer.step()
    optimizer.zero_grad()
"""


def run_program(script, cwd):
    package = str(pathlib.Path(backprobe.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": package, "OMP_NUM_THREADS": "1"}
    environment.pop("RANK", None)
    return subprocess.run([sys.executable, script], cwd=cwd, env=environment, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    unittest.main()
