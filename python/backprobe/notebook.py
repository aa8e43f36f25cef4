# SPDX-License-Identifier: Apache-2.0
"""A finding as HTML for a notebook: one piece, static, nothing loaded from elsewhere, no script.
Names come from programs and logs and may hold anything: all text is escaped."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from . import picture
from .layout import when
from .terminal import number, shown

if TYPE_CHECKING:
    from .finding import Finding, Gain, Remedy

_MAX_ROWS = 400  # of all layers, behind a fold

_STYLE = """
.backprobe{--error:#b3261e;--warning:#8a5300;--hint:#00658a;--bar:#5b8db8;--sick:#d98a29;--dim:#5f6368;
--line:#8884;--new:#146c2e;--old:#b3261e;font:14px/1.45 system-ui,sans-serif;max-width:60em;
border-left:3px solid var(--tone);padding:.2em .9em;margin:.5em 0;color:inherit}
@media (prefers-color-scheme:dark){.backprobe{--error:#ff8a80;--warning:#ffc46b;--hint:#7fd0f0;--dim:#a0a4a8;
--new:#7fd98f;--old:#ff8a80}}
.backprobe.error{--tone:var(--error)}.backprobe.warning{--tone:var(--warning)}.backprobe.hint{--tone:var(--hint)}
.backprobe h4{margin:.1em 0;font-size:1em}.backprobe h4 b{color:var(--tone)}
.backprobe .dim{color:var(--dim)}.backprobe p{margin:.35em 0}
.backprobe table{border-collapse:collapse;margin:.4em 0;font-size:.92em}
.backprobe th,.backprobe td{padding:.05em .7em .05em 0;text-align:right;border:0;background:none}
.backprobe th{font-weight:normal;color:var(--dim)}
.backprobe .name{text-align:left;max-width:22em;overflow-wrap:anywhere}
.backprobe .track{width:14em;min-width:8em;text-align:left}
.backprobe .bar{display:block;height:.75em;min-width:1px;background:var(--bar)}
.backprobe .sick{background:var(--sick)}
.backprobe pre{margin:.3em 0;padding:.5em .7em;border:1px solid var(--line);background:none;color:inherit;
white-space:pre-wrap;overflow-wrap:anywhere;font:.9em/1.4 ui-monospace,monospace}
.backprobe .new{color:var(--new)}.backprobe .old{color:var(--old)}
"""


def html_of(finding: Finding) -> str:
    return f"<style>{_STYLE}</style>{_box(finding, True)}"


def _text(text: str) -> str:
    return html.escape(shown(text), quote=True)


def _lines(text: str) -> str:
    return "\n".join(_text(line) for line in text.split("\n"))


def _box(finding: Finding, is_root: bool) -> str:
    severity = finding.severity if finding.severity in ("error", "warning", "hint") else "hint"
    parts = [
        f'<div class="backprobe {severity}">',
        f"<h4><b>{_text(finding.severity)}[{_text(finding.problem)}]</b>: {_text(finding.title)}</h4>",
        f'<p class="dim">{_text(when(finding))}</p>',
    ]
    if is_root:
        parts.append(_profile(finding))
    parts += [_paragraph("cause", finding.cause), _paragraph("note", finding.note)]
    if is_root and finding.remedy is not None:
        parts.append(_remedy(finding.remedy))
    if is_root:
        parts.append(
            f'<p class="dim">see <code>backprobe explain {_text(finding.problem)}</code></p>'
        )
    parts += [_box(consequence, False) for consequence in finding.consequences]
    parts.append("</div>")
    return "".join(parts)


def _paragraph(label: str, text: str) -> str:
    return f'<p><span class="dim">{label}:</span> {_text(text)}</p>' if text else ""


def _profile(finding: Finding) -> str:
    gains = finding.gains
    if not gains:
        return ""
    scale = picture.Scale([gain.error_norm for gain in gains])
    concerned = frozenset(finding.layer_ids)
    chosen = picture.rows(gains)
    table = _table([gains[i] for i in chosen], scale, concerned)
    if len(chosen) == len(gains):
        return table
    all_rows = _table(gains[:_MAX_ROWS], scale, concerned)
    return f'{table}<details><summary class="dim">all {len(gains)} layers</summary>{all_rows}</details>'


def _table(gains: tuple[Gain, ...] | list[Gain], scale: picture.Scale, concerned: frozenset[int]) -> str:
    head = (
        '<tr><th></th><th class="name">layer</th><th class="track">(log scale)</th>'
        "<th>error signal</th><th>gain</th><th>share of learning</th></tr>"
    )
    return f"<table>{head}{''.join(_row(gain, scale, concerned) for gain in gains)}</table>"


def _row(gain: Gain, scale: picture.Scale, concerned: frozenset[int]) -> str:
    sick = " sick" if gain.layer_id in concerned else ""
    percent = 100 * scale.fraction(gain.error_norm)
    bar = f'<span class="bar{sick}" style="width:{percent:.1f}%"></span>' if gain.error_norm else ""
    return (
        f'<tr><td>{gain.layer_id}</td><td class="name">{_text(gain.layer or "")}</td>'
        f'<td class="track">{bar}</td><td>{_number(gain.error_norm)}</td>'
        f"<td>{_number(gain.gain)}</td><td>{_number(gain.share)}</td></tr>"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else number(value)


def _remedy(remedy: Remedy) -> str:
    parts = [
        f'<p><span class="dim">help:</span> <b>{_text(remedy.title)}</b></p>',
        f"<p>{_text(remedy.reason)}</p>" if remedy.reason else "",
    ]
    if remedy.diff is not None:
        lines = "\n".join(map(_changed_line, remedy.diff.splitlines()))
        parts.append(f"<pre>{lines}</pre>")
    elif remedy.code is not None:
        parts.append(f"<pre>{_lines(remedy.code.rstrip(chr(10)))}</pre>")
    if remedy.edits:
        edits = "\n".join(f"{_text(edit.key)}: {_text(edit.value)}" for edit in remedy.edits)
        parts.append(f"<pre>{edits}</pre>")
    return "".join(parts)


def _changed_line(line: str) -> str:
    if line.startswith(("---", "+++", "@@")):
        return f'<span class="dim">{_text(line)}</span>'
    kind = {"-": "old", "+": "new"}.get(line[:1])
    return f'<span class="{kind}">{_text(line)}</span>' if kind else _text(line)
