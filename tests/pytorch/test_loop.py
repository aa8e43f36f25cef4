# SPDX-License-Identifier: Apache-2.0
"""What a watch may not do to the loop around it: grow, wait, write where it should not, or raise,
whatever happens in the loop. (The disk: test_blind.py; the process: test_kill.py.)"""

import contextlib
import gc
import io
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import unittest
import warnings
import weakref

from backprobe import _native
from loop import Training, train_with_workers
from looping import HERE, LoopCase, ends_as, environment, python, steps_in

# --- memory ------------------------------------------------------------------------------------

GROWTH = """
import gc, os, sys, torch, backprobe
from torch import nn
torch.set_num_threads(1)
def resident():
    # Of the process's own: the ring that is shared with the log has 8 MiB from the first step on,
    # which are touched one after the other.
    with open("/proc/self/status") as file:
        rows = [line.split() for line in file if line.startswith("Rss")]
    sizes = {name: int(number) * 1024 for name, number, _ in rows}
    assert sizes["RssShmem:"] < 10 << 20, sizes
    return sizes["RssAnon:"] + sizes["RssFile:"]
def objects():
    gc.collect()
    return len(gc.get_objects())
torch.manual_seed(0)
model, criterion = nn.Linear(4, 3), nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), 0.01)
probe = backprobe.watch(model, optimizer, loss_fn=criterion, run=sys.argv[1])
x, y = torch.randn(8, 4), torch.arange(8) % 3
def train(steps):
    for _ in range(steps):
        criterion(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
train(int(sys.argv[2]))
objects()  # a list of all objects leaves room on the heap
before = resident(), objects()
train(int(sys.argv[3]))
assert probe.step == int(sys.argv[2]) + int(sys.argv[3]) and probe.blind is None
print(resident() - before[0], objects() - before[1])
"""


