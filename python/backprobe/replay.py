# SPDX-License-Identifier: Apache-2.0
"""Findings of a run that is over, or still going, from the log that it left."""

from __future__ import annotations

import os
import warnings
from typing import Any

from . import _native
from .finding import Edit, Evidence, Finding, Gain, Remedy, Symptom


class DamagedLogWarning(UserWarning):
    """Part of a log could not be read; the findings rest on the rest."""


def check(path: str | os.PathLike[str]) -> list[Finding]:
    """The findings of a run, the roots; what follows from them is in their `consequences`.

    `path` is a run folder or one file of its log. An empty list means that nothing was found. A run
    of several processes is checked as one: the logs of all ranks, in and below its folder, are read
    together.

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
    return tree(run["findings"])


def tree(flat: list[dict[str, Any]]) -> list[Finding]:
    """Nests the consequences below their parents, and keeps the order."""
    children: dict[int, list[int]] = {}
    for index, row in enumerate(flat):
        children.setdefault(row["parent"], []).append(index)
    return _below(-1, flat, children)


def _below(
    parent: int, flat: list[dict[str, Any]], children: dict[int, list[int]]
) -> list[Finding]:
    return [
        _finding(flat[index], tuple(_below(index, flat, children)))
        for index in children.get(parent, [])
    ]


def _finding(row: dict[str, Any], consequences: tuple[Finding, ...]) -> Finding:
    fields = {key: value for key, value in row.items() if key != "parent"}
    remedy = row["remedy"]
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
