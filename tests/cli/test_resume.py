# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: what is kept, how a run goes on, and what happens when one cannot be written."""

import json
import re
import resource
import shutil
import signal
import unittest

from kill import read_safetensors
from support import HEALTHY, CommandTest

COST = re.compile(rb'"(watch|run)_seconds":[^,\n]*')
LONG = HEALTHY.replace("epochs: 3", "epochs: 40")


class CheckpointTest(CommandTest):
    def setUp(self):
        super().setUp()
        self.write("net.yaml", HEALTHY)

    def train(self, *arguments, code=0, **more):
        return self.command("train", "--checkpoint-every", "1", "--every", "1", *arguments, code=code,
                            **more)

    def events(self, *arguments, **more):
        return [json.loads(line) for line in
                self.train("--json", *arguments, **more).stdout.splitlines()]

    def bytes(self, name):
        return (self.folder / name).read_bytes()

    def losses(self, events):
        return {e["epoch"]: (e["loss"], e["validation_loss"]) for e in events
                if e["event"] == "epoch"}


class Kept(CheckpointTest):
    def test_last_two_and_best(self):
        events = self.events("net.yaml", "--epochs", "6", "--run", "run")
        self.assertEqual(self.files("run/checkpoints"),
                         ["best.safetensors", "step-000000200.safetensors",
                          "step-000000240.safetensors"])
        told = [e for e in events if e["event"] == "checkpoint"]
        self.assertEqual([e["steps"] for e in told if not e["best"]], [40, 80, 120, 160, 200, 240])
        self.assertEqual(told[-1]["path"], "run/checkpoints/step-000000240.safetensors")

    def test_best_is_of_the_lowest_validation_loss(self):
        # A rate at which the validation loss goes up and down.
        events = self.events("net.yaml", "--epochs", "12", "--run", "run", "-s",
                             "train.learning_rate=0.9")
        losses = {e["steps"]: e["validation_loss"] for e in events if e["event"] == "epoch"}
        best = min(losses, key=losses.get)
        self.assertNotEqual(best, max(losses), "the last epoch is the best: nothing is shown")
        notes, tensors = read_safetensors(self.folder / "run/checkpoints/best.safetensors")
        self.assertEqual(int(notes["step"]), best)
        self.assertEqual(float(notes["best_loss"]), losses[best])
        shorter = str(best // 40)
        self.train("net.yaml", "-q", "--epochs", shorter, "--run", "shorter", "-s",
                   "train.learning_rate=0.9")
        _, weights = read_safetensors(self.folder / "shorter/weights.safetensors")
        self.assertEqual({name: tensors[name] for name in weights}, weights)

    def test_none(self):
        result = self.command("train", "net.yaml", "--checkpoint-every", "0", "--run", "run")
        self.assertNotIn("checkpoints", self.files("run"))
        self.assertNotIn("--resume", result.stdout)
        self.fails("train", "--resume", "run",
                   message="run has no checkpoint to go on from (expected "
                           "checkpoints/step-N.safetensors)")

    def test_every_other_epoch(self):
        events = self.events("net.yaml", "--checkpoint-every", "2", "--epochs", "5", "-q")
        self.assertEqual([e["steps"] for e in events if e["event"] == "checkpoint" and
                          not e["best"]], [80, 160, 200])


class Resumed(CheckpointTest):
    def assert_same_run(self, run, whole="whole"):
        for name in ("weights.safetensors", "findings.json"):
            mine = self.bytes(f"{run}/{name}").replace(f':"{run}"'.encode(), f':"{whole}"'.encode())
            self.assertEqual(COST.sub(b"", mine), COST.sub(b"", self.bytes(f"{whole}/{name}")), name)
        self.assertEqual(self.files(f"{run}/checkpoints"), self.files(f"{whole}/checkpoints"))

    def test_after_an_interrupt(self):
        self.write("net.yaml", LONG)
        self.train("net.yaml", "-q", "--run", "whole")
        process = self.start("train", "net.yaml", "--json", "--checkpoint-every", "1", "--every",
                             "1", "--run", "run")
        while json.loads(process.stdout.readline()).get("epoch") != 2:
            pass
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[0]
        self.assertEqual(process.returncode, 130)
        steps = json.loads(output.splitlines()[-1])["steps"]
        self.assertLess(steps, 40 * 40)
        resumed = self.events("--resume", "run")
        self.assertEqual(resumed[0]["resumed_from"], steps)
        self.assert_same_run("run")

    def test_after_a_kill(self):
        self.write("net.yaml", LONG)
        self.train("net.yaml", "-q", "--run", "whole")
        process = self.start("train", "net.yaml", "--json", "--checkpoint-every", "1", "--every",
                             "1", "--run", "run")
        while json.loads(process.stdout.readline()).get("epoch") != 3:
            pass
        process.kill()
        process.communicate(timeout=60)
        self.assertNotIn("weights.safetensors", self.files("run"))
        self.train("--resume", "run", "-q")
        self.assert_same_run("run")
        self.assertEqual(self.command("check", "run").stderr, "")

    def test_more_epochs(self):
        whole = self.events("net.yaml", "--epochs", "5", "--run", "whole")
        first = self.events("net.yaml", "--run", "run")
        second = self.events("--resume", "run", "--epochs", "5")
        self.assertEqual({**self.losses(first), **self.losses(second)}, self.losses(whole))
        self.assertEqual(sorted(self.losses(second)), [4, 5])
        self.assert_same_run("run")
        self.assertIn("epochs: 5", self.bytes("run/network.yaml").decode())

    def test_finished_already(self):
        self.train("net.yaml", "-q", "--run", "whole")
        shutil.copytree(self.folder / "whole", self.folder / "run")
        (self.folder / "run/weights.safetensors").unlink()  # a kill at the end
        self.train("--resume", "run", "-q")
        self.assert_same_run("run")

    def test_elsewhere(self):
        """The run folder is all that it needs: not the network file, nor the folder it lay in."""
        self.train("net.yaml", "-q", "--epochs", "4", "--run", "whole")
        self.train("net.yaml", "-q", "--run", "run")
        (self.folder / "net.yaml").unlink()
        (self.folder / "run").rename(self.folder / "moved")
        self.train("--resume", "moved", "-q", "--epochs", "4")
        self.assertEqual(self.bytes("moved/weights.safetensors"),
                         self.bytes("whole/weights.safetensors"))

    def test_dry_run(self):
        self.train("net.yaml", "-q", "--run", "run")
        before = {name: self.bytes(f"run/{name}") for name in self.files("run")
                  if name != "checkpoints"}
        output = self.command("train", "--resume", "run", "--dry-run", "--epochs", "9").stdout
        self.assertIn("steps      9 epochs of 40 steps", output)
        self.assertEqual({name: self.bytes(f"run/{name}") for name in before}, before)

    def test_wrong_use(self):
        def usage(*arguments, message):
            self.fails("train", *arguments, message=[f"train: {message}",
                                                     "try 'backprobe train --help'"])
        self.train("net.yaml", "-q", "--run", "run")
        usage("net.yaml", "--resume", "run",
              message="--resume RUN goes on with the run's own network file: NET.yaml does not go "
                      "with it")
        for more in (["--seed", "3"], ["-s", "init=he"], ["--run", "b"], ["-w", "c"]):
            usage("--resume", "run", *more,
                  message="with --resume only --epochs may change: --set, --seed, --weights and "
                          "--run do not go with it")
        self.fails("train", "--resume", "run", "--epochs", "2",
                   message="run: trained for 120 steps already, more than the 80 of --epochs 2")
        self.fails("train", "--resume", "none",
                   message="cannot open none/network.yaml: No such file or directory")

    def test_changed_network(self):
        """Who edits the run's network file is told, and nothing is changed."""
        self.train("net.yaml", "-q", "--run", "run")
        path = self.folder / "run/network.yaml"
        text = path.read_text()
        for old, new, message in (
                ("dense 16", "dense 17", "tensor 'dense_1.weight' is f32 "),
                ("epochs: 3", "epochs: 3, optimiser: adam", "expected optimiser adam, found sgd"),
                ("epochs: 3", "epochs: 3, batch: 7", "expected batch 7, found 32")):
            path.write_text(text.replace(old, new))
            result = self.command("train", "--resume", "run", code=2)
            self.assertIn(message, result.stderr)
            self.assertEqual(result.stderr.count("\n"), 1)
        path.write_text(text.replace("init: he", "init: hee"))
        self.assertTrue(self.command("train", "--resume", "run", code=2).stderr.startswith(
            "backprobe: run/network.yaml:4:7: "))


class Damaged(CheckpointTest):
    NEWEST = "run/checkpoints/step-000000120.safetensors"

    def setUp(self):
        super().setUp()
        self.train("net.yaml", "-q", "--run", "whole", "--epochs", "5")
        self.train("net.yaml", "-q", "--run", "run")
        self.path = self.folder / self.NEWEST
        self.good = self.path.read_bytes()

    def assert_goes_on(self):
        result = self.train("--resume", "run", "--epochs", "5", "-q")
        self.assertEqual(result.stderr, "backprobe: 1 newer checkpoint cannot be read; going on "
                                        "from the one of step 80\n")
        self.assertEqual(self.bytes("run/weights.safetensors"),
                         self.bytes("whole/weights.safetensors"))

    def test_cut(self):
        self.path.write_bytes(self.good[:-1])
        self.assert_goes_on()

    def test_a_bit_of_a_weight(self):
        place = len(self.good) - 1000
        self.path.write_bytes(self.good[:place] + bytes([self.good[place] ^ 1]) +
                              self.good[place + 1:])
        self.assert_goes_on()

    def test_empty(self):
        self.path.write_bytes(b"")
        self.assert_goes_on()

    def test_all(self):
        for path in (self.folder / "run/checkpoints").glob("step-*"):
            path.write_bytes(b"\0" * 100)
        result = self.command("train", "--resume", "run", code=2)
        self.assertIn("step-000000080.safetensors", result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1)

    def test_damaged_ones_take_no_places(self):
        """Two that cannot be read, newer than what the run then saves: that stays."""
        for step in (150, 160):
            (self.folder / f"run/checkpoints/step-{step:09}.safetensors").write_bytes(b"junk")
        self.path.unlink()
        self.train("--resume", "run", "-q")
        self.assertIn("step-000000120.safetensors", self.files("run/checkpoints"))


class Unwritable(CheckpointTest):
    def test_too_large(self):
        """A limit on the size of files stands for a full disk: log and weights fit."""
        self.write("net.yaml", HEALTHY.replace("{", "{optimiser: adam, "))
        whole = self.events("net.yaml", "--run", "whole")

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (12000, 12000))

        result = self.train("net.yaml", "--json", "--no-watch", "--run", "run", preexec_fn=limit)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertRegex(result.stderr, "^backprobe: cannot write run/checkpoints/best.safetensors"
                                        ": File too large")
        events = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual(self.losses(events), self.losses(whole))
        self.assertNotIn("checkpoint", [e["event"] for e in events])
        self.assertEqual(self.files("run/checkpoints"), [])
        self.assertEqual(self.bytes("run/weights.safetensors"),
                         self.bytes("whole/weights.safetensors"))

    def test_folder_goes_and_comes_back(self):
        """Told once; when the disk has room again, the next checkpoint is written."""
        self.write("net.yaml", LONG.replace("epochs: 40", "epochs: 100000"))
        process = self.start("train", "net.yaml", "--json", "--checkpoint-every", "1", "--no-watch",
                             "--run", "run")
        self.wait_for(process, lambda e: e["event"] == "checkpoint" and not e["best"])
        (self.folder / "run/checkpoints").rename(self.folder / "away")
        said = process.stderr.readline()
        self.assertRegex(said, "^backprobe: cannot .* run/checkpoints/.*: No such file or directory")
        (self.folder / "away").rename(self.folder / "run/checkpoints")
        last = self.wait_for(process, lambda e: e["event"] == "epoch")["steps"] + 4000
        self.wait_for(process, lambda e: e["event"] == "checkpoint" and e["steps"] > last)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        self.assertEqual((process.returncode, errors), (130, ""))
        self.assertEqual(json.loads(output.splitlines()[-1])["end"], "interrupted")
        for path in (self.folder / "run/checkpoints").iterdir():
            read_safetensors(path)

    def wait_for(self, process, wanted):
        for line in process.stdout:
            event = json.loads(line)
            if wanted(event):
                return event
        self.fail("the run ended")
        return None


