# SPDX-License-Identifier: Apache-2.0
"""What is known of a loss: kind, of how many terms it is the mean, what guessing would bring."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_MODULES: tuple[tuple[tuple[type[nn.Module], ...], str], ...] = (
    ((nn.CrossEntropyLoss, nn.NLLLoss), "cross_entropy"),
    ((nn.MSELoss,), "mse"),
    ((nn.L1Loss,), "mae"),
    ((nn.HuberLoss, nn.SmoothL1Loss), "huber"),
    ((nn.BCEWithLogitsLoss, nn.BCELoss), "binary_cross_entropy"),
)

_FUNCTIONS = {
    "cross_entropy": "cross_entropy",
    "nll_loss": "cross_entropy",
    "mse_loss": "mse",
    "l1_loss": "mae",
    "huber_loss": "huber",
    "smooth_l1_loss": "huber",
    "binary_cross_entropy": "binary_cross_entropy",
    "binary_cross_entropy_with_logits": "binary_cross_entropy",
}

_NODES = {
    "NllLossBackward0": "cross_entropy",
    "NllLoss2DBackward0": "cross_entropy",
    "MseLossBackward0": "mse",
    "HuberLossBackward0": "huber",
    "SmoothL1LossBackward0": "huber",
    "BinaryCrossEntropyBackward0": "binary_cross_entropy",
    "BinaryCrossEntropyWithLogitsBackward0": "binary_cross_entropy",
}

_CLASSES = frozenset(name for name, kind in _NODES.items() if kind == "cross_entropy")

_SUM, _MEAN, _NONE = 2, 1, 0  # of _saved_reduction
_SCALES = frozenset(("MulBackward0", "MulBackward1", "DivBackward0", "DivBackward1"))
_FACTORS = _SCALES | {"ToCopyBackward0", "AliasBackward0"}


@dataclass
class Loss:
    """A loss as it was called; targets are borrowed."""

    kind: str  # a word of BP_LOSSES
    output: Tensor | None = None
    target: Tensor | None = None
    reduction: str = "mean"
    ignore_index: int = -100
    smoothing: float = 0.0
    weights: Tensor | None = None  # of classes
    delta: float = 1.0  # huber's
    slope: float = 1.0  # what huber's linear part is multiplied by
    factor: float = 1.0  # that it was multiplied by afterwards; NaN unknown
    is_plain: bool = True  # nothing about it that makes guessing's loss another


def _of_module(loss_fn: Any, args: tuple[Any, ...]) -> Loss | None:
    for classes, kind in _MODULES:
        if isinstance(loss_fn, classes):
            break
    else:
        return None
    loss = Loss(kind, *_pair(args))
    loss.reduction = getattr(loss_fn, "reduction", "mean")
    loss.ignore_index = getattr(loss_fn, "ignore_index", -100)
    loss.smoothing = getattr(loss_fn, "label_smoothing", 0.0)
    weight = getattr(loss_fn, "weight", None)
    if kind == "cross_entropy":
        loss.weights = weight
    elif weight is not None or getattr(loss_fn, "pos_weight", None) is not None:
        loss.is_plain = False
    if kind == "huber":
        loss.delta, loss.slope = _huber(loss_fn)
    return loss


def _huber(loss_fn: Any) -> tuple[float, float]:
    """SmoothL1Loss is HuberLoss over its threshold."""
    if isinstance(loss_fn, nn.SmoothL1Loss):
        return loss_fn.beta, 1 / loss_fn.beta if loss_fn.beta else 1.0
    return float(loss_fn.delta), 1.0


def _pair(args: tuple[Any, ...]) -> tuple[Tensor | None, Tensor | None]:
    tensors = [a for a in args if isinstance(a, Tensor)]
    return (tensors[0], tensors[1]) if len(tensors) >= 2 else (None, None)


def _of_node(loss: Tensor) -> Loss | None:
    """From the graph's last nodes, over a factor or two (accumulation, a mean made by hand)."""
    node, factor = loss.grad_fn, 1.0
    for _ in range(4):
        if node is None:
            return None
        kind = _NODES.get(node.name())
        if kind is not None:
            known: Loss | None = _read_node(node, kind)
            break
        producers = _producers(node)
        if node.name() not in _FACTORS or len(producers) != 1:
            known = _smoothed(node) or _mean_of_magnitudes(node)
            break
        factor *= _factor_of(node)
        node = producers[0]
    else:
        return None
    if known is not None:
        known.factor = factor
    return known


