# SPDX-License-Identifier: Apache-2.0
"""Tensors on an accelerator, played on the CPU: the same numbers as the plain definition, told in
order however late they come, with no operation that would wait for the device."""

import contextlib
import io
import math
import os
import sys
import unittest
import unittest.mock
import warnings

import test_identity as identity
import torch
from backprobe import _native
from backprobe.device import DeviceStage
from backprobe.device_panel import PLACES, UNITS, Panel, Spread, places_of
from backprobe.device_tiles import Arrived, Tiles, why_not
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

CPU = torch.device("cpu")
FORMATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def definition(tensor):
    """What native's put_summary takes, one element after the other."""
    values = tensor.detach().double().reshape(-1).tolist()
    finite = [value for value in values if math.isfinite(value)]
    return (
        len(values),
        sum(map(math.isnan, values)),
        values.count(math.inf),
        values.count(-math.inf),
        values.count(0.0),
        min(finite, default=math.inf),
        max(finite, default=-math.inf),
        math.fsum(finite),
        math.fsum(value * value for value in finite),
    )


def planted(count, dtype, scale=1.0, seed=0):
    """Normal numbers with NaN, infinities, zeros, huge and tiny ones among them."""
    generator = torch.Generator().manual_seed(seed)
    tensor = (torch.randn(count, generator=generator, dtype=torch.float64) * scale).to(dtype)
    limits = torch.finfo(dtype)
    huge = min(limits.max, 1e150)
    odd = (math.nan, math.inf, -math.inf, 0.0, -0.0, huge, -huge, limits.tiny, huge)
    for k, value in enumerate(odd * 2):
        tensor[(7919 * k + 3) % count] = value
    return tensor


class NumbersCase(unittest.TestCase):
    def assert_numbers(self, found, tensor):
        """Counts and extremes exactly, sums as f32 reductions give them."""
        expected = definition(tensor)
        self.assertEqual(found[:7], expected[:7])
        values = tensor.detach().double().reshape(-1)
        size = values[values.isfinite()].abs().sum().item()
        self.assertLessEqual(abs(found[7] - expected[7]), 1e-6 * size)
        self.assertLessEqual(abs(found[8] - expected[8]), 1e-6 * expected[8])


class TilesTest(NumbersCase):
    def setUp(self):
        self.tiles = Tiles(CPU)

    def check(self, tensors):
        readings = self.tiles.take(tensors)
        arrived = Arrived(self.tiles.collect())
        for tensor, reading in zip(tensors, readings, strict=True):
            with self.subTest(shape=tuple(tensor.shape), dtype=tensor.dtype):
                self.assert_numbers(arrived.numbers(reading), tensor)

    def test_planted_values_in_every_format(self):
        for dtype in FORMATS:
            self.check([planted(count, dtype) for count in (20, 2048, 2049, 5000, 70000)])

    def test_sizes_around_rows_and_tiles(self):
        sizes = (0, 1, 2047, 2048, 2049, 16384, 16385, 65536, 65537, 32 * 65536, 32 * 65536 + 1)
        self.check([torch.randn(size) for size in sizes])

    def test_many_small_ones_fill_several_tiles(self):
        self.check([torch.randn(1 + k % 3000) for k in range(600)])

    def test_squares_neither_vanish_nor_overflow(self):
        scales = (1e-44, 1e-37, 1e-25, 1e25, 3e38)
        self.check([torch.rand(3000) * scale for scale in scales])
        self.check([torch.rand(3000, dtype=torch.float64) * scale for scale in (1e-150, 1e150)])

    def test_squares_beyond_all_numbers_stay_finite(self):
        tensor = torch.full((10,), 1e200, dtype=torch.float64)
        [reading] = self.tiles.take([tensor])
        numbers = Arrived(self.tiles.collect()).numbers(reading)
        self.assertTrue(math.isfinite(numbers[8]))

    def test_nothing_finite_and_all_of_one_sign(self):
        self.check([torch.full((5,), math.nan), torch.full((3000,), -math.inf),
                    torch.rand(3000) + 1, -torch.rand(70000) - 1, torch.zeros(40)])

    def test_any_strides(self):
        base = torch.randn(8, 6, 10, 12)
        self.check([
            base.to(memory_format=torch.channels_last), base.transpose(0, 3), base[:, ::2, 1:, ::3],
            base[0, 0, 0].expand(50, 12), base[0, 0, 0, 0],
        ])

    def test_a_step_does_not_see_the_one_before(self):
        self.check([torch.full((100000,), 1e30)])
        self.check([torch.randn(100000), torch.randn(10)])

    def test_numbers_of_the_tensor_over_a_factor(self):
        tensor = torch.randn(100) * 1024 + 512
        for factor in (1024.0, -0.25):
            [reading] = self.tiles.take([tensor])
            numbers = Arrived(self.tiles.collect()).numbers(reading, factor)
            self.assert_numbers(numbers, tensor / factor)

    def test_what_is_not_measured(self):
        self.assertIsNone(why_not(torch.ones(2)))
        self.assertEqual(why_not(torch.ones(2).to_sparse()), "sparse")
        self.assertEqual(why_not(torch.ones(2, device="meta")), "meta")
        with warnings.catch_warnings(action="ignore"):
            quantised = torch.quantize_per_tensor(torch.ones(2), 1, 0, torch.qint8)
        self.assertEqual(why_not(quantised), "quantised")
        self.assertIn("format", why_not(torch.ones(2, dtype=torch.int64)))
        self.assertEqual(why_not(None), "not a tensor")
        seen = []
        torch.func.vmap(lambda x: seen.append(why_not(x)) or x)(torch.ones(2))
        self.assertEqual(seen, ["wrapped"])


