# SPDX-License-Identifier: Apache-2.0
"""What theory is told of a batch: inner products of its samples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MAX_SAMPLES = 64

Facts = tuple[int, bytes | None, bytes | None, bytes | None, float, float]


def facts(x: torch.Tensor, error: torch.Tensor | None) -> Facts | None:
    """Of inputs [n, …] and of error signals at the output [n, …]; None where they tell nothing. As
    bp_prediction_input has them: samples, Gram matrix, means, Gram matrix of the errors, products of
    neighbours and of any two places of an image over the mean square."""
    import torch

    if x.dim() < 2 or not x.is_floating_point() or x.shape[0] < 1:
        return None
    with torch.no_grad():
        few = x.detach()[:MAX_SAMPLES].double().cpu()
        flat = few.flatten(1)
        gram = flat @ flat.t() / flat.shape[1]
        if not torch.isfinite(gram).all():
            return None
        n = few.shape[0]
        near, far = _places(few) if few.dim() == 4 else (math.nan, math.nan)
        errors = None
        if error is not None and error.dim() >= 2 and error.shape[0] == x.shape[0]:
            signal = error.detach()[:n].double().cpu().flatten(1)
            products = signal @ signal.t()
            if torch.isfinite(products).all() and products.trace() > 0:
                errors = _bytes(products / products.trace())
        return n, _bytes(gram), _bytes(flat.mean(1)), errors, near, far


def _places(images: torch.Tensor) -> tuple[float, float]:
    height, width = images.shape[2:]
    square = float(images.square().mean())
    if height < 2 or width < 2 or not square > 0:
        return math.nan, math.nan
    right = images[..., 1:] * images[..., :-1]
    below = images[..., 1:, :] * images[..., :-1, :]
    near = float((right.sum() + below.sum()) / (right.numel() + below.numel()))
    area = height * width
    planes = images.flatten(2)
    pairs = planes.sum(2).square() - planes.square().sum(2)
    return near / square, float(pairs.mean()) / (area * (area - 1)) / square


def _bytes(values: torch.Tensor) -> bytes:
    import array

    return array.array("d", values.flatten().tolist()).tobytes()
