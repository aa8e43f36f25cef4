# SPDX-License-Identifier: Apache-2.0
"""Which findings are shown: the command's --select and --ignore."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass


def _fits(entry: str, problem: str, layer: str | None) -> bool:
    """entry: "problem", "problem:layers" or "layers", patterns all; layer None: of the network."""
    name, colon, pattern = entry.partition(":")
    if not colon:
        return fnmatch.fnmatchcase(problem, entry) or (
            layer is not None and fnmatch.fnmatchcase(layer, entry)
        )
    return (
        layer is not None
        and fnmatch.fnmatchcase(problem, name)
        and fnmatch.fnmatchcase(layer, pattern)
    )


@dataclass(frozen=True)
class Choice:
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def shows(self, problem: str, layers: Sequence[str | None]) -> bool:
        """A finding is selected by one of its layers and ignored by all of them: its text speaks of
        all."""
        places = list(layers) or [None]
        selected = not self.select or any(
            _fits(entry, problem, layer) for entry in self.select for layer in places
        )
        return selected and not all(
            any(_fits(entry, problem, layer) for entry in self.ignore) for layer in places
        )
