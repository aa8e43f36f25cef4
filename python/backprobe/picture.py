# SPDX-License-Identifier: Apache-2.0
"""The profile over depth: the chain rule made visible, one row a layer, from the input to the
loss. Which layers get a row and how long their bars are is the command's rule."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from .terminal import Page, columns, number, shown

if TYPE_CHECKING:
    from .finding import Gain

ROWS = 7
_MAX_BAR, _MIN_BAR, _MAX_NAME = 28, 6, 24
_MIN_SPAN_LOG = 6.9  # a profile over less than that is drawn over that, so that a flat one looks flat
_STANDS_OUT = 2.0  # times the mean contribution
_MARGIN, _ERROR_COLUMNS, _GAIN_COLUMNS, _SHARE_COLUMNS = 2, 14, 9, 19
_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")


def rows(gains: Sequence[Gain]) -> list[int]:
    """Indices of the layers that are shown: the ends, those that contribute most, and between."""
    return rows_by([g.contribution or 0.0 for g in gains])


def rows_by(contribution: Sequence[float], most: int = ROWS) -> list[int]:
    n = len(contribution)
    if n <= most:
        return list(range(n))
    contribution = [c if c > 0 else 0.0 for c in contribution]
    limit = _STANDS_OUT * sum(contribution) / n
    chosen = {0, n - 1}
    for row in sorted(range(n), key=lambda i: (-contribution[i], i)):
        if len(chosen) >= (most + 1) // 2 or contribution[row] <= limit:
            break
        chosen.add(row)
    while len(chosen) < most:
        places = sorted(chosen)
        gap, start = max(
            ((b - a, -a) for a, b in zip(places, places[1:], strict=False)), default=(0, 0)
        )
        chosen.add(-start + gap // 2)
    return sorted(chosen)


class Scale:
    """Lengths of bars, logarithmic, for error norms."""

    def __init__(self, values: Sequence[float | None]) -> None:
        logs = [math.log(v) for v in values if v is not None and v > 0 and math.isfinite(v)]
        self.is_empty = not logs
        self._high = max(logs, default=0.0)
        self._low = min([self._high - _MIN_SPAN_LOG, *logs])

    def fraction(self, value: float | None) -> float:
        """0 … 1 of the longest bar."""
        if value is None or math.isnan(value) or value <= 0:
            return 0.0
        if math.isinf(value):
            return 1.0
        return (math.log(value) - self._low) / (self._high - self._low)

    def bar(self, value: float | None, room: int) -> str:
        if value is None or math.isnan(value) or value <= 0:
            return ""
        units = max(1, math.floor(self.fraction(value) * room * 8 + 0.5))
        return "█" * (units // 8) + _EIGHTHS[units % 8]


def _put_number(page: Page, room: int, value: float | None) -> None:
    measured = value is not None
    page.cell(number(value) if measured else "–", room, "plain" if measured else "dim", right=True)


def _scale_words(n: int, of: int, room: int) -> str:
    """Where there is room they say how many of the layers are shown."""
    return f" (log; {n} of {of} layers)" if n < of and room == _MAX_BAR else " (log scale)"


def put(page: Page, gains: Sequence[Gain], concerned: Collection[int]) -> None:
    """concerned: numbers of the layers that a finding is about."""
    if not gains:
        return
    chosen = rows(gains)
    digits = len(str(gains[chosen[-1]].layer_id))
    name = min(_MAX_NAME, max(columns(shown(gains[i].layer or "")) for i in chosen))
    rest = page.width - page.indent - _MARGIN - _ERROR_COLUMNS - _GAIN_COLUMNS - _SHARE_COLUMNS
    name = min(name, rest - digits - 1)
    label = max(5, digits + 1 + name)
    scale = Scale([g.error_norm for g in gains])
    room = min(_MAX_BAR, rest - label - 1)
    if room < _MIN_BAR or scale.is_empty:
        room = 0
    page.pad(_MARGIN)
    page.cell("layer", label, "dim")
    if room:
        page.cell(_scale_words(len(chosen), len(gains), room), room + 1, "dim")
    page.cell("error signal", _ERROR_COLUMNS, "dim", right=True)
    page.cell("gain", _GAIN_COLUMNS, "dim", right=True)
    page.cell("share of learning", _SHARE_COLUMNS, "dim", right=True)
    page.end_line()
    for i in chosen:
        gain = gains[i]
        page.pad(_MARGIN)
        page.put(f"{gain.layer_id:>{digits}} ")
        page.cell(gain.layer or "", label - 1 - digits)
        if room:
            page.put(" ")
            ink = "warning" if gain.layer_id in concerned else "hint"
            page.cell(scale.bar(gain.error_norm, room), room, ink)
        _put_number(page, _ERROR_COLUMNS, gain.error_norm)
        _put_number(page, _GAIN_COLUMNS, gain.gain)
        _put_number(page, _SHARE_COLUMNS, gain.share)
        page.end_line()
    if len(chosen) < len(gains) and room < _MAX_BAR:
        page.pad(_MARGIN)
        page.put(f"({len(chosen)} of {len(gains)} layers are shown)", "dim")
        page.end_line()