def plain_update(gradient, before, after):
    """bp_update_stats, one element after the other."""
    squares, effect, bad, stalled = 0.0, 0.0, 0, 0
    rows = zip(*(t.double().reshape(-1).tolist() for t in (gradient, before, after)), strict=True)
    for g, b, a in rows:
        same = (math.copysign(1, a), a) == (math.copysign(1, b), b) or (a != a and b != b)
        stalled += g != 0 and same
        if not math.isfinite(b):
            continue
        if not math.isfinite(a):
            bad += 1
            continue
        squares += (a - b) ** 2
        effect -= g * (a - b) if math.isfinite(g) else 0.0
    return squares, effect, bad, stalled


class PanelTest(unittest.TestCase):
    def test_all_elements_of_small_parameters_exactly(self):
        for dtype in FORMATS:
            with self.subTest(dtype=dtype):
                weights = [torch.randn(5, 7).to(dtype), torch.randn(PLACES).to(dtype)]
                gradients = [planted(35, dtype).view(5, 7), torch.randn(PLACES).to(dtype)]
                after = [w - 0.1 * torch.randn(w.shape).to(dtype) for w in weights]
                after[0].view(-1)[:9] = weights[0].view(-1)[:9]
                after[1][5], after[1][6] = math.nan, math.inf
                weights[1][7], weights[1][8], after[1][8] = math.nan, 0.0, -0.0
                panel = Panel([35, PLACES], CPU)
                panel.before(weights, gradients)
                readings = panel.after(after).readings(2.0)
                for row, numbers, cosine in readings:
                    expected = plain_update(gradients[row] / 2, weights[row], after[row])
                    self.assertEqual(numbers[0], weights[row].numel())
                    self.assertAlmostEqual(numbers[1], expected[0], delta=1e-12 * expected[0])
                    self.assertAlmostEqual(numbers[2], expected[1],
                                           delta=1e-9 * abs(expected[1]) + 1e-300)
                    self.assertEqual(numbers[3:], expected[2:])
                    self.assertIsNone(cosine)
                self.assertEqual(len(readings), 2)

    def test_places_are_spread_over_large_ones(self):
        for count in (PLACES + 1, 100_003, 50_000_000):
            places = places_of(count, 3)
            self.assertEqual(len(places), PLACES)
            self.assertTrue((places.diff() >= 0).all() and places[0] >= 0 and places[-1] < count)
            edges = torch.arange(PLACES) * count / PLACES
            self.assertTrue((places >= edges.floor()).all())
            self.assertTrue((places <= edges + count / PLACES).all())
        self.assertFalse(torch.equal(places_of(100_003, 0), places_of(100_003, 1)))

    def test_an_estimate_of_a_large_parameter(self):
        w, g = torch.randn(300, 500).t(), torch.randn(500, 300)
        panel = Panel([w.numel()], CPU)
        panel.before([w], [g])
        [(_, numbers, _)] = panel.after([w - 0.01 * g]).readings(1.0)
        self.assertEqual(numbers[0], PLACES)
        true = 1e-4 * (g * g).mean().item()
        self.assertAlmostEqual(numbers[1] / PLACES, true, delta=0.2 * true)
        self.assertAlmostEqual(numbers[2] / PLACES, 100 * true, delta=20 * true)

    def test_cosine_with_the_last_gradient(self):
        w, g, h = torch.randn(90), torch.randn(90), torch.randn(90)
        panel, other = Panel([90], CPU), Panel([90], CPU)
        cosines = []
        for gradient in (g, h, h, torch.zeros(90), None, h):
            panel.before([w], [gradient])
            cosines += [cosine for _, _, cosine in panel.after([w]).readings(1.0)]
        expected = torch.cosine_similarity(g.double(), h.double(), dim=0).item()
        self.assertIsNone(cosines[0])
        self.assertAlmostEqual(cosines[1], expected, places=12)
        self.assertAlmostEqual(cosines[2], 1.0, places=12)
        self.assertEqual(cosines[3:], [None, None])
        g[4] = math.inf
        for gradient in (g, h):
            other.before([w], [gradient])
            cosine = other.after([w]).readings(1.0)[0][2]
        g[4] = h[4] = 0
        expected = torch.cosine_similarity(g.double(), h.double(), dim=0).item()
        self.assertAlmostEqual(cosine, expected, places=12)

    def test_adaptivity(self):
        v = [torch.rand(60) * 1e-12, torch.zeros(10), None]
        panel = Panel([60, 10, 4], CPU)
        results = panel.adaptivity(v, [1e-8, 1e-8, 1e-8], [0.5, 0.5, 0.5]).readings()
        root = (v[0].double() / 0.5).sqrt()
        self.assertAlmostEqual(results[0][1], (root / (root + 1e-8)).mean().item(), places=12)
        self.assertEqual(results[1], (1, 0.0))
        self.assertEqual(len(results), 2)


