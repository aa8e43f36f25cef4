#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The page on a run too large for any screen: 1,000 layers, 1,000,000 steps, one step of one layer with a NaN.

  ninja -C BUILD bench/panorama src/backprobe    # a release build
  bench/panorama.py BUILD [--dense]              # needs Node, tests/browser's packages, Chromium

Writes the run into a temporary folder (0.6 GB, and as much again for one like it without the NaN), and asks: how
long each series' pyramid takes to build, to open, and a tile of 1,600 columns to make; whether the bad step is in the tiles at
every zoom; how long `backprobe serve` takes to answer and what memory it has; how long the page takes
to show the run and to zoom, what memory it has, and whether the bad step is in its pixels (compared with the run that is
the same without it); how long a list of 500 runs takes. JSON lines to stdout, then tables; docs/evidence/page.md is
one of them. --dense also writes a log of a value of each layer at every step, thinned to 2 GB as it comes."""

import argparse
import http.client
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
SERIES = ["gradient_rms", "gain", "update_ratio", "dead_fraction", "non_finite", "loss"]
ADDRESS = re.compile(r"http://([\d.]+):(\d+)/\?token=(\S+)")
TARGETS = {"first view": 1000, "zoom": 100, "page": 200, "server": 128}


def tell(**result):
    print(json.dumps(result), flush=True)
    return result


def lines_of(command):
    """Of its standard output, as they come."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            yield json.loads(line)
    if process.returncode != 0:
        raise SystemExit(f"panorama: {command[0]} ended with {process.returncode}")


class Server:
    def __init__(self, command, folder):
        began = time.perf_counter()
        self.process = subprocess.Popen([command, "serve", folder, "--port", "0"], stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        said = ""
        while (found := ADDRESS.search(said)) is None:
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit(f"panorama: serve ended: {said}")
            said += line
        self.url, self.host, self.port = found[0], found[1], int(found[2])
        self.started_ms = 1e3 * (time.perf_counter() - began)
        self.cookie = self.answer(f"/?token={found[3]}")[0].getheader("Set-Cookie", "").split(";")[0]

    def answer(self, path):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=300)
        connection.request("GET", path, headers={"Cookie": self.cookie} if hasattr(self, "cookie") else {})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, body

    def ask(self, path):
        """(milliseconds, body) of a new client; 503 means to come again."""
        began = time.perf_counter()
        while True:
            answer, body = self.answer(path)
            if answer.status != 503:
                break
            time.sleep(0.02)
        if answer.status != 200:
            raise SystemExit(f"panorama: {answer.status} for {path}: {body[:200]}")
        return 1e3 * (time.perf_counter() - began), body

    def ids(self, n):
        """name → id, once n runs are listed."""
        for _ in range(600):
            runs = json.loads(self.ask("/api/runs")[1])["runs"]
            if len(runs) >= n:
                return {run["name"]: run["id"] for run in runs}
            time.sleep(0.1)
        raise SystemExit(f"panorama: {len(runs)} runs are listed, {n} are there")

    def memory_mb(self):
        """(now, at most)"""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return tuple(int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1e3 for name in ("VmRSS", "VmHWM"))

    def close(self):
        self.process.terminate()
        self.process.wait(60)


def forget(folder):
    """What is derived from the runs' logs."""
    for pyramid in folder.glob("**/pyramid"):
        shutil.rmtree(pyramid)


