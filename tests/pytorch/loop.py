# SPDX-License-Identifier: Apache-2.0
"""A small training that the tests of test_loop.py run in processes of their own. Its loss falls, and
nothing is wrong with it: a watch says two lines, one after the first step and one at the end."""

import argparse
import contextlib
import hashlib
import os
import struct
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Sums(Dataset):
    """Which of four sums of its input is the largest: learnt within a few steps."""

    def __init__(self, n):
        generator = torch.Generator().manual_seed(5)
        self.x = torch.randn(n, 16, generator=generator)
        self.y = self.x.view(n, 4, 4).sum(2).argmax(1)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.y[index]


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(),
                         nn.Linear(16, 4))


class Training:
    """A loop, one step at a time; losses are kept bit for bit."""

    def __init__(self, watch=None, seed=0):
        self.model = network(seed)
        self.optimizer = torch.optim.Adam(self.model.parameters(), 0.01)
        self.criterion = nn.CrossEntropyLoss()
        self.data = Sums(32)
        self.losses = []
        self.probe = None
        if watch is not None:
            import backprobe

            self.probe = backprobe.watch(self.model, self.optimizer, loss_fn=self.criterion, **watch)

    def forward(self, x=None, y=None):
        x, y = (self.data.x, self.data.y) if x is None else (x, y)
        return self.criterion(self.model(x), y)

    def step(self, x=None, y=None):
        loss = self.forward(x, y)
        self.losses.append(struct.pack("f", loss.item()))
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def digest(self):
        """Of all losses and of the parameters."""
        digest = hashlib.sha256(b"".join(self.losses))
        for parameter in self.model.parameters():
            digest.update(parameter.detach().numpy().tobytes())
        return digest.hexdigest()[:16]


WORKERS = ((0, False), (1, False), (4, False), (1, True), (4, True))  # how many; whether they stay


def train_with_workers(watch=None, start=None):
    """Two epochs where workers stay, else one. start: how they are; None: the same batches without."""
    training = Training(watch)
    for workers, stay in WORKERS:
        options = {}
        if workers and start is not None:
            options = {"num_workers": workers, "persistent_workers": stay,
                       "multiprocessing_context": start}
        loader = DataLoader(Sums(64), batch_size=16, **options)
        for _ in range(1 + stay):
            for x, y in loader:
                training.step(x, y)
    return training


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--every", type=int)
    parser.add_argument("--workers", metavar="START")
    parser.add_argument("--with", dest="with_block", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    watch = options.run and {"run": options.run, "every": options.every}
    if options.workers:
        training = train_with_workers(watch, options.workers)
    else:
        training = Training(watch)
        with training.probe if options.with_block else contextlib.nullcontext():
            for number in range(options.steps):
                training.step()
                if number == 10:
                    print("ten", flush=True)
    print(training.digest(), os.getpid(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
