# SPDX-License-Identifier: Apache-2.0
"""One step as an accelerator saw it, and what it comes to when its numbers have arrived: the same
merging of micro-batches as the native probe does for tensors of the CPU (python/native/merge.c)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Protocol

from torch import Tensor

from .device_panel import AdaptivityResults, PanelResults, SpreadResults
from .device_tiles import Arrived, Numbers, Reading, Tile

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
    activation: Reading | None = None
    errors: list[tuple[Pass | None, Reading]] = field(default_factory=list)
    forgotten: bool = False

    def counting_errors(self) -> list[tuple[Pass | None, Reading]]:
        if self.forgotten:
            return []
        return [each for each in self.errors if each[0] is None or not each[0].forgotten]


@dataclass(eq=False)
class Step:
    """What was seen of one step, and then waits until its numbers have arrived."""

    full: bool
    passes: list[Pass] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    of_parameters: dict[str, dict[int, Reading]] = field(default_factory=dict)  # by role
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


def usable(factor: Scalar) -> float:
    """A factor by which can be divided; a loss scale that is 0 or not finite says nothing."""
    number = float(factor)
    return number if number != 0 and isfinite(number) else 1.0


# --- numbers -----------------------------------------------------------------------------------


def merged(numbers: Iterable[Numbers]) -> Numbers:
    rows = list(zip(*numbers, strict=True))
    counts = [sum(row) for row in rows[:5]]
    return (*counts, min(rows[5]), max(rows[6]), sum(rows[7]), sum(rows[8]))  # type: ignore


def averaged(numbers: Numbers, share: float) -> Numbers:
    """All but the extremes times a share: a mean over calls."""
    count, nan, positive, negative, zero, low, high, total, squares = numbers
    bad = nan + positive + negative
    count = bad + round((count - bad) * share)
    zero = round(zero * share)
    return count, nan, positive, negative, zero, low, high, total * share, squares * share


# --- what a step comes to ----------------------------------------------------------------------


class Merging:
    """A step whose numbers have arrived, site by site."""

    def __init__(self, step: Step, arrived: Arrived) -> None:
        self._step = step
        self._arrived = arrived
        counting = [each for each in step.passes if not each.forgotten]
        terms = [each.terms() for each in counting]
        self._terms = sum(terms) if all(n > 0 for n in terms) else 0
        self._n_passes = len(counting)
        self._awaits = bool(step.passes) or any(call.errors for call in step.calls)
        self._errors: dict[int, list[Numbers]] = {}
        self._activations: dict[int, list[Numbers]] = {}
        self.rows: dict[int, int] = {}  # of a site
        self.without_factor = 0  # error signals
        for call in step.calls:
            self._add_errors(call)
        for call in step.calls:
            self._add_activation(call)

    def sites(self) -> Iterable[tuple[str, int, Numbers]]:
        """As native's put_summary takes them."""
        fewest = min((len(found) for found in self._errors.values()), default=0)
        passes = self._n_passes or fewest
        for role, sites in (("activation", self._activations), ("error", self._errors)):
            for site, found in sites.items():
                numbers = merged(found)
                if 0 < passes < len(found):
                    share = passes / len(found)
                    numbers = averaged(numbers, share)
                    if role == "activation":
                        self.rows[site] = round(self.rows[site] * share)
                yield role, site, numbers

    def _weight(self, its_pass: Pass | None) -> float:
        if its_pass is not None and self._terms > 0:
            return its_pass.terms() / self._terms
        return 1 / max(1, self._n_passes)

    def _add_errors(self, call: Call) -> None:
        for its_pass, reading in call.counting_errors():
            factor = its_pass.factor() if its_pass is not None else 1.0
            if factor == 0 or not isfinite(factor):
                self.without_factor += 1
                continue
            numbers = self._arrived.numbers(reading, factor / self._weight(its_pass))
            self._errors.setdefault(call.site, []).append(numbers)

    def _add_activation(self, call: Call) -> None:
        """A call that needs no gradient counts where none of the site got one: in the first pass of
        a re-entrant checkpoint the same happens without a graph."""
        if call.activation is None or call.forgotten:
            return
        if call.is_hooked:
            counts = bool(call.counting_errors()) or not self._awaits
        else:
            counts = call.site not in self._errors
        if counts:
            numbers = self._arrived.numbers(call.activation)
            self._activations.setdefault(call.site, []).append(numbers)
            self.rows[call.site] = self.rows.get(call.site, 0) + call.rows