class SpreadTest(unittest.TestCase):
    def variation(self, tensors):
        values = torch.cat([tensor.double().flatten(1) for tensor in tensors])
        variance, mean = torch.var_mean(values, 0, correction=0)
        return (variance.mean() / (variance + mean * mean).mean()).sqrt().item()

    def test_joined_over_calls_in_every_format(self):
        for dtype in FORMATS:
            spread = Spread(CPU)
            calls = [(torch.randn(n, 3, 5) + 2).to(dtype) for n in (5, 16, 1, 40)]
            for call in calls:
                spread.add(4, call)
            [(site, variation)] = spread.collect().readings()
            self.assertEqual(site, 4)
            self.assertAlmostEqual(variation, self.variation(calls), delta=1e-9)

    def test_of_many_samples_some_are_enough(self):
        spread = Spread(CPU)
        for many in (torch.randn(1000, 7) + 1, torch.randn(1000)):
            spread.add(0, many)
            [(_, variation)] = spread.collect().readings()
            few = many[::8] if many.dim() > 1 else many[::8, None]
            self.assertAlmostEqual(variation, self.variation([few]), places=9)

    def test_samples_that_look_alike(self):
        spread = Spread(CPU)
        spread.add(0, torch.randn(1, 20).expand(64, 20))
        spread.add(1, torch.zeros(64, 20))
        self.assertEqual(spread.collect().readings(), [(0, 0.0), (1, 0.0)])

    def test_few_samples_wait_for_more(self):
        spread, calls = Spread(CPU), [torch.randn(20, 8) for _ in range(2)]
        spread.add(0, calls[0])
        self.assertEqual(spread.collect().readings(), [])
        spread.add(0, calls[1])
        [(_, variation)] = spread.collect().readings()
        self.assertAlmostEqual(variation, self.variation(calls), places=9)
        self.assertEqual(spread.collect().readings(), [])

    def test_other_units_begin_anew(self):
        spread, last = Spread(CPU), torch.randn(40, 3)
        spread.add(0, torch.randn(20, 9) * 100)
        spread.add(0, last)
        [(_, variation)] = spread.collect().readings()
        self.assertAlmostEqual(variation, self.variation([last]), places=9)

    def test_units_are_bounded(self):
        spread, wide = Spread(CPU), torch.randn(40, 3 * UNITS) + 1
        spread.add(0, wide)
        [(_, variation)] = spread.collect().readings()
        self.assertAlmostEqual(variation, self.variation([wide]), delta=0.02)

    def test_a_value_that_is_not_finite(self):
        spread, tensor = Spread(CPU), torch.randn(40, 3)
        tensor[3, 1] = math.inf
        spread.add(0, tensor)
        self.assertEqual(spread.collect().readings(), [])


