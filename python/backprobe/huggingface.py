# SPDX-License-Identifier: Apache-2.0
"""Watches what a Hugging Face Trainer trains.

>>> from backprobe.huggingface import BackprobeCallback
>>> trainer = Trainer(model, arguments, train_dataset=data, callbacks=[BackprobeCallback()])
"""

from __future__ import annotations

import json
import os
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .finding import Finding
from .probe import Probe
from .watch import samples_of, watch

_STATE = "backprobe.json"  # in a checkpoint's folder: a training that is resumed from it is the same run


class BackprobeCallback(TrainerCallback):
    """Takes what `backprobe.watch` takes beside the model and its optimiser. The loss is the one that
    the model gives back; evaluations are told as validation, checkpoints are noted in the log. The
    optimiser's own hooks show what `on_pre_optimizer_step` would, so that it is not needed."""

    def __init__(self, **options: Any) -> None:
        self.probe: Probe | None = None
        """Of the training that goes on, or went on last."""
        self._options = options

    @property
    def findings(self) -> list[Finding]:
        return [] if self.probe is None else self.probe.findings

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        optimizer: Any = None,
        train_dataloader: Any = None,
        **others: Any,
    ) -> None:
        self._close("interrupted")  # the trainer begins anew, after an exception or with a smaller batch
        resume = _state_of(_checkpoint(args, state)) if state.global_step > 0 else None
        known = {"resume": resume, "train_samples": samples_of(train_dataloader)}
        self.probe = watch(model, optimizer, **{**known, **self._options})

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **others: Any,
    ) -> None:
        if self.probe is not None and metrics:
            self.probe.validation(loss=metrics.get("eval_loss"), accuracy=metrics.get("eval_accuracy"))

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        folder = _checkpoint(args, state)
        if self.probe is None or not state.is_world_process_zero or not os.path.isdir(folder):
            return
        self.probe.checkpoint(folder)
        with open(os.path.join(folder, _STATE), "w", encoding="utf-8") as file:
            json.dump(self.probe.state_dict(), file)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        self._close("finished")

    def _close(self, end: Any) -> None:
        if self.probe is not None:
            self.probe.close(end)


def _checkpoint(args: TrainingArguments, state: TrainerState) -> str:
    return os.path.join(args.output_dir, f"checkpoint-{state.global_step}")


def _state_of(checkpoint: str) -> dict[str, Any] | None:
    """None where the checkpoint was written without a watch."""
    try:
        with open(os.path.join(checkpoint, _STATE), encoding="utf-8") as file:
            return json.load(file)
    except OSError:
        return None
