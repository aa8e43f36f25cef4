# SPDX-License-Identifier: Apache-2.0
"""What a watch may not do to the loop around it: grow, wait, write where it should not, raise, or
lose what was recorded, whatever happens to the loop, the disk and the process.

  test_loop.py kill --runs 1000     # the series of docs/evidence/pytorch-robustness.md
"""

import argparse
import contextlib
import ctypes
import gc
import io
import mmap
import multiprocessing
import os
import pathlib
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import warnings
import weakref

import backprobe
import torch
from backprobe import _native
from loop import Training, train_with_workers

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = pathlib.Path(backprobe.__file__).resolve().parents[1]


def environment(**more):
    paths = [str(PACKAGE), str(HERE), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "OMP_NUM_THREADS": "1", **more}


def python(*words, flags=(), timeout=300, **more):
    """Runs a program of this folder; one that does not end in time is a failure. The whole group is
    killed then, workers too."""
    process = subprocess.Popen([sys.executable, *flags, *map(str, words)], text=True, cwd=HERE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=environment(**more), start_new_session=True)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"did not end within {timeout} s\n{out}\n{err}") from None
    return process.returncode, out, err


def steps_in(folder):
    """Of the steps that have a record in the log (with every=1, all), the numbers."""
    return [record["step"] for record in _native.records(os.fsencode(folder))]


def ends_as(folder):
    return _native.check(os.fsencode(folder))["end"]


class LoopCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.run_folder = self.folder / "run"
        self.stderr = io.StringIO()
        self.before = torch.get_num_threads()
        torch.set_num_threads(1)
        self.addCleanup(torch.set_num_threads, self.before)

    @contextlib.contextmanager
    def heard(self):
        with contextlib.redirect_stderr(self.stderr):
            yield

    @property
    def lines(self):
        return self.stderr.getvalue().splitlines()

    def plain(self, steps, act=lambda training, number: None):
        training = Training()
        for number in range(steps):
            act(training, number)
            training.step()
        return training.digest()

    def watched(self, **watch):
        training = Training({"run": str(self.run_folder), "every": 1, **watch})
        self.addCleanup(training.probe.close)
        return training


# --- memory ------------------------------------------------------------------------------------

