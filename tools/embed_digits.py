# SPDX-License-Identifier: Apache-2.0
"""Turns data/digits/digits.txt into a C source: embed_digits.py digits.txt digits_data.c"""

import re
import sys

IMAGES = 1797
LINE = re.compile(r"[0-9]( [0-9a-g]{8}){8}")


def main(text_path: str, source_path: str) -> None:
    with open(text_path, encoding="ascii") as file:
        lines = file.read().splitlines()
    for number, line in enumerate(lines, 1):
        if not LINE.fullmatch(line):
            sys.exit(f"{text_path}:{number}: expected a class and 8 rows of 8 pixels, found {line!r}")
    if len(lines) != IMAGES:
        sys.exit(f"{text_path}: expected {IMAGES} images, found {len(lines)}")
    with open(source_path, "w", encoding="ascii") as file:
        file.write("/* SPDX-License-Identifier: Apache-2.0 */\n")
        file.write("/* Made from data/digits/digits.txt (CC BY 4.0, see the README there). */\n")
        file.write('#include "trainer/digits.h"\n\n')
        file.write("const char bp_digits[BP_DIGITS_IMAGES][BP_DIGITS_BYTES] = {\n")
        for line in lines:
            file.write(f'    "{line.replace(" ", "")}",\n')
        file.write("};\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
