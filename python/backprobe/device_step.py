# SPDX-License-Identifier: Apache-2.0
"""One step as an accelerator saw it, and what of it counts: as the native probe sees steps of the CPU,
who also merges micro-batches (python/native/stage.c, merge.c)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Protocol

from torch import Tensor

from . import _native
from .device_panel import AdaptivityResults, PanelResults, SpreadResults
from .device_tiles import Reading, Tile

Scalar = float | Tensor  # a 0-dim tensor in memory of the host, complete when the step has arrived


class Event(Protocol):
    def query(self) -> bool: ...
    def synchronize(self) -> None: ...


@dataclass(eq=False)
class Loss:
    """As it was told, and with which factor its backward pass began."""

    value: Scalar
    terms: int
    factor: Scalar = 1.0


@dataclass(eq=False)
class Pass:
    """A backward pass; of several losses when they were added."""

    task: int  # the framework's number of it
    losses: list[Loss] = field(default_factory=list)
    forgotten: bool = False

    def leading(self) -> Loss:
        """The loss with the largest factor."""
        return max(self.losses, key=lambda loss: abs(float(loss.factor)))

    def factor(self) -> float:
        return float(self.leading().factor) if self.losses else 1.0

    def terms(self) -> int:
        return self.leading().terms if self.losses else 0

    def value(self) -> float:
        total = sum(float(loss.value) * float(loss.factor) for loss in self.losses)
        return total / usable(self.factor())


@dataclass(eq=False)
class Call:
    """A tensor passed a site."""

    site: int
    rows: int
    is_hooked: bool  # its error signal is awaited
    part: int = 0  # bits of `what` that choose time steps of the error signal; 0: all of it
    activation: Reading | None = None
    errors: list[tuple[Pass | None, Reading]] = field(default_factory=list)
    forgotten: bool = False

    def errors_of(self, its_pass: Pass | None) -> list[Reading]:
        """None: that came before any loss was told."""
        return [] if self.forgotten else [r for each, r in self.errors if each is its_pass]


@dataclass(eq=False)
class Step:
    """What was seen of one step, and then waits until its numbers have arrived."""

    full: bool
    passes: list[Pass] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    of_parameters: dict[str, dict[int, Reading]] = field(default_factory=dict)  # by role
    missing: list[int] = field(default_factory=list)  # parameters that got no gradient
    targets: list[tuple[Scalar, Scalar]] = field(default_factory=list)  # extremes
    guesses: list[tuple[Scalar, Scalar]] = field(default_factory=list)  # right, of how many
    factor: Scalar = 1.0
    ends: tuple[float, int, Any, Any] = (0.0, 0, False, 1.0)  # as end_step was given them
    seconds: float = 0.0  # that the host spent
    events: list[Event] = field(default_factory=list)
    tiles: dict[Tile, Tensor] = field(default_factory=dict)
    panels: list[tuple[list[int], PanelResults]] = field(default_factory=list)
    adaptivity: list[tuple[list[int], AdaptivityResults]] = field(default_factory=list)
    spreads: list[SpreadResults] = field(default_factory=list)
    pinned: list[Tensor] = field(default_factory=list)
    then: list[Callable[[], None]] = field(default_factory=list)  # told behind it

    def has_come(self) -> bool:
        return all(event.query() for event in self.events)

    def wait(self) -> None:
        for event in self.events:
            event.synchronize()

    def begin_pass(self, task: int, loss: Loss | None) -> bool:
        """False: this loss joins a pass that goes on, for losses were added."""
        losses = [] if loss is None else [loss]
        if self.passes and self.passes[-1].task == task >= 0:
            self.passes[-1].losses += losses
            return False
        self.passes.append(Pass(task, losses))
        return True

    def forget_older_passes(self) -> None:
        """All passes but the newest do not count, nor do calls to which only they came back."""
        newest = self.passes[-1] if self.passes else None
        for older in self.passes[:-1]:
            older.forgotten = True
        for call in self.calls:
            if call.errors:
                call.forgotten = all(each is not newest for each, _ in call.errors)

    def counting_passes(self) -> list[Pass | None]:
        """With None for error signals that came before any loss was told."""
        passes: list[Pass | None] = [each for each in self.passes if not each.forgotten]
        return [None, *passes] if any(call.errors_of(None) for call in self.calls) else passes

    def counting_calls(self) -> Iterator[Call]:
        """A call whose error signal is awaited and did not come was no training. One that needs no
        gradient counts where none of the site got one: in the first pass of a re-entrant checkpoint
        the same happens without a graph."""
        passes = self.counting_passes()
        learnt = {call for call in self.calls if any(map(call.errors_of, passes))}
        sites = {call.site for call in learnt}
        awaits = bool(self.passes or sites)
        for call in self.calls:
            if call.forgotten:
                continue
            if call in learnt if call.is_hooked and awaits else call.site not in sites:
                yield call

    def samples_of(self, site: int) -> int:
        """A site that is called more often than there are passes sees each sample several times."""
        rows = [call.rows for call in self.counting_calls() if call.site == site]
        passes = sum(not each.forgotten for each in self.passes)
        return round(sum(rows) * min(1.0, passes / len(rows))) if rows else 0


def time_steps(gradient: Tensor, part: int) -> Tensor | None:
    """The first or the last tenth of a sequence's time steps, as the native probe takes them."""
    if gradient.dim() < 2 or gradient.numel() == 0:
        return None
    axis = 1 if gradient.dim() > 2 and part & _native.TIME_SECOND else 0
    steps = gradient.shape[axis]
    tenth = max(1, steps // 10)
    return gradient.narrow(axis, 0 if part & _native.FIRST_TENTH else steps - tenth, tenth)


def usable(factor: Scalar) -> float:
    """A factor by which can be divided; a loss scale that is 0 or not finite says nothing."""
    number = float(factor)
    return number if number != 0 and isfinite(number) else 1.0
