# SPDX-License-Identifier: Apache-2.0
"""Two models that train each other: what one's loss leaves in the other does not count."""

import unittest

import data
import torch
from torch import nn
from watching import Watching, norm_of_rows


class TwoModels(Watching):
    def setUp(self):
        super().setUp()
        self.real = data.digits(64)[0].flatten(1)
        self.g = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 64))
        self.d = nn.Sequential(nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
        self.criterion = nn.BCEWithLogitsLoss()
        self.opt_g = torch.optim.Adam(self.g.parameters(), lr=1e-3)
        self.opt_d = torch.optim.Adam(self.d.parameters(), lr=1e-3)

    def round(self):
        """Returns D's two losses, G's, and what D and G were given for them."""
        ones, zeros = torch.ones(64, 1), torch.zeros(64, 1)
        noise = torch.randn(64, 8)
        self.opt_d.zero_grad()
        on_real = self.criterion(self.d(self.real), ones)
        on_real.backward()
        fake = self.g(noise)
        on_fake = self.criterion(self.d(fake.detach()), zeros)
        on_fake.backward()
        self.opt_d.step()
        self.opt_g.zero_grad()
        of_g = self.criterion(self.d(self.g(noise)), ones)
        of_g.backward()
        self.opt_g.step()
        both = torch.cat([self.real, fake.detach()])
        return on_real.item(), on_fake.item(), of_g.item(), norm_of_rows(both), norm_of_rows(noise)

    def test_a_probe_each(self):
        on_d = self.watch(self.d, self.opt_d, loss_fn=self.criterion, objective="gan", run=self.folder / "d")
        on_g = self.watch(self.g, self.opt_g, loss_fn=self.criterion, objective="gan", run=self.folder / "g")
        seen = [self.round() for _ in range(4)]
        of_d, of_g = self.close(on_d), self.close(on_g)
        self.assertEqual((len(of_d), len(of_g)), (4, 4))
        for record, (real, fake, _, both, _) in zip(of_d, seen, strict=True):
            self.assert_near(record["loss"], (real + fake) / 2, 1e-5)
            self.assertEqual(record["samples"], 128)
            self.assert_near(record["activation_norm", 0], both)
        for record, (_, _, loss, _, noise) in zip(of_g, seen, strict=True):
            self.assert_near(record["loss"], loss, 1e-5)
            self.assert_near(record["activation_norm", 0], noise)
            self.assertGreater(record["error_rms", 1], 0)

    def test_light_steps_leave_out_what_full_ones_do(self):
        on_g = self.watch(self.g, self.opt_g, loss_fn=self.criterion, objective="gan", every=3)
        seen = [self.round() for _ in range(9)]
        measured = self.close(on_g)
        # Learnt from two full steps, the first and the fourth.
        for record, (_, _, loss, _, _) in list(zip(measured, seen, strict=True))[3:]:
            self.assert_near(record["loss"], loss, 1e-5)

    def test_nothing_is_found_in_a_loss_that_does_not_fall(self):
        on_d = self.watch(self.d, self.opt_d, loss_fn=self.criterion, objective="gan", run=False)
        for _ in range(60):
            self.round()
        self.assertEqual([f.problem for f in on_d.findings], [])


if __name__ == "__main__":
    unittest.main()
