# SPDX-License-Identifier: Apache-2.0
"""backprobe.watch: the one line that starts it. PyTorch is imported when it is called."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from .finding import Finding

if TYPE_CHECKING:
    import torch

    from .probe import Probe


class TrainingStopped(Exception):
    """Raised out of `optimizer.step()` by a probe with `on_error="stop"`. `finding` says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


def watch(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
    *,
    loss_fn: torch.nn.Module | None = None,
    run: str | os.PathLike[str] | Literal[False] | None = None,
    objective: str = "supervised",
    budget: float = 0.01,
    every: int | None = None,
    ignore: Sequence[str] = (),
    on_error: Literal["warn", "stop"] = "warn",
    on_finding: Callable[[Finding], object] | None = None,
    name: str | None = None,
    max_log_bytes: int | None = None,
    train_samples: int | None = None,
    resume: Mapping[str, Any] | None = None,
) -> Probe:
    """Watches a model in training, and says what is wrong as soon as it shows.

    >>> probe = backprobe.watch(model, optimizer, loss_fn=criterion)
    >>> for x, y in loader:
    ...     criterion(model(x), y).backward()
    ...     optimizer.step()
    ...     optimizer.zero_grad()
    >>> probe.findings

    The training is not changed: losses and parameters are bit for bit those without.

    model: attach before torch.compile; DistributedDataParallel's and compiled wrappers are looked through.
    optimizer: or several that step together; a step ends with the last of them.
    loss_fn: the module whose calls give the loss. Without it a Hugging Face output's `.loss` is
        taken, or what you give to `probe.loss(loss)`.
    run: the run folder; new or empty. None makes `runs/<script>-<n>`, False keeps no log.
    objective: anything but "supervised" ("gan", "rl", "diffusion", "contrastive" …) turns off
        findings that rest on a loss that should fall.
    budget: the share of the run's time that watching may take.
    every: look at each so manieth step in full, whatever it costs, instead of by the budget.
    ignore: findings not to be told: "dead-units", "dead-units:encoder.*", or layers "encoder.*".
    on_error: "stop" raises TrainingStopped out of optimizer.step() at a finding of severity error.
    on_finding: called with each finding that opens or becomes worse, instead of printing it.
    name: instead of the script's name in the run folder's.
    max_log_bytes: old parts of a longer log are thinned (2 GB).
    train_samples: samples of an epoch, such as len(loader.dataset): dead units are then those that were
        silent for an epoch.
    resume: state_dict() of the probe whose run goes on.
    """
    import torch
    from torch.optim import Optimizer

    from . import optimizers, ranks, registry, run_folder
    from .probe import Probe
    from .settings import Settings

    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model: expected an nn.Module, found {_what(model)}")
    given = list(optimizer) if isinstance(optimizer, (list, tuple)) else [optimizer]
    plain = [optimizers.plain(o) for o in given]
    for o in plain:
        if not isinstance(o, Optimizer):
            raise TypeError(f"optimizer: expected a torch.optim.Optimizer or several, found {_what(o)}")
    if not plain:
        raise ValueError("optimizer: expected one or several, found none")
    _check_loss(loss_fn, torch.nn.Module)
    inner = _inner(model)
    _check_parameters(inner, plain)
    settings = Settings(
        run=run if run is None or run is False else _path(run),
        objective=_text("objective", objective),
        budget=_share(budget),
        every=_count("every", every),
        ignore=_texts(ignore),
        on_error=_one_of("on_error", on_error, ("warn", "stop")),
        on_finding=_callable(on_finding),
        name=None if name is None else run_folder.plain_name(_text("name", name)),
        max_log_bytes=_count("max_log_bytes", max_log_bytes),
        train_samples=_count("train_samples", train_samples),
    )
    state = None if resume is None else run_folder.check_state(resume)
    if isinstance(settings.run, str) and state is None and ranks.rank() == 0:
        run_folder.refuse_used(settings.run)
    place = registry.where_watched(inner)
    if place is not None:
        raise RuntimeError(
            f"this model is watched already, by watch() at {place}; close that probe first, or use it"
        )
    probe = Probe(inner, model, plain, loss_fn, settings)
    if resume is not None:
        probe.load_state_dict(resume)
    registry.note_watched(inner, _caller())
    return probe


