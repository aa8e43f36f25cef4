#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns coloured terminal output (standard input) into an SVG picture (standard output).

  backprobe check RUN --color always | tools/terminal_svg.py '$ backprobe check RUN' > picture.svg
"""

import html
import re
import sys

COLOURS = {"30": "#6e7681", "31": "#ff7b72", "32": "#56d364", "33": "#e3b341", "34": "#79c0ff",
           "35": "#d2a8ff", "36": "#76e3ea", "37": "#e6edf3"}
COLUMN, LINE, MARGIN = 8.4, 19, 18


def spans(line):
    """(column, text, style) for each stretch of one style."""
    style, column = "", 0
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        if part.startswith("\x1b"):
            codes = part[2:-1].split(";")
            if codes in ([""], ["0"]):
                style = ""
                continue
            for code in codes:
                if code == "1":
                    style += "font-weight:bold;"
                elif code == "2":
                    style += "opacity:.62;"
                elif code in COLOURS:
                    style += f"fill:{COLOURS[code]};"
        elif part:
            yield column, part, style
            column += len(part)


def main():
    lines = ([f"\x1b[1m{sys.argv[1]}\x1b[0m", ""] if len(sys.argv) > 1 else []) + [
        line.rstrip("\n") for line in sys.stdin]
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    width = 2 * MARGIN + COLUMN * max(map(len, plain), default=1)
    height = 2 * MARGIN + LINE * len(lines)
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
          f'viewBox="0 0 {width:.0f} {height:.0f}">')
    print('<rect width="100%" height="100%" rx="8" fill="#0d1117"/>')
    print('<g font-family="ui-monospace,Menlo,Consolas,\'DejaVu Sans Mono\',monospace" '
          'font-size="14" fill="#e6edf3" xml:space="preserve">')
    for number, line in enumerate(lines):
        for column, text, style in spans(line):
            if not text.strip():
                continue
            x, y = MARGIN + COLUMN * column, MARGIN + LINE * (number + 0.75)
            attribute = f' style="{style}"' if style else ""
            print(f'<text x="{x:.1f}" y="{y:.1f}" textLength="{COLUMN * len(text):.1f}" '
                  f'lengthAdjust="spacingAndGlyphs"{attribute}>{html.escape(text)}</text>')
    print("</g></svg>")


if __name__ == "__main__":
    main()
