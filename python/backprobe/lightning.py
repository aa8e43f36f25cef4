# SPDX-License-Identifier: Apache-2.0
"""Watches what a Lightning Trainer trains.

>>> from backprobe.lightning import BackprobeCallback
>>> trainer = lightning.Trainer(callbacks=[BackprobeCallback()])
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from .finding import Finding
from .probe import Probe
from .watch import samples_of, watch


def _bases() -> tuple[type, ...]:
    """Lightning comes as two packages with classes of their own: of those that the program has
    imported, else of the one that is installed."""
    names = ("lightning.pytorch", "pytorch_lightning")
    imported = [name for name in names if name in sys.modules]
    if not imported:
        found = [name for name in names if importlib.util.find_spec(name.split(".")[0])]
        imported = found[:1] or [names[0]]
    return tuple(importlib.import_module(name).Callback for name in imported)


# What people call what they log in a validation.
_PLACES = [place + mark for place in ("val", "valid", "validation") for mark in "_/"]
_LOSSES = [place + "loss" for place in _PLACES]
_ACCURACIES = [place + word for place in _PLACES for word in ("acc", "accuracy")]


class BackprobeCallback(*_bases()):  # type: ignore[misc]
    """Takes what `backprobe.watch` takes beside the model and its optimisers. The loss is the one that
    `training_step` returns or that goes into `manual_backward`; a logged `val_loss` and `val_acc` (or
    similar) are told as validation, checkpoints are noted in the log.

    Several optimisers that train parts of their own (the two sides of a GAN) get a watch for each."""

    def __init__(self, **options: Any) -> None:
        self.probes: dict[str, Probe] = {}
        """By the part of the module that each watches, "" for all of it."""
        self._options = options
        self._resume: dict[str, Any] = {}
        self._undivided: float | None = None
        self._saved = False

    @property
    def probe(self) -> Probe | None:
        """The one of a module that is watched as a whole."""
        return self.probes.get("")

    @property
    def findings(self) -> list[Finding]:
        return [finding for probe in self.probes.values() for finding in probe.findings]

    # --- the run -----------------------------------------------------------------------------------

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._close("interrupted")
        parts = _parts(pl_module, trainer.optimizers)
        samples = samples_of(trainer.train_dataloader)
        self.probes = {
            name: watch(
                pl_module.get_submodule(name),
                optimizers,
                **{
                    "resume": self._resume.get(name),
                    "train_samples": samples,
                    **_for_part(self._options, name),
                },
            )
            for name, optimizers in parts.items()
        }
        strategy = trainer.strategy
        if pl_module.automatic_optimization:
            strategy.training_step = functools.partial(self._training_step, strategy.training_step)
        else:
            strategy.backward = functools.partial(self._backward, strategy.backward)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._note_checkpoint(trainer)
        self._close("finished")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._close("interrupted" if isinstance(exception, KeyboardInterrupt) else "stopped")

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        for method in ("training_step", "backward"):
            vars(trainer.strategy).pop(method, None)

    def _close(self, end: Any) -> None:
        for probe in self.probes.values():
            probe.close(end)

    # --- the loss, before it is divided by the micro-batches and multiplied by a loss scaler ---------

    def _training_step(self, step: Callable[..., Any], *args: Any, **others: Any) -> Any:
        output = step(*args, **others)
        loss = output.get("loss") if isinstance(output, Mapping) else output
        if isinstance(loss, torch.Tensor):
            for probe in self.probes.values():
                probe.loss(loss)
        return output

    def _backward(self, backward: Callable[..., Any], loss: torch.Tensor, *args: Any, **others: Any) -> Any:
        """In manual optimisation `toggle_optimizer` says whose loss it is."""
        trained = [probe for probe in self.probes.values() if _is_trained(probe)]
        if len(trained) == 1:
            trained[0].loss(loss)
        else:
            self._undivided = float(loss.detach())
        return backward(loss, *args, **others)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Optimizer) -> None:
        """Or the optimiser that steps next."""
        if self._undivided is not None:
            for probe in self.probes.values():
                if optimizer in probe.optimizers:
                    probe.loss(self._undivided)
            self._undivided = None

    # --- validation and checkpoints ----------------------------------------------------------------

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.sanity_checking:
            return
        loss, accuracy = (_first(trainer.callback_metrics, names) for names in (_LOSSES, _ACCURACIES))
        if loss is not None or accuracy is not None:
            for probe in self.probes.values():
                probe.validation(loss=loss, accuracy=accuracy)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        self._saved = True

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._note_checkpoint(trainer)

    def _note_checkpoint(self, trainer: Any) -> None:
        """Only after it was written its name is known."""
        if not self._saved:
            return
        self._saved = False
        for callback in trainer.checkpoint_callbacks:
            file = getattr(callback, "_last_checkpoint_saved", "") or getattr(callback, "best_model_path", "")
            if file:
                for probe in self.probes.values():
                    probe.checkpoint(file)

    def state_dict(self) -> dict[str, Any]:
        return {name: probe.state_dict() for name, probe in self.probes.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._resume = dict(state_dict)


def _parts(module: torch.nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, list[Optimizer]]:
    """Which part of a module is trained by which optimisers: the smallest that holds all of an
    optimiser's parameters, where no two share one; else the whole by all of them."""
    if len(optimizers) == 1:
        return {"": list(optimizers)}
    parts: dict[str, list[Optimizer]] = {}
    owners: set[int] = set()
    for optimizer in optimizers:
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        name, part = min(
            ((name, held) for name, m in module.named_modules() if own <= (held := {id(p) for p in m.parameters()})),
            key=lambda found: len(found[1]),
            default=("", own),
        )
        if name == "" or part & owners:
            return {"": list(optimizers)}
        owners |= part
        parts[name] = [optimizer]
    return parts


def _for_part(options: dict[str, Any], part: str) -> dict[str, Any]:
    """Each part's log goes to a folder of its own."""
    if not part:
        return options
    own = dict(options)
    if own.get("run"):
        own["run"] = os.path.join(own["run"], part)
    elif own.get("name"):
        own["name"] = f"{own['name']}-{part}"
    return own


def _is_trained(probe: Probe) -> bool:
    return any(p.requires_grad for o in probe.optimizers for group in o.param_groups for p in group["params"])


def _first(metrics: Mapping[str, Any], names: Sequence[str]) -> float | None:
    return next((float(metrics[name]) for name in names if name in metrics), None)
