# SPDX-License-Identifier: Apache-2.0
"""Lines for a terminal: numbers as people read them, characters as wide as they are, names from
elsewhere escaped, a margin and a right edge, colours. The command prints by the same rules."""

from __future__ import annotations

import math
import os
import shutil
import sys
from decimal import Decimal
from typing import Literal, TextIO

WIDTH = 100
MIN_WIDTH = 60

Ink = Literal["plain", "bold", "dim", "error", "warning", "hint", "old", "new"]
_CODES: dict[str, str] = {
    "plain": "",
    "bold": "\033[1m",
    "dim": "\033[2m",
    "error": "\033[1;31m",
    "warning": "\033[1;33m",
    "hint": "\033[1;36m",
    "old": "\033[31m",
    "new": "\033[32m",
}


def number(value: float, digits: int = 2) -> str:
    """Plain from 0.0001 to below 10^6, with an exponent beyond; `digits` significant digits."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, exponent_text = f"{abs(value):.{digits - 1}e}".split("e")
    exponent = int(exponent_text)
    if exponent < -4 or exponent >= max(digits, 6):
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{sign}{mantissa}e{exponent}"
    plain = f"{Decimal(mantissa).scaleb(exponent):f}"
    return sign + (plain.rstrip("0").rstrip(".") if "." in plain else plain)


# --- what may be shown ------------------------------------------------------------------------


def _is_unsafe(code: int) -> bool:
    """A terminal obeys control characters; formatting ones make a line read other than it is."""
    return (
        code < 0x20
        or 0x7F <= code < 0xA0
        or code in (0xAD, 0x61C, 0xFEFF)
        or 0x200B <= code <= 0x200F
        or 0x2028 <= code <= 0x202E
        or 0x2060 <= code <= 0x206F
        or code >= 0xE0000
    )


def shown(text: str) -> str:
    """The text with everything escaped that is not to be obeyed."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    if not _is_unsafe(code):
        return character
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"


_WIDE = (
    (0x1100, 0x1160), (0x2E80, 0xA4D0), (0xAC00, 0xD7A4), (0xF900, 0xFB00), (0xFE30, 0xFE70),
    (0xFF00, 0xFF61), (0xFFE0, 0xFFE7), (0x1F300, 0x1FB00), (0x20000, 0x40000),
)  # fmt: skip


def columns(text: str) -> int:
    """Of a text that was made fit to be shown."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    code = ord(character)
    if 0x300 <= code < 0x370 or 0xFE00 <= code < 0xFE10:
        return 0
    return 2 if any(low <= code < high for low, high in _WIDE) else 1


def fitted(text: str, room: int, *, right: bool = False) -> str:
    """The text in exactly so many columns: filled with spaces, or cut with an ellipsis."""
    text = shown(text)
    wide = columns(text)
    if wide <= room:
        fill = " " * (room - wide)
        return fill + text if right else text + fill
    kept, used = "", 0
    for character in text:
        if used + _columns(character) > room - 1:
            break
        kept += character
        used += _columns(character)
    return kept + "…" + " " * (room - 1 - used)


# --- where it is shown ------------------------------------------------------------------------


def width(stream: TextIO | None = None) -> int:
    """Columns of the terminal that the stream is, 60 … 100; 100 where it is none."""
    stream = sys.stderr if stream is None else stream
    try:
        is_terminal = stream.isatty()
    except (AttributeError, ValueError, OSError):
        is_terminal = False
    if not is_terminal and not os.environ.get("COLUMNS", "").isdecimal():
        return WIDTH
    return max(MIN_WIDTH, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))


def colour(stream: TextIO) -> bool:
    """By NO_COLOR, FORCE_COLOR and whether it is a terminal, in this order."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError, OSError):
        return False


class Page:
    """Lines of a given width. What passes through is escaped."""

    def __init__(self, width: int = WIDTH, colour: bool = False, indent: int = 0) -> None:
        self.width = max(width, MIN_WIDTH)
        self.colour = colour
        self.indent = indent  # left margin of all lines
        self._lines: list[str] = []
        self._line = ""
        self._column = 0

    def text(self) -> str:
        return "\n".join([*self._lines, self._line] if self._line else self._lines)

    def end_line(self) -> None:
        self._lines.append(self._line)
        self._line, self._column = "", 0

    def pad(self, column: int) -> None:
        """Spaces up to a column, counted from the margin."""
        self._spaces(self.indent + column - self._column)

    def put(self, text: str, ink: Ink = "plain") -> None:
        """Not wrapped."""
        text = shown(text)
        self._begin(ink)
        self._line += text
        self._column += columns(text)
        self._end(ink)

    def cell(self, text: str, room: int, ink: Ink = "plain", *, right: bool = False) -> None:
        if room > 0:
            self.put(fitted(text, room, right=right), ink)

    def wrap(self, text: str, hang: int, ink: Ink = "plain") -> None:
        """Wrapped at spaces; later lines begin at column `hang`; words that are longer than a line
        are broken."""
        self._begin(ink)
        for place, word in enumerate(text.split(" ")):
            word = shown(word)
            space = 1 if place else 0
            fits = self._column + space + columns(word) <= self.width
            if not fits and (place or self._column > self.indent + hang):
                self._break(hang)
            else:
                self._spaces(space)
            for character in word:
                if self._column + _columns(character) > self.width:
                    self._break(hang)
                self._line += character
                self._column += _columns(character)
        self._end(ink)

    def _break(self, hang: int) -> None:
        self.end_line()
        self.pad(hang)

    def _spaces(self, n: int) -> None:
        if n > 0:
            self._line += " " * n
            self._column += n

    def _begin(self, ink: Ink) -> None:
        self._spaces(self.indent - self._column)
        if self.colour:
            self._line += _CODES[ink]

    def _end(self, ink: Ink) -> None:
        if self.colour and _CODES[ink]:
            self._line += "\033[0m"
