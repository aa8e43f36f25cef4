# SPDX-License-Identifier: Apache-2.0
"""What an optimiser's groups and state say: its constants, the learning rate, Adam's second moments;
and what a loss scaler does to it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch.optim import Optimizer

# The nearest class of PyTorch's own among an optimiser's bases tells what it is.
_KINDS = {
    "SGD": "sgd",
    "AdamW": "adamw",
    "Adam": "adam",
    "RMSprop": "rmsprop",
    "Adagrad": "adagrad",
}
# The state that holds the mean of squared gradients.
_SECOND_MOMENT = {"adamw": "exp_avg_sq", "adam": "exp_avg_sq", "rmsprop": "square_avg", "adagrad": "sum"}
_FRAMES = 16  # between a scaler's step and the optimiser's: wrappers of schedulers and trainers


def plain(optimizer: object) -> object:
    """The optimiser inside a trainer's wrapper."""
    for _ in range(8):
        inner = getattr(optimizer, "optimizer", None)
        if not isinstance(inner, Optimizer):
            break
        optimizer = inner
    return optimizer


def kind(optimizer: Optimizer) -> str:
    for base in type(optimizer).__mro__:
        if base.__module__.startswith("torch.optim") and base.__name__ in _KINDS:
            word = _KINDS[base.__name__]
            decoupled = optimizer.defaults.get("decoupled_weight_decay", False)
            return "adamw" if word == "adam" and decoupled else word
    return "other"


def recipe(optimizers: Sequence[Optimizer]) -> dict[str, Any]:
    """The constants, in the words of a recipe, of the group with most weights."""
    optimizer, group = max(
        ((o, g) for o in optimizers for g in o.param_groups), key=lambda pair: _weights(pair[1])
    )
    word = kind(optimizer)
    known: dict[str, Any] = {"optimiser": word, "learning_rate": _number(group.get("lr", 0.0))}
    betas = group.get("betas")
    if word in ("adam", "adamw") and betas is not None:
        known |= {"beta1": _number(betas[0]), "beta2": _number(betas[1])}
    for key, name in (("momentum", "momentum"), ("eps", "epsilon"), ("alpha", "alpha")):
        if key in group:
            known[name] = _number(group[key])
    if group.get("nesterov"):
        known["nesterov"] = True
    if word == "adamw":
        known["weight_decay"] = _number(group.get("weight_decay", 0.0))
    return known


def _weights(group: dict[str, Any]) -> int:
    return sum(p.numel() for p in group["params"] if not torch.nn.parameter.is_lazy(p))


def _number(value: Any) -> float:
    return float(value)


class Rates:
    """The learning rate: where groups differ, the mean by their numbers of weights."""

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        self._groups = [(o, i, float(_weights(g))) for o in optimizers for i, g in enumerate(o.param_groups)]
        self._total = sum(weight for _, _, weight in self._groups)
        first = optimizers[0]
        self._single = first if len(self._groups) == 1 else None

    def now(self) -> float:
        # Groups are looked up each time: loading a state puts new ones into the list.
        if self._single is not None:
            return float(self._single.param_groups[0]["lr"])
        if self._total == 0:
            return 0.0
        rates = (float(o.param_groups[i]["lr"]) * weight for o, i, weight in self._groups)
        return sum(rates) / self._total


class Moments:
    """Adam's v and its like, by parameter."""

    def __init__(self, optimizers: Sequence[Optimizer], parameters: Sequence[torch.Tensor]) -> None:
        places = {
            id(p): (o, i, _SECOND_MOMENT[kind(o)])
            for o in optimizers
            if kind(o) in _SECOND_MOMENT
            for i, group in enumerate(o.param_groups)
            for p in group["params"]
        }
        self._places = [(p, *places[id(p)]) if id(p) in places else None for p in parameters]

    def __bool__(self) -> bool:
        return any(self._places)

    def now(self, step: int) -> tuple[list[torch.Tensor | None], list[float], list[float]]:
        """v, epsilon and 1 - beta2^t of each parameter. step: updates done, where the optimiser keeps
        its own count on a device."""
        moments: list[torch.Tensor | None] = []
        epsilons: list[float] = []
        corrections: list[float] = []
        for place in self._places:
            moment, epsilon, correction = None, 0.0, 1.0
            if place is not None:
                p, optimizer, index, key = place
                state = optimizer.state.get(p)
                if state:
                    group = optimizer.param_groups[index]
                    moment = state.get(key)
                    epsilon = float(group["eps"])
                    if "betas" in group:
                        if group.get("amsgrad"):
                            moment = state.get("max_exp_avg_sq", moment)
                        correction = 1.0 - float(group["betas"][1]) ** _count(state.get("step"), step)
            moments.append(moment)
            epsilons.append(epsilon)
            corrections.append(correction)
        return moments, epsilons, corrections


def _count(steps: Any, otherwise: int) -> float:
    if isinstance(steps, torch.Tensor):
        return float(steps) if steps.device.type == "cpu" else float(otherwise)
    return float(steps) if steps is not None else float(otherwise)


# --- loss scaling ------------------------------------------------------------------------------

_SCALER_STEP = torch.amp.GradScaler.step.__code__


def scaler_above() -> torch.amp.GradScaler | None:
    """The loss scaler in whose `step` the optimiser's is called. Nothing else leads to it: a scaler
    knows its optimisers, they do not know it."""
    frame = sys._getframe(1)
    for _ in range(_FRAMES):
        if frame.f_back is None:
            return None
        frame = frame.f_back
        if frame.f_code is _SCALER_STEP:
            scaler = frame.f_locals.get("self")
            known = isinstance(scaler, torch.amp.GradScaler) and scaler.is_enabled()
            return scaler if known else None
    return None


def scale_of(scaler: torch.amp.GradScaler) -> float | torch.Tensor | None:
    """What the loss is multiplied by, a tensor where it lies on a device; None where a scaler is
    switched off."""
    if not scaler.is_enabled():
        return None
    return float(scaler._init_scale) if scaler._scale is None else _read(scaler._scale)


def inner_factor(optimizer: Optimizer) -> float | torch.Tensor:
    """By what the optimiser is going to divide its gradients itself (a fused one, under a scaler)."""
    scale = getattr(optimizer, "grad_scale", None)
    return 1.0 if scale is None else _read(scale)


def found_inf(optimizers: Sequence[Optimizer]) -> bool | torch.Tensor:
    """Whether a scaler told an optimiser to leave the weights as they are."""
    found = [_read(f) for o in optimizers if (f := getattr(o, "found_inf", None)) is not None]
    on_device = [f for f in found if isinstance(f, torch.Tensor)]
    return on_device[0] if on_device else any(found)


def _read(number: Any) -> float | torch.Tensor:
    """Of a tensor on a device nobody waits for the value."""
    if isinstance(number, torch.Tensor) and number.device.type != "cpu":
        return number
    return float(number)
