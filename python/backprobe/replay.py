# SPDX-License-Identifier: Apache-2.0
"""Findings of a run that is over, or still going, from the log that it left."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

from . import _native
from .choice import Choice
from .finding import Edit, Evidence, Finding, Gain, Remedy, Symptom


class DamagedLogWarning(UserWarning):
    """Part of a log could not be read; the findings rest on the rest."""


def check(
    path: str | os.PathLike[str], *, select: Sequence[str] = (), ignore: Sequence[str] = ()
) -> list[Finding]:
    """The findings of a run, the roots; what follows from them is in their `consequences`.

    `path` is a run folder or one file of its log. An empty list means that nothing was found. A run
    of several processes is checked as one: the logs of all ranks, in and below its folder, are read
    together.

    select, ignore: findings to be told alone, or not to be told: "dead-units",
    "dead-units:encoder.*", or layers "encoder.*"; all are patterns. What follows from an ignored
    finding is told, as a root where nothing else explains it.

    Raises FileNotFoundError or another OSError where the system refused, and ValueError where there
    is no run log, or one that cannot be read at all. Damage inside a log is skipped and told by a
    DamagedLogWarning.
    """
    run = _native.check(os.fsencode(path))
    damage = run["damage"]
    if damage["damaged_places"] or damage["lost_records"]:
        warnings.warn(
            f"{os.fsdecode(path)}: {damage['lost_records']} records lost at "
            f"{damage['damaged_places']} damaged places ({damage['first'] or 'no place known'})",
            DamagedLogWarning,
            stacklevel=2,
        )
    for rank in run["ranks"]:
        if rank["error"]:
            warnings.warn(
                f"{os.fsdecode(path)}: rank {rank['rank']} takes no part: {rank['error']}",
                DamagedLogWarning,
                stacklevel=2,
            )
    return tree(run["findings"], Choice(_entries("select", select), _entries("ignore", ignore)))


def _entries(key: str, given: Sequence[str]) -> tuple[str, ...]:
    if isinstance(given, str) or not all(isinstance(entry, str) for entry in given):
        raise TypeError(f'{key}: expected a list such as ["dead-units"], found {given!r}')
    return tuple(given)


def tree(flat: list[dict[str, Any]], choice: Choice | None = None) -> list[Finding]:
    """Nests the consequences below their parents, and keeps the order. A parent stands before its
    consequences; those of one that is not shown hang below its own parent."""
    children: dict[int, list[int]] = {}
    places = {-1: -1}  # of each finding, or of its nearest cause that is shown
    for index, row in enumerate(flat):
        above = places[row["parent"]]
        shown = choice is None or choice.shows(row["problem"], row["layers"])
        places[index] = index if shown else above
        if shown:
            children.setdefault(above, []).append(index)
    return _below(-1, flat, children)


def _below(
    parent: int, flat: list[dict[str, Any]], children: dict[int, list[int]]
) -> list[Finding]:
    return [
        _finding(flat[index], tuple(_below(index, flat, children)), parent == -1)
        for index in children.get(parent, [])
    ]


def _finding(row: dict[str, Any], consequences: tuple[Finding, ...], is_root: bool) -> Finding:
    """What mends a root mends its consequences."""
    fields = {key: value for key, value in row.items() if key != "parent"}
    remedy = row["remedy"] if is_root else None
    fields["evidence"] = tuple(Evidence(**item) for item in row["evidence"])
    fields["gains"] = tuple(Gain(**item) for item in row["gains"])
    fields["symptoms"] = tuple(Symptom(**item) for item in row["symptoms"])
    fields["remedy"] = remedy and Remedy(
        remedy["title"],
        remedy["reason"],
        tuple(Edit(**item) for item in remedy["edits"]),
        remedy["code"],
    )
    return Finding(**fields, consequences=consequences)