def samples_of(loader: object) -> int | None:
    """Samples of an epoch of a DataLoader; None where it does not know."""
    try:
        return len(loader.dataset) or None  # type: ignore[attr-defined]
    except (AttributeError, TypeError, NotImplementedError):
        return None


def _what(value: object) -> str:
    kind = type(value).__name__
    return f"{kind} {value!r:.60}" if isinstance(value, (str, int, float, bool)) else f"a {kind}"


def _check_loss(loss_fn: object, module: type) -> None:
    if loss_fn is None or isinstance(loss_fn, module):
        return
    if callable(loss_fn):
        raise TypeError(
            f"loss_fn: a function's calls ({getattr(loss_fn, '__name__', _what(loss_fn))}) cannot be seen; pass the "
            "module instead, such as loss_fn=nn.CrossEntropyLoss(), and call that; or leave loss_fn out and call "
            "probe.loss(loss) before loss.backward()"
        )
    raise TypeError(f"loss_fn: expected an nn.Module, found {_what(loss_fn)}")


# Wrappers of a model, and where they keep it.
_WRAPPERS = {
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "FullyShardedDataParallel": "module",
    "OptimizedModule": "_orig_mod",
}


def _inner(model: torch.nn.Module) -> torch.nn.Module:
    for _ in range(8):
        attribute = next(
            (
                _WRAPPERS[base.__name__]
                for base in type(model).__mro__
                if base.__name__ in _WRAPPERS and base.__module__.startswith("torch.")
            ),
            None,
        )
        if attribute is None:
            break
        model = getattr(model, attribute)
    return model


def _check_parameters(model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
    own = {id(p) for p in model.parameters()}
    if not own:
        raise ValueError(f"model: {type(model).__name__} has no parameters, so there is nothing to watch")
    for optimizer in optimizers:
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        if not any(id(p) in own for p in trained):
            raise ValueError(
                f"optimizer: none of the {len(trained)} parameters of this {type(optimizer).__name__} is the model's; "
                "was the model made anew, or copied, after its optimizer?"
            )


def _path(run: object) -> str:
    if isinstance(run, (str, os.PathLike)) and os.fspath(run):
        return os.fsdecode(os.fspath(run))
    raise TypeError(f"run: expected a folder, False or None, found {_what(run)}")


def _text(key: str, value: object) -> str:
    if isinstance(value, str) and value:
        return value
    raise TypeError(f"{key}: expected a text, found {_what(value)}")


def _texts(ignore: object) -> tuple[str, ...]:
    if isinstance(ignore, str) or not isinstance(ignore, Sequence):
        raise TypeError(f'ignore: expected a list such as ["dead-units"], found {_what(ignore)}')
    return tuple(_text("ignore", entry) for entry in ignore)


def _share(budget: object) -> float:
    if isinstance(budget, bool) or not isinstance(budget, (int, float)):
        raise TypeError(f"budget: expected a share of the run's time such as 0.01, found {_what(budget)}")
    if not (math.isfinite(budget) and 0 < budget <= 1):
        raise ValueError(f"budget: expected a share above 0 and at most 1, found {budget}")
    return float(budget)


def _count(key: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{key}: expected a whole number, found {_what(value)}")
    if value < 1:
        raise ValueError(f"{key}: expected 1 or more, found {value}")
    return value


def _one_of(key: str, value: Any, words: tuple[str, ...]) -> Any:
    if value in words:
        return value
    raise ValueError(f"{key}: expected {' or '.join(repr(w) for w in words)}, found {value!r}")


def _callable(value: Any) -> Any:
    if value is None or callable(value):
        return value
    raise TypeError(f"on_finding: expected a function of a Finding, found {_what(value)}")


def _caller() -> str:
    """Where watch() was called."""
    frame = sys._getframe(2)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
