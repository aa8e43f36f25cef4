# SPDX-License-Identifier: Apache-2.0
"""The stages of ./check. Every stage runs, also after a failure; the last line counts all tests."""

import argparse
import concurrent.futures
import dataclasses
import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
SPDX = "SPDX-License-Identifier: Apache-2.0"
# Whole programs on a terminal and long series of damage; not for `./check fast`.
SLOW_SUITES = ("cli", "slow")
MOST_PAGE_BYTES = 100_000  # gzipped
PARTS = ("src", "include", "tests", "python", "bench", "examples", "tools", "web")


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
        path for part in PARTS for path in (ROOT / part).rglob("*")
        if path.suffix in suffixes and "node_modules" not in path.parts
    )


# --- what a test program's output says of how many tests it held --------------------------------

PASSED = re.compile(r"^\[  PASSED  \] (?:[^:\n]*: )?(\d+) test\(s\)", re.MULTILINE)
FAILED = re.compile(r"^ *(\d+) FAILED TEST\(S\)", re.MULTILINE)
SKIPPED = re.compile(r"^\[  SKIPPED \] (?!.*test\(s\))(\S+)", re.MULTILINE)
UNITTEST = re.compile(r"^Ran (\d+) tests? in .*\n\n(?:OK|FAILED) ?(.*)$", re.MULTILINE)
COUNT = re.compile(r"^(\d+) passed, (\d+) failed\s*$", re.MULTILINE)


def count_program(output: str, good: bool) -> Count:
    """Counts what cmocka, unittest or a last line "N passed, M failed" tells, else the program as
    one test. A program that failed without telling a failure (a crash, a leak) is a failure more,
    and so is one that ran no test."""
    passed, failed = PASSED.findall(output), FAILED.findall(output)
    lines, units = COUNT.findall(output), UNITTEST.findall(output)
    if not (passed or failed or lines or units):
        return one(good)
    count = Count(sum(map(int, passed)), sum(map(int, failed)))
    if lines:
        count += Count(int(lines[-1][0]), int(lines[-1][1]))
    elif units:
        ran, verdict = int(units[-1][0]), dict(re.findall(r"(\w+)=(\d+)", units[-1][1]))
        bad = sum(int(verdict.get(word, 0)) for word in ("failures", "errors"))
        count += Count(max(ran - bad - int(verdict.get("skipped", 0)), 0), bad)
    if not good and count.failed == 0:
        count.failed += 1
    if count == Count() and not SKIPPED.search(output):
        count.failed += 1
    return count


# --- Meson builds -------------------------------------------------------------------------------


