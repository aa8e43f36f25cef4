# SPDX-License-Identifier: Apache-2.0
"""What watch() was asked for."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .finding import Finding


@dataclass(frozen=True)
class Settings:
    """Checked."""

    run: str | bool | None = None
    objective: str = "supervised"
    budget: float = 0.01
    every: int | None = None
    ignore: tuple[str, ...] = ()
    on_error: Literal["warn", "stop"] = "warn"
    on_finding: Callable[[Finding], object] | None = None
    name: str | None = None
    max_log_bytes: int | None = None
    train_samples: int | None = None

    def ignores(self, finding: Finding) -> bool:
        return any(_matches(entry, finding) for entry in self.ignore)


def _matches(entry: str, finding: Finding) -> bool:
    """"problem", "problem:layers" or "layers", with wildcards in the layers; all of the finding's."""
    problem, colon, pattern = entry.partition(":")
    if not colon and problem == finding.problem:
        return True
    if colon and problem != finding.problem:
        return False
    pattern = pattern if colon else entry
    return bool(finding.layers) and all(fnmatch.fnmatchcase(name, pattern) for name in finding.layers)
