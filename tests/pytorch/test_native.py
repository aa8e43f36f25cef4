# SPDX-License-Identifier: Apache-2.0
"""The extension on real tensors, one at a time: what stands in the log is what torch computes itself."""

import math
import shutil
import unittest
import warnings

import torch

from backprobe._native import ACTIVATION, SPREAD, Probe
from native_host import ALL, Case, batch, dense, records_of


class One(Case):
    """One site of one layer, one step a tensor: what it says of it."""

    def record(self, act, *, places=("activation", "error_output"), samples=1, terms=0):
        """The record of a step in which `act(probe)` was done."""
        path = self.run_folder()
        probe = Probe()
        probe.open(
            [dense("a", 1, 1)], {}, (1, 1, 1), [(0, 1, place) for place in places],
            [(1, "weight", 0)], {"run_folder": path, "every": 1},
        )  # fmt: skip
        act(probe)
        probe.end_step(0.1, samples)
        probe.close("finished")
        self.probe = probe
        return records_of(path)[0]

    def measured(self, tensor):
        record = self.record(lambda probe: self.assertTrue(probe.forward(0, tensor, ACTIVATION)))
        self.assertEqual(self.probe.not_measured, {})
        return record

    def check_values(self, tensor):
        shutil.rmtree(self.folder / "run", ignore_errors=True)
        record = self.measured(tensor)
        values = tensor.detach().to(torch.float64)
        finite = values[values.isfinite()]
        self.assertEqual(record["activation_nan"][1], values.isnan().sum())
        self.assertEqual(record["activation_inf"][1], values.isinf().sum())
        self.near(record["activation_max"][1], finite.abs().max() if len(finite) else 0)
        if len(finite) == values.numel():
            rms = values.square().mean().sqrt() if len(finite) else 0
            self.near(record["activation_rms"][1], rms)
            self.near(record["activation_norm"][1], values.square().sum().sqrt())

    def test_every_format(self):
        for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
            for shape in ((7, 13), (3, 5, 4, 2), (1000,), (257, 129)):
                with self.subTest(dtype=dtype, shape=shape):
                    self.check_values(torch.randn(shape).to(dtype))

    def test_every_layout(self):
        x = torch.randn(6, 8, 10, 12)
        views = {
            "transposed": x.transpose(1, 3),
            "permuted": x.permute(3, 1, 0, 2),
            "channels last": x.to(memory_format=torch.channels_last),
            "sliced": x[1:5:2, ::3, 2:, ::5],
            "expanded": torch.randn(1, 5, 1).expand(7, 5, 9),
            "an offset": x.flatten()[17:],
            "0-dim": x[0, 0, 0, 0],
            "empty": torch.empty(0, 3),
            "nine dimensions": torch.randn(2, 1, 3, 1, 2, 1, 2, 1, 3),
            "requires grad": torch.randn(3, 4, requires_grad=True),
            "a parameter": torch.nn.Parameter(torch.randn(3, 4)),
            "real of complex": torch.randn(5, dtype=torch.complex64).real,
        }
        for name, view in views.items():
            with self.subTest(name):
                self.check_values(view)

    def test_what_is_not_finite_is_counted(self):
        x = torch.randn(50, 20)
        x[3, 4] = x[7, 1] = math.nan
        x[9, 9] = math.inf
        x[0, 0] = -math.inf
        self.check_values(x)
        self.check_values(torch.full((3,), math.nan))

    def test_what_cannot_be_measured_is_counted_by_reason(self):
        class Wrapper(torch.Tensor):
            @staticmethod
            def __new__(cls, inner):
                return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

            def __init__(self, inner):
                self.inner = inner

            @classmethod
            def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
                raise NotImplementedError("a hook must not come here")

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantised = torch.quantize_per_tensor(torch.randn(3), 0.1, 0, torch.quint8)
            compressed = torch.eye(3).to_sparse_csr()
        tensors = {
            "integers": [torch.arange(3), torch.tensor([True])],
            "complex numbers": [torch.randn(3, dtype=torch.complex64).conj()],
            "floats of 8 bits or fewer": [torch.randn(3).to(torch.float8_e4m3fn)],
            "sparse": [torch.eye(3).to_sparse(), compressed],
            "quantised": [quantised],
            "a tensor without data": [torch.empty(3, device="meta")],
            "a view that negates": [torch.randn(3, dtype=torch.complex64).conj().imag],
            "a wrapped tensor": [Wrapper(torch.randn(3))],
            "more than 8 dimensions": [torch.randn([2] * 20)[(slice(None), slice(0, 1)) * 10].as_strided([2] * 9, [1] * 9)],
            "not a tensor": [None, 3, "text", [1.0], object, int],
        }
        for reason, examples in tensors.items():
            for example in examples:
                with self.subTest(reason, example=type(example)):
                    probe = Probe()
                    self.assertFalse(probe.forward(0, example, ALL))
                    self.assertEqual(probe.not_measured, {reason: 1})

    def test_a_plain_subclass_is_measured(self):
        class Mine(torch.Tensor):
            pass

        self.check_values(torch.randn(4, 5).as_subclass(Mine))

    def test_tensors_inside_vmap_are_not_read(self):
        probe = Probe()
        torch.func.vmap(lambda x: (probe.forward(0, x, ACTIVATION), x)[1])(torch.randn(2, 3))
        self.assertEqual(sum(probe.not_measured.values()), 1)

    def test_garbage_never_raises(self):
        class Hostile:
            layout = device = dtype = shape = None

            def __getattr__(self, name):
                raise RuntimeError(name)

        class Liar:
            __dlpack_c_exchange_api__ = "no capsule"
            layout = torch.strided
            is_quantized = False
            device = torch.device("cpu")
            dtype = torch.float32
            shape = (2, 3)

            def data_ptr(self):
                return "nowhere"

            def stride(self):
                return (3,)

        class Empty:
            def __dlpack__(self):
                return 5

        probe = Probe()
        for thing in (Hostile(), Liar(), Empty(), b"bytes", memoryview(b"ab"), torch, range(3), 1j):
            with self.subTest(type(thing)):
                self.assertFalse(probe.forward(0, thing, ALL))
                probe.loss(thing, 1)
        self.assertFalse(probe.forward(2**40, torch.randn(3), ALL))
        self.assertFalse(probe.forward(65535 + 1, torch.randn(3), ALL))

    def test_an_interrupt_is_not_swallowed(self):
        class Stops:
            @property
            def layout(self):
                raise KeyboardInterrupt

            def __dlpack__(self):
                raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            Probe().forward(0, Stops(), ALL)
        with self.assertRaises(KeyboardInterrupt):
            Probe().loss(Stops(), 1)

    def test_variation(self):
        x = torch.randn(64, 10) * 2 + 5
        record = self.record(lambda probe: probe.forward(0, x, ACTIVATION | SPREAD))
        variance = x.double().var(0, unbiased=False).mean()
        self.near(record["variation"][1], (variance / x.double().square().mean()).sqrt())

    def test_variation_of_many_units_is_an_estimate(self):
        x = (torch.randn(200, 1, 1, 1) + torch.randn(200, 24, 40, 40)).to(memory_format=torch.channels_last)
        record = self.record(lambda probe: probe.forward(0, x, ACTIVATION | SPREAD))
        variance = x.double().var(0, unbiased=False).mean()
        self.near(record["variation"][1], (variance / x.double().square().mean()).sqrt(), 0.15)

    def test_variation_needs_samples(self):
        path = self.run_folder()
        probe = Probe()
        probe.open([dense("a", 1, 1)], {}, (1, 1, 1), [(0, 1, "activation")], [], {"run_folder": path, "every": 1})
        batches = torch.randn(8, 10, 6)
        for batch in batches:
            probe.forward(0, batch, ACTIVATION | SPREAD)
            probe.end_step(0.1, 10)
        probe.close("finished")
        told = [record.get("variation") for record in records_of(path)]
        self.assertEqual([step for step, value in enumerate(told) if value], [3, 7])
        seen = batches[:4].reshape(40, 6).double()
        expected = (seen.var(0, unbiased=False).mean() / seen.square().mean()).sqrt()
        self.near(told[3][1], expected)

    def test_a_dead_site_varies_by_nothing(self):
        record = self.record(lambda probe: probe.forward(0, torch.zeros(40, 3), ACTIVATION | SPREAD))
        self.assertEqual(record["variation"][1], 0)


if __name__ == "__main__":
    unittest.main()