def set_up(name: str, *options: str) -> bool:
    """Makes build/<name>; a folder that was set up with these options is used again."""
    folder = BUILD / name
    stamp = folder / "check-options"
    wanted = "\n".join((str(ROOT), *options))
    if not (stamp.is_file() and stamp.read_text() == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        if not run("meson", "setup", *options, folder)[0]:
            return False
        stamp.write_text(wanted)
    return True


def build(name: str, *options: str) -> bool:
    return set_up(name, *options) and run("ninja", "--quiet", "-k", "0", "-C", BUILD / name)[0]


def meson_tests(name: str, *choice: str, env: dict[str, str] | None = None,
                built: bool = True) -> Count:
    """Runs the tests of build/<name> and counts what is inside the programs; built False: those that
    are chosen are built before."""
    folder = BUILD / name
    log = folder / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    options = ["--quiet", "--print-errorlogs", "--timeout-multiplier", "4"]
    if built:
        options.append("--no-rebuild")
    good, _ = run("meson", "test", "-C", folder, *options, *choice, env=env)
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


# --- the stages ---------------------------------------------------------------------------------


def unit_files(*names: str) -> Count:
    good, output = run(sys.executable, "-I", ROOT / "tools/run_tests.py", *names)
    return count_program(output, good)


def check_format() -> Count:
    files = sources(".c", ".h")
    parts = [files[i :: os.cpu_count() or 1] for i in range(os.cpu_count() or 1)]

    def formatted(part: list[pathlib.Path]) -> bool:
        return not part or run("clang-format", "--dry-run", "-Werror", *part)[0]

    with concurrent.futures.ThreadPoolExecutor(len(parts)) as pool:
        count = one(bool(files) and all(list(pool.map(formatted, parts))))
    bare = []
    for path in sources(".c", ".h", ".py", ".sh", ".pyi", ".build", ".ts", ".tsx", ".mjs", ".css"):
        with open(path, encoding="utf-8") as file:
            if SPDX not in file.readline() + file.readline():
                bare.append(path)
    for path in bare:
        print(f"{path}: no line '{SPDX}' at its head")
    return count + one(not bare)


def check_rooms() -> Count:
    names = ("rooms", "counting", "documents", "page_format", "listed")
    return unit_files(*(f"tests/house/test_{name}.py" for name in names))


def check_headers() -> Count:
    return unit_files("tests/house/test_headers.py")


def build_warnings() -> bool:
    return build("warnings", "--buildtype=debugoptimized", "-Dwerror=true", "-Dpython=true")


def check_warnings() -> Count:
    return one(build_warnings())


def check_tidy() -> Count:
    """.clang-tidy names the checks. It reads the compile commands of the build with warnings."""
    if not build_warnings():
        return Count(0, 1)
    commands = json.loads((BUILD / "warnings/compile_commands.json").read_text())
    own = {ROOT / part for part in ("src", "python")}
    files = sorted(
        {(pathlib.Path(item["directory"]) / item["file"]).resolve() for item in commands}
    )
    files = [path for path in files if own & set(path.parents)]

    def tidy(path: pathlib.Path) -> bool:
        options = ("--quiet", "-p", BUILD / "warnings", "--warnings-as-errors=*")
        return run("clang-tidy", *options, path)[0]

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return one(bool(files) and all(list(pool.map(tidy, files))))


def check_sanitizers() -> Count:
    casts = "-fsanitize=float-cast-overflow"  # not part of gcc's `undefined`
    options = ["-Db_sanitize=address,undefined", f"-Dc_link_args={casts}"]
    options.append(f"-Dc_args=['-fno-sanitize-recover=all', '{casts}']")
    if not build("sanitize", "--buildtype=debugoptimized", "-Db_lundef=false", *options):
        return Count(0, 1)
    env = {
        "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    }
    # Whole trainings, series of kills and benches run through nothing that the other tests do not.
    left_out = ("learning", "kills", "bench")
    return one(True) + meson_tests("sanitize", *(f"--no-suite={name}" for name in left_out), env=env)


def check_threads() -> Count:
    """What runs beside a training: the tests in which threads meet."""
    # The loader picks among clones of a function before the sanitizer is awake: there are none.
    options = ("--buildtype=debugoptimized", "-Db_lundef=false", "-Db_sanitize=thread",
               "-Dc_args=-DBP_VECTORISED=")
    if not set_up("thread", *options):
        return Count(0, 1)
    env = {"TSAN_OPTIONS": "halt_on_error=1"}
    return meson_tests("thread", "--suite=threads", env=env, built=False)


def build_release() -> bool:
    return build("release", "--buildtype=release")


def check_release() -> Count:
    return one(True) + meson_tests("release") if build_release() else Count(0, 1)


def check_units() -> Count:
    if not build_release():
        return Count(0, 1)
    return one(True) + meson_tests("release", *(f"--no-suite={name}" for name in SLOW_SUITES))


def check_controls() -> Count:
    """One seed of what docs/evidence/controls.md has ten of."""
    if not build_release():
        return Count(0, 1)
    command = (ROOT / "tests/controls/run.py", BUILD / "release/src/backprobe")
    good, output = run(sys.executable, *command)
    return one(True) + count_program(output, good)


def check_mutants() -> Count:
    return unit_files("tests/house/test_mutate.py")


def check_symbols() -> Count:
    return unit_files("tests/house/test_symbols.py") if build_release() else Count(0, 1)


def check_install() -> Count:
    return unit_files("tests/house/test_install.py") if build_release() else Count(0, 1)


def check_readme() -> Count:
    return unit_files("tests/house/test_readme.py")


def check_python() -> Count:
    files = sorted(path.relative_to(ROOT) for path in (ROOT / "tests/python").glob("test_*.py"))
    return unit_files(*map(str, files))


def check_pytorch() -> Count:
    """A process for each file: what one does to torch's settings is not another's. One thread each,
    because that is what two cores and comparisons bit by bit want; nothing is fetched."""
    env = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline"}

    def tested(path: pathlib.Path) -> tuple[Count, float]:
        start = time.monotonic()
        good, output = run(sys.executable, "-I", ROOT / "tools/run_tests.py", path, env=env)
        return count_program(output, good), time.monotonic() - start

    files = sorted((ROOT / "tests/pytorch").glob("test_*.py"))
    if not files:
        return Count()
    files += [ROOT / f"bench/test_{name}.py" for name in ("watch", "accuracy_torch")]
    total = Count()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, (count, seconds) in zip(files, pool.map(tested, files)):
            print(f"{path.relative_to(ROOT)!s:<40}{count}, {seconds:.1f} s", flush=True)
            total += count
    return total


def page_is_as_its_sources() -> bool:
    """web/dist/page.html, which the command carries, is what web/ makes now, and small."""
    page, anew = ROOT / "web/dist/page.html", BUILD / "page/page.html"
    anew.unlink(missing_ok=True)
    vite = ("node", ROOT / "web/node_modules/vite/bin/vite.js", "build", ROOT / "web")
    if not run(*vite, "--outDir", anew.parent, "--emptyOutDir", "--logLevel", "warn")[0]:
        return False
    if not page.is_file() or page.read_bytes() != anew.read_bytes():
        print(f"{page} is not what web/ makes: run tools/page.sh, and build again")
        return False
    n_bytes = len(gzip.compress(page.read_bytes(), 9))
    if n_bytes > MOST_PAGE_BYTES:
        print(f"{page} has {n_bytes} bytes gzipped, more than {MOST_PAGE_BYTES}")
    return n_bytes <= MOST_PAGE_BYTES


def page_units() -> Count:
    """The unit tests that lie beside the page's sources."""
    good, output = run("npm", "--prefix", ROOT / "web", "--silent", "test", "--", "--reporter=json")
    found = re.search(r"^\{.*\}$", output, re.MULTILINE)
    told = json.loads(found[0]) if found else {}
    count = Count(told.get("numPassedTests", 0), told.get("numFailedTests", 0))
    return count if good and count.passed else count + one(False)


def check_browser() -> Count:
    if not build_release():
        return Count(0, 1)
    count = one(page_is_as_its_sources()) + page_units()
    good, output = run("node", ROOT / "tests/browser/run.mjs", "--backprobe",
                       BUILD / "release/src/backprobe", "--python", sys.executable)
    return count + count_program(output, good)


@dataclasses.dataclass
class Stage:
    name: str
    function: Callable[[], Count]
    what: str
    torch: bool = False  # ./check installs it first
    browser: bool = False  # likewise


STAGES = [
    Stage("format", check_format, "clang-format finds nothing to change; SPDX lines"),
    Stage("rooms", check_rooms, "includes follow ARCHITECTURE.md; documents; no test is forgotten"),
    Stage("headers", check_headers, "headers alone, public ones as C99 ... C++11"),
    Stage("units", check_units, f"release build, tests but the suites {', '.join(SLOW_SUITES)}"),
    Stage("release", check_release, "release build, all tests"),
    Stage("controls", check_controls, "control networks: the sick are found, the healthy are silent"),
    Stage("mutants", check_mutants, "tools/mutate.py tells what a planted test does not notice"),
    Stage("symbols", check_symbols, "what the libraries export, need and never call"),
    Stage("install", check_install, "a program that knows pkg-config alone"),
    Stage("warnings", check_warnings, "build with warnings as errors"),
    Stage("tidy", check_tidy, "clang-tidy finds nothing in the library, the command, the binding"),
    Stage("sanitize", check_sanitizers, "address, undefined sanitizers; not learning, kills, benches"),
    Stage("threads", check_threads, "thread sanitizer, the tests in which threads meet"),
    Stage("python", check_python, "the installed Python package"),
    Stage("pytorch", check_pytorch, "the installed Python package watches PyTorch", torch=True),
    Stage("readme", check_readme, "the README's commands, with the installed command",
          torch="import torch" in (ROOT / "README.md").read_text(encoding="utf-8")),
    Stage("browser", check_browser, "the page in Chromium, live and as a report; its unit tests",
          torch=True, browser=True),
]
# `release` holds all of `units`: one of them is enough.
FAST = ("format", "rooms", "headers", "units")
FULL = tuple(stage.name for stage in STAGES if stage.name != "units")


def chosen(words: list[str]) -> list[Stage]:
    known = {stage.name: stage for stage in STAGES}
    names = FULL if not words else FAST if words == ["fast"] else words
    for name in names:
        if name not in known:
            sys.exit(f"check: unknown stage '{name}'; known: fast, {', '.join(known)}")
    return [known[name] for name in names]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="./check", description="Runs all checks and tests, or the stages that are named."
    )
    parser.add_argument("--list", action="store_true", help="show the stages")
    # For ./check itself: exits with 0 when a stage that is chosen needs it.
    parser.add_argument("--needs", choices=("torch", "browser"), help=argparse.SUPPRESS)
    parser.add_argument("stage", nargs="*", help="'fast', or names of stages; all when none")
    arguments = parser.parse_args()
    if arguments.list:
        for stage in STAGES:
            print(f"{stage.name:<10}{'fast' if stage.name in FAST else '':<6}{stage.what}")
        return 0
    if arguments.needs:
        return 0 if any(getattr(stage, arguments.needs) for stage in chosen(arguments.stage)) else 1
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
