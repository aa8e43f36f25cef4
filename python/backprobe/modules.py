# SPDX-License-Identifier: Apache-2.0
"""What PyTorch's modules are in the words of the diagnosis, and what their parameters are for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.parameter import UninitializedTensorMixin  # type: ignore[attr-defined]

Part = Literal["operator", "norm", "activation", "pool", "dropout", "other"]

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848, 1.0507009873554804934


@dataclass(frozen=True)
class Kind:
    """part: what a module is in a layer. word: the layer's kind, the norm or the activation."""

    part: Part
    word: str
    slope: float = 0.0


_OPAQUE = (
    nn.Linear,
    nn.Bilinear,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)

_OPERATORS: tuple[tuple[type[nn.Module] | tuple[type[nn.Module], ...], str], ...] = (
    (nn.Linear, "dense"),
    (nn.modules.conv._ConvTransposeNd, "other"),
    (nn.modules.conv._ConvNd, "conv"),
    ((nn.Embedding, nn.EmbeddingBag), "embedding"),
    ((nn.LSTM, nn.LSTMCell), "lstm"),
    ((nn.GRU, nn.GRUCell), "gru"),
    ((nn.RNN, nn.RNNCell), "rnn"),
)

# The nearest word where there is none of the same name: their slopes are alike.
_ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.Sigmoid: "sigmoid",
    nn.Hardsigmoid: "sigmoid",
    nn.Tanh: "tanh",
    nn.Hardtanh: "tanh",
    nn.ReLU6: "relu",
    nn.ReLU: "relu",
    nn.LeakyReLU: "leaky_relu",
    nn.RReLU: "leaky_relu",
    nn.PReLU: "leaky_relu",
    nn.GELU: "gelu",
    nn.ELU: "elu",
    nn.CELU: "elu",
    nn.SELU: "selu",
    nn.SiLU: "silu",
    nn.Mish: "silu",
    nn.Hardswish: "silu",
    nn.Softplus: "softplus",
    nn.Softmax: "softmax",
    nn.Softmax2d: "softmax",
}

# The same as nodes of the autograd graph.
NODES: dict[str, str] = {
    "SigmoidBackward0": "sigmoid",
    "HardsigmoidBackward0": "sigmoid",
    "TanhBackward0": "tanh",
    "ReluBackward0": "relu",
    "ThresholdBackward0": "relu",
    "HardtanhBackward0": "tanh",
    "LeakyReluBackward0": "leaky_relu",
    "GeluBackward0": "gelu",
    "EluBackward0": "elu",
    "CeluBackward0": "elu",
    "SiluBackward0": "silu",
    "MishBackward0": "silu",
    "HardswishBackward0": "silu",
    "SoftplusBackward0": "softplus",
    "SoftmaxBackward0": "softmax",
}

# Nodes that hand the same numbers on, in another arrangement.
VIEWS = (
    frozenset(
        name + "Backward0"
        for name in (
            "View UnsafeView ReshapeAlias Alias T Transpose Permute Squeeze Unsqueeze Clone ToCopy "
            "Contiguous Flatten Unflatten ViewAsReal ViewAsComplex Movedim"
        ).split()
    )
    | {f"SqueezeBackward{k}" for k in range(1, 5)}
    | {"TransposeBackward1", "ViewBackward1"}
)

# Nodes that hand on a part of them, or all of them times something that is no activation.
PARTS = frozenset(
    (
        "SelectBackward0 SliceBackward0 NarrowBackward0 NativeDropoutBackward0 MulBackward0 "
        "DivBackward0 IndexBackward0 ExpandBackward0"
    ).split()
)

ADDITIONS = frozenset(("AddBackward0",))


def look(name: str, node: Any) -> tuple[str, float] | None:
    """What is kept of a functional activation's node: its word and its slope. No saved tensor is
    unpacked: that may run code of the user's (activation checkpointing)."""
    word = NODES.get(name)
    if word is None:
        return None
    if name == "LeakyReluBackward0":
        return word, float(node._saved_negative_slope)
    if name == "CeluBackward0":
        return word, float(node._saved_alpha)
    if name == "EluBackward0":
        alpha, scale = float(node._saved_alpha), float(node._saved_scale)
        if math.isclose(alpha, SELU_ALPHA, rel_tol=1e-6) and scale != 1:
            return "selu", 0.0
        return word, alpha
    if name == "HardtanhBackward0" and float(node._saved_min_val) >= 0:
        return "relu", 0.0  # relu6
    return word, 0.0