class DryRun(CommandTest):
    def test_text(self):
        self.write("net.yaml", HEALTHY)
        result = self.command("train", "net.yaml", "--dry-run")
        self.assert_expected("train-dry-run.txt",
                             re.sub("(?m)^memory .*", "memory     # MB", result.stdout))
        self.assertEqual(result.stderr, "")
        self.assertEqual(self.files(), ["net.yaml"])

    def test_json(self):
        self.write("net.yaml", HEALTHY)
        result = self.command("train", "net.yaml", "-n", "--json", "--epochs", "7")
        events = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual([e["event"] for e in events], ["layer"] * 3 + ["plan"])
        self.assertEqual([e["parameters"] for e in events],
                         [64 * 16 + 16, 16 * 16 + 16, 16 * 10 + 10, 64 * 16 + 16 * 26 + 42])
        self.assertEqual((events[-1]["epochs"], events[-1]["epoch_steps"]), (7, 40))
        self.assertEqual(self.files(), ["net.yaml"])

    def test_bad_file(self):
        self.write("net.yaml", HEALTHY.replace("relu", "rulu"))
        self.fails("train", "net.yaml", "--dry-run",
                   message="net.yaml:3:20: net[0]: unknown activation 'rulu'; did you mean 'relu'?")
        self.fails("train", "none.yaml", "--dry-run",
                   message="cannot open none.yaml: No such file or directory")


if __name__ == "__main__":
    unittest.main()