class Late:
    """The event of a device that is `behind` steps late."""

    def __init__(self, clock, behind):
        self.clock, self.due = clock, clock.steps + behind

    def query(self):
        return self.clock.steps >= self.due

    def synchronize(self):
        self.clock.waits += 1
        self.due = 0


class Clock:
    def __init__(self):
        self.steps = self.waits = 0


class Recorder:
    """Takes the place of the native probe and notes what it is told."""

    def __init__(self, full=lambda step: True):
        self.rule, self.step, self.told = full, 0, []
        self.full, self.not_measured, self.closed = full(0), {}, None

    def __getattr__(self, name):
        if not name.startswith(("put_", "observed", "validation", "checkpoint")):
            raise AttributeError(name)
        return lambda *values: self.told.append((self.step, name, *values))

    def end_step(self, *values):
        self.told.append((self.step, "end_step", *values))
        self.step += 1
        self.full = self.rule(self.step)
        return self.full

    def open(self, *arguments):
        self.opened = arguments

    def close(self, end):
        self.closed = end

    def of(self, name):
        return [call for call in self.told if call[1] == name]


WHAT = _native.ACTIVATION | _native.SPREAD | _native.ERROR


class Run:
    """A little training whose hooks are wired by hand."""

    def __init__(self, stage, layers=3, width=8, seed=0):
        torch.manual_seed(seed)
        self.stage = stage
        self.model = nn.Sequential(*(nn.Linear(width, width) for _ in range(layers)))
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.SGD(self.parameters, 0.1)
        self.losses = []
        self.activations = []
        for site, module in enumerate(self.model):
            module.register_forward_hook(self.hook(site))

    def hook(self, site):
        def forward(module, inputs, output):
            self.activations.append(output)
            self.stage.forward(site, output, WHAT)
        return forward

    def backward(self, scale=1.0):
        x = torch.randn(40, self.parameters[0].shape[1])
        loss = self.model(x).square().mean()
        self.stage.loss(loss, 1)
        (loss * scale).backward()
        self.losses.append(loss.item())

    def update(self, factor=1.0):
        gradients = [parameter.grad for parameter in self.parameters]
        self.stage.gradients(gradients)
        self.stage.before_update(self.parameters, gradients, factor)
        self.optimizer.step()
        self.stage.after_update(self.parameters)
        moments = [torch.full_like(parameter, 1e-4) for parameter in self.parameters]
        n = len(moments)
        self.stage.second_moments(moments, [1e-8] * n, [1.0] * n)
        full = self.stage.end_step(0.1, 40)
        self.optimizer.zero_grad()
        return full

    def step(self):
        self.backward()
        return self.update()


def staged(probe, behind=0, **options):
    clock = Clock()
    stage = DeviceStage(probe, "cpu", event=lambda device: Late(clock, behind), **options)
    return stage, clock


def keep_error(errors, site):
    def forward(module, inputs, output):
        output.register_hook(lambda gradient: errors.__setitem__(site, gradient.clone()))
    return forward


