#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What watching costs a GPT on a GPU: bf16 autocast, eager and compiled, with and without the watch.

  bench/watch_gpu.py                       # needs a CUDA device, torch and backprobe
  bench/watch_gpu.py --device cpu --tiny   # only shows that it runs

All sides stand in one process with a model of their own from the same seed, and take turns; a turn
is so many steps between two events of the device (torch.cuda.Event), a ratio is that of two turns of
one round. `every` 1 and 10 show what a full step costs, the default what the budget makes of it.
The losses of each side are compared with the plain side's, bit for bit. One JSON line a result, then
the table. Without a GPU it says "not on this hardware".
"""

import argparse
import json
import statistics
import sys
import tempfile
import time

import torch
from torch import nn
from torch.nn import functional as F

WATCHES = {"plain": None, "default": {}, "every 10": {"every": 10}, "every 1": {"every": 1}}


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gelu = nn.GELU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, c = x.shape
        q, k, v = self.qkv(self.norm_1(x)).split(c, dim=2)
        q, k, v = (u.view(b, t, self.heads, c // self.heads).transpose(1, 2) for u in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, c))
        return x + self.down(self.gelu(self.up(self.norm_2(x))))


class GPT(nn.Module):
    def __init__(self, size: argparse.Namespace) -> None:
        super().__init__()
        self.tokens = nn.Embedding(size.vocabulary, size.width)
        self.places = nn.Embedding(size.context, size.width)
        self.blocks = nn.Sequential(*(Block(size.width, size.heads) for _ in range(size.layers)))
        self.norm = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, size.vocabulary, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = torch.arange(x.shape[1], device=x.device)
        return self.head(self.norm(self.blocks(self.tokens(x) + self.places(places))))


class Loss(nn.Module):
    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(output.flatten(0, 1).float(), target.flatten())


class Side:
    """A model that is trained, watched or not."""

    def __init__(self, watch: dict | None, compiled: bool, size: argparse.Namespace) -> None:
        self.size, self.device = size, torch.device(size.device)
        torch.manual_seed(1)
        model = GPT(size).to(self.device)
        self.generator = torch.Generator(self.device).manual_seed(2)
        self.optimizer = torch.optim.AdamW(model.parameters(), 3e-4)
        self.criterion, self.probe = Loss(), None
        if watch is not None:
            import backprobe

            self.folder = tempfile.TemporaryDirectory()
            self.probe = backprobe.watch(model, self.optimizer, loss_fn=self.criterion,
                                         run=self.folder.name, **watch)
        self.model = torch.compile(model) if compiled else model
        self.losses: list[torch.Tensor] = []

    def steps(self, n: int) -> None:
        shape = (self.size.batch, self.size.context + 1)
        for _ in range(n):
            text = torch.randint(self.size.vocabulary, shape, generator=self.generator,
                                 device=self.device)
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                loss = self.criterion(self.model(text[:, :-1]), text[:, 1:])
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.losses.append(loss.detach())

    def turn(self, n: int) -> float:
        """Seconds a step, by the device's clock where it has one."""
        if self.device.type == "cpu":
            begin = time.perf_counter()
            self.steps(n)
            return (time.perf_counter() - begin) / n
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        self.steps(n)
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1e3 / n

    def close(self) -> None:
        if self.probe is not None:
            self.probe.close()
            self.folder.cleanup()


def measure(compiled: bool, options: argparse.Namespace) -> list[dict]:
    sides = {name: Side(watch, compiled, options) for name, watch in WATCHES.items()}
    for side in sides.values():
        side.steps(options.warm_up)
    turns: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(options.rounds):
        order = list(sides) if number % 2 == 0 else list(sides)[::-1]
        for name in order:
            turns[name].append(sides[name].turn(options.steps))
    rows = []
    for name, side in sides.items():
        ratios = sorted(a / b for a, b in zip(turns[name], turns["plain"], strict=True))
        same = all(torch.equal(a, b) for a, b in zip(side.losses, sides["plain"].losses,
                                                     strict=True))
        rows.append({
            "compiled": compiled, "watch": name, "step_ms": 1e3 * statistics.median(turns[name]),
            "overhead": statistics.median(ratios) - 1, "low": ratios[len(ratios) // 4] - 1,
            "high": ratios[-1 - len(ratios) // 4] - 1, "same_losses": same,
        })
        side.close()
    return rows


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a network of a second")
    for name, number in (("layers", 12), ("width", 768), ("heads", 12), ("vocabulary", 50304),
                         ("context", 1024), ("batch", 8), ("warm-up", 20), ("steps", 20),
                         ("rounds", 20)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args(arguments)
    if options.tiny:
        tiny = {"layers": 2, "width": 32, "heads": 2, "vocabulary": 64, "context": 16, "batch": 8,
                "warm_up": 2, "steps": 4, "rounds": 2, "no_compile": True}
        vars(options).update(tiny)
    return options


def main(arguments: list[str] | None = None) -> int:
    options = options_of(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("not on this hardware: there is no CUDA device")
        return 0
    rows = []
    for compiled in (False,) if options.no_compile else (False, True):
        rows += measure(compiled, options)
    for row in rows:
        print(json.dumps(row))
    name = "CPU" if options.device == "cpu" else torch.cuda.get_device_name()
    print(f"\n{name}, torch {torch.__version__}\n")
    print("| model | watch | ms a step | overhead | quartiles | same losses |")
    print("| --- | --- | ---: | ---: | ---: | --- |")
    for row in rows:
        kind = "compiled" if row["compiled"] else "eager"
        print(f"| {kind} | {row['watch']} | {row['step_ms']:.2f} | {row['overhead']:+.1%} | "
              f"{row['low']:+.1%} … {row['high']:+.1%} | {'yes' if row['same_losses'] else 'no'} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
