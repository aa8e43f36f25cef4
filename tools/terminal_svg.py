#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns coloured terminal output (standard input) into an SVG picture (standard output).

  backprobe check RUN --color always | tools/terminal_svg.py '$ backprobe check RUN' > picture.svg

Knows the 16 colours, 256 and 24-bit ones, as ink and as ground; blocks are drawn as rectangles, so
that cells of a heat map touch whatever the font.
"""

import html
import re
import sys

INK, PAPER = "#e6edf3", "#0d1117"
COLOURS = ["#6e7681", "#ff7b72", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#76e3ea", INK,
           "#8b949e", "#ffa198", "#7ee787", "#f2cc60", "#a5d6ff", "#e2c5ff", "#b3f0ff", "#ffffff"]
COLUMN, LINE, MARGIN = 8.4, 19, 18
# Parts of a cell that a block fills: top and height, in eighths.
BLOCKS = {"▀": (0, 4), "█": (0, 8)} | {c: (7 - i, i + 1) for i, c in enumerate("▁▂▃▄▅▆▇")}
LEFT_BLOCKS = {c: (i + 1) / 8 for i, c in enumerate("▏▎▍▌▋▊▉")}  # the end of a bar


def of_256(index):
    if index < 16:
        return COLOURS[index]
    if index >= 232:
        return "#" + 3 * f"{8 + 10 * (index - 232):02x}"
    levels = [0, 95, 135, 175, 215, 255]
    index -= 16
    return "#" + "".join(f"{levels[index // n % 6]:02x}" for n in (36, 6, 1))


class Style:
    def __init__(self):
        self.ink = self.ground = None
        self.bold = self.dim = self.reverse = False

    def set(self, codes):
        """The codes of one sequence."""
        codes = [int(code or 0) for code in codes]
        while codes:
            code = codes.pop(0)
            if code == 0:
                self.__init__()
            elif code in (1, 2, 7):
                setattr(self, {1: "bold", 2: "dim", 7: "reverse"}[code], True)
            elif code in (38, 48):
                if codes.pop(0) == 5:
                    colour = of_256(codes.pop(0))
                else:
                    colour = "#%02x%02x%02x" % tuple(codes[:3])
                    del codes[:3]
                setattr(self, "ink" if code == 38 else "ground", colour)
            elif 30 <= code <= 37 or 90 <= code <= 97:
                self.ink = COLOURS[code - 30 if code < 90 else code - 82]
            elif 40 <= code <= 47 or 100 <= code <= 107:
                self.ground = COLOURS[code - 40 if code < 100 else code - 92]

    def colours(self):
        """(ink, ground) as drawn; None: the paper's."""
        return (self.ground or PAPER, self.ink or INK) if self.reverse else (self.ink, self.ground)


def spans(line):
    """(column, text, style) for each stretch of one style; what is drawn in blocks apart."""
    style, column = Style(), 0
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        if part.startswith("\x1b"):
            style.set(part[2:-1].split(";"))
            continue
        blocks = "".join([*BLOCKS, *LEFT_BLOCKS])
        for text in re.findall("|".join(f"{c}+" for c in blocks) + f"|[^{blocks}]+", part):
            yield column, text, style
            column += len(text)


class Rectangles:
    """What is filled, by colour: nothing lies on anything else, so that the order is free."""

    def __init__(self):
        self.paths = {}

    def add(self, column, number, n, colour, part=(0, 8)):
        """n cells wide; edges on whole pixels, or neighbours would leave a line between them."""
        left, right = round(MARGIN + COLUMN * column), round(MARGIN + COLUMN * (column + n))
        top = round(MARGIN + LINE * (number + part[0] / 8))
        bottom = round(MARGIN + LINE * (number + sum(part) / 8))
        self.paths.setdefault(colour, []).append(
            f"M{left} {top}h{right - left}v{bottom - top}H{left}z")

    def elements(self):
        for colour, path in self.paths.items():
            yield f'<path fill="{colour}" d="{"".join(path)}"/>'


def drawn(rectangles, column, number, text, style):
    """The elements of one span's text; what is filled goes to the rectangles."""
    ink, ground = style.colours()
    top, height = BLOCKS.get(text[0], (0, 0))
    if text[0] in LEFT_BLOCKS:
        rectangles.add(column, number, LEFT_BLOCKS[text[0]], ink or INK)
        return
    if height:
        rectangles.add(column, number, len(text), ink or INK, (top, height))
    for part in ((0, top), (top + height, 8 - top - height)):
        if ground and part[1]:
            rectangles.add(column, number, len(text), ground, part)
    if height:
        return
    how = ("font-weight:bold;" if style.bold else "") + ("opacity:.62;" if style.dim else "")
    how += f"fill:{ink};" if ink else ""
    attribute = f' style="{how}"' if how else ""
    for words in re.finditer(r"\S+( \S+)*", text):  # of more spaces a browser keeps one
        x, y = MARGIN + COLUMN * (column + words.start()), MARGIN + LINE * (number + 0.75)
        yield (f'<text x="{x:.1f}" y="{y:.1f}" textLength="{COLUMN * len(words[0]):.1f}" '
               f'lengthAdjust="spacingAndGlyphs"{attribute}>{html.escape(words[0])}</text>')


def main():
    lines = ([f"\x1b[1m{sys.argv[1]}\x1b[0m", ""] if len(sys.argv) > 1 else []) + [
        line.rstrip("\n") for line in sys.stdin]
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    width = 2 * MARGIN + COLUMN * max(map(len, plain), default=1)
    height = 2 * MARGIN + LINE * len(lines)
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
          f'viewBox="0 0 {width:.0f} {height:.0f}">')
    print(f'<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>')
    print('<g font-family="ui-monospace,Menlo,Consolas,\'DejaVu Sans Mono\',monospace" '
          f'font-size="14" fill="{INK}">')
    rectangles = Rectangles()
    texts = [element for number, line in enumerate(lines) for span in spans(line)
             for element in drawn(rectangles, span[0], number, *span[1:])]
    print("\n".join([*rectangles.elements(), *texts]))
    print("</g></svg>")


if __name__ == "__main__":
    main()
