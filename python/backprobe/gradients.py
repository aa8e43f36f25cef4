# SPDX-License-Identifier: Apache-2.0
"""Questions about the gradients of a model's parameters. Nobody waits for a device to answer."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from . import ranks


def is_far(tensor: torch.Tensor) -> bool:
    """Only waiting would tell what it holds."""
    return tensor.device.type not in ("cpu", "meta")


def are_zero(parameters: Sequence[torch.Tensor], *, may_ask: bool) -> bool:
    """None, or zero; where tensors must not be asked, None."""
    if not may_ask:
        return all(parameter.grad is None for parameter in parameters)
    # The last layers' are seldom all zero where there are any.
    for parameter in reversed(parameters):
        gradient = ranks.local(parameter.grad)
        if gradient is not None and bool(gradient.any()):
            return False
    return True


def are_finite(parameters: Sequence[torch.Tensor]) -> bool:
    return all(_is_finite(parameter.grad) for parameter in parameters)


def _is_finite(gradient: torch.Tensor | None) -> bool:
    if gradient is None or is_far(gradient):
        return True
    gradient = ranks.local(gradient)
    if gradient is None:
        return True
    values = gradient.coalesce().values() if gradient.is_sparse else gradient
    return bool(torch.isfinite(values).all())


def marks(parameters: Sequence[torch.Tensor]) -> int:
    """Changes when a gradient is replaced or written to; but unscaling does not show."""
    return sum(id(g) + g._version for p in parameters if (g := p.grad) is not None)
