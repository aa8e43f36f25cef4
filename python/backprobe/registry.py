# SPDX-License-Identifier: Apache-2.0
"""All probes of this process: which are open, which model is watched from where, how they end with
the process, and that they are none of a forked child's business."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import weakref
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

    from .probe import Probe

End = Literal["finished", "interrupted", "stopped"]

_open: weakref.WeakSet[Probe] = weakref.WeakSet()
_watched: weakref.WeakKeyDictionary[torch.nn.Module, str] = weakref.WeakKeyDictionary()


def opened(probe: Probe) -> None:
    _open.add(probe)


def closed(probe: Probe) -> None:
    _open.discard(probe)


def open_probes() -> list[Probe]:
    return list(_open)


def note_watched(model: torch.nn.Module, place: str) -> None:
    """place: "file:line" of the call of watch()."""
    _watched[model] = place


def forget_watched(model: torch.nn.Module) -> None:
    _watched.pop(model, None)


def where_watched(model: torch.nn.Module) -> str | None:
    return _watched.get(model)


def end_by(kind: type[BaseException] | None) -> End:
    """How a run ended, by the exception that ended it."""
    if kind is None:
        return "finished"
    return "interrupted" if issubclass(kind, KeyboardInterrupt) else "stopped"


@atexit.register
def _close_all() -> None:
    error = getattr(sys, "last_value", None)  # that ends the program
    for probe in open_probes():
        with contextlib.suppress(Exception):
            probe.close(end_by(None if error is None else type(error)))


def _in_child() -> None:
    for probe in open_probes():
        probe.silence()


os.register_at_fork(after_in_child=_in_child)
