# SPDX-License-Identifier: Apache-2.0
"""A finding as text, as `backprobe check` prints it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import picture
from .terminal import Ink, Page

if TYPE_CHECKING:
    from .finding import Finding, Remedy

_LABEL, _BODY, _CONSEQUENCE = 2, 9, 4  # columns


def text_of(finding: Finding, width: int, colour: bool) -> str:
    page = Page(width, colour)
    _put_headline(page, finding, _LABEL)
    _put_when(page, finding)
    picture.put(page, finding.gains, frozenset(finding.layer_ids))
    _put_paragraph(page, "cause:", finding.cause)
    _put_paragraph(page, "note:", finding.note)
    if finding.remedy is not None:
        _put_remedy(page, finding.remedy)
    _put_paragraph(page, "see:", f"backprobe explain {finding.problem}")
    _put_consequences(page, finding, 1)
    return page.text()


def headline_of(finding: Finding, width: int, colour: bool) -> str:
    page = Page(width, colour)
    _put_headline(page, finding, _LABEL)
    return page.text()


_WIDE = 10  # steps: a narrower onset is told as one; src/report/text.c has the same


def when(finding: Finding) -> str:
    since = str(finding.since_step)
    if finding.since_latest - finding.since_earliest >= _WIDE:
        since += f" ({finding.since_earliest}–{finding.since_latest})"
    if finding.open:
        return f"since step {since} · now step {finding.last_step}"
    return f"from step {since} to step {finding.last_step} · over"


def _ink_of(severity: str) -> Ink:
    return "error" if severity == "error" else "warning" if severity == "warning" else "hint"


def _put_headline(page: Page, finding: Finding, hang: int, more: str = "") -> None:
    page.put(f"{finding.severity}[{finding.problem}]", _ink_of(finding.severity))
    page.put(": ", "bold")
    page.wrap(finding.title + more, hang, "bold")
    page.end_line()


def _put_when(page: Page, finding: Finding) -> None:
    page.pad(_LABEL)
    page.wrap(when(finding), _LABEL)
    page.end_line()


def _put_paragraph(page: Page, label: str, text: str, ink: Ink = "plain") -> None:
    if not text:
        return
    page.pad(_LABEL)
    page.put(label, "bold")
    page.pad(_BODY)
    page.wrap(text, _BODY, ink)
    page.end_line()


def _put_line(page: Page, text: str, hang: int, ink: Ink) -> None:
    page.pad(_BODY)
    page.wrap(text, hang, ink)
    page.end_line()


def _put_remedy(page: Page, remedy: Remedy) -> None:
    _put_paragraph(page, "help:", remedy.title, "bold")
    if remedy.reason:
        _put_line(page, remedy.reason, _BODY, "plain")
    if remedy.diff is not None:
        for line in remedy.diff.splitlines():
            _put_line(page, line, _BODY + 8, _ink_of_change(line))
    elif remedy.code is not None:
        for line in remedy.code.splitlines():
            _put_line(page, line, _BODY + 8, "dim" if line.startswith("#") else "new")
    for edit in remedy.edits:
        page.pad(_BODY)
        page.put(edit.key, "new")
        page.put(": ")
        page.wrap(edit.value, _BODY + 2, "new")
        page.end_line()


def _ink_of_change(line: str) -> Ink:
    if line.startswith(("---", "+++", "@@")):
        return "dim"
    return "old" if line.startswith("-") else "new" if line.startswith("+") else "plain"


def _put_consequences(page: Page, finding: Finding, depth: int) -> None:
    """Mended with their cause: their headlines are enough on a screen."""
    for consequence in finding.consequences:
        page.indent = _CONSEQUENCE * depth
        page.put("└ ", "dim")
        over = "" if consequence.open else ", over"
        since = f" · since step {consequence.since_step}{over}"
        _put_headline(page, consequence, _LABEL + 2, since)
        _put_consequences(page, consequence, depth + 1)
    page.indent = 0