class Bench:
    def __init__(self, options, folder, temporary):
        self.options, self.folder, self.temporary = options, folder, temporary
        self.program = options.build / "bench/panorama"
        self.command = options.build / "src/backprobe"
        self.bad_step = options.steps * 6543 // 10000 // options.every * options.every
        self.bad_layer = options.layers * 7 // 10
        self.results = []

    def take(self, command, **more):
        for line in lines_of([str(word) for word in command]):
            self.results.append({**line, **more})

    def add(self, **result):
        self.results.append(tell(**result))

    def write(self, name, layers, steps, every, bad_step, bad_layer):
        run = self.folder / name
        if run.exists():
            return run
        run.mkdir(parents=True)
        subprocess.run([self.program, "write", run, *map(str, (layers, steps, every, bad_step, bad_layer))], check=True)
        return run

    def of(self, **wanted):
        return [r for r in self.results if all(r.get(key) == value for key, value in wanted.items())]

    # --- what is asked

    def tiles(self, run, rounds):
        forget(run)
        self.take([self.program, "look", run, self.bad_step, self.bad_layer, self.options.columns, rounds, *SERIES])

    def serve(self):
        """Cold (nothing is derived yet), then warm."""
        for state in ("cold", "warm"):
            if state == "cold":
                forget(self.folder)
            server = Server(self.command, self.folder)
            names = server.ids(2)
            run, last = names["big"], self.options.steps - 1
            tile = f"/api/runs/{run}/tile?series=gradient_rms&first=0&last={last}&columns={self.options.columns}"
            for what, path in (("document", f"/api/runs/{run}"), ("tile", tile), ("tile again", tile)):
                self.add(serve=what, state=state, ms=server.ask(path)[0])
            self.read_all(server, run, state)
            now, most = server.memory_mb()
            self.add(serve="memory", state=state, now_mb=now, most_mb=most)
            server.close()

    def read_all(self, server, run, state):
        """Until the findings rest on the whole log."""
        began = time.perf_counter()
        while json.loads(server.ask(f"/api/runs/{run}")[1])["read_fraction"] < 1:
            time.sleep(0.5)
            if time.perf_counter() - began > 1200:
                raise SystemExit("panorama: the log is never read to its end")
        self.add(serve="all read", state=state, ms=1e3 * (time.perf_counter() - began))

    def browse(self, server, names, **more):
        job = {"url": server.url, "run": names["big"], "twin": names["twin"], "badStep": self.bad_step,
               "badLayer": self.bad_layer, "zooms": self.options.zooms, "rounds": self.options.rounds, **more}
        self.take(["node", ROOT / "bench/panorama.mjs", json.dumps(job)])

    def page(self):
        """With a server that has just begun (pyramids are there), and with one that has read it all."""
        server = Server(self.command, self.folder)
        names = server.ids(2)
        self.browse(server, names, rounds=1, fresh=True)
        for run in names.values():
            self.read_all(server, run, "page")
        self.browse(server, names)
        now, most = server.memory_mb()
        self.add(serve="memory", state="with the page", now_mb=now, most_mb=most)
        server.close()

    def many(self):
        """A list of many runs."""
        folder = self.temporary / "many"
        first = folder / "run-000"
        first.mkdir(parents=True)
        subprocess.run([self.program, "write", first, "8", "500", "10", "100", "3"], check=True)
        for i in range(1, self.options.runs):
            shutil.copytree(first, folder / f"run-{i:03}")
        server = Server(self.command, folder)
        began = time.perf_counter()
        server.ids(self.options.runs)
        self.add(serve="all listed", ms=1e3 * (time.perf_counter() - began), runs=self.options.runs)
        for _ in range(self.options.rounds):
            self.add(serve="list", ms=server.ask("/api/runs")[0], runs=self.options.runs)
        now, most = server.memory_mb()
        self.add(serve="memory", state="many", now_mb=now, most_mb=most)
        server.close()

    def dense(self):
        run = self.temporary / "dense"
        run.mkdir()
        began = time.perf_counter()
        bad_step = self.bad_step + self.options.every // 2
        subprocess.run([self.program, "dense", run, *map(str, (self.options.layers, self.options.steps, bad_step,
                                                               self.bad_layer))], check=True)
        size = sum(path.stat().st_size for path in run.glob("*.bplog"))
        self.add(dense="written", s=time.perf_counter() - began, gb=size / 1e9)
        self.take([self.program, "look", run, bad_step, self.bad_layer, self.options.columns, 3, "gradient_rms"],
                  dense="look")
        shutil.rmtree(run)


# --- the table ------------------------------------------------------------------------------------


def spread(values, digits=3):
    """median (smallest–largest)"""
    values = [float(f"{value:.{digits}g}") for value in values]
    middle = float(f"{statistics.median(values):.{digits}g}")
    return f"{middle:,g} ({min(values):,g}–{max(values):,g})" if len(values) > 1 else f"{middle:,g}"


def met(values, most):
    return "met" if values and statistics.median(values) <= most else "**missed**"