GROWTH = """
import gc, os, sys, torch, backprobe
from torch import nn
torch.set_num_threads(1)
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
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
    WARM_UP, STEPS = 15_000, 100_000

    def test_it_does_not_grow(self):
        code, out, err = python("-c", GROWTH, self.run_folder, self.WARM_UP, self.STEPS, timeout=600)
        self.assertEqual(code, 0, err)
        grown, objects = map(int, out.split())
        self.assertLess(grown, 1 << 20)
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


# --- going blind -------------------------------------------------------------------------------


class Faulty:
    """The native probe, of which one method raises from its n-th call on."""

    def __init__(self, inner, method, at, error):
        self.__dict__.update(inner=inner, method=method, left=at, error=error)

    def __getattr__(self, name):
        value = getattr(self.inner, name)
        if name != self.method:
            return value
        return lambda *arguments: self.call(value, arguments)

    def __setattr__(self, name, value):
        if name in self.__dict__:
            self.__dict__[name] = value
        else:
            setattr(self.inner, name, value)

    def call(self, function, arguments):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return function(*arguments)


# What the hooks call in a step. In the first one `open` is among it.
METHODS = ("forward", "loss", "fresh", "gradients", "before_update", "after_update", "second_moments",
           "end_step", "open", "news", "forget")
ERRORS = (RuntimeError("an internal error"), MemoryError(), ValueError("x"), RecursionError(),
          AssertionError(), OSError(28, "No space left on device"))


class BlindTest(LoopCase):
    STEPS = 12

    def test_an_internal_error_ends_the_watch_and_not_the_training(self):
        plain, called = self.plain(self.STEPS), set()
        for method in METHODS:
            for at, error in zip((0, 1, 5), ERRORS if method == "forward" else ERRORS[:3], strict=False):
                with self.subTest(method=method, at=at, error=error):
                    self.stderr = io.StringIO()
                    with self.heard():
                        training = Training({"run": str(self.folder / f"{method}-{at}"), "every": 1})
                        faulty = Faulty(training.probe._native, method, at, error)
                        training.probe._native = faulty
                        for _ in range(self.STEPS):
                            training.step()
                        blind = training.probe.blind
                        training.probe.close()
                    self.assertEqual(training.digest(), plain)
                    if faulty.left < 0:
                        called.add(method)
                        self.assertIsNotNone(blind)
                        told = [line for line in self.lines if type(error).__name__ in line]
                        self.assertEqual(len(told), 1, self.lines)
                        self.assertLessEqual(len(self.lines), 2, self.lines)
                    for module in training.model:
                        self.assertEqual(len(module._forward_hooks), 0)
        self.assertLessEqual({"forward", "loss", "before_update", "after_update", "second_moments",
                              "end_step", "open", "news"}, called)

    def test_the_run_folder_disappears(self):
        plain = self.plain(3000)
        for every in (1, None):
            with self.subTest(every=every):
                self.stderr = io.StringIO()
                with self.heard():
                    training = self.watched(every=every)
                    for number in range(3000):
                        if number == 20:
                            shutil.rmtree(self.run_folder)
                        training.step()
                    training.probe.close()
                self.assertEqual(training.digest(), plain)
                self.assert_said_once()

    def assert_said_once(self):
        """One line that the log stopped, beside the first one and the last."""
        odd = [line for line in self.lines if "watching" not in line.split(",")[0] and
               "steps watched" not in line]
        told = [line for line in self.lines if "log is not written" in line or
                "could not be finished" in line]
        self.assertLessEqual(len(told), 1, self.lines)
        self.assertLessEqual(len(odd), 1, self.lines)
        self.assertLessEqual(len(self.lines), 3, self.lines)

    def test_a_file_may_not_grow(self):
        """RLIMIT_FSIZE: writes fail with EFBIG."""
        plain = self.plain(3000)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        with self.heard():
            training = self.watched()
            for number in range(3000):
                if number == 20:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
                training.step()
            training.probe.close()
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        self.assertEqual(training.digest(), plain)
        self.assert_said_once()
        self.assertTrue(any("log" in line and "not written" in line or "finished" in line
                            for line in self.lines), self.lines)

    def test_the_disk_is_full(self):
        """A file system of a few pages, where this process may mount one."""
        disk = self.folder / "disk"
        disk.mkdir()
        with small_disk(disk) as mounted:
            if not mounted:
                # May not mount: the same by a limit, which test_a_file_may_not_grow has seen.
                return
            self.run_folder = disk / "run"
            plain = self.plain(3000)
            with self.heard():
                training = self.watched()
                for _ in range(3000):
                    training.step()
                training.probe.close()
            self.assertEqual(training.digest(), plain)
            self.assert_said_once()
            self.assertTrue(any("log" in line and "not written" in line or "finished" in line
                                for line in self.lines), self.lines)
            known = steps_in(self.run_folder)
            self.assertEqual(known, sorted(set(known)))
            self.assertGreater(len(known), 20)

    def test_no_folder_can_be_made(self):
        (self.folder / "file").write_text("", encoding="ascii")
        with self.heard():
            training = Training({"run": str(self.folder / "file" / "run"), "every": 1})
            for _ in range(self.STEPS):
                training.step()
            self.assertEqual(training.probe.step, self.STEPS)
            training.probe.close()
        self.assertEqual(training.digest(), self.plain(self.STEPS))
        self.assertLessEqual(len(self.lines), 3, self.lines)
        self.assertEqual(sum("no log is kept (" in line for line in self.lines), 1, self.lines)

    def test_stderr_is_closed(self):
        class Closed(io.StringIO):
            def write(self, text):
                raise OSError(32, "Broken pipe")

        with contextlib.redirect_stderr(Closed()):
            training = self.watched()
            for _ in range(self.STEPS):
                training.step()
            training.probe.close()
        self.assertEqual(training.digest(), self.plain(self.STEPS))


@contextlib.contextmanager
def small_disk(folder):
    """A tmpfs of 64 KiB on `folder`; False where it cannot be had."""
    libc = ctypes.CDLL(None, use_errno=True)
    mounted = libc.mount(b"none", os.fsencode(folder), b"tmpfs", 0, b"size=64k") == 0
    try:
        yield mounted
    finally:
        if mounted:
            libc.umount2(os.fsencode(folder), 2)


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
            with self.watched().probe as probe:
                training = self._training(probe)
                for number in range(10):
                    if number == 6:
                        training.model[2].weight.register_hook(interrupt)
                    training.step()
        self.assertEqual(steps_in(self.run_folder), list(range(6)))
        self.assertEqual(ends_as(self.run_folder), "interrupted")

    def watched(self, **watch):
        self.training = super().watched(**watch)
        return self.training

    def _training(self, probe):
        return self.training

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


# --- kill -9 -----------------------------------------------------------------------------------


def train_until_killed(run, shared):
    """In a child: each step is noted in shared memory as soon as the optimiser has returned."""
    with open(os.devnull, "w") as devnull, contextlib.redirect_stderr(devnull):
        training = Training({"run": run, "every": 1})
        for number in range(1, 10**9):
            training.step()
            struct.pack_into("q", shared, 0, number)


def killed_once(folder, moments):
    """Steps of which the optimiser had returned, and those that the log has. A step is recorded when
    the next one begins, for a validation may still come; so the last one may be missing."""
    shared = mmap.mmap(-1, 8)
    child = os.fork()
    if child == 0:
        try:
            train_until_killed(folder, shared)
        finally:
            os._exit(1)
    if moments.random() < 0.9:  # else while the run begins
        while struct.unpack_from("q", shared) == (0,):
            assert os.waitpid(child, os.WNOHANG) == (0, 0), "it ended by itself"
            time.sleep(0.001)
    time.sleep(moments.uniform(0, 0.2))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, "it ended by itself"
    [done] = struct.unpack_from("q", shared)
    if not os.path.isdir(folder):
        return done, []
    if done < 2 and not any(name.endswith(".bplog") for name in os.listdir(folder)):
        return done, []
    damage = _native.check(os.fsencode(folder))["damage"]
    assert damage["lost_records"] == 0 and damage["damaged_places"] == 0, damage
    return done, steps_in(folder)


def kill_series(runs, seed, report=lambda *values: None):
    """Returns how many steps were done, and how many recorded ones were lost."""
    moments = random.Random(seed)
    total = lost = 0
    import backprobe.probe  # noqa: F401 - a child that is killed early should not spend its life on imports

    Training().step()
    with tempfile.TemporaryDirectory() as parent:
        for number in range(runs):
            folder = os.path.join(parent, str(number))
            done, known = killed_once(folder, moments)
            assert known == list(range(len(known))), known
            total += done
            lost += max(0, done - 1 - len(known))
            report(number + 1, total, lost)
            shutil.rmtree(folder, ignore_errors=True)
    return total, lost


class KillTest(LoopCase):
    RUNS = 30

    def test_no_recorded_step_is_lost(self):
        total, lost = kill_series(self.RUNS, 1)
        self.assertGreater(total, 100)
        self.assertEqual(lost, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["kill"])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.monotonic()

    def report(number, total, lost):
        if number % 50 == 0 or number == options.runs:
            print(f"{number} kills, {total} steps, {lost} recorded ones lost, 0 unreadable logs, "
                  f"{time.monotonic() - begin:.0f} s", flush=True)

    _, lost = kill_series(options.runs, options.seed, report)
    return lost > 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["kill"]:
        sys.exit(main())
    unittest.main()
