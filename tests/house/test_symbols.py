# SPDX-License-Identifier: Apache-2.0
"""What the shared libraries export, need and never call. Looks at build/release, which
`./check symbols` builds. `python3 tests/house/test_symbols.py --write` writes the lists anew: a
symbol that is gone or added is a decision."""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LISTS = {
    "libbackprobe.so": ROOT / "tools/symbols-core.txt",
    "libbackprobe-train.so": ROOT / "tools/symbols-train.txt",
}
# A library does not talk, end its host, take its signals, change its locale or read its environment.
NEVER = set(
    """printf vprintf puts putchar fprintf vfprintf fputs fputc putc fwrite perror dprintf vdprintf
    stdout stderr stdin exit abort _exit _Exit quick_exit atexit assert_fail assert_perror_fail
    signal sigaction sigprocmask pthread_sigmask raise kill setlocale uselocale newlocale
    getenv secure_getenv setenv putenv unsetenv environ system popen fork vfork execve dlopen
    rand srand random srandom""".split()
)
CORE_NEEDS = {"libc.so", "libm.so", "libpthread.so", "ld-linux-x86-64.so", "ld-linux-aarch64.so"}


def plain(symbol: str) -> str:
    """The name that the source calls: __printf_chk@GLIBC_2.3.4 is printf."""
    symbol = symbol.split("@")[0]
    return re.sub(r"^_*(?:isoc\d+_)?(?!exit$|Exit$)|_chk$|_2_\d+$", "", symbol) or symbol


def run(*command) -> str:
    return subprocess.run(map(str, command), check=True, capture_output=True, text=True).stdout


def exported(library: pathlib.Path) -> list[str]:
    return sorted(run("nm", "-D", "--defined-only", "-j", library).split())


def undefined(library: pathlib.Path) -> set[str]:
    return set(run("nm", "-D", "--undefined-only", "-j", library).split())


def needed(library: pathlib.Path) -> set[str]:
    names = re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-d", library))
    return {re.sub(r"\.so\..*", ".so", name) for name in names}


def built(name: str) -> pathlib.Path:
    return ROOT / "build/release/src" / name


def listed(name: str) -> list[str]:
    return LISTS[name].read_text(encoding="utf-8").split()


class TheHouse(unittest.TestCase):
    def test_exported_symbols_are_the_listed_ones(self):
        for name in LISTS:
            with self.subTest(name):
                self.assertEqual(exported(built(name)), listed(name))
                self.assertTrue(all(symbol.startswith("bp_") for symbol in listed(name)))

    def test_public_headers_declare_every_exported_symbol(self):
        text = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "include").rglob("*.h"))
        declared = set(re.findall(r"\bbp_\w+", text))
        for name in LISTS:
            with self.subTest(name):
                self.assertEqual([s for s in listed(name) if s not in declared], [])

    def test_libraries_never_call(self):
        for name in LISTS:
            with self.subTest(name):
                self.assertEqual(sorted(s for s in undefined(built(name)) if plain(s) in NEVER), [])

    def test_the_core_needs_the_c_library_alone(self):
        self.assertEqual(sorted(needed(built("libbackprobe.so")) - CORE_NEEDS), [])

    def test_the_trainer_needs_no_json(self):
        names = needed(built("libbackprobe-train.so"))
        self.assertTrue(any("yaml" in name for name in names), names)
        self.assertFalse(any("json" in name for name in names), names)


class TheCheckItself(unittest.TestCase):
    def build(self, source, *flags):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(folder.name) / "libx.so"
        text = "#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n" + source
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(path), *flags],
            input=text, text=True, check=True,
        )  # fmt: skip
        return path

    def called(self, source, *flags):
        return {plain(s) for s in undefined(self.build(source, *flags))} & NEVER

    def test_forbidden_calls_are_seen(self):
        calls = 'char *g(void){return getenv("X");} void h(void){exit(1);} void i(void){_exit(1);}'
        self.assertEqual(self.called(calls), {"getenv", "exit", "_exit"})

    def test_also_under_fortify(self):
        printing = 'void f(int x){printf("%d %d", x, x); fprintf(stderr, "%d", x);}'
        flags = ("-O2", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2")
        self.assertEqual(self.called(printing, *flags), {"printf", "fprintf", "stderr"})

    def test_allowed_calls_are_not(self):
        self.assertEqual(self.called('int f(char*b){return snprintf(b,9,"%p",malloc(9));}'), set())

    def test_exports_and_needs_are_seen(self):
        path = self.build("int bp_a; void bp_b(void){}", "-Wl,--no-as-needed", "-lm")
        self.assertEqual(exported(path), ["bp_a", "bp_b"])
        self.assertIn("libm.so", needed(path))


if __name__ == "__main__":
    if "--write" in sys.argv:
        for shared, path in LISTS.items():
            path.write_text("".join(f"{symbol}\n" for symbol in exported(built(shared))))
    else:
        unittest.main()