def tables(bench):
    of, options = bench.of, bench.options
    if of(look="whole"):
        yield "| series | pyramid built, s (CPU) | opened, ms | tile of the whole run, ms | of it CPU, ms | MB |"
        yield "| --- | --- | --- | --- | --- | --- |"
    for series in SERIES:
        if not (whole := [r for r in of(look="whole", series=series) if "dense" not in r]):
            continue
        yield (f"| {series} | {whole[0]['build_s']:.2f} ({whole[0]['build_cpu_s']:.2f}) | {whole[0]['open_ms']:.1f} | {spread([r['tile_ms'] for r in whole])} | "
               f"{spread([r['tile_cpu_ms'] for r in whole])} | {whole[0]['bytes'] / 1e6:.1f} |")
    zooms = [r for r in of(look="zoom") if "dense" not in r]
    if zooms:
        yield f"\nThe bad step is in {sum(r['bad_step'] for r in zooms)} of {len(zooms)} tiles around it, and nothing else is.\n"
    if dense := of(dense="look", look="whole"):
        written, zooms = of(dense="written")[0], of(dense="look", look="zoom")
        yield (f"Dense: {written['gb']:.2f} GB, written and thinned in {written['s']:.0f} s; pyramid built in {dense[0]['build_s']:.1f} s, "
               f"tile {spread([r['tile_ms'] for r in dense])} ms; the bad step is in {sum(r['bad_step'] for r in zooms)} of "
               f"{len(zooms)} tiles.\n")
    yield "| of the page and the server | measured | target | |"
    yield "| --- | --- | --- | --- |"
    rows = [("first view: map painted, ms", [r["painted_ms"] for r in of(page="first view")], TARGETS["first view"]),
            ("first view, server just begun: map painted, ms", [r["painted_ms"] for r in of(page="first view, server new")],
             TARGETS["first view"]),
            ("first view: all panels there, ms", [r["settled_ms"] for r in of(page="first view")], None),
            ("zoom: picture follows, ms", [r["repainted_ms"] for r in of(page="zoom")], TARGETS["zoom"]),
            ("zoom: finer tile painted, ms", [r["sharp_ms"] for r in of(page="zoom")], None),
            ("pan: picture follows, ms", [r["repainted_ms"] for r in of(page="pan")], TARGETS["zoom"]),
            ("page: memory that it holds, MB", [r["held_mb"] for r in of(page="memory")], TARGETS["page"]),
            ("page: its process with Chromium's own, MB", [r["renderer_mb"] for r in of(page="memory")], TARGETS["page"]),
            ("server: memory at most, MB", [r["most_mb"] for r in of(serve="memory")], TARGETS["server"]),
            (f"list of {options.runs} runs, ms", [r["ms"] for r in of(serve="list")], None)]
    for state in ("cold", "warm"):
        for what in ("document", "tile", "tile again", "all read"):
            rows.append((f"server, {state}: {what}, ms", [r["ms"] for r in of(serve=what, state=state)], None))
    for what, values, target in rows:
        if values:
            yield f"| {what} | {spread(values)} | {f'≤ {target:,}' if target else ''} | {met(values, target) if target else ''} |"
    pixels = of(page="pixels")
    if pixels:
        yield f"\nThe bad step is in the page's pixels at {sum(r['seen'] for r in pixels)} of {len(pixels)} zooms."


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    for name, value in (("layers", 1000), ("steps", 1_000_000), ("every", 100), ("columns", 1600), ("rounds", 5),
                        ("zooms", 12), ("runs", 500)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--dense", action="store_true")
    parser.add_argument("--only", choices=("tiles", "serve", "page", "many", "dense"), help="one of the questions")
    parser.add_argument("--folder", type=pathlib.Path, help="write the runs below this one, and leave them there "
                        "for the next time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="panorama-") as temporary:
        bench = Bench(options, (options.folder or pathlib.Path(temporary)) / "runs", pathlib.Path(temporary))
        size = (options.layers, options.steps, options.every)
        only = options.only
        if only != "dense":
            run = bench.write("big", *size, bench.bad_step, bench.bad_layer)
            bench.write("twin", *size, options.steps * 2, 0)
        if only in (None, "tiles"):
            bench.tiles(run, options.rounds)
        if only in (None, "serve"):
            bench.serve()
        if only in (None, "page"):
            bench.page()
        if only in (None, "many"):
            bench.many()
        if only == "dense" or (options.dense and only is None):
            bench.dense()
        load = os.getloadavg()
        tell(load=load)
        print("\n".join(tables(bench)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
