# SPDX-License-Identifier: Apache-2.0
"""Turns the built page into a C source: embed_page.py page.html no_page.html page_data.c depfile

Where there is no page.html, no_page.html takes its place, and the depfile names the folder in which
one would appear: ninja runs this again when it does. A page that is not what src/report/page_html.h
promises fails the build. As a dist script of Meson (--dist page.html) it makes the page and puts it
into the archive of a release: git does not know it.
"""

import base64
import hashlib
import html.parser
import os
import pathlib
import shutil
import subprocess
import sys

MARKER = "<!--backprobe:data-->"


class Page(html.parser.HTMLParser):
    """The policy in a page's head, and the scripts and styles that stand in it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.policies: list[str] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.fetched: list[str] = []
        self.open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "meta" and values.get("http-equiv", "").lower() == "content-security-policy":
            self.policies.append(values["content"])
        if tag in self.inside:
            self.open = tag
            self.inside[tag].append("")
        if "src" in values or (tag == "link" and not values.get("href", "").startswith("data:")):
            self.fetched.append(self.get_starttag_text() or tag)

    def handle_endtag(self, tag: str) -> None:
        self.open = "" if tag == self.open else self.open

    def handle_data(self, data: str) -> None:
        if self.open:
            self.inside[self.open][-1] += data


def faults(text: str, page: Page) -> list[str]:
    """What a page that is to be looked at must not be."""
    found = []
    if text.count(MARKER) != 1:
        found.append(f"{text.count(MARKER)} markers {MARKER}, not one")
    elif text.index(MARKER) > text.find("<script"):
        found.append(f"the marker {MARKER} stands behind the script, which would not find the data")
    if page.fetched:
        found.append(f"it fetches {page.fetched[0]}: it must be one file")
    for tag, bodies in page.inside.items():
        if not bodies:
            found.append(f"no inline <{tag}>")
        for body in bodies:
            digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
            if not any(f"'sha256-{digest}'" in policy for policy in page.policies):
                found.append(f"its policy does not allow its own <{tag}> (sha256-{digest})")
    return found


def literal(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def source(data: bytes, policy: str, whole: bool) -> str:
    rows = (data[i : i + 24] for i in range(0, len(data), 24))
    lines = "".join(f"    {','.join(map(str, row))},\n" for row in rows)
    return f"""/* SPDX-License-Identifier: Apache-2.0 */
/* Made by tools/embed_page.py. */
#include "report/page_html.h"

static const unsigned char page[] = {{
{lines}    0}};

const char *bp_page_html(size_t *n_bytes) {{
    *n_bytes = sizeof page - 1;
    return (const char *)page;
}}

const char *bp_page_csp(void) {{
    return {literal(policy)};
}}

bool bp_page_is_whole(void) {{
    return {"true" if whole else "false"};
}}
"""


def nearest(path: pathlib.Path) -> pathlib.Path:
    return path if path.exists() else nearest(path.parent)


def embed(page_path: str, none_path: str, source_path: str, depfile_path: str) -> None:
    wanted = pathlib.Path(page_path)
    whole = wanted.is_file()
    path = wanted if whole else pathlib.Path(none_path)
    data = path.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        sys.exit(f"{path}: not UTF-8: {error}")
    page = Page(text)
    found = faults(text, page) if whole else []
    if len(page.policies) != 1:
        found.append(f"{len(page.policies)} content security policies, not one")
    if found or b"\0" in data:
        sys.exit(f"{path}: {'; '.join(found) or 'a NUL in it'}")
    pathlib.Path(source_path).write_text(source(data, page.policies[0], whole), encoding="ascii")
    watched = str(nearest(wanted)).replace("\\", "\\\\").replace(" ", "\\ ")
    pathlib.Path(depfile_path).write_text(f"{source_path}: {watched}\n", encoding="utf-8")


def distribute(page_path: str) -> None:
    root = pathlib.Path(os.environ["MESON_SOURCE_ROOT"])
    if subprocess.run([root / "tools/page.sh"], check=False).returncode != 0:
        sys.exit("a release needs the page, which could not be made: the reason is above")
    target = pathlib.Path(os.environ["MESON_DIST_ROOT"]) / page_path
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(root / page_path, target)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--dist"]:
        distribute(sys.argv[2])
    else:
        embed(*sys.argv[1:])
