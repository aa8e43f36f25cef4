# SPDX-License-Identifier: Apache-2.0
"""What a diagnosis says: a finding, with what it rests on and what would mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Evidence:
    """A measured number that a finding rests on."""

    name: str
    meaning: str
    layer: str | None
    """The layer's name; None for the network as a whole."""
    layer_id: int
    """1 ... L in forward order; 0 for the network as a whole."""
    step: int
    """The step at which it was measured."""
    value: float | None
    """May be NaN or infinite: a reading. None where it was not measured."""


@dataclass(frozen=True, slots=True)
class Gain:
    """The gain of one layer, s_(l-1) / s_l, and its parts. None is a part that was not measured."""

    layer: str | None
    layer_id: int
    error_norm: float | None
    """s_l: norm per sample of the error signal at the layer's output."""
    share: float | None
    """The layer's share of learning, 0 ... 1."""
    gain: float | None
    """Measured; the product of activation, norm and weight."""
    activation: float | None
    norm: float | None
    weight: float | None
    alignment: float | None
    """weight over the value that independent weights would give."""
    branch: float | None
    """Residual block: error signal through the branch alone over that at the sum."""
    contribution: float | None
    """Share of the whole log gain."""


@dataclass(frozen=True, slots=True)
class Symptom:
    """A row of the lecture's table of symptoms, filled with this run's numbers."""

    exploding: str
    vanishing: str
    measured: str
    speaks_for_exploding: bool
    speaks_for_vanishing: bool


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of the network file: a key path and YAML flow text."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Remedy:
    """Changes that would mend a finding, in the order in which they are to be applied."""

    title: str
    reason: str
    edits: tuple[Edit, ...]
    """Of the network file."""
    code: str | None = None
    """Lines of Python on `model` and `optimizer`, with torch, and torch.nn as nn, where the network
    is PyTorch's. Comments say what no line from outside can do."""
    diff: str | None = None
    """The same as a change of the program's source, where the places were found."""


@dataclass(frozen=True, slots=True, repr=False)
class Finding:
    """What is wrong, where, since when, how bad, why, and what to do. Its text is meant to be read;
    the attributes are meant for programs."""

    problem: str
    """The problem in words, "vanishing-gradient"; `backprobe explain` takes it."""
    severity: Literal["error", "warning", "hint"]
    since_step: int
    """Onset: the first step at which it held, as far as it can be told."""
    since_earliest: int
    since_latest: int
    """The onset lies between these two: as wide as evidence and rare full records leave it."""
    last_step: int
    """The last step at which it held."""
    open: bool
    """It still held at the end of the log."""
    layers: tuple[str, ...]
    """Names of the layers concerned, in forward order."""
    layer_ids: tuple[int, ...]
    """The same as numbers, 1 ... L."""
    title: str
    cause: str
    """Why, with measured numbers."""
    note: str
    """What the evidence cannot tell, or what would not help; may be empty."""
    evidence: tuple[Evidence, ...]
    gains: tuple[Gain, ...]
    """The profile over depth, from the input to the loss."""
    symptoms: tuple[Symptom, ...]
    remedy: Remedy | None
    """None where nothing is known to help, and in consequences."""
    consequences: tuple[Finding, ...]
    """Findings that follow from this one."""

    def text(self, *, width: int | None = None, colour: bool = False) -> str:
        """The finding as `backprobe check` prints it. width: in columns; None is that of the
        terminal, at most 100. Whatever stands in names from a log is escaped."""
        from . import layout, terminal

        return layout.text_of(self, terminal.width() if width is None else width, colour)

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """For notebooks: static, with nothing loaded from elsewhere."""
        from . import notebook

        return notebook.html_of(self)
