# SPDX-License-Identifier: Apache-2.0
"""The extension without any framework: arrays by the buffer protocol and by DLPack."""

import array
import ctypes
import math
import os
import pathlib
import sys
import tempfile
import threading
import time
import unittest

from backprobe import _native
from backprobe._native import ACTIVATION, ERROR, SPREAD, Probe

LAYER = {"name": "a", "kind": "dense", "fan_in": 3, "fan_out": 4, "output_shape": (4, 1, 1)}


class Managed(ctypes.Structure):
    """DLManagedTensor, version 1 of DLPack."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    ]


capsule_new = ctypes.pythonapi.PyCapsule_New
capsule_new.restype = ctypes.py_object
capsule_new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class Exporter:
    """An array of some library."""

    def __init__(self, values, shape, strides=None, *, device=1, code=2, bits=32, lanes=1, skip=0):
        self.memory = (ctypes.c_float * len(values))(*values)
        self.shape = (ctypes.c_int64 * len(shape))(*shape)
        self.strides = (ctypes.c_int64 * len(shape))(*strides) if strides else None
        self.tensor = Managed(
            ctypes.addressof(self.memory), device, 0, len(shape), code, bits, lanes,
            self.shape, self.strides, 4 * skip, None, None,
        )  # fmt: skip

    def __dlpack__(self):
        return capsule_new(ctypes.addressof(self.tensor), b"dltensor", None)


class Native(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.fsencode(pathlib.Path(folder.name))

    def open(self):
        probe = Probe()
        slots = [(1, "weight", 0)]
        sites = [(0, 1, "activation"), (0, 1, "error_output")]
        probe.open([LAYER], {}, (3, 1, 1), sites, slots, {"run_folder": self.path, "every": 1})
        return probe

    def readings(self, probe):
        probe.close("finished")
        return _native.records(self.path)[0]["quantities"]

    def rms_of(self, thing):
        probe = self.open()
        self.assertTrue(probe.forward(0, thing, ACTIVATION), probe.not_measured)
        probe.end_step(0.1, 1)
        rms = self.readings(probe)["activation_rms"][1]
        for part in pathlib.Path(os.fsdecode(self.path)).iterdir():
            part.unlink()
        return rms

    def reason(self, thing):
        probe = Probe()
        self.assertFalse(probe.forward(0, thing, ACTIVATION | SPREAD | ERROR))
        return list(probe.not_measured)

    def near(self, found, expected):
        self.assertTrue(math.isclose(found, expected, rel_tol=0.003), f"{found} is not {expected}")

    def test_buffers(self):
        expected = math.sqrt((1 + 4 + 9 + 16) / 4)
        for letter in "fd":
            self.near(self.rms_of(array.array(letter, [1, -2, 3, -4])), expected)
        self.near(self.rms_of(memoryview(array.array("d", [1, 9, -2, 9, 3, 9, -4, 9]))[::2]), expected)
        self.near(self.rms_of((ctypes.c_float * 2 * 2)((1, -2), (3, -4))), expected)
        self.assertEqual(self.rms_of(array.array("f")), 0)

    def test_capsules(self):
        expected = math.sqrt((1 + 4 + 9 + 16) / 4)
        self.near(self.rms_of(Exporter([1, 2, 3, 4], (2, 2))), expected)
        self.near(self.rms_of(Exporter([1, 9, 2, 9, 3, 9, 4, 9], (2, 2), (2, 4))), expected)
        self.near(self.rms_of(Exporter([9, 1, 2, 3, 4], (4,), (1,), skip=1)), expected)
        self.near(self.rms_of(Exporter([3], ())), 3)
        ten = (1, 2, 1, 1, 2, 1, 1, 1, 1, 1)
        self.near(self.rms_of(Exporter([1, 2, 3, 4], ten, (4, 2, 2, 2, 1, 1, 1, 1, 1, 1))), expected)

    def test_what_is_not_measured_has_a_reason(self):
        self.assertEqual(self.reason(array.array("i", [1])), ["integers"])
        self.assertEqual(self.reason(b"bytes"), ["integers"])
        self.assertEqual(self.reason(Exporter([1], (1,), device=2)), ["on another device"])
        self.assertEqual(self.reason(Exporter([1], (1,), code=0)), ["integers"])
        self.assertEqual(self.reason(Exporter([1], (1,), code=5)), ["complex numbers"])
        self.assertEqual(self.reason(Exporter([1], (1,), code=10, bits=8)), ["floats of 8 bits or fewer"])
        self.assertEqual(self.reason(Exporter([1], (1,), lanes=4)), ["an unknown number format"])
        self.assertEqual(self.reason(Exporter([1] * 512, (2,) * 9, [1] * 9)), ["more than 8 dimensions"])
        for thing in (None, 3, "text", [1.0], {}, object(), Probe(), Probe):
            self.assertEqual(self.reason(thing), ["not a tensor"])

    def test_arrays_are_let_go(self):
        probe = Probe()
        for thing in (array.array("d", [1.0]), Exporter([1], (1,))):
            before = sys.getrefcount(thing)
            for _ in range(5):
                probe.forward(0, thing, ACTIVATION | SPREAD)
            self.assertEqual(sys.getrefcount(thing), before)
            if isinstance(thing, array.array):
                thing.append(2.0)  # nobody holds its buffer

    def test_a_step_of_plain_arrays(self):
        probe = self.open()
        weight, gradient = array.array("d", [1, 2, -2, 4]), array.array("d", [1, 1, -1, -1])
        probe.loss(0.75, 8)
        probe.gradients([gradient])
        probe.before_update([weight], [gradient], 2.0)
        for i in range(4):
            weight[i] -= 0.5 * gradient[i]
        probe.after_update([weight])
        self.assertTrue(probe.end_step(0.5, 8))
        readings = self.readings(probe)
        self.assertEqual(readings["loss"], {0: 0.75})
        self.assertEqual(readings["loss_terms"], {0: 8})
        self.assertEqual(readings["effect"], {1: 1.0})
        self.assertEqual(readings["parameters"], {1: 4})
        self.near(readings["weight_rms"][1], 2.5)
        self.near(readings["gradient_norm"][0], 1)
        self.near(readings["update_rms"][1], 0.5)

    def test_other_threads_run_in_the_meantime(self):
        probe, long = Probe(), array.array("d", bytes(8 * 4_000_000))
        stop, count = threading.Event(), [0]

        def work():
            while not stop.is_set():
                count[0] += 1
                time.sleep(0)  # lets others run

        thread = threading.Thread(target=work)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1000)  # who has the GIL keeps it, but where it is let go
        progress = 0
        try:
            thread.start()
            for _ in range(300):
                before = count[0]
                probe.forward(0, long, ACTIVATION)
                progress += count[0] - before
                if progress:
                    break
        finally:
            stop.set()
            sys.setswitchinterval(interval)
            thread.join()
        self.assertGreater(progress, 0)

    def test_a_closed_probe_does_nothing(self):
        probe = self.open()
        probe.close("finished")
        probe.close("stopped")
        self.assertFalse(probe.full)
        self.assertFalse(probe.forward(0, array.array("d", [1.0]), ACTIVATION))
        probe.loss(1.0, 1)
        self.assertFalse(probe.end_step(0.1, 1))
        self.assertEqual(probe.findings(), [])
        self.assertEqual(probe.news(), [])
        self.assertEqual(_native.check(self.path)["end"], "finished")

    def test_a_loss_that_is_not_finite_is_a_finding(self):
        probe = self.open()
        for value in (1.0, math.nan):
            probe.loss(value, 1)
            probe.end_step(0.1, 1)
        self.assertEqual([row["problem"] for row in probe.findings()], ["non-finite"])

    def test_types(self):
        with self.assertRaises(TypeError):
            Probe(3)
        with self.assertRaises(TypeError):
            Probe().forward(0)
        with self.assertRaises(TypeError):
            Probe().forward("site", None, 1)
        with self.assertRaises((TypeError, OverflowError)):
            Probe().forward(-1, None, 1)
        with self.assertRaises(TypeError):
            Probe().loss(None)
        with self.assertRaises(AttributeError):
            Probe().full = True
        self.assertFalse(hasattr(_native, "Hook"))


if __name__ == "__main__":
    unittest.main()