class StageTest(NumbersCase):
    def test_one_full_step(self):
        probe = Recorder()
        stage, _ = staged(probe)
        run = Run(stage)
        before = [parameter.detach().clone() for parameter in run.parameters]
        errors = {}
        for site, module in enumerate(run.model):
            module.register_forward_hook(keep_error(errors, site))
        run.backward(scale=4.0)
        gradients = [parameter.grad.clone() for parameter in run.parameters]
        run.update(factor=4.0)
        summaries = {call[2:4]: call[4] for call in probe.of("put_summary")}
        self.assertEqual(len(summaries), 3 * 2 + 6 * 3)
        for site in range(3):
            self.assert_numbers(summaries["activation", site], run.activations[site])
            self.assert_numbers(summaries["error", site], errors[site])
        for index, weights in enumerate(before):
            self.assert_numbers(summaries["parameter", index], weights)
            self.assert_numbers(summaries["gradient", index], gradients[index] / 4)
            self.assert_numbers(summaries["unclipped", index], gradients[index] / 4)
        for (_, _, parameter, numbers, cosine), after in zip(
                probe.of("put_update"), run.parameters, strict=True):
            expected = plain_update(gradients[parameter] / 4, before[parameter], after.detach())
            self.assertAlmostEqual(numbers[2], expected[1], delta=1e-9 * expected[1])
            self.assertIsNone(cosine)
        self.assertEqual([call[2] for call in probe.of("put_spread")], [0, 1, 2])
        self.assertEqual([call[2] for call in probe.of("put_adaptivity")], list(range(6)))
        [(_, _, value, factor, terms)] = probe.of("put_loss")
        self.assertEqual((value, factor, terms), (run.losses[0], 4.0, 1))
        self.assertEqual(probe.of("end_step"), [(0, "end_step", 0.1, 40, False, 1.0)])

    def test_late_events_keep_order_and_lose_nothing(self):
        for behind in (0, 1, 5, 1000):
            with self.subTest(behind=behind):
                probe = Recorder(lambda step: step % 4 == 0)
                stage, clock = staged(probe, behind, queued_steps=16)
                stage.open([], {}, (1, 1, 1), [], [], {"every": 4})
                run = Run(stage)
                full, most = [stage.full], 0
                for _ in range(50):
                    full.append(run.step())
                    clock.steps += 1
                    most = max(most, stage.pending)
                self.assertLessEqual(most, 16)
                self.assertEqual(full, [step % 4 == 0 for step in range(51)])
                if behind < 16:
                    self.assertEqual(clock.waits, 0)
                stage.close("finished")
                self.assertEqual(probe.closed, "finished")
                self.assertEqual([call[0] for call in probe.of("end_step")], list(range(50)))
                told = [(call[0], call[2]) for call in probe.of("put_loss")]
                self.assertEqual(told, list(enumerate(run.losses)))
                for step in range(50):
                    n = sum(call[0] == step for call in probe.of("put_summary"))
                    self.assertEqual(n, (3 * 2 + 6 * 3) * (step % 4 == 0))
                observed = [call[2] for call in probe.of("observed")]
                self.assertEqual(observed, full[:50])

    def test_by_budget_one_full_step_is_under_way_at_a_time(self):
        probe = Recorder()
        stage, clock = staged(probe, 3)
        run = Run(stage)
        full = []
        for _ in range(12):
            full.append(stage.full)
            run.step()
            clock.steps += 1
        self.assertEqual(full, [True, False, False, False] * 3)

    def test_memory_is_bounded(self):
        stage, clock = staged(Recorder(), 10**9, queued_steps=8)
        stage.open([], {}, (1, 1, 1), [], [], {"every": 1})
        run = Run(stage)
        for _ in range(30):
            run.step()
        self.assertLessEqual(stage.pending, 4)
        self.assertLessEqual(len(stage._free), 12)

    def test_a_call_or_a_loss_without_a_backward_pass_does_not_count(self):
        probe = Recorder()
        stage, _ = staged(probe)
        run = Run(stage)
        stage.loss(run.model(torch.randn(40, 8)).mean(), 1)
        with torch.no_grad():
            stage.loss(torch.tensor(3.0), 1)
        run.step()
        self.assertEqual(len(probe.of("put_loss")), 1)
        self.assertEqual(len(probe.of("put_summary")), 3 * 2 + 6 * 3)

    def test_fresh_and_forget(self):
        for way in ("fresh", "forget"):
            with self.subTest(way=way):
                probe = Recorder()
                stage, _ = staged(probe)
                run = Run(stage)
                run.backward()
                stage.gradients([p.grad for p in run.parameters])
                run.optimizer.zero_grad()
                if way == "forget":
                    stage.forget()
                else:
                    stage.on_backward = lambda number: stage.fresh()
                run.step()
                self.assertEqual([call[2] for call in probe.of("put_loss")], run.losses[1:])
                self.assertEqual(len(probe.of("put_summary")), 3 * 2 + 6 * 3)

    def test_micro_batches_have_their_own_factors(self):
        probe = Recorder()
        stage, _ = staged(probe)
        run = Run(stage)
        numbers = []
        stage.on_backward = numbers.append
        run.backward(0.25)
        run.backward(0.75)
        run.update()
        self.assertEqual([call[3] for call in probe.of("put_loss")], [0.25, 0.75])
        self.assertEqual(len(probe.of("put_summary")), 2 * 3 * 2 + 6 * 3)
        self.assertEqual(numbers, [1, 2])

    def test_losses_that_are_added_have_one_backward_pass(self):
        probe = Recorder()
        stage, _ = staged(probe)
        run, numbers = Run(stage), []
        stage.on_backward = numbers.append
        output = run.model(torch.randn(40, 8))
        losses = output.mean(), output.square().mean()
        for loss in losses:
            stage.loss(loss, 1)
        (losses[0] + 2 * losses[1]).backward()
        run.update()
        [(_, _, value, factor, _)] = probe.of("put_loss")
        self.assertEqual((factor, numbers), (2.0, [1]))
        self.assertAlmostEqual(value, losses[0].item() / 2 + losses[1].item(), places=6)

    def test_a_backward_pass_that_comes_behind_its_step(self):
        probe = Recorder()
        stage, _ = staged(probe)
        run = Run(stage)
        late = torch.ones(40, 8, requires_grad=True) * 2
        stage.forward(3, late, WHAT)
        run.step()
        with unittest.mock.patch.object(Tiles, "take", side_effect=AssertionError):
            late.sum().backward()
        run.step()
        self.assertEqual(len(probe.of("put_summary")), 2 * (3 * 2 + 6 * 3))

    def test_more_scalars_than_one_piece_holds(self):
        probe = Recorder()
        stage, _ = staged(probe, 2)
        run = Run(stage)
        for _ in range(20):
            run.backward()
        run.update()
        stage.close("finished")
        self.assertEqual([call[2] for call in probe.of("put_loss")], run.losses)

    def test_numbers_that_stay_on_the_device(self):
        probe = Recorder()
        stage, _ = staged(probe, 1)
        run = Run(stage)
        run.backward(8.0)
        gradients = [parameter.grad for parameter in run.parameters]
        stage.before_update(run.parameters, gradients, torch.tensor(8.0))
        stage.after_update(run.parameters)
        stage.end_step(0.1, 40, torch.tensor(1.0), torch.tensor(65536.0))
        stage.close("finished")
        self.assertEqual(probe.of("end_step"), [(0, "end_step", 0.1, 40, True, 65536.0)])
        summaries = {call[2:4]: call[4] for call in probe.of("put_summary")}
        self.assert_numbers(summaries["gradient", 0], gradients[0] / 8)

    def test_validation_comes_behind_its_step(self):
        probe = Recorder()
        stage, _ = staged(probe, 5)
        run = Run(stage)
        run.step()
        run.step()
        stage.validation(0.5, 0.9)
        stage.checkpoint(2, "x")
        run.step()
        stage.close("interrupted")
        names = [call[1] for call in probe.told if not call[1].startswith("put")]
        each = ["observed", "end_step"]
        self.assertEqual(names, each * 2 + ["validation", "checkpoint"] + each)

    def test_an_error_in_a_hook_of_the_backward_pass_is_told_by_end_step(self):
        stage, _ = staged(Recorder())
        run = Run(stage)
        stage.on_backward = lambda number: 1 / 0
        run.backward()
        with self.assertRaises(ZeroDivisionError):
            run.update()

    def test_light_steps_take_the_loss_alone(self):
        probe = Recorder(lambda step: False)
        stage, _ = staged(probe)
        Run(stage).step()
        self.assertEqual([call[1] for call in probe.told], ["observed", "put_loss", "end_step"])

    def test_what_cannot_be_measured_is_counted(self):
        stage, _ = staged(Recorder())
        self.assertFalse(stage.forward(0, torch.ones(3).to_sparse(), WHAT))
        self.assertFalse(stage.forward(0, torch.ones(3, dtype=torch.int64), WHAT))
        with torch.inference_mode():
            self.assertFalse(stage.forward(0, torch.ones(3), WHAT))
        stage.gradients([torch.ones(3).to_sparse(), None])
        self.assertEqual(stage.not_measured["sparse"], 2)


