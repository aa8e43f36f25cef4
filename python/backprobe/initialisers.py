# SPDX-License-Identifier: Apache-2.0
"""Which initialiser weights come from, as far as they show it."""

from __future__ import annotations

import math
from typing import Literal

import torch

from . import ranks

Init = tuple[str, float]
What = Literal["matrix", "table", "bias"]

SAMPLE = 1 << 18  # numbers that suffice

UNKNOWN: Init = ("unknown", 0.0)


def _is_near(value: float, expected: float, n: int, fourth: float) -> bool:
    """value: the root mean square of n numbers; fourth: the kurtosis of their distribution."""
    spread = math.sqrt((fourth - 1) / (4 * n))
    return abs(value / expected - 1) <= max(4 * spread, 1e-3)


def measure(tensor: torch.Tensor, fan_in: int, fan_out: int, *, what: What = "matrix") -> Init:
    """By the largest magnitude and the root mean square. fan_in: of a recurrent layer its units, by
    which PyTorch's default goes there. Of a sharded tensor the shard is looked at: nothing is asked of
    other ranks."""
    here = ranks.local(tensor)
    if here is None:
        return UNKNOWN
    try:
        with torch.no_grad():
            return _measure(here.detach(), fan_in, fan_out, what)
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return UNKNOWN  # meta, quantised, sparse, not there yet: nothing to measure


def _measure(whole: torch.Tensor, fan_in: int, fan_out: int, what: What) -> Init:
    if whole.numel() == 0 or not whole.is_floating_point():
        return UNKNOWN
    tensor = _sample(whole)
    n = tensor.numel()
    low, high = (float(x) for x in torch.aminmax(tensor))
    if low == high:
        return ("zeros", 0.0) if low == 0 else ("constant", low)
    wide = None if tensor.dtype in (torch.float32, torch.float64) else torch.float32
    norm = float(torch.linalg.vector_norm(tensor, dtype=wide))
    rms, largest = norm / math.sqrt(n), max(-low, high)
    if not (math.isfinite(rms) and math.isfinite(largest)) or rms == 0:
        return UNKNOWN
    if what != "table" and fan_in > 0 and _fills(1 / math.sqrt(fan_in), largest, rms, n):
        return ("pytorch_default", 1.0)
    is_uniform = n >= 32 and _fills(largest, largest, rms, n)
    if what == "matrix" and fan_in > 0:
        gain = 0.0 if is_uniform or whole.dim() < 2 else _orthogonal_gain(whole.flatten(1))
        if gain:
            return ("orthogonal", gain)
        named = _by_variance(rms, n, fan_in, fan_out, 1.8 if is_uniform else 3.0)
        if named is not None:
            return named
    return ("uniform", rms * math.sqrt(3)) if is_uniform else ("normal", rms)


def _fills(bound: float, largest: float, rms: float, n: int) -> bool:
    """True for numbers that are spread evenly from -bound to bound: the largest of n comes within
    a few n-ths of it."""
    near = bound * (1 - 8 / n) <= largest <= bound * 1.005  # rounded to half precision
    return near and _is_near(rms, bound / math.sqrt(3), n, 1.8)


def _by_variance(rms: float, n: int, fan_in: int, fan_out: int, fourth: float) -> Init | None:
    for word, std in (
        ("xavier", math.sqrt(2 / (fan_in + fan_out))),
        ("he", math.sqrt(2 / fan_in)),
        ("lecun", math.sqrt(1 / fan_in)),
    ):
        if _is_near(rms, std, n, fourth):
            return (word, 1.0)
    return None


def _sample(tensor: torch.Tensor) -> torch.Tensor:
    """Some of the rows of a large one: to read all weights of a large network takes its time."""
    step = tensor.numel() // SAMPLE
    return tensor[::step] if tensor.dim() >= 2 and 1 < step < tensor.shape[0] else tensor


def _orthogonal_gain(matrix: torch.Tensor) -> float:
    """All rows, or all columns if there are fewer, have one length, the gain, and right angles:
    looked at for the first eight. 0 for others."""
    rows = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.t()
    if rows.shape[0] < 2 or rows.shape[1] < 4:
        return 0.0
    few = rows[:8].float()
    products = few @ few.t()
    square = float(products.diagonal().mean())
    if not 0 < square < math.inf:
        return 0.0
    off = (products / square - torch.eye(few.shape[0], device=few.device)).abs().max()
    return math.sqrt(square) if float(off) < 1e-3 else 0.0
