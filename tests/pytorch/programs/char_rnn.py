# SPDX-License-Identifier: Apache-2.0
"""A plain recurrent network that learns to write the project's documentation, truncated in time."""

import torch
from data import text
from outcome import Fault, Goal
from torch import nn

GOAL = Goal("loss", at_most=2.9)
STEPS = 150
BROKEN = {
    "recurrent_x4": Fault(
        "relu, recurrent weights four times too large, no clipping",
        "exploding-gradient", since=(0, 5),
    ),
    "rate": Fault(
        "no clipping, learning rate 1000 times too high", "learning-rate-too-high", since=(0, 10)
    ),
}  # fmt: skip


class CharRNN(nn.Module):
    def __init__(self, n_characters, width=64, nonlinearity="tanh"):
        super().__init__()
        self.embed = nn.Embedding(n_characters, 32)
        self.rnn = nn.RNN(32, width, num_layers=2, nonlinearity=nonlinearity)
        self.decode = nn.Linear(width, n_characters)

    def forward(self, tokens, state=None):
        out, state = self.rnn(self.embed(tokens), state)
        return self.decode(out), state


def main(watch, broken=None, steps=STEPS):
    characters = text()[:20000]
    alphabet = sorted(set(characters))
    data = torch.tensor([alphabet.index(c) for c in characters])
    window, batch = 24, 16
    model = CharRNN(len(alphabet), nonlinearity="relu" if broken == "recurrent_x4" else "tanh")
    if broken == "recurrent_x4":
        for name, weight in model.rnn.named_parameters():
            if name.startswith("weight_hh"):
                nn.init.orthogonal_(weight, gain=4)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=500 if broken == "rate" else 0.5)
    probe = watch(model, optimizer, loss_fn=criterion)
    total = []
    for _ in range(steps):
        starts = torch.randint(len(data) - window - 1, (batch,))
        x = torch.stack([data[s : s + window] for s in starts], dim=1)
        y = torch.stack([data[s + 1 : s + 1 + window] for s in starts], dim=1)
        logits, _ = model(x)
        loss = criterion(logits.reshape(-1, len(alphabet)), y.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        if broken is None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total.append(loss.item())
    probe.close()
    return sum(total[-20:]) / 20