class WholeTest(unittest.TestCase):
    """A watched training whose tensors are played to lie on an accelerator: its log is the one that
    the native probe writes, however late the steps come."""

    def setUp(self):
        self.before = torch.get_num_threads()
        torch.set_num_threads(1)
        self.addCleanup(torch.set_num_threads, self.before)

    def log_of(self, model, behind, every, **options):
        stages, clock = [], Clock()

        def staged_late(probe, parameters):
            late = DeviceStage(probe, "cpu", event=lambda device: Late(clock, behind))
            stages.append(late)
            return late

        make, data = identity.MODELS[model]
        patch = unittest.mock.patch("backprobe.probe.stage_for", staged_late)
        quiet = contextlib.redirect_stderr(io.StringIO())
        with patch if behind is not None else contextlib.nullcontext(), quiet:
            training = identity.Training(make, data, identity.OPTIMISERS["adam"], {"every": every},
                                         **options)
            with training:
                states = []
                for _ in range(12):
                    states.append(training.step())
                    clock.steps += 1
                self.assertIsNone(training.probe.blind)
                self.assertEqual(training.probe.step, 12)
                waits = clock.waits
                training.probe.close()
                records = _native.records(os.fsencode(training.probe.run_folder))
        self.assertEqual([stage.pending for stage in stages], [0] * (behind is not None))
        self.assertEqual(waits, 0)
        return records, states

    def assert_near(self, name, mine, own):
        """Logged figures have 16 bits of a logarithm, or 24 of a number. Of effects, which are sums
        of both signs, the last digits may differ."""
        self.assertEqual(mine.keys(), own.keys(), name)
        for row, value in own.items():
            if value == 0 or name.endswith(("_nan", "_inf", "_bad", "parameters", "stalled")):
                self.assertEqual(repr(mine[row]), repr(value), (name, row))
            else:
                delta = 3e-3 * abs(value) + 1e-9
                self.assertAlmostEqual(mine[row], value, delta=delta, msg=f"{name} {row}")

    def check(self, model, behind, every=1, **options):
        with self.subTest(model=model, behind=behind, every=every, **options):
            own, plain = self.log_of(model, None, every, **options)
            mine, states = self.log_of(model, behind, every, **options)
            self.assertEqual(states, plain)
            self.assertEqual([r["step"] for r in mine], [r["step"] for r in own])
            for one, other in zip(mine, own, strict=True):
                self.assertEqual(one["flags"], other["flags"])
                self.assertEqual(list(one["quantities"]), list(other["quantities"]), one["step"])
                for name, rows in other["quantities"].items():
                    self.assert_near(name, one["quantities"][name], rows)

    def test_models(self):
        for model in identity.MODELS:
            self.check(model, 0)
            self.check(model, 3)

    def test_loops(self):
        self.check("mlp", 2, every=4)
        self.check("convolutional", 1, micro_batches=3)
        self.check("transformer", 1, autocast=torch.bfloat16)
        self.check("recurrent", 1, clip=0.1)


