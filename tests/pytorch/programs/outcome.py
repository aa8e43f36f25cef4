# SPDX-License-Identifier: Apache-2.0
"""What a training program is expected to come to, with and without its fault."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """What the healthy version reaches and a broken one does not."""

    measure: str
    at_least: float | None = None
    at_most: float | None = None

    def reached(self, score: float) -> bool:
        """NaN reaches nothing."""
        if self.at_least is not None:
            return score >= self.at_least
        return score <= self.at_most

    def __str__(self) -> str:
        sign, value = ("≥", self.at_least) if self.at_most is None else ("≤", self.at_most)
        return f"{self.measure} {sign} {value:g}"


@dataclass(frozen=True)
class Fault:
    """What the root finding of a broken version must say."""

    why: str
    """The mistake in words."""
    root: str = ""
    """The problem; empty where today's catalogue cannot name it."""
    first: str | None = None
    """The finding's layers begin here ..."""
    last: str | None = None
    """... and hold all layers up to here."""
    alone: bool = False
    """No layers but these."""
    since: tuple[int, int] = (0, 0)
    """The onset lies between these steps."""
    also: tuple[str, ...] = ()
    """Problems that must be told with it, beside the root or under it."""
    nothing_yet: str = ""
    """Why there is no root."""


class Unwatched:
    """Stands in for a probe where a program runs for itself."""

    def loss(self, *_: object, **__: object) -> None:
        """Nothing is watched."""

    validation = close = loss

    def __enter__(self) -> "Unwatched":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was watched."""
