# SPDX-License-Identifier: Apache-2.0
"""nn.TransformerEncoder over the rows of Fashion-MNIST, a class token, padded rows masked."""

import torch
from data import fashion
from outcome import Fault, Goal
from torch import nn

GOAL = Goal("accuracy", at_least=0.45)
STEPS = 120
BROKEN = {
    "mask_times_inf": Fault("a mask of 0 and 1 times -inf: 0 * inf", "non-finite"),
    "rate": Fault("plain SGD at rate 300", "learning-rate-too-high", since=(0, 20)),
}


class RowTransformer(nn.Module):
    def __init__(self, d_model=32, layers=2):
        super().__init__()
        self.embed = nn.Linear(28, d_model)
        self.position = nn.Parameter(torch.randn(28, d_model) * 0.02)
        layer = nn.TransformerEncoderLayer(
            d_model, nhead=4, dim_feedforward=64, dropout=0.0, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(
            layer, layers, norm=nn.LayerNorm(d_model), enable_nested_tensor=False
        )
        self.classify = nn.Linear(d_model, 10)

    def forward(self, images, padding):
        tokens = self.embed(images.squeeze(1)) + self.position
        out = self.encoder(tokens, src_key_padding_mask=padding)
        return self.classify(out.mean(dim=1))


def main(watch, broken=None, steps=STEPS):
    x, y = fashion(1500)
    model = RowTransformer()
    criterion = nn.CrossEntropyLoss()
    if broken == "rate":
        optimizer = torch.optim.SGD(model.parameters(), lr=300)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    probe = watch(model, optimizer, loss_fn=criterion)
    for _ in range(steps):
        index = torch.randint(len(x), (16,))
        images = x[index]
        padding = images.sum(dim=(1, 3)) == 0
        padding[:, 14] = False
        if broken == "mask_times_inf":
            padding = padding.float() * float("-inf")
        optimizer.zero_grad()
        loss = criterion(model(images, padding), y[index])
        loss.backward()
        optimizer.step()
    probe.close()
    model.eval()
    x, y = x[:500], y[:500]
    padding = torch.zeros(len(x), 28, dtype=torch.bool)
    with torch.no_grad():
        return (model(x, padding).argmax(1) == y).float().mean().item()
