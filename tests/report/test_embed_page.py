# SPDX-License-Identifier: Apache-2.0
"""tools/embed_page.py: which page it takes, which it refuses, and what ninja is told to look at."""

import base64
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(os.environ["SOURCE_ROOT"])
NO_PAGE = ROOT / "src/report/no_page.html"
SCRIPT, STYLE = "show('ü \\ \"')", "body{margin:0}"
MARKER = "<!--backprobe:data-->"


def allowed(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def page(policy=None, script=SCRIPT, style=STYLE, before=MARKER, after="", head=""):
    policy = policy or f"default-src 'none'; script-src {allowed(SCRIPT)}; style-src {allowed(STYLE)}"
    return (f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
            f'{head}<style>{style}</style><body>{before}<script type="module">{script}</script>{after}')


class EmbedPage(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory(prefix="backprobe test ")
        self.addCleanup(place.cleanup)
        self.folder = pathlib.Path(place.name)
        self.page = self.folder / "web/dist/page.html"

    def embed(self):
        return subprocess.run(
            [sys.executable, ROOT / "tools/embed_page.py", self.page, NO_PAGE, self.folder / "page.c",
             self.folder / "page.d"], capture_output=True, text=True, check=False)

    def write(self, text):
        self.page.parent.mkdir(parents=True, exist_ok=True)
        self.page.write_text(text, encoding="utf-8")

    def values(self):
        """What a program that has the source finds in it."""
        (self.folder / "main.c").write_text(
            '#include "report/page_html.h"\n#include <stdio.h>\n'
            'int main(void) { size_t n; const char *page = bp_page_html(&n);\n'
            '    printf("%d\\n%s\\n", bp_page_is_whole(), bp_page_csp());\n'
            '    return fwrite(page, 1, n, stdout) != n || page[n] != 0; }\n')
        program = self.folder / "main"
        subprocess.run(["cc", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", ROOT / "src", "-o",
                        program, self.folder / "main.c", self.folder / "page.c"], check=True)
        output = subprocess.run([program], capture_output=True, check=True).stdout
        whole, policy, text = output.decode().split("\n", 2)
        return whole == "1", policy, text

    def refused(self, text, why):
        self.write(text)
        result = self.embed()
        self.assertEqual(result.returncode, 1)
        self.assertIn(why, result.stderr)
        self.assertFalse((self.folder / "page.c").exists())

    def test_a_page(self):
        self.write(page())
        self.assertEqual(self.embed().stderr, "")
        policy = f"default-src 'none'; script-src {allowed(SCRIPT)}; style-src {allowed(STYLE)}"
        self.assertEqual(self.values(), (True, policy, page()))
        watched = str(self.page).replace(" ", "\\ ")
        self.assertTrue((self.folder / "page.d").read_text().endswith(f": {watched}\n"))

    def test_none(self):
        """The folder in which it would appear is looked at."""
        (self.folder / "web").mkdir()
        self.assertEqual(self.embed().stderr, "")
        self.assertEqual(self.values(), (False, "default-src 'none'", NO_PAGE.read_text()))
        watched = str(self.folder / "web").replace(" ", "\\ ")
        self.assertTrue((self.folder / "page.d").read_text().endswith(f": {watched}\n"))

    def test_pages_that_are_none(self):
        self.refused(page(before=""), "0 markers")
        self.refused(page(after=MARKER), "2 markers")
        self.refused(page(before="", after=MARKER), "behind the script")
        self.refused(page(script="other()"), "its policy does not allow its own <script>")
        self.refused(page(style="*{}"), "its policy does not allow its own <style>")
        self.refused(page(policy="default-src 'none'"), "does not allow its own <script>")
        self.refused(page(head='<link rel="icon" href="icon.svg">'), "it fetches <link")
        self.refused(page(after='<img src="a.png">'), "it fetches <img")
        self.refused(page(head='<meta http-equiv="Content-Security-Policy" content="x">'),
                     "2 content security policies")
        self.refused(page(after="\0"), "a NUL in it")
        self.refused("", "0 markers")
        self.write(page())
        self.page.write_bytes(self.page.read_bytes() + b"\xff")
        self.assertIn("not UTF-8", self.embed().stderr)

    def test_an_icon_that_is_inside(self):
        self.write(page(head='<link rel="icon" href="data:,">'))
        self.assertEqual(self.embed().returncode, 0)


if __name__ == "__main__":
    unittest.main()