def leaves(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Modules that are looked at as one, in the order of registration, each once: those without
    children, and those whose inside is their own business. A scripted module takes no hooks."""
    seen: set[int] = set()

    def below(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
        if id(module) in seen or isinstance(module, torch.jit.ScriptModule):
            return
        seen.add(id(module))
        children = [(k, child) for k, child in module._modules.items() if child is not None]
        if not children or isinstance(module, _OPAQUE):
            yield name, module
            return
        for key, child in children:
            yield from below(child, f"{name}.{key}" if name else key)

    yield from below(model, "")


_WRAPPERS = frozenset(("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))


def plain_name(name: str) -> str:
    """A module's path as the user wrote it, without what wrappers put in."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _slope_of(module: nn.Module, word: str) -> float:
    if isinstance(module, nn.LeakyReLU):
        return float(module.negative_slope)
    if isinstance(module, nn.RReLU):
        return (module.lower + module.upper) / 2
    if isinstance(module, nn.PReLU):
        return float(module.weight.detach().float().mean())
    return float(getattr(module, "alpha", 1.0)) if word == "elu" else 0.0


def _norm_of(module: nn.Module) -> str | None:
    name = type(module).__name__.lower()
    if isinstance(module, nn.modules.batchnorm._BatchNorm) or "batchnorm" in name:
        return "batch_norm"
    if isinstance(module, (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)):
        return "layer_norm"
    return "layer_norm" if name.rstrip("0123456789d").endswith("norm") else None


def _activation_of(module: nn.Module) -> str | None:
    for cls, word in _ACTIVATIONS.items():
        if isinstance(module, cls) and not (cls is nn.Hardtanh and isinstance(module, nn.ReLU6)):
            return word
    if next(module.parameters(), None) is not None:
        return None
    name = type(module).__name__.lower()
    for part, word in (("gelu", "gelu"), ("silu", "silu"), ("swish", "silu"), ("mish", "silu")):
        if part in name and "glu" not in name.replace("gelu", ""):
            return word
    return None


def _pool_of(module: nn.Module) -> str | None:
    if isinstance(module, (nn.modules.pooling._AdaptiveAvgPoolNd)):
        size = module.output_size
        single = all(s == 1 for s in size) if isinstance(size, tuple) else size == 1
        return "global_avg_pool" if single else "avg_pool"
    if isinstance(module, (nn.modules.pooling._AvgPoolNd, nn.LPPool1d, nn.LPPool2d)):
        return "avg_pool"
    if isinstance(module, (nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd)):
        return "max_pool"
    return None


def kind_of(module: nn.Module) -> Kind:
    for cls, word in _OPERATORS:
        if isinstance(module, cls):
            return Kind("operator", word)
    if _is_conv1d_of_transformers(module):
        return Kind("operator", "dense")
    norm = _norm_of(module)
    if norm is not None:
        return Kind("norm", norm)
    activation = _activation_of(module)
    if activation is not None:
        return Kind("activation", activation, _slope_of(module, activation))
    pool = _pool_of(module)
    if pool is not None:
        return Kind("pool", pool)
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return Kind("dropout", "dropout")
    if next(module.parameters(), None) is not None:
        return Kind("operator", "other")
    return Kind("other", "other")


def _is_conv1d_of_transformers(module: nn.Module) -> bool:
    """A dense layer whose weight lies the other way round: GPT-2's."""
    weight = getattr(module, "weight", None)
    return (
        type(module).__name__ == "Conv1D"
        and isinstance(getattr(module, "nf", None), int)
        and isinstance(weight, torch.Tensor)
        and weight.dim() == 2
    )


def _fans_of_weight(weight: torch.Tensor) -> tuple[int, int]:
    """As torch.nn.init counts them."""
    if weight.dim() < 2:
        return 1, weight.numel()
    field = math.prod(weight.shape[2:])
    return weight.shape[1] * field, weight.shape[0] * field


def fans_of(module: Any) -> tuple[int, int]:
    """fan_in and fan_out; of an embedding 1 and its width, for of a one-hot vector one number is
    not 0; of a recurrent module its inputs and units."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if _is_conv1d_of_transformers(module):
        return module.weight.shape[0], module.weight.shape[1]
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return 1, module.embedding_dim
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return module.input_size, module.hidden_size
    if isinstance(module, nn.MultiheadAttention):
        return module.embed_dim, module.embed_dim
    parameters = [p for p in module.parameters() if not is_lazy(p)]
    if not parameters:
        return 0, 0
    return _fans_of_weight(max(parameters, key=lambda p: (min(p.dim(), 2), p.numel())))


def is_lazy(parameter: torch.Tensor) -> bool:
    """Of a shape that the first call will tell."""
    return isinstance(parameter, UninitializedTensorMixin)


def square_kernel_of(module: nn.Module) -> tuple[int, int, int] | None:
    """Kernel, stride and padding of a plain two-dimensional convolution: one number each, zeros
    around, no groups and no holes."""
    if not isinstance(module, nn.Conv2d) or module.groups != 1 or module.padding_mode != "zeros":
        return None
    sizes = (module.kernel_size, module.stride, module.dilation, module.padding)
    if any(isinstance(size, str) or size[0] != size[1] for size in sizes):
        return None
    kernel, stride, padding = module.kernel_size[0], module.stride[0], module.padding[0]
    if module.dilation[0] != 1 or int(padding) >= kernel:
        return None
    return kernel, stride, int(padding)


_RECURRENT_SLOTS = (
    ("weight_ih", "weight"),
    ("weight_hh", "recurrent_weight"),
    ("weight_hr", "recurrent_weight"),
    ("bias_ih", "bias"),
    ("bias_hh", "recurrent_bias"),
)


def slot_of(module: nn.Module, part: Part, name: str, parameter: torch.Tensor) -> str:
    """What a parameter, called so in its module, is for."""
    last = name.rsplit(".", 1)[-1]
    if part == "activation":
        return "norm_gain"  # a slope that is learnt: neither a matrix nor a shift
    if part == "norm":
        return "norm_bias" if "bias" in last or last == "beta" else "norm_gain"
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        for start, slot in _RECURRENT_SLOTS:
            if last.startswith(start):
                return slot
    if "bias" in last:
        return "bias"
    return "weight" if is_lazy(parameter) or parameter.dim() >= 2 else "bias"


def tensor_in(value: object) -> torch.Tensor | None:
    """The tensor by which a module's input or output is known: the first in what was given."""
    return next(tensors_in(value), None)


def tensors_in(value: object) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
