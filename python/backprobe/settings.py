# SPDX-License-Identifier: Apache-2.0
"""What watch() was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .choice import Choice
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

    @property
    def choice(self) -> Choice:
        return Choice(ignore=self.ignore)

    def ignores(self, finding: Finding) -> bool:
        return not self.choice.shows(finding.problem, finding.layers)
