# SPDX-License-Identifier: Apache-2.0
"""What a watched step says, number by number, against plain PyTorch; and that it changes nothing."""

import copy
import unittest

import data
import torch
from torch import nn
from watching import Watching, mlp, norm_of_rows, rms


class AStep(Watching):
    """Three steps of an MLP on the digits, done twice: watched, and with hooks of the test's own."""

    def setUp(self):
        super().setUp()
        self.x, self.y = data.digits(96)
        self.model = mlp()
        self.twin = copy.deepcopy(self.model)

    def batches(self):
        return zip(self.x.split(32), self.y.split(32), strict=True)

    def by_hand(self, optimizer):
        """What each step of the twin comes to: name -> figure."""
        criterion = nn.CrossEntropyLoss()
        linear = [m for m in self.twin if isinstance(m, nn.Linear)]
        ends = [self.twin[2], self.twin[4], self.twin[5]]
        for x, y in self.batches():
            outputs, handles = {}, []
            for number, module in enumerate(ends, 1):
                def keep(_, __, output, number=number):
                    output.retain_grad()
                    outputs[number] = output
                handles.append(module.register_forward_hook(keep))
            loss = criterion(self.twin(x), y)
            loss.backward()
            seen = {("loss", 0): loss.item(), ("samples", 0): 32, ("loss_terms", 0): 32}
            for number, module in enumerate(linear, 1):
                out = outputs[number]
                seen["activation_rms", number] = rms(out.detach())
                seen["activation_norm", number] = norm_of_rows(out.detach())
                seen["activation_max", number] = out.abs().max().item()
                seen["error_rms", number] = rms(out.grad * 32)
                seen["error_norm", number] = norm_of_rows(out.grad * 32)
                seen["weight_rms", number] = rms(module.weight.detach())
                seen["bias_rms", number] = rms(module.bias.detach())
                seen["gradient_rms", number] = rms(module.weight.grad)
                seen["bias_gradient_rms", number] = rms(module.bias.grad)
                seen["parameters", number] = module.weight.numel() + module.bias.numel()
            gradients = torch.cat([p.grad.flatten() for p in self.twin.parameters()])
            seen["gradient_norm", 0] = gradients.norm().item()
            before = [m.weight.detach().clone() for m in linear]
            optimizer.step()
            for number, module in enumerate(linear, 1):
                change = module.weight.detach() - before[number - 1]
                seen["update_rms", number] = rms(change)
            optimizer.zero_grad()
            for handle in handles:
                handle.remove()
            yield seen

    def compare(self, make):
        optimizer, criterion = make(self.model), nn.CrossEntropyLoss()
        probe = self.watch(self.model, optimizer, loss_fn=criterion)
        for x, y in self.batches():
            criterion(self.model(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
        measured = self.close(probe)
        expected = list(self.by_hand(make(self.twin)))
        self.assertEqual([r.step for r in measured], [0, 1, 2])
        for record, seen in zip(measured, expected, strict=True):
            for key, value in seen.items():
                with self.subTest(step=record.step, quantity=key):
                    self.assert_near(record[key], value)
        for watched, plain in zip(self.model.parameters(), self.twin.parameters(), strict=True):
            self.assertTrue(torch.equal(watched, plain))
        return measured

    def test_of_sgd(self):
        measured = self.compare(lambda m: torch.optim.SGD(m.parameters(), lr=0.1))
        for record in measured:
            self.assertEqual(record["learning_rate"], 0.1)
            self.assertIsNone(record["adaptivity", 1])
            for layer in (1, 2, 3):  # -<g, change of w> is lr * <g, g>
                squares = 0.1 * (
                    record["gradient_rms", layer] ** 2 * self.model[2 * layer - 1].weight.numel()
                    + record["bias_gradient_rms", layer] ** 2 * self.model[2 * layer - 1].bias.numel()
                )
                self.assert_near(record["effect", layer], squares, 0.01)

    def test_of_adamw(self):
        measured = self.compare(lambda m: torch.optim.AdamW(m.parameters(), lr=1e-2))
        self.assert_adaptivity(measured[0], 1e-8)
        self.assertIsNone(measured[0]["gradient_cosine", 2])
        self.assertGreaterEqual(measured[1]["gradient_cosine", 2], -1)

    def test_with_a_starved_epsilon(self):
        measured = self.compare(lambda m: torch.optim.Adam(m.parameters(), lr=1e-2, eps=1e-3))
        self.assert_adaptivity(measured[0], 1e-3)

    def assert_adaptivity(self, record, epsilon):
        """After the first step the root of v is the gradient's magnitude."""
        torch.manual_seed(1)
        twin = mlp()
        nn.functional.cross_entropy(twin(self.x[:32]), self.y[:32]).backward()
        for layer in (1, 2, 3):
            gradients = [p.grad.double().abs().flatten() for p in twin[2 * layer - 1].parameters()]
            roots = torch.cat(gradients)
            self.assert_near(record["adaptivity", layer], (roots / (roots + epsilon)).mean())


class LightSteps(Watching):
    def test_tell_the_loss(self):
        x, y = data.digits(320)
        model, criterion = mlp(), nn.CrossEntropyLoss()
        twin = copy.deepcopy(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        plain = torch.optim.SGD(twin.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        plain_schedule = torch.optim.lr_scheduler.ExponentialLR(plain, 0.9)
        probe = self.watch(model, optimizer, loss_fn=criterion, every=4)
        expected = []
        for a, b in zip(x.split(32), y.split(32), strict=True):
            criterion(model(a), b).backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(twin(a), b)
            loss.backward()
            expected.append((loss.item(), plain.param_groups[0]["lr"]))
            plain.step()
            plain_schedule.step()
            plain.zero_grad()
        self.assertEqual(probe.step, 10)
        measured = self.close(probe)
        self.assertEqual([r["loss"] for r in measured], [loss for loss, _ in expected])
        self.assertEqual([r.step for r in measured if r.is_full], [0, 4, 8])
        self.assertEqual([r["samples"] for r in measured if r.is_full], [32] * 3)
        rates = [r["learning_rate"] for r in measured if r.is_full]
        self.assertEqual(rates, [expected[step][1] for step in (0, 4, 8)])

    def test_hooks_stand_in_full_steps_only(self):
        x, y = data.digits(32)
        model, criterion = mlp(), nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        probe = self.watch(model, optimizer, loss_fn=criterion, every=3)
        hooks = []
        for _ in range(6):
            hooks.append(sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()))
            criterion(model(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
        self.assertGreater(hooks[0], 0)
        self.assertEqual([n > 0 for n in hooks], [True, False, False, True, False, False])
        probe.close()
        everything = [*model.modules(), criterion]
        self.assertEqual(sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in everything), 0)
        self.assertEqual(len(optimizer._optimizer_step_pre_hooks), 0)
        self.assertEqual(len(optimizer._optimizer_step_post_hooks), 0)


if __name__ == "__main__":
    unittest.main()
