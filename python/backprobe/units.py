# SPDX-License-Identifier: Apache-2.0
"""Along which dimension of an activation its units lie: a convolution's channels, a dense layer's
numbers, the features of a sequence's time steps."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from .layers import Layer
from .modules import VIEWS

Units = tuple[int, int, bool]  # dimension, how many, whether nothing was done to the values
UNKNOWN: Units = (0, 0, False)

_CHANNELS_FIRST = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
)
_FEATURES_LAST = (
    nn.Linear,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.RNNBase,
    nn.MultiheadAttention,
    nn.LayerNorm,
    nn.RMSNorm,
)

_ANOTHER_ORDER = frozenset(
    ("PermuteBackward0", "TransposeBackward0", "TransposeBackward1", "TBackward0", "MovedimBackward0")
)
# What leaves a ReLU's zeros zeros, and leaves some of each unit's other values.
_KEEPS_ZEROS = frozenset(("NativeDropoutBackward0", "MulBackward0", "DivBackward0"))


def of_input(module: nn.Module, shape: tuple[int, ...]) -> Units:
    """Of the data: module reads them. An image's channels, or features."""
    if len(shape) < 2:
        return UNKNOWN
    first = isinstance(module, _CHANNELS_FIRST) or len(shape) > 3
    axis = 1 if first else len(shape) - 1
    return (axis, shape[axis], True)


def of_layer(layer: Layer, before: Sequence[Layer], shape: tuple[int, ...]) -> Units:
    """shape: of the tensor in which the layer's output is seen; before: the layers before it."""
    way = layer.on_the_way
    own = layer.calls[0].shape if layer.calls else shape
    first = _is_channels_first(layer, before, len(own))
    if way is None or first is None or len(own) < 2 or len(shape) < 2:
        return UNKNOWN
    exact = way <= VIEWS
    if not exact and not (layer.activation == "relu" and all(map(_keeps_zeros, way - VIEWS))):
        return UNKNOWN
    axis = _axis(own[1] if first else own[-1], first, way, shape)
    return (axis, own[1] if first else own[-1], exact) if axis else UNKNOWN


def _keeps_zeros(node: str) -> bool:
    return node in _KEEPS_ZEROS or "MaxPool" in node


def _axis(n: int, first: bool, way: frozenset[str], shape: tuple[int, ...]) -> int:
    """0: not known."""
    in_order = not way & _ANOTHER_ORDER
    usual = 1 if first else len(shape) - 1
    if in_order and shape[usual] == n:
        return usual
    if in_order and first and len(shape) == 2 and shape[1] % n == 0:
        return 1  # flattened: n stretches of equal length
    places = [axis for axis in range(1, len(shape)) if shape[axis] == n]
    return places[0] if len(places) == 1 else 0


def _is_channels_first(layer: Layer, before: Sequence[Layer], n_dimensions: int) -> bool | None:
    """None: not known. What has no order of its own has that of the layer before."""
    if n_dimensions == 2:
        return False
    for each in (layer, *reversed(before)):
        for member in each.members:
            if isinstance(member.module, _CHANNELS_FIRST):
                return True
            if isinstance(member.module, _FEATURES_LAST):
                return False
        if each.kind not in ("residual", "activation", "dropout") or each.norm != "none":
            break
    return None