def _producers(node: Any) -> list[Any]:
    return [p for p, _ in node.next_functions if p is not None]


def _factor_of(node: Any) -> float:
    if node.name() not in _SCALES:
        return 1.0
    try:
        other = node._saved_other
        if isinstance(other, Tensor) and (other.numel() != 1 or other.device.type != "cpu"):
            return math.nan
        value = float(other)
    except (RuntimeError, AttributeError, TypeError):
        return math.nan
    if value == 0:
        return math.nan
    return value if node.name().startswith("Mul") else 1 / value


def _smoothed(node: Any) -> Loss | None:
    """A cross-entropy with label smoothing is the plain one times 1 - s, and s times the mean over
    all classes of the same log-probabilities."""
    parts = _producers(node)
    if node.name() != "AddBackward0" or len(parts) != 2:
        return None
    scaled = [part for part in parts if part.name() in _SCALES and len(_producers(part)) == 1]
    plain = [part for part in scaled if _producers(part)[0].name() in _CLASSES]
    if len(scaled) != 2 or len(plain) != 1:
        return None
    nll = _producers(plain[0])[0]
    rest = scaled[0] if scaled[1] is plain[0] else scaled[1]
    for _ in range(8):
        producers = _producers(rest)
        if len(producers) != 1:
            return None
        rest = producers[0]
        if rest.name() == "LogSoftmaxBackward0":
            break
    if rest not in _producers(nll):
        return None
    loss = _read_node(nll, "cross_entropy")
    loss.smoothing = 1 - _factor_of(plain[0])
    return loss if 0 < loss.smoothing < 1 else None


def _mean_of_magnitudes(node: Any) -> Loss | None:
    """l1_loss is made of parts."""
    names = []
    for _ in range(3):
        names.append(node.name())
        producers = _producers(node)
        if len(producers) != 1:
            break
        node = producers[0]
    if names == ["MeanBackward0", "AbsBackward0", "SubBackward0"]:
        return Loss("mae", is_plain=False)
    return None


def _read_node(node: Any, kind: str) -> Loss:
    loss = Loss(kind, is_plain=False)
    try:
        loss.reduction = {_SUM: "sum", _MEAN: "mean", _NONE: "none"}[node._saved_reduction]
        loss.target = node._saved_target
        loss.output = node._saved_self
        loss.is_plain = getattr(node, "_saved_pos_weight", None) is None
        if kind == "cross_entropy":
            loss.weights = node._saved_weight
            index = node._saved_ignore_index
            loss.ignore_index = index - 2**64 if index >= 2**63 else index
        elif getattr(node, "_saved_weight", None) is not None:
            loss.is_plain = False
        if kind == "huber":
            delta = getattr(node, "_saved_delta", None)
            beta = getattr(node, "_saved_beta", None)
            loss.delta = float(beta if delta is None else delta)  # type: ignore[arg-type]
            loss.slope = 1.0 if delta is not None or not beta else 1 / float(beta)
    except (RuntimeError, AttributeError, KeyError):
        loss.target = loss.output = None  # freed already, or changed in place
        loss.is_plain = False
    return loss


def read(loss_fn: object | None, args: tuple[Any, ...], loss: Tensor) -> Loss | None:
    """None for a loss of one's own."""
    if isinstance(loss_fn, nn.Module):
        known = _of_module(loss_fn, args)
        if known is not None and known.target is None:  # given by name: the graph has it
            own = _of_node(loss)
            return own if own is not None and own.kind == known.kind else known
        if known is not None:
            return known
    name = getattr(loss_fn, "__name__", "")
    kind = _FUNCTIONS.get(name)
    own = _of_node(loss)
    if kind is not None and loss_fn is getattr(nn.functional, name, None):
        if own is not None and own.kind == kind and own.target is not None:
            return own
        return Loss(kind, *_pair(args))
    return own


# --- of how many terms it is the mean -------------------------------------------------------------


def terms_of(loss_fn: object | None, args: tuple[Any, ...], loss: Tensor) -> int:
    """Terms that the loss is the mean of: targets that are not ignored (of a cross-entropy one per
    sample or place, else one per output); 1 for a sum; 0 unknown."""
    return terms_in(read(loss_fn, args, loss))


def terms_in(known: Loss | None, classes: int = 0) -> int:
    """Of a loss that was read. classes: targets that are not ignored, where somebody has counted them."""
    if known is None or known.reduction == "none":
        return 0
    terms = 1 if known.reduction == "sum" else classes or _count(known)
    if known.factor == 1:
        return terms
    whole = terms / known.factor if known.factor > 0 else 0.0
    return round(whole) if 0.5 < whole < 2**62 else 0


