# SPDX-License-Identifier: Apache-2.0
"""Steps told by the extension: what stands in the log is what torch computes itself."""

import gc
import math
import os
import unittest

import torch
from torch.utils.checkpoint import checkpoint

from backprobe import _native
from backprobe._native import ACTIVATION, ERROR, SPREAD, Probe
from native_host import ALL, Net, Stepping, batch, dense, records_of


class Steps(Stepping):
    def test_a_step_says_what_torch_says(self):
        net = self.net().open()
        x, y = batch()
        z = net.model[0](x)
        h = net.model[1](z)
        out = net.model[2](h)
        loss = torch.nn.functional.cross_entropy(out, y)
        dz, dh, dout, *gradients = torch.autograd.grad(loss, (z, h, out, *net.parameters))
        before = [p.detach().clone() for p in net.parameters]
        net.loss(x, y).backward()
        net.update(32, clip=0.05)
        record = self.records(net)[0]
        self.assertEqual(record["loss"][0], loss.item())
        self.assertEqual(record["samples"][0], 32)
        self.assertEqual(record["loss_terms"][0], 32)
        self.assertEqual(record["learning_rate"][0], 0.1)
        for row, value in ((0, x), (1, h), (2, out)):
            self.near(record["activation_rms"][row], value.square().mean().sqrt())
            self.near(record["activation_norm"][row], value.square().sum(1).mean().sqrt())
        for row, value in ((1, dh), (2, dout)):
            self.near(record["error_rms"][row], value.square().mean().sqrt() * 32)
            self.near(record["error_max"][row], value.abs().max() * 32)
            self.near(record["error_norm"][row], (value * 32).square().sum(1).mean().sqrt())
        self.near(record["error_pre_activation"][1], dz.square().mean().sqrt() * 32)
        self.assertIsNone(record["error_rms"][0])
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        factor = 0.05 / norm
        self.assertLess(factor, 1)
        self.near(record["unclipped_norm"][0], norm)
        self.near(record["gradient_norm"][0], 0.05)
        for row, at in ((1, 0), (2, 2)):
            weight, gradient = before[at], gradients[at]
            change = net.parameters[at].detach() - weight
            self.near(record["weight_rms"][row], weight.square().mean().sqrt())
            self.near(record["bias_rms"][row], before[at + 1].square().mean().sqrt())
            self.near(record["unclipped_rms"][row], gradient.square().mean().sqrt())
            self.near(record["gradient_rms"][row], gradient.square().mean().sqrt() * factor)
            self.near(record["update_rms"][row], change.square().mean().sqrt())
            clipped = [gradients[at + i].flatten() * factor for i in (0, 1)]
            moved = [(net.parameters[at + i].detach() - before[at + i]).flatten() for i in (0, 1)]
            self.near(record["effect"][row], -sum((g * m).sum() for g, m in zip(clipped, moved)), 1e-4)
            self.assertEqual(record["parameters"][row], weight.numel() + before[at + 1].numel())
            self.assertEqual(record["update_bad"][row], 0)

    def test_micro_batches_are_as_one_batch(self):
        net = self.net().open()
        x, y = batch()
        for part in range(4):
            some = slice(8 * part, 8 * part + 8)
            (net.loss(x[some], y[some]) / 4).backward()
        net.update(32)
        self.same(self.records(net)[0], self.plain(), but={"variation"})

    def test_micro_batches_of_different_sizes(self):
        net = self.net().open()
        x, y = batch()
        for some, weight in ((slice(0, 24), 24 / 32), (slice(24, 32), 8 / 32)):
            (net.loss(x[some], y[some]) * weight).backward()
        net.update(32)
        self.same(self.records(net)[0], self.plain(), but={"variation"})

    def test_micro_batches_whose_terms_are_unknown(self):
        net = self.net().open()
        x, y = batch()
        for part in range(4):
            some = slice(8 * part, 8 * part + 8)
            loss = torch.nn.functional.cross_entropy(net.forward(x[some]), y[some])
            net.probe.loss(loss, 0)
            (loss / 4).backward()
        net.update(32)
        found, plain = self.records(net)[0], self.plain()
        self.assertEqual(found["loss_terms"][0], 1)
        self.near(found["error_norm"][1] * 32, plain["error_norm"][1])
        self.near(found["loss"][0], plain["loss"][0])

    def test_samples_are_counted_where_nobody_tells(self):
        net = self.net().open()
        net.loss(*batch()).backward()
        net.update(0)
        self.same(self.records(net)[0], self.plain())

    def test_a_loss_scaler_is_divided_out(self):
        net = self.net().open()
        (net.loss(*batch()) * 65536.0).backward()
        net.update(32, factor=65536.0, scale=65536.0)
        record = self.records(net)[0]
        self.assertEqual(record.pop("loss_scale")[0], 65536)
        plain = self.plain()
        same = {"update_rms", "effect"}  # the optimiser got the scaled gradients
        self.same(record, plain, but=same)

    def test_a_skipped_step_says_so(self):
        net = self.net().open()
        (net.loss(*batch()) * math.inf).backward()
        net.update(32, skipped=True, scale=1024.0)
        record = self.records(net)[0]
        self.assertEqual(record["flags"], 1)
        self.assertNotIn("update_rms", record)
        self.assertNotIn("error_norm", record)
        self.assertNotIn("gradient_norm", record)
        self.assertEqual(net.probe.not_measured, {"the backward pass has no finite factor": 3})
        self.assertEqual(net.probe.findings(), [])

    def test_fresh_forgets_earlier_backward_passes(self):
        net = self.net().open()
        seen = []

        def on_backward(number):
            seen.append(number)
            if net.parameters[0].grad is None:
                net.probe.fresh()

        net.probe.on_backward = on_backward
        net.loss(*batch(20, seed=9)).backward()
        net.optimiser.zero_grad()
        net.loss(*batch()).backward()
        net.update(32)
        self.assertEqual(seen, [1, 2])
        self.same(self.records(net)[0], self.plain(), but={"variation"})

    def test_forget_forgets_all(self):
        net = self.net().open()
        net.loss(*batch(20, seed=9)).backward()
        late = net.loss(*batch(20, seed=9))
        net.probe.forget()
        net.optimiser.zero_grad()
        net.loss(*batch()).backward()
        plain_grad = [p.grad.clone() for p in net.parameters]
        late.backward()  # its calls are forgotten, its loss is not
        for p, gradient in zip(net.parameters, plain_grad, strict=True):
            p.grad = gradient
        net.update(32)
        found, plain = self.records(net)[0], self.plain()
        self.near(found["activation_norm"][1], plain["activation_norm"][1])

    def test_an_evaluation_does_not_count(self):
        net = self.net().open()
        with torch.no_grad():
            net.loss(torch.full((32, 6), 100.0), batch()[1])
        net.loss(torch.full((32, 6), 50.0), batch()[1])  # thrown away
        net.loss(*batch()).backward()
        net.update(32)
        inputs = {"activation_norm", "activation_rms", "activation_max", "variation"}
        found, plain = self.records(net)[0], self.plain()
        self.same(found, plain, but=inputs)
        self.near(found["activation_norm"][1], plain["activation_norm"][1])
        self.near(found["activation_max"][2], plain["activation_max"][2])

    def test_an_evaluation_just_before_training_does_not_count(self):
        net = self.net().open()
        with torch.no_grad():
            net.loss(torch.full((32, 6), 100.0), batch()[1])
        net.loss(*batch()).backward()
        net.update(32)
        found, plain = self.records(net)[0], self.plain()
        for row in (1, 2):
            self.near(found["activation_max"][row], plain["activation_max"][row])

    def test_forward_passes_alone(self):
        net = self.net().open()
        net.forward(batch()[0])
        net.probe.end_step(0.1, 32)
        found, plain = self.records(net)[0], self.plain()
        for row in range(3):
            self.near(found["activation_norm"][row], plain["activation_norm"][row])
        self.assertNotIn("error_norm", found)

    def test_a_site_called_twice_is_averaged(self):
        net = self.net().open()
        x, y = batch()
        first, second = net.forward(x), net.forward(x)
        loss = torch.nn.functional.cross_entropy((first + second) / 2, y)
        net.probe.loss(loss, 32)
        loss.backward()
        net.update(32)
        found, plain = self.records(net)[0], self.plain()
        for name in ("activation_norm", "activation_rms", "activation_max"):
            self.near(found[name][1], plain[name][1])
        self.near(found["error_norm"][1], plain["error_norm"][1] / 2)

    def test_a_site_never_called_has_no_reading(self):
        net = self.net().open()
        x, y = batch()
        net.probe.forward(0, x, ACTIVATION)
        loss = torch.nn.functional.cross_entropy(net.model(x), y)
        net.probe.loss(loss, 32)
        loss.backward()
        net.update(32)
        record = self.records(net)[0]
        self.assertIsNotNone(record["activation_norm"][0])
        self.assertIsNone(record["activation_norm"][1])
        self.assertNotIn("error_norm", record)

    def test_losses_that_are_added_have_one_backward_pass(self):
        net = self.net().open()
        x, y = batch()
        out = net.forward(x)
        passes = []
        net.probe.on_backward = passes.append
        first = torch.nn.functional.cross_entropy(out, y)
        second = out.square().mean()
        net.probe.loss(first, 32)
        net.probe.loss(second, 128)
        (first + 0.5 * second).backward()
        net.update(32)
        record = self.records(net)[0]
        self.assertEqual(passes, [1])
        self.near(record["loss"][0], first + 0.5 * second, 1e-6)
        self.assertEqual(record["loss_terms"][0], 32)

    def test_an_unreduced_loss(self):
        net = self.net().open()
        x, y = batch()
        loss = torch.nn.functional.cross_entropy(net.forward(x), y, reduction="none")
        net.probe.loss(loss, 32)
        loss.mean().backward()
        net.update(32)
        self.same(self.records(net)[0], self.plain())

    def test_without_a_told_loss(self):
        net = self.net().open()
        x, y = batch()
        for part in range(2):
            some = slice(16 * part, 16 * part + 16)
            (torch.nn.functional.cross_entropy(net.forward(x[some]), y[some]) / 2).backward()
        net.update(32)
        found, plain = self.records(net)[0], self.plain()
        self.assertNotIn("loss", found)
        self.near(found["activation_norm"][1], plain["activation_norm"][1])
        self.near(found["error_norm"][1] * 32, plain["error_norm"][1])

    def test_checkpointing_runs_a_forward_pass_twice(self):
        plain = self.plain()
        for reentrant in (False, True):
            with self.subTest(reentrant=reentrant):
                net = self.net(f"checkpoint {reentrant}").open()
                x, y = batch()
                see = net.probe.forward
                see(0, x, ACTIVATION | SPREAD)

                def inner(x, net=net, see=see):
                    z = net.model[0](x)
                    see(2, z, ERROR)
                    h = net.model[1](z)
                    see(1, h, ALL)
                    return h

                start = x.clone().requires_grad_(reentrant)
                out = net.model[2](checkpoint(inner, start, use_reentrant=reentrant))
                see(3, out, ALL)
                loss = torch.nn.functional.cross_entropy(out, y)
                net.probe.loss(loss, 32)
                loss.backward()
                net.update(32)
                self.same(self.records(net)[0], plain)

    def test_an_in_place_operation_behind_the_site(self):
        net = self.net().open()
        x, y = batch()
        z = net.model[0](x)
        net.probe.forward(1, z, ALL)
        kept = z.detach().clone()
        out = net.model[2](torch.relu_(z))
        loss = torch.nn.functional.cross_entropy(out, y)
        net.probe.loss(loss, 32)
        loss.backward()
        net.update(32)
        record = self.records(net)[0]
        self.near(record["activation_rms"][1], kept.square().mean().sqrt())
        gradient = out.grad_fn  # the graph is gone; what z got is known from the weights
        self.assertIsNotNone(gradient)
        self.assertIsNotNone(record["error_norm"][1])

    def test_what_happens_before_open_belongs_to_the_first_step(self):
        net = self.net()
        self.assertTrue(net.probe.full)
        self.assertEqual(net.probe.overview(), {})
        self.assertEqual(net.probe.findings(), [])
        net.loss(*batch(20, seed=9)).backward()
        self.assertTrue(net.probe.end_step(0.1, 20))  # dropped
        self.assertEqual(net.probe.step, 0)
        net.optimiser.zero_grad()
        net.loss(*batch()).backward()
        net.open()
        net.update(32)
        self.same(self.records(net)[0], self.plain(), but={"variation"})

    def test_light_steps_keep_the_loss(self):
        net = self.net(every=4).open()
        full, losses = [], []
        for seed in range(9):
            full.append(net.probe.full)
            loss = net.loss(*batch(seed=seed))
            loss.backward()
            losses.append(loss.item())
            net.update(32)
        records = self.records(net)
        self.assertEqual(full, [step % 4 == 0 for step in range(9)])
        self.assertEqual([record["loss"][0] for record in records], losses)
        self.assertEqual(["weight_rms" in record for record in records], full)

    def test_a_loss_of_nan_is_found_in_a_light_step(self):
        net = self.net(every=100).open()
        for step in range(5):
            loss = net.loss(*batch(seed=step)) * (math.nan if step == 3 else 1)
            if step == 3:
                net.probe.loss(loss, 32)
            loss.backward()
            net.update(32)
        self.assertIn("non-finite", [row["problem"] for row in net.probe.findings()])

    def test_a_frozen_layer_and_a_missing_gradient(self):
        net = self.net().open()
        net.parameters[0].requires_grad_(False)
        net.loss(*batch()).backward()
        net.update(32)
        record = self.records(net)[0]
        self.assertEqual(net.probe.not_measured, {"no gradient": 1})
        self.assertIsNone(record["gradient_rms"][1])
        self.assertIsNotNone(record["bias_gradient_rms"][1])
        self.assertIsNotNone(record["weight_rms"][1])
        self.assertEqual(record["parameters"][1], 10)

    def test_several_weights_of_one_layer_are_one(self):
        path = self.run_folder()
        probe = Probe()
        probe.open([dense("a", 1, 1)], {}, (1, 1, 1), [], [(1, "weight", 0)] * 3, {"run_folder": path, "every": 1})
        weights = [torch.randn(10, 20), torch.randn(5, 5).t(), torch.randn(100) * 3]
        gradients = [torch.randn_like(w) for w in weights]
        probe.before_update(weights, gradients, 1.0)
        before = torch.cat([w.flatten() for w in weights])
        for w, g in zip(weights, gradients, strict=True):
            w -= 0.1 * g
        probe.after_update(weights)
        probe.end_step(0.1, 1)
        probe.close("finished")
        record = records_of(path)[0]
        after, gradient = (torch.cat([t.flatten() for t in of]) for of in (weights, gradients))
        self.near(record["weight_rms"][1], before.square().mean().sqrt())
        self.near(record["gradient_rms"][1], gradient.square().mean().sqrt())
        self.near(record["gradient_norm"][0], gradient.norm())
        self.near(record["update_rms"][1], (after - before).square().mean().sqrt())
        self.near(record["effect"][1], 0.1 * gradient.square().sum(), 1e-4)
        self.assertEqual(record["parameters"][1], 325)

    def test_large_parameters_are_seen_at_places(self):
        path = self.run_folder()
        probe = Probe()
        probe.open([dense("a", 1, 1)], {}, (1, 1, 1), [], [(1, "weight", 0)], {"run_folder": path, "every": 1})
        weight = torch.randn(600, 700).t()
        records = []
        gradient = torch.randn_like(weight)
        for _ in range(2):
            probe.before_update([weight], [gradient], 4.0)
            before = weight.clone()
            weight -= 0.01 * gradient
            weight[:, :300] = before[:, :300]
            probe.after_update([weight])
            probe.end_step(0.01, 1)
            gradient = gradient * 0.5
        probe.close("finished")
        records = records_of(path)
        self.near(records[0]["update_rms"][1], (weight - before).square().mean().sqrt() * 2, 0.1)
        self.near(records[0]["stalled"][1], 210000, 0.1)
        self.near(records[0]["parameters"][1], 420000, 0)
        self.near(records[0]["effect"][1], 0.01 * 210000 / 4, 0.2)
        self.assertNotIn("gradient_cosine", records[0])
        self.near(records[1]["gradient_cosine"][1], 1, 1e-6)

    def test_second_moments(self):
        path = self.run_folder()
        probe = Probe()
        slots = [(1, "weight", 0), (1, "bias", 0)]
        probe.open([dense("a", 1, 1)], {}, (1, 1, 1), [], slots, {"run_folder": path, "every": 1})
        moments = [torch.rand(30, 20).t() * 1e-16, torch.rand(4)]
        probe.second_moments(moments, [1e-8, 1e-8], [0.5, 0.5])
        probe.end_step(0.1, 1)
        probe.second_moments([None, torch.zeros(4)], [1e-8, 1e-8], [0.5, 0.5])
        probe.end_step(0.1, 1)
        probe.close("finished")
        records = records_of(path)
        roots = torch.cat([(m.double() / 0.5).sqrt().flatten() for m in moments])
        self.near(records[0]["adaptivity"][1], (roots / (roots + 1e-8)).mean())
        self.assertEqual(records[1]["adaptivity"][1], 0)

    def test_shards_say_so(self):
        path = self.run_folder()
        probe = Probe()
        slots = [(1, "weight", 600), (2, "weight", 0)]
        layers = [dense("a", 1, 1), dense("b", 1, 1)]
        probe.open(layers, {}, (1, 1, 1), [], slots, {"run_folder": path, "every": 1})
        probe.before_update([torch.randn(300), torch.randn(7)], [None, None], 1.0)
        probe.end_step(0.1, 1)
        probe.close("finished")
        self.assertEqual(records_of(path)[0]["shard_weights"], [None, 300, None])

    def test_readings_of_the_host(self):
        plain = self.plain()
        net = self.net().open()
        x, y = batch()
        z = net.model[0](x)
        h = net.model[1](z)
        out = net.model[2](h)
        loss = torch.nn.functional.cross_entropy(out, y)
        errors = torch.autograd.grad(loss * 8, (h, z, out), retain_graph=True)
        loss.backward()

        def numbers(t):
            return (t.numel(), 0, 0, 0, 0, t.min().item(), t.max().item(), t.sum().item(), t.square().sum().item())

        probe = net.probe
        probe.put_loss(loss.item(), 8.0, 32)
        for site, value in ((0, x), (1, h), (3, out)):
            probe.put_summary("activation", site, numbers(value), 24)
        for site, value in zip((1, 2, 3), errors, strict=True):
            probe.put_summary("error", site, numbers(value), 24)
        for site, row in ((0, 0), (1, 1), (3, 2)):
            probe.put_spread(site, plain["variation"][row])
        before = [p.detach().clone() for p in net.parameters]
        for i, p in enumerate(net.parameters):
            probe.put_summary("parameter", i, numbers(p), 24)
            probe.put_summary("gradient", i, numbers(p.grad))
            probe.put_summary("unclipped", i, numbers(p.grad))
        net.optimiser.step()
        for i, (p, old) in enumerate(zip(net.parameters, before, strict=True)):
            change = p.detach() - old
            told = (p.numel(), change.square().sum().item(), -(change * p.grad).sum().item(), 0, 0)
            probe.put_update(i, told, None)
        probe.end_step(0.1, 32)
        self.same(self.records(net)[0], plain)

    def test_live_and_replay_agree(self):
        net = self.net().open()
        x, y = batch(64)
        for step in range(120):
            if step == 100:
                net.parameters[2].data.mul_(1e30)
            net.loss(x, y).backward()
            net.update(64)
        findings = net.probe.findings()
        self.assertTrue(findings)
        net.probe.close("finished")
        run = _native.check(self.path)
        self.assertEqual(repr(run["findings"]), repr(findings))
        self.assertEqual(repr(net.probe.findings()), repr(findings))  # a closed one still knows
        self.assertEqual(run["end"], "finished")
        self.assertEqual(net.probe.overview()["n_records"], 120)
        self.assertEqual(net.probe.cost()["full_steps"], 120)

    def test_news_come_once(self):
        net = self.net().open()
        news = []
        for step in range(6):
            loss = net.loss(*batch(seed=step)) * (math.nan if step == 2 else 1)
            loss.backward()
            net.probe.loss(float(loss.detach()), 32)
            net.update(32)
            news += [(step, row["problem"]) for row in net.probe.news()]
        self.assertEqual(news[0], (3, "non-finite"))
        self.assertEqual(len({problem for _, problem in news}), len(news))

    def test_validation_and_checkpoint(self):
        net = self.net().open()
        for step in range(2):
            net.loss(*batch()).backward()
            net.update(32)
            net.probe.validation(2.5 + step, None if step else 0.25)
            net.probe.checkpoint(step + 1, f"step-{step}.pt")
        records = self.records(net)
        self.assertEqual([record["validation_loss"][0] for record in records], [2.5, 3.5])
        self.assertEqual([record.get("validation_accuracy") for record in records][1], None)

    def test_a_run_goes_on(self):
        net = self.net().open()
        for _ in range(3):
            net.loss(*batch()).backward()
            net.update(32)
        net.probe.close("interrupted")
        self.assertEqual(_native.check(self.path)["end"], "interrupted")
        again = Net(run_folder=self.path, resume_step=2).open()
        self.assertEqual(again.probe.step, 2)
        again.loss(*batch()).backward()
        again.update(32)
        again.probe.close("finished")
        self.assertEqual([record["step"] for record in records_of(self.path)], [0, 1, 2])

    def test_a_probe_that_dies_ends_its_log(self):
        net = self.net().open()
        net.loss(*batch()).backward()
        net.update(32)
        del net.probe
        gc.collect()
        self.assertEqual(_native.check(self.path)["end"], "interrupted")

    def test_wrong_arguments_are_said(self):
        slots = [(1, "weight", 0)]
        good = [[dense("a", 1, 1)], {}, (1, 1, 1), [(0, 1, "activation")], slots, {}]
        wrong = {
            0: [[{"kind": "dense"}], [{"name": "a"}], [dense("a", 1, 1), dense("a", 1, 1)],
                [dense("a", 1, 1, activation="gulp")], [dense("a", 1, 1, kernel=2**40)], [3],
                [dense("a", 1, 1, output_shape=(1,))], [dense("a", 1, 1, weight_init="he")]],
            1: [3, {"loss": "none"}, {"batch": "many"}],
            2: [3, (1, 2), ("a", 1, 1)],
            3: [[(0, 2, "activation")], [(0, 1, "nothing")], [3], 5],
            4: [[(9, "weight", 0)], [(1, "heavy", 0)], [(1,)]],
            5: [3, {"every": -1}, {"budget": 7.0}, {"run_folder": "text"}, {"max_log_bytes": -1}],
        }  # fmt: skip
        for place, values in wrong.items():
            for value in values:
                with self.subTest(place=place, value=value):
                    probe = Probe()
                    arguments = list(good)
                    arguments[place] = value
                    with self.assertRaises((ValueError, TypeError)):
                        probe.open(*arguments)
                    probe.open(*good)  # it stayed unopened
        with self.assertRaises(FileNotFoundError):
            Probe().open(*good[:5], {"run_folder": os.fsencode(self.folder / "nowhere")})
        probe = Probe()
        probe.open(*good)
        with self.assertRaises(ValueError):
            probe.open(*good)
        with self.assertRaises(ValueError):
            probe.before_update([], [], 1.0)
        with self.assertRaises(ValueError):
            probe.close("somehow")
        with self.assertRaises(TypeError):
            probe.on_backward = 3
        with self.assertRaises(ValueError):
            probe.put_summary("weight", 0, (1, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0))
        with self.assertRaises(ValueError):
            probe.put_summary("activation", 0, (1, 2, 0, 0, 0, 0.0, 0.0, 0.0, 0.0))


if __name__ == "__main__":
    unittest.main()
