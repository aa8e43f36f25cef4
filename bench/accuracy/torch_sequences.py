# SPDX-License-Identifier: Apache-2.0
"""PyTorch programs on sequences: recurrent networks and transformers."""

import math

import torch
import torch_data
from torch import nn
from torch_programs import classify, common, rate


class Characters(nn.Module):
    """Tells the next character. tokens [batch, time] -> [batch, characters, time]"""

    def __init__(self, n, recurrent, width):
        super().__init__()
        self.embed = nn.Embedding(n, 24)
        self.rnn = recurrent
        self.decode = nn.Linear(width, n)

    def forward(self, tokens):
        out, _ = self.rnn(self.embed(tokens))
        return self.decode(out).transpose(1, 2)


def draw_text(case, window, batch):
    text, n = torch_data.characters()
    border = len(text) - 6000

    def draw(low=0, high=border, size=batch):
        starts = torch.randint(low, high - window - 1, (size,))
        x = torch.stack([text[s : s + window] for s in starts])
        return x, torch.stack([text[s + 1 : s + 1 + window] for s in starts])

    case.draw = draw
    generator_state = torch.get_rng_state()
    torch.manual_seed(5)
    case.parts = torch_data.Parts(*draw(0, border, 200), 100)
    case.parts.held_x, case.parts.held_y = draw(border, len(text), 64)
    torch.set_rng_state(generator_state)
    counts = torch.bincount(text, minlength=n).float()
    share = counts[counts > 0] / counts.sum()
    case.trivial = float(-(share * share.log()).sum())
    case.classes = False
    return n


def char_rnn(case):
    n = draw_text(case, 24, 16)
    sick = case.is_("recurrent_large")
    net = Characters(n, nn.RNN(24, 64, batch_first=True, nonlinearity="relu" if sick else "tanh"), 64)
    if sick:
        nn.init.orthogonal_(net.rnn.weight_hh_l0, gain=4)
    case.clip = 0.0 if sick or case.is_("rate_high") else 1.0
    classify(case, net, torch.optim.SGD(net.parameters(), rate(case, 0.5)))


def char_lstm(case):
    n = draw_text(case, 24, 16)
    net = Characters(n, nn.LSTM(24, 64, batch_first=True), 64)
    case.clip = 1.0
    classify(case, net, torch.optim.Adam(net.parameters(), rate(case, 5e-3)))


class LastState(nn.Module):
    def __init__(self, recurrent, width):
        super().__init__()
        self.rnn, self.head = recurrent, nn.Linear(width, 1)

    def forward(self, x):
        out, _ = self.rnn(x)
        return self.head(out[:, -1])


def adding_gru(case):
    sick = case.is_("plain_rnn")
    case.parts, case.steps, case.classes = torch_data.adding(40 if sick else 20), 400, False
    recurrent = nn.RNN(2, 32, batch_first=True) if sick else nn.GRU(2, 32, batch_first=True)
    net = LastState(recurrent, 32)
    case.clip = 0.0 if case.is_("rate_high") else 1.0
    classify(case, net, torch.optim.Adam(net.parameters(), rate(case, 1e-2, 100)), nn.MSELoss())


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.act, self.down = nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)

    def forward(self, x, mask):
        b, t, c = x.shape
        q, k, v = (z.view(b, t, self.heads, -1).transpose(1, 2) for z in self.qkv(self.ln1(x)).split(c, 2))
        scores = (q @ k.transpose(-2, -1)) / math.sqrt(c // self.heads)
        mixed = scores.masked_fill(mask, float("-inf")).softmax(-1) @ v
        x = x + self.proj(mixed.transpose(1, 2).reshape(b, t, c))
        return x + self.down(self.act(self.up(self.ln2(x))))


class GPT(nn.Module):
    def __init__(self, n, length, width=48, layers=3, strict=False):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(n, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, 4) for _ in range(layers))
        self.ln, self.head = nn.LayerNorm(width), nn.Linear(width, n, bias=False)
        self.register_buffer("mask", torch.ones(length, length).triu(0 if strict else 1).bool())
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x, self.mask)
        return self.head(self.ln(x)).transpose(1, 2)


def gpt(case):
    case.steps = 240
    n = draw_text(case, 32, 8)
    net = GPT(n, 32, strict=case.is_("masked_row"))
    matrices = [p for p in net.parameters() if p.dim() > 1]
    rest = [p for p in net.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate(case, 3e-3, 1000), betas=(0.9, 0.95))
    case.schedule = lambda step: min(1.0, (step + 1) / 20) * (0.55 + 0.45 * math.cos(math.pi * step / case.steps))
    case.clip = 1.0
    classify(case, net, optimizer)


class Rows(nn.Module):
    """A transformer over the rows of an image."""

    def __init__(self, width=32):
        super().__init__()
        self.embed = nn.Linear(28, width)
        self.position = nn.Parameter(torch.randn(28, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 64, 0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.classify = nn.Linear(width, 10)

    def forward(self, x):
        return self.classify(self.encoder(self.embed(x.squeeze(1)) + self.position).mean(1))


def transformer(case):
    case.parts, case.steps, case.batch = torch_data.fashion(), 150, 16
    net = Rows()
    common(case)
    case.schedule = lambda step: min(1.0, (step + 1) / 25)
    classify(case, net, torch.optim.AdamW(net.parameters(), rate(case, 2e-3, 1000)))