class Operations(TorchDispatchMode):
    """Counts operations that would be kernels of a device, and fails on those for which the host
    would wait."""

    WAITING = {"_local_scalar_dense", "item", "is_nonzero", "nonzero", "masked_select", "equal",
               "_unique2", "bincount", "histc", "repeat_interleave"}
    ALLOCATING = {"empty", "empty_like", "empty_strided", "new_empty"}

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in self.WAITING:
            raise AssertionError(f"{name} waits for the device")
        self.count += not function.is_view and name not in self.ALLOCATING
        return function(*args, **(kwargs or {}))


class OperationsTest(unittest.TestCase):
    def operations(self, layers, full):
        stage, _ = staged(Recorder(lambda step: step == 0), 1000)
        run = Run(stage, layers)
        run.step()  # allocates tiles and panel
        stage.close("finished")
        stage._now.full = full
        with unittest.mock.patch.object(torch.Tensor, "item"), Operations() as operations:
            run.step()
        self.assertEqual(stage.pending, 1)
        return operations.count

    def test_nothing_waits_and_launches_hardly_depend_on_the_number_of_tensors(self):
        """Nothing in a step asks for a value. A layer more costs a copy of its activation and one of
        its error signal, and four operations for its spread; where parameters have more places than
        the panel takes, four gatherings each. Nothing else grows."""
        light = [self.operations(layers, False) for layers in (2, 32)]
        full = [self.operations(layers, True) for layers in (2, 32)]
        fixed = full[0] - light[0]
        each = (full[1] - light[1] - fixed) / 30
        self.assertLess(fixed, 150)
        self.assertLess(each, 8)
        print(f"{fixed} operations for 2 layers, {each:.1f} for one more", file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