def _count(loss: Loss) -> int:
    target, output = loss.target, loss.output
    if target is None:
        return 0
    if loss.kind != "cross_entropy":
        return target.numel()
    if _is_soft(target, output):
        return target.numel() // target.shape[1] if target.dim() > 1 and target.shape[1] else 1
    if target.device.type != "cpu":
        return target.numel()  # to count what is ignored would wait for the device
    return int(torch.count_nonzero(target != loss.ignore_index))


def _is_soft(target: Tensor, output: Tensor | None) -> bool:
    """Probabilities of classes instead of classes."""
    return target.is_floating_point() or (output is not None and target.shape == output.shape)


# --- its targets, and how many were met -----------------------------------------------------------

_MOST_GUESSES = 1 << 20  # numbers that are looked at for the accuracy of a batch


@dataclass
class Met:
    """Of the targets of a batch; numbers of a device are tensors that lie there."""

    extremes: tuple[Tensor, Tensor] | tuple[float, float] | None = None
    guesses: tuple[Tensor, Tensor] | tuple[int, int] | None = None  # of classes: how many are right, of how many
    classes: int = 0  # targets that are not ignored; 0: not known here


def met(known: Loss | None) -> Met:
    """Nothing here waits for a device."""
    if known is None or not _is_plain(known.target):
        return Met()
    try:
        with torch.no_grad():
            return _met(known)
    except (RuntimeError, IndexError, NotImplementedError):
        return Met()  # targets of a shape that this loss takes in a way of its own


def _met(known: Loss) -> Met:
    target, output = known.target, known.output
    assert target is not None
    target = target.detach()
    if known.kind != "cross_entropy" or _is_soft(target, output):
        return Met(tuple(torch.aminmax(target)))
    if output is None or not _is_plain(output) or output.numel() > _MOST_GUESSES:
        right = None
    else:
        right = output.detach().argmax(1 if output.dim() > 1 else 0) == target
    there = target.device.type != "cpu"
    return _met_there(known, target, right) if there else _met_here(known, target, right)


def _met_here(known: Loss, target: Tensor, right: Tensor | None) -> Met:
    """With as few operations as can be: this is done in each full step."""
    low, high = (int(extreme) for extreme in torch.aminmax(target))
    n = target.numel()
    if low <= known.ignore_index <= high:
        kept = target != known.ignore_index
        n = int(torch.count_nonzero(kept))
        if n == 0:
            return Met()
        low, high = (int(extreme) for extreme in torch.aminmax(target[kept]))
        right = None if right is None else right & kept
    guesses = None if right is None else (int(torch.count_nonzero(right)), n)
    return Met((low, high), guesses, n)


def _met_there(known: Loss, target: Tensor, right: Tensor | None) -> Met:
    kept, limits = target != known.ignore_index, torch.iinfo(target.dtype)
    found = Met((torch.where(kept, target, limits.max).min(), torch.where(kept, target, limits.min).max()))
    if right is not None:
        found.guesses = (right & kept).sum(), kept.sum()
    return found


def _is_plain(tensor: Tensor | None) -> bool:
    """One that lies over processes would be gathered for each question."""
    return type(tensor) is Tensor and tensor.numel() > 0


# --- what guessing would bring --------------------------------------------------------------------

_MIN_SAMPLES = 8
_MIN_COVERAGE = 0.75  # of the classes' probability, by what the batch shows (Good 1953)


def facts_of(loss_fn: object | None, args: tuple[Any, ...], loss: Tensor) -> dict[str, Any]:
    """A recipe's `loss`, and where the batch tells: `n_outputs`, `trivial_loss` (of the best
    constant prediction), `chance_accuracy`. What is not known is left out."""
    known = read(loss_fn, args, loss)
    if known is None:
        return {"loss": "other"}
    facts: dict[str, Any] = {"loss": known.kind}
    if _of_probabilities(loss):
        facts["from_probabilities"] = True
    if known.target is None or known.target.numel() == 0:
        return facts
    try:
        with torch.no_grad():
            if known.kind == "cross_entropy":
                facts |= _facts_of_classes(known)
            else:
                facts |= _facts_of_columns(known)
    except (RuntimeError, IndexError, NotImplementedError):
        pass  # targets of a shape that this loss takes in a way of its own
    return facts


