# SPDX-License-Identifier: Apache-2.0
"""What the extension leaves behind: nothing."""

import contextlib
import gc
import os
import pickle
import resource
import threading
import tracemalloc
import unittest
import warnings
import weakref

import torch

from backprobe import _native
from backprobe._native import ACTIVATION, SPREAD, Probe
from native_host import ALL, Net, Stepping, batch


class Life(Stepping):
    """What is left behind: nothing."""

    def test_tensors_die_as_if_nobody_watched(self):
        net = self.net().open()
        x, y = batch()
        dead = []
        for _ in range(3):
            out = net.forward(x)
            loss = torch.nn.functional.cross_entropy(out, y)
            net.probe.loss(loss, 32)
            loss.backward()
            dead += [weakref.ref(out), weakref.ref(loss)]
            net.update(32)
            dead.append(weakref.ref(net.parameters[0].grad) if net.parameters[0].grad is not None else lambda: None)
            del out, loss
        gc.disable()
        self.addCleanup(gc.enable)
        self.assertEqual([ref() for ref in dead], [None] * len(dead))

    def test_a_hook_outlives_its_probe(self):
        for closes in (False, True):
            net = Net()
            net.options = {"every": 1}
            net.open()
            loss = net.loss(*batch())
            if closes:
                net.probe.close("finished")
            del net.probe
            gc.collect()
            loss.backward()
            self.assertIsNotNone(net.parameters[0].grad)

    def test_a_probe_with_a_cycle_is_collected(self):
        probe = Probe()

        class Owner:
            pass

        owner = Owner()
        owner.probe = probe
        probe.on_backward = lambda number, owner=owner: None
        ref = weakref.ref(owner)
        del owner, probe
        gc.collect()
        self.assertIsNone(ref())

    def test_an_exception_of_on_backward_stays_with_us(self):
        net = self.net().open()

        def fails(number):
            raise RuntimeError("ours")

        net.probe.on_backward = fails
        net.loss(*batch()).backward()
        self.assertIsNotNone(net.parameters[0].grad)

        def stops(number):
            raise KeyboardInterrupt

        net.probe.on_backward = stops
        with self.assertRaises(KeyboardInterrupt):
            net.loss(*batch()).backward()

    def test_saving_a_watched_tensor_warns_of_nothing(self):
        net = self.net().open()
        out = net.forward(batch()[0])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pickle.dumps(out)

    def test_two_threads_at_once(self):
        net = Net()
        net.open()
        big = torch.randn(2000, 1000)

        def work():
            for _ in range(30):
                net.probe.forward(0, big, ACTIVATION | SPREAD)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(30):
            net.probe.end_step(0.1, 1)
            net.probe.forget()
        for thread in threads:
            thread.join()
        net.probe.close("finished")
        self.assertLessEqual(set(net.probe.not_measured), {"another thread was being served"})

    def test_memory_does_not_grow(self):
        net = self.net(every=5, max_log_bytes=1 << 22).open()
        x, y = batch()

        def steps(n):
            for _ in range(n):
                net.loss(x, y).backward()
                net.update(32)

        steps(2000)
        gc.collect()
        tracemalloc.start()
        steps(100)
        first = tracemalloc.get_traced_memory()[0]
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        steps(2000)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - first
        tracemalloc.stop()
        steps(16000)
        self.assertLess(grown, 20_000)
        self.assertLess(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident, 1024)

    def test_a_child_process_leaves_the_log_alone(self):
        net = self.net().open()
        net.loss(*batch()).backward()
        net.update(32)
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                good = not net.probe.full and not net.probe.forward(0, torch.randn(3), ALL)
                good = good and not net.probe.end_step(0.1, 1) and net.probe.step == 1
                net.probe.loss(torch.randn((), requires_grad=True), 1)
                net.probe.close("stopped")
                del net.probe
                gc.collect()
                code = 0 if good else 2
            os._exit(code)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        net.loss(*batch()).backward()
        net.update(32)
        self.assertEqual(len(self.records(net)), 2)
        self.assertEqual(_native.check(self.path)["end"], "finished")

    def test_random_numbers_are_left_alone(self):
        state = torch.get_rng_state()
        net = self.net()
        torch.set_rng_state(state)
        net.open()
        net.loss(*batch()).backward()
        net.update(32)
        self.assertTrue(torch.equal(torch.get_rng_state(), state))


if __name__ == "__main__":
    unittest.main()
