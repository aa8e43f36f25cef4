# SPDX-License-Identifier: Apache-2.0
"""The stages of ./check. Every stage runs, also after a failure; the last line counts all tests."""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
PARTS = ("src", "include", "tests", "python", "bench", "examples", "tools")


@dataclasses.dataclass
class Count:
    passed: int = 0
    failed: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.passed + other.passed, self.failed + other.failed)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed"


def one(good: bool) -> Count:
    return Count(1, 0) if good else Count(0, 1)


def run(*command: object, env: dict[str, str] | None = None) -> tuple[bool, str]:
    words = [str(word) for word in command]
    result = subprocess.run(
        words,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if result.returncode != 0:
        print(f"$ {' '.join(words)}\n{result.stdout.rstrip()}\n-> exit code {result.returncode}")
    return result.returncode == 0, result.stdout


def sources(*suffixes: str) -> list[pathlib.Path]:
    return sorted(
        path for part in PARTS for path in (ROOT / part).rglob("*") if path.suffix in suffixes
    )


# --- what a test program's output says of how many tests it held --------------------------------

PASSED = re.compile(r"^\[  PASSED  \] (?:[^:\n]*: )?(\d+) test\(s\)", re.MULTILINE)
FAILED = re.compile(r"^ *(\d+) FAILED TEST\(S\)", re.MULTILINE)
SKIPPED = re.compile(r"^\[  SKIPPED \] (?!.*test\(s\))(\S+)", re.MULTILINE)
COUNT = re.compile(r"^(\d+) passed, (\d+) failed\s*$", re.MULTILINE)


def count_program(output: str, good: bool) -> Count:
    """Counts what cmocka or a last line "N passed, M failed" tells, else the program as one test.
    A program that failed without telling a failure (a crash, a leak) is a failure more, and so is
    one that ran no test."""
    passed, failed, lines = PASSED.findall(output), FAILED.findall(output), COUNT.findall(output)
    if not (passed or failed or lines):
        return one(good)
    count = Count(sum(map(int, passed)), sum(map(int, failed)))
    if lines:
        count += Count(int(lines[-1][0]), int(lines[-1][1]))
    if not good and count.failed == 0:
        count.failed += 1
    if count == Count() and not SKIPPED.search(output):
        count.failed += 1
    return count


# --- Meson builds -------------------------------------------------------------------------------


def build(name: str, *options: str) -> bool:
    """Builds in build/<name>; a folder that was set up with these options is used again."""
    folder = BUILD / name
    stamp = folder / "check-options"
    wanted = "\n".join((str(ROOT), *options))
    if not (stamp.is_file() and stamp.read_text() == wanted):
        again = ["--wipe"] if (folder / "build.ninja").exists() else []
        if not run("meson", "setup", *again, *options, folder)[0]:
            return False
        stamp.write_text(wanted)
    return run("ninja", "-C", folder)[0]


def meson_tests(name: str, env: dict[str, str] | None = None) -> Count:
    """Runs the tests of build/<name> and counts what is inside the programs."""
    folder = BUILD / name
    log = folder / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    good, _ = run(
        "meson", "test", "-C", folder, "--no-rebuild", "--print-errorlogs", "-t", "4", env=env
    )
    if not log.is_file():
        print(f"{log} is missing: no test ran")
        return Count(0, 1)
    total = Count()
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        test = json.loads(line)
        output = f"{test.get('stdout', '')}\n{test.get('stderr', '')}"
        count = count_program(output, test["result"] in ("OK", "EXPECTEDFAIL"))
        for name_ in SKIPPED.findall(output):
            print(f"not on this hardware: {test['name']}: {name_}")
        if count.failed:
            print(f"{test['name']}: {count}, {test['result']}")
        total += count
    if not good and total.failed == 0 or total == Count():
        total.failed += 1
    return total


def built_and_tested(name: str, *options: str, env: dict[str, str] | None = None) -> Count:
    if not build(name, *options):
        return Count(0, 1)
    return Count(1, 0) + meson_tests(name, env)


# --- the stages ---------------------------------------------------------------------------------


def unit_files(*names: str) -> Count:
    good, output = run(sys.executable, "-I", ROOT / "tools/run_tests.py", *names)
    return count_program(output, good)


def check_format() -> Count:
    files = sources(".c", ".h")

    def formatted(path: pathlib.Path) -> bool:
        return run("clang-format", "--dry-run", "-Werror", path)[0]

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        good = list(pool.map(formatted, files))
    count = Count(sum(good), len(good) - sum(good))
    for path in sources(".c", ".h", ".py", ".sh", ".pyi", ".build"):
        with open(path, encoding="utf-8") as file:
            head = [file.readline(), file.readline()]
        if not any("SPDX-License-Identifier: Apache-2.0" in line for line in head):
            print(f"{path}: the first line is no SPDX line")
            count.failed += 1
    return count if files else Count(0, 1)


def check_rooms() -> Count:
    return unit_files("tests/house/test_rooms.py", "tests/house/test_counting.py")


def check_headers() -> Count:
    return unit_files("tests/house/test_headers.py")


def check_warnings() -> Count:
    return one(build("warnings", "--buildtype=debugoptimized", "-Dwerror=true", "-Dpython=true"))


def check_sanitizers() -> Count:
    return built_and_tested(
        "sanitize",
        "--buildtype=debugoptimized",
        "-Db_sanitize=address,undefined",
        "-Db_lundef=false",
        "-Dc_args=-fno-sanitize-recover=all",
        env={
            "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        },
    )


def check_release() -> Count:
    return built_and_tested("release", "--buildtype=release")


def check_symbols() -> Count:
    if not build("release", "--buildtype=release"):
        return Count(0, 1)
    return unit_files("tests/house/test_symbols.py")


def check_readme() -> Count:
    return unit_files("tests/house/test_readme.py")


def check_python() -> Count:
    files = sorted(path.relative_to(ROOT) for path in (ROOT / "tests/python").glob("test_*.py"))
    return unit_files(*map(str, files))


@dataclasses.dataclass
class Stage:
    name: str
    fast: bool
    function: Callable[[], Count]
    what: str


STAGES = [
    Stage("format", True, check_format, "clang-format finds nothing to change; SPDX lines"),
    Stage("rooms", True, check_rooms, "includes follow the table in ARCHITECTURE.md"),
    Stage("headers", True, check_headers, "headers alone, public ones as C99 ... C++11"),
    Stage("release", True, check_release, "release build with all tests"),
    Stage("symbols", False, check_symbols, "what the libraries export, need and never call"),
    Stage("warnings", False, check_warnings, "build with warnings as errors"),
    Stage("sanitize", False, check_sanitizers, "address and undefined sanitizers, all tests"),
    Stage("python", False, check_python, "the installed Python package"),
    Stage("readme", False, check_readme, "the README's commands, with the installed command"),
]


def chosen(words: list[str]) -> list[Stage]:
    if not words:
        return STAGES
    if words == ["fast"]:
        return [stage for stage in STAGES if stage.fast]
    known = {stage.name: stage for stage in STAGES}
    for word in words:
        if word not in known:
            sys.exit(f"check: unknown stage '{word}'; known: fast, {', '.join(known)}")
    return [known[word] for word in words]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="./check", description="Runs all checks and tests, or the stages that are named."
    )
    parser.add_argument("--list", action="store_true", help="show the stages")
    parser.add_argument("stage", nargs="*", help="'fast', or names of stages; all when none")
    arguments = parser.parse_args()
    if arguments.list:
        for stage in STAGES:
            print(f"{stage.name:<10}{'fast' if stage.fast else '':<6}{stage.what}")
        return 0
    done: list[tuple[Stage, float, Count]] = []
    for stage in chosen(arguments.stage):
        print(f"== {stage.name}: {stage.what}", flush=True)
        start = time.monotonic()
        try:
            count = stage.function()
        except Exception as error:  # a broken check is a failed check, and the others still run
            print(f"{type(error).__name__}: {error}")
            count = Count(0, 1)
        if count == Count():
            print("there was nothing to check")
            count = Count(0, 1)
        done.append((stage, time.monotonic() - start, count))
        print(f"   {count}, {done[-1][1]:.1f} s", flush=True)
    print()
    for stage, seconds, count in done:
        verdict = "FAILED" if count.failed else "ok"
        print(f"{stage.name:<10}{seconds:>7.1f} s  {str(count):<26}{verdict}")
    total = sum((count for _, _, count in done), Count())
    print(f"{'all':<10}{sum(seconds for _, seconds, _ in done):>7.1f} s")
    print(total)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