def _of_probabilities(loss: Tensor) -> bool:
    """BCELoss, and NLLLoss of a logarithm that is not log_softmax's."""
    node = loss.grad_fn
    for _ in range(4):
        if node is None:
            return False
        producers = _producers(node)
        if node.name() == "BinaryCrossEntropyBackward0":
            return True
        if node.name().startswith("NllLoss"):
            return bool(producers) and producers[0].name() == "LogBackward0"
        if len(producers) != 1:
            return False
        node = producers[0]
    return False


def _facts_of_classes(loss: Loss) -> dict[str, Any]:
    output, target = loss.output, loss.target
    assert target is not None
    if output is None or output.dim() == 0:
        return {}
    k = output.shape[1] if output.dim() > 1 else output.shape[0]
    facts: dict[str, Any] = {"n_outputs": k}
    if k < 2 or loss.reduction == "none":
        return facts
    if _is_soft(target, output):
        shares = target.detach().double().movedim(1, -1).reshape(-1, k)
        counts, n = shares.sum(0), shares.shape[0]
    else:
        kept = target[target != loss.ignore_index]
        counts, n = torch.bincount(kept.flatten().long(), minlength=k)[:k].double(), kept.numel()
    counts = counts.cpu()
    if n < _MIN_SAMPLES or 1 - int((counts == 1).sum()) / n < _MIN_COVERAGE:
        return facts
    facts["chance_accuracy"] = 1 / k if _may_be_equal(counts, n) else float(counts.max()) / n
    facts |= _trivial(loss, n, _entropy(counts, n, loss))
    return facts


def _trivial(loss: Loss, terms: int, mean: float) -> dict[str, Any]:
    value = mean * loss.factor * (terms if loss.reduction == "sum" else 1)
    return {"trivial_loss": value} if math.isfinite(value) else {}


def _may_be_equal(counts: Tensor, n: int) -> bool:
    """The largest of a few counts is large by chance: Pearson's test, three deviations."""
    k = counts.numel()
    distance = float(((counts - n / k) ** 2).sum()) * k / n
    return distance <= (k - 1) + 3 * math.sqrt(2 * (k - 1))


def _entropy(counts: Tensor, n: int, loss: Loss) -> float:
    """Of the label marginal, with the bias of few samples mended (Miller 1955); no more than that
    of equal shares."""
    k = counts.numel()
    seen = int((counts > 0).sum())
    shares = counts / counts.sum()
    if loss.weights is not None:
        shares = shares * loss.weights.detach().double().cpu()
        shares = shares / shares.sum()
    shares = (1 - loss.smoothing) * shares + loss.smoothing / k
    entropy = float(-(shares * shares.clamp_min(1e-300).log()).sum())
    return min(entropy + (seen - 1) / (2 * n), math.log(k))


def _facts_of_columns(loss: Loss) -> dict[str, Any]:
    target = loss.target
    assert target is not None
    columns = target.detach().double()
    n = columns.shape[0] if columns.dim() else 1
    columns = columns.reshape(n, -1).cpu()
    facts: dict[str, Any] = {"n_outputs": columns.shape[1]}
    if n < _MIN_SAMPLES or not loss.is_plain or loss.reduction == "none":
        return facts
    facts |= _trivial(loss, columns.numel(), _constant_loss(loss, columns, n))
    return facts


def _constant_loss(loss: Loss, columns: Tensor, n: int) -> float:
    if loss.kind == "mse":
        return float(columns.var(0, unbiased=True).mean())
    if loss.kind == "mae":
        return float((columns - columns.median(0).values).abs().mean()) * n / (n - 1)
    if loss.kind == "huber":
        return _huber_of_constant(loss, columns) * n / (n - 1)
    shares = columns.mean(0)
    entropy = -(torch.xlogy(shares, shares) + torch.xlogy(1 - shares, 1 - shares))
    mixed = (shares > 0) & (shares < 1)
    return float((entropy + mixed / (2 * n)).clamp(0, math.log(2)).mean())


def _huber_of_constant(loss: Loss, columns: Tensor) -> float:
    """Between median and mean: the constant at which the slopes are in balance, by halving."""
    low, high = columns.min(0).values, columns.max(0).values
    for _ in range(40):
        middle = (low + high) / 2
        slope = (middle - columns).clamp(-loss.delta, loss.delta).sum(0)
        low = torch.where(slope < 0, middle, low)
        high = torch.where(slope < 0, high, middle)
    error = (columns - (low + high) / 2).abs()
    inside = error.clamp(max=loss.delta)
    return float((inside * (error - inside / 2)).mean()) * loss.slope
