# SPDX-License-Identifier: Apache-2.0
"""What is said while a training runs: on stderr, above the progress bars of tqdm or rich where one
is up, as HTML in a notebook. Nothing here is imported that the program has not imported itself, and
nothing raises: words are not worth a training."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, TextIO

from . import terminal
from .finding import Finding


def say(text: str) -> None:
    """One message, of one or more lines."""
    with contextlib.suppress(Exception):
        _out(text)


def finding(found: Finding, brief: bool = False) -> None:
    """A finding in full, or its headline alone."""
    with contextlib.suppress(Exception):
        if not brief and _display(found):
            return
        width, colour = terminal.width(), _takes_colour()
        if brief:
            from . import layout

            _out(layout.headline_of(found, width, colour))
        else:
            _out(found.text(width=width, colour=colour))


def _out(text: str) -> None:
    if not _by_tqdm(text) and not _by_rich(text):
        _plain(text, sys.stderr)


def _takes_colour() -> bool:
    console = _rich_console()
    if console is not None:
        return console.color_system is not None
    return sys.stderr is not None and terminal.colour(sys.stderr)


def _plain(text: str, stream: TextIO | None) -> None:
    if stream is None:
        return
    try:
        stream.write(text + "\n")
    except UnicodeEncodeError:
        encoding = getattr(stream, "encoding", None) or "ascii"
        stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
    stream.flush()


# --- who holds the screen ---------------------------------------------------------------------


def _by_tqdm(text: str) -> bool:
    """Above tqdm's bars, where some are up."""
    bars = getattr(sys.modules.get("tqdm.std"), "tqdm", None)
    if bars is None or not list(getattr(bars, "_instances", ())):
        return False
    try:
        bars.write(text, file=sys.stderr)
    except UnicodeEncodeError:
        encoding = getattr(sys.stderr, "encoding", None) or "ascii"
        bars.write(text.encode(encoding, "replace").decode(encoding), file=sys.stderr)
    return True


def _rich_console() -> Any:
    """rich's console while a Live, a Progress or a Status is drawn on it."""
    rich = sys.modules.get("rich")
    console = getattr(rich, "_console", None)
    if console is None:
        return None
    live = getattr(console, "_live", None) or getattr(console, "_live_stack", None)
    return console if live else None


def _by_rich(text: str) -> bool:
    console = _rich_console()
    if console is None:
        return False
    from rich.text import Text

    # As it is: no markup, no highlighting; lines have been wrapped.
    console.print(Text.from_ansi(text), soft_wrap=True, highlight=False)
    return True


def _display(found: Finding) -> bool:
    """In a notebook, whose kernel shows HTML."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None or not hasattr(shell, "kernel"):
        return False
    from IPython.display import display

    display(found)
    return True
