# SPDX-License-Identifier: Apache-2.0
"""Each header compiles alone: public ones in every language that users have, the rooms' own as ours."""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PUBLIC = sorted((ROOT / "include/backprobe").glob("*.h"))
LANGUAGES = {
    "c99": ("gcc", "c"),
    "c11": ("gcc", "c"),
    "c17": ("gcc", "c"),
    "c++11": ("g++", "c++"),
}
STRICT = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"]


def compile_alone(header: pathlib.Path, standard: str, *flags: str) -> str:
    """The compiler's complaints about a file that holds nothing but this include, twice."""
    compiler, language = LANGUAGES.get(standard, ("gcc", "c"))
    source = f'#include "{header}"\n#include "{header}"\nint main(void);\n'
    command = [compiler, "-x", language, f"-std={standard}", *STRICT, *flags, "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=False).stderr


class TheHouse(unittest.TestCase):
    def compile_all(self, jobs):
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for job, stderr in zip(jobs, pool.map(lambda job: compile_alone(*job), jobs)):
                with self.subTest(header=str(job[0].relative_to(ROOT)), standard=job[1]):
                    self.assertEqual(stderr, "")

    def test_public_headers_alone(self):
        self.assertGreaterEqual(len(PUBLIC), 12)
        for standard in LANGUAGES:
            with self.subTest(standard=standard):
                self.compile_all([(header, standard, f"-I{ROOT}/include") for header in PUBLIC])

    def test_headers_of_rooms_alone(self):
        headers = sorted((ROOT / "src").rglob("*.h"))
        self.assertGreater(len(headers), 15)
        flags = ["-D_GNU_SOURCE", f"-I{ROOT}/include", f"-I{ROOT}/src"]
        self.compile_all([(header, "gnu11", *flags) for header in headers])

    def test_every_public_header_is_installed(self):
        text = (ROOT / "meson.build").read_text(encoding="utf-8")
        self.assertEqual(sorted(re.findall(r"'include/backprobe/(\S+)'", text)), [p.name for p in PUBLIC])


class TheCheckItself(unittest.TestCase):
    def complaints(self, text, standard):
        with tempfile.TemporaryDirectory() as folder:
            header = pathlib.Path(folder) / "a b.h"
            header.write_text(text)
            return compile_alone(header, standard)

    def test_a_good_header(self):
        guarded = "#ifndef A\n#define A\nstatic inline int f(int x) { return x; }\n#endif\n"
        for standard in LANGUAGES:
            self.assertEqual(self.complaints(guarded, standard), "", standard)

    def test_a_missing_include(self):
        self.assertIn("size_t", self.complaints("size_t f(void);\n", "c11"))

    def test_a_missing_guard(self):
        self.assertIn("redefinition", self.complaints("struct a { int b; };\n", "c17"))

    def test_a_cpp_keyword(self):
        self.assertNotEqual(self.complaints("int f(int class);\n", "c++11"), "")
        self.assertEqual(self.complaints("int f(int class);\n", "c99"), "")

    def test_newer_than_c99(self):
        self.assertNotEqual(self.complaints('_Static_assert(1, "x");\n', "c99"), "")


if __name__ == "__main__":
    unittest.main()