class MemoryTest(LoopCase):
    WARM_UP, STEPS = 10_000, 40_000  # 100,000 and more: docs/evidence/pytorch-robustness.md

    def test_it_does_not_grow(self):
        code, out, err = python("-c", GROWTH, self.run_folder, self.WARM_UP, self.STEPS, timeout=600)
        self.assertEqual(code, 0, err)
        grown, objects = map(int, out.split())
        self.assertLess(grown, (1 << 20) * self.STEPS // 100_000)  # a mebibyte in 100,000
        self.assertLess(objects, 50)

    def test_activations_and_losses_die(self):
        gc.disable()
        self.addCleanup(gc.enable)
        with self.heard():
            training = self.watched()
            seen = []
            for module in training.model:
                module.register_forward_hook(
                    lambda module, inputs, output: seen.append(weakref.ref(output)))
            for _ in range(5):
                loss = training.forward()
                seen.append(weakref.ref(loss))
                loss.backward()
                training.optimizer.step()
                training.optimizer.zero_grad()
                del loss
                self.assertEqual([each() for each in seen], [None] * len(seen))
            with contextlib.suppress(ZeroDivisionError):
                loss = training.forward() / (1 // 0)
            training.forward()
            self.assertEqual([each() for each in seen], [None] * len(seen))
            training.forward().backward(retain_graph=False)
            model = weakref.ref(training.model)
            training.probe.close()
            self._cleanups = [each for each in self._cleanups
                              if getattr(each[0], "__self__", None) is not training.probe]
            del training, module
            gc.collect()
            self.assertIsNone(model())


# --- workers, forks, threads -------------------------------------------------------------------


class WorkersTest(LoopCase):
    def check(self, start):
        quiet = {"PYTHONWARNINGS": "ignore:This DataLoader will create"}  # more than there are cores
        code, watched, err = python("loop.py", "--workers", start, "--run", self.run_folder, "--every", 1,
                                    **quiet)
        self.assertEqual(code, 0, err)
        self.assertEqual(watched.split()[0], train_with_workers().digest())
        self.assertEqual(len(watched.splitlines()), 1)
        self.assertEqual(len(err.splitlines()), 2, err)
        self.assertEqual(steps_in(self.run_folder), list(range(7 * 4)))
        self.assertEqual(ends_as(self.run_folder), "finished")
        self.assertEqual([path.name for path in self.folder.iterdir()], ["run"])

    def test_fork(self):
        self.check("fork")

    def test_spawn(self):
        self.check("spawn")

    def test_forkserver(self):
        self.check("forkserver")


FORKED = """
import os, sys, torch, loop
torch.set_num_threads(1)
training = loop.Training({"run": sys.argv[1], "every": 1})
for number in range(12):
    if number in (0, 5) and os.fork() == 0:
        for _ in range(3):
            training.step()
        training.probe.validation(loss=1.0)
        sys.exit(0)
    training.step()
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
print(training.digest())
"""


class ForkTest(LoopCase):
    def child_trains(self, training, leave):
        child = os.fork()
        if child == 0:
            try:
                with open(os.devnull, "w") as devnull, contextlib.redirect_stdout(devnull):
                    for _ in range(5):
                        training.step()
                    training.probe.validation(loss=1.0)
                    training.probe.findings
                    leave(training)
            finally:
                os._exit(3)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)

    def test_a_child_that_trains_on_writes_nothing(self):
        def by_close(training):
            training.probe.close()
            os._exit(0)

        plain = self.plain(20)
        for name, leave in (("close", by_close), ("_exit", lambda training: os._exit(0))):
            with self.subTest(name):
                self.run_folder = self.folder / name
                said, self.stderr = tempfile.TemporaryFile("w+"), io.StringIO()
                with said, contextlib.redirect_stderr(said):
                    training = self.watched()
                    for number in range(20):
                        if number in (0, 7, 12):
                            self.assertEqual(self.child_trains(training, leave), 0)
                        training.step()
                    training.probe.close()
                    said.seek(0)
                    lines = said.read().splitlines()
                    self.assertEqual(len(lines), 2, lines)
                self.assertEqual(training.digest(), plain)
                self.assertEqual(steps_in(self.run_folder), list(range(20)))
                self.assertEqual(ends_as(self.run_folder), "finished")

    def test_a_child_that_ends_as_programs_do(self):
        """With what is registered to happen at exit."""
        code, out, err = python("-c", FORKED, self.run_folder)
        self.assertEqual((code, out), (0, self.plain(12) + "\n"), err)
        self.assertEqual(len(err.splitlines()), 2, err)
        self.assertEqual(steps_in(self.run_folder), list(range(12)))
        self.assertEqual(ends_as(self.run_folder), "finished")

    def test_a_pool_in_mid_training(self):
        with self.heard():
            training = self.watched()
            for _ in range(5):
                training.step()
            with multiprocessing.get_context("fork").Pool(3) as pool:
                self.assertEqual(pool.map(abs, range(-5, 0)), [5, 4, 3, 2, 1])
                for _ in range(5):
                    training.step()
            training.probe.close()
        self.assertEqual(training.digest(), self.plain(10))
        self.assertEqual(steps_in(self.run_folder), list(range(10)))
        self.assertEqual(len(self.lines), 2)


class ThreadsTest(LoopCase):
    STEPS = 200

    def test_two_probes_in_two_threads(self):
        plain = []
        for seed in (1, 2):
            training = Training(seed=seed)
            for _ in range(self.STEPS):
                training.step()
            plain.append(training.digest())
        with self.heard():
            both = [Training({"run": str(self.folder / str(seed)), "every": 1}, seed) for seed in (1, 2)]
            begin, failures = threading.Barrier(2), []

            def work(training):
                try:
                    begin.wait()
                    for _ in range(self.STEPS):
                        training.step()
                except BaseException as error:
                    failures.append(error)

            threads = [threading.Thread(target=work, args=(training,)) for training in both]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(300)
            for training in both:
                training.probe.close()
        self.assertEqual(failures, [])
        self.assertEqual([training.digest() for training in both], plain)
        for seed in (1, 2):
            self.assertEqual(steps_in(self.folder / str(seed)), list(range(self.STEPS)))

    def test_a_probe_that_moves_between_threads(self):
        with self.heard():
            training = self.watched()
            for _ in range(10):
                thread = threading.Thread(target=training.step)
                thread.start()
                thread.join(60)
            training.probe.close()
        self.assertEqual(training.digest(), self.plain(10))
        self.assertEqual(steps_in(self.run_folder), list(range(10)))


# --- what happens in the loop ------------------------------------------------------------------


class Boom(Exception):
    pass


def boom(*arguments):
    raise Boom


class ExceptionsTest(LoopCase):
    """The user's own exceptions, in any place, caught by him: the training goes on as it would."""

    def in_forward(self, training):
        handle = training.model[2].register_forward_hook(boom)
        try:
            training.step()
        finally:
            handle.remove()

    def between(self, training):
        training.forward()
        raise Boom

    def in_backward(self, training):
        loss, handle = training.forward(), None
        handle = training.model[2].weight.register_hook(boom)
        try:
            loss.backward()
        finally:
            handle.remove()
            training.optimizer.zero_grad()

    def behind_backward(self, training):
        training.forward().backward()
        training.optimizer.zero_grad()
        raise Boom

    def in_the_closure(self, training):
        training.optimizer.step(boom)

    def in_a_hook_before_the_step(self, training):
        training.forward().backward()
        handle = training.optimizer.register_step_pre_hook(boom)
        try:
            training.optimizer.step()
        finally:
            handle.remove()
            training.optimizer.zero_grad()

    def in_a_hook_behind_the_step(self, training):
        training.forward().backward()
        handle = training.optimizer.register_step_post_hook(boom)
        try:
            training.optimizer.step()
        finally:
            handle.remove()
            training.optimizer.zero_grad()

    PLACES = {
        "in forward": (in_forward, 0), "between": (between, 0), "in backward": (in_backward, 0),
        "behind backward": (behind_backward, 0), "in the closure": (in_the_closure, 0),
        "before the step": (in_a_hook_before_the_step, 0),
        "behind the step": (in_a_hook_behind_the_step, 1),
    }

    def act(self, place, number, at):
        def act(training, now):
            if now in at:
                with self.assertRaises(Boom):
                    place(self, training)
        return act

    def test_the_training_goes_on(self):
        for name, (place, steps) in self.PLACES.items():
            for every in (1, 4):
                with self.subTest(name, every=every):
                    at = (0, 3, 6, 7)
                    act = self.act(place, 0, at)
                    plain = self.plain(10, act)
                    self.stderr = io.StringIO()
                    self.run_folder = self.folder / f"{name}-{every}"
                    with self.heard():
                        training = self.watched(every=every)
                        for number in range(10):
                            act(training, number)
                            training.step()
                        self.assertIsNone(training.probe.blind)
                        self.assertEqual(training.probe.step, 10 + steps * len(at))
                        training.probe.close()
                    self.assertEqual(training.digest(), plain)
                    self.assertEqual(len(self.lines), 2, self.lines)
                    if every == 1:
                        records = _native.records(os.fsencode(self.run_folder))
                        losses = [record["quantities"]["loss"][0] for record in records]
                        own = [struct.unpack("f", loss)[0] for loss in training.losses]
                        if not steps:
                            for told, loss in zip(losses, own, strict=True):
                                self.assertAlmostEqual(told, loss, delta=1e-6)

    def test_an_interrupt_in_the_middle_of_backward(self):
        def interrupt(gradient):
            signal.raise_signal(signal.SIGINT)
            for _ in range(10_000):
                pass
            return gradient

        with self.heard(), self.assertRaises(KeyboardInterrupt):
            training = self.watched()
            with training.probe:
                for number in range(10):
                    if number == 6:
                        training.model[2].weight.register_hook(interrupt)
                    training.step()
        self.assertEqual(steps_in(self.run_folder), list(range(6)))
        self.assertEqual(ends_as(self.run_folder), "interrupted")

    def test_an_interrupt_and_going_on(self):
        def interrupted(number, training):
            if number in (2, 5):
                handle = training.model[2].weight.register_hook(
                    lambda gradient: (_ for _ in ()).throw(KeyboardInterrupt))
                with self.assertRaises(KeyboardInterrupt):
                    training.forward().backward()
                handle.remove()
                training.optimizer.zero_grad()

        plain = self.plain(8, lambda training, number: interrupted(number, training))
        with self.heard():
            training = self.watched()
            for number in range(8):
                interrupted(number, training)
                training.step()
            self.assertIsNone(training.probe.blind)
            training.probe.close()
        self.assertEqual(training.digest(), plain)
        self.assertEqual(steps_in(self.run_folder), list(range(8)))

    def test_ctrl_c(self):
        """The process ends as it would, and the log says how."""
        for with_block in ([], ["--with"]):
            with self.subTest(with_block):
                run = self.folder / f"run{len(with_block)}"
                process = subprocess.Popen(
                    [sys.executable, "loop.py", "--run", run, "--every", "1", "--steps", "1000000",
                     *with_block],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HERE,
                    env=environment())
                self.assertEqual(process.stdout.readline(), "ten\n")
                process.send_signal(signal.SIGINT)
                _, err = process.communicate(timeout=60)
                self.assertEqual(process.returncode, -signal.SIGINT, err)
                self.assertIn("KeyboardInterrupt", err)
                self.assertEqual(ends_as(run), "interrupted")
                steps = steps_in(run)
                self.assertEqual(steps, list(range(len(steps))))


class QuietTest(LoopCase):
    def check(self, flags, **more):
        code, out, err = python("loop.py", "--run", self.run_folder, "--every", 2, "--steps", 60,
                                flags=flags, **more)
        self.assertEqual(code, 0, err)
        self.assertEqual(len(out.splitlines()), 2, out)
        lines = err.splitlines()
        self.assertEqual(len(lines), 2, err)
        self.assertTrue(all(line.startswith("backprobe: ") for line in lines), err)

    def test_warnings_as_errors(self):
        self.check(("-W", "error"))

    def test_developer_mode(self):
        self.check((), PYTHONDEVMODE="1")

    def test_optimised_bytecode(self):
        self.check(("-OO",))

    def test_no_warning_in_the_process(self):
        with warnings.catch_warnings(record=True) as caught, self.heard():
            warnings.simplefilter("always")
            training = self.watched()
            for _ in range(5):
                training.step()
            training.probe.close()
            del training
            gc.collect()
        self.assertEqual([str(each.message) for each in caught], [])


if __name__ == "__main__":
    unittest.main()
