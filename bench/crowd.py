#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a crowd does to `backprobe serve` and to the training that it shows:
    bench/crowd.py BACKPROBE

1,000 connections that say half a request, 200 event streams and 50 clients that read a byte now and
then stay while a training runs; those that the server drops come again. All the time a new client asks
for the page, the list of runs and a tile. Told are the new client's times, without and with the crowd,
in turns; and whether the training was the one that runs alone, bit for bit. JSON lines, then a table."""

import argparse
import asyncio
import http.client
import json
import multiprocessing
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable

NETWORK = pathlib.Path(__file__).resolve().parents[1] / "examples/vanishing.yaml"
ADDRESS = re.compile(r"http://([\d.]+):(\d+)/\?token=(\S+)")
PATIENCE_S = 60.0
COLUMNS = ("client", "asks for", "n", "median ms", "99% ms", "max ms")


class Server:
    def __init__(self, command: str, folder: pathlib.Path) -> None:
        self.process = subprocess.Popen([command, "serve", folder, "--port", "0"],
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = ""
        while (found := ADDRESS.search(said)) is None:
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit(f"crowd: serve ended: {said}")
            said += line
        self.host, self.port, self.token = found[1], int(found[2]), found[3]
        self.cookie = self.log_in()

    def log_in(self) -> str:
        answer, _ = self.ask(f"/?token={urllib.parse.quote(self.token)}")
        return answer.getheader("Set-Cookie", "").split(";")[0]

    def ask(self, path: str, headers: dict[str, str] | None = None) -> tuple[http.client.HTTPResponse, bytes]:
        """A connection of its own, as a new client has it."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE_S)
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, body

    def timed(self, path: str) -> float:
        start = time.perf_counter()
        answer, _ = self.ask(path, {"Cookie": self.cookie})
        seconds = time.perf_counter() - start
        if answer.status != 200:
            raise SystemExit(f"crowd: a new client got {answer.status} for {path}")
        return seconds

    def run_id(self, name: str) -> str:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            _, body = self.ask("/api/runs", {"Cookie": self.cookie})
            for run in json.loads(body)["runs"]:
                if run["name"] == name:
                    return run["id"]
            time.sleep(0.05)
        raise SystemExit(f"crowd: the server does not list {name}")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_S)


class Crowd:
    """In a process of its own, so that it shares no interpreter with the new client."""

    def __init__(self, server: Server, run: str, sizes: dict[str, int]) -> None:
        self.server, self.run, self.sizes = server, run, sizes
        self.here = multiprocessing.Value("i", 0)  # connected just now
        self.dropped = multiprocessing.Value("i", 0)
        self.heard = multiprocessing.Array("i", max(sizes["streams"], 1))  # events, a stream
        self.process = multiprocessing.Process(target=self.act, daemon=True)

    def act(self) -> None:
        asyncio.run(self.gather())

    async def gather(self) -> None:
        roles = {"half_open": self.half_open, "streams": self.stream, "slow": self.slow}
        await asyncio.gather(*(self.member(roles[name], i) for name, n in self.sizes.items() for i in range(n)))

    async def member(self, role, index: int) -> None:
        """Comes again when it was sent away."""
        while True:
            try:
                reader, writer = await asyncio.open_connection(self.server.host, self.server.port, limit=4096)
                self.here.value += 1
                try:
                    await role(reader, writer, index)
                finally:
                    self.here.value -= 1
                    writer.close()
            except (OSError, ValueError):
                pass
            self.dropped.value += 1
            await asyncio.sleep(0.5)

    def request(self, path: str) -> bytes:
        return (f"GET {path} HTTP/1.1\r\nHost: {self.server.host}:{self.server.port}\r\n"
                f"Cookie: {self.server.cookie}\r\n\r\n").encode()

    async def half_open(self, reader, writer, _: int) -> None:
        writer.write(b"GET /api/runs HTTP/1.1\r\nHos")
        await reader.read()

    async def stream(self, reader, writer, index: int) -> None:
        writer.write(self.request(f"/api/events?run={self.run}"))
        while line := await reader.readline():
            self.heard[index] += line.startswith(b"data:")

    async def slow(self, reader, writer, _: int) -> None:
        writer.write(self.request(f"/api/runs/{self.run}"))
        while await reader.read(1):
            await asyncio.sleep(0.2)

    def __enter__(self) -> "Crowd":
        self.process.start()
        wanted, deadline = sum(self.sizes.values()), time.monotonic() + PATIENCE_S
        while self.here.value < 0.9 * wanted and time.monotonic() < deadline:
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.join()


class Training:
    def __init__(self, command: str, folder: pathlib.Path, epochs: int) -> None:
        self.folder = folder
        self.process = subprocess.Popen([command, "train", NETWORK, "--every", "1", "--quiet", "--epochs",
                                         str(epochs), "--run", folder], stdout=subprocess.DEVNULL)

    def seconds(self, start: float) -> float:
        code = self.process.wait()
        if code not in (0, 1):  # 1: it trained, and what it trained vanishes
            raise SystemExit(f"crowd: the training ended with {code}")
        return time.perf_counter() - start

    def weights(self) -> bytes:
        return (self.folder / "weights.safetensors").read_bytes()


def ask_in_turns(server: Server, run: str, still: Callable[[], bool], most: int) -> dict[str, list[float]]:
    paths = {"the page": "/", "the list": "/api/runs", "a tile": f"/api/runs/{run}/tile?series=gradient_rms"}
    times: dict[str, list[float]] = {name: [] for name in paths}
    while still() and len(times["the page"]) < most:
        for name, path in paths.items():
            times[name].append(1e3 * server.timed(path))
        time.sleep(0.02)
    return times


def lines_of(client: str, times: dict[str, list[float]]) -> list[dict[str, object]]:
    found = []
    for name, all_ in times.items():
        ordered = sorted(all_)
        found.append({"bench": "crowd", "client": client, "asks": name, "n": len(ordered),
                      "median_ms": statistics.median(ordered),
                      "p99_ms": ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
                      "max_ms": ordered[-1]})
    return found


def measure(arguments: argparse.Namespace, folder: pathlib.Path) -> list[dict[str, object]]:
    sizes = {"half_open": arguments.half_open, "streams": arguments.streams, "slow": arguments.slow}
    runs = folder / "runs"
    runs.mkdir()
    start = time.perf_counter()
    alone = Training(arguments.backprobe, folder / "alone", arguments.epochs)
    alone_s = alone.seconds(start)

    lines: list[dict[str, object]] = []
    start = time.perf_counter()
    watched = Training(arguments.backprobe, runs / "watched", arguments.epochs)
    server = Server(arguments.backprobe, runs)
    try:
        run = server.run_id("watched")
        running = lambda: watched.process.poll() is None
        lines += lines_of("alone", ask_in_turns(server, run, running, arguments.asks))
        with Crowd(server, run, sizes) as crowd:
            here = crowd.here.value
            lines += lines_of("in the crowd", ask_in_turns(server, run, running, arguments.asks))
            in_crowd = watched.process.poll() is None
            watched_s = watched.seconds(start)
            time.sleep(1)
            heard = list(crowd.heard)[: arguments.streams]
            lines.append({"bench": "crowd", "connected": here, "wanted": sum(sizes.values()),
                          "dropped": crowd.dropped.value, "streams": arguments.streams,
                          "streams_that_heard": sum(n > 0 for n in heard),
                          "events_of_a_stream": statistics.median(heard) if heard else 0})
        same = subprocess.run([arguments.backprobe, "diff", folder / "alone", runs / "watched"],
                              capture_output=True, check=False).returncode == 0
        lines.append({"bench": "crowd", "training_ran_on": in_crowd, "alone_s": alone_s, "watched_s": watched_s,
                      "log_is_the_same": same, "weights_are_the_same": alone.weights() == watched.weights()})
    finally:
        server.close()
    return lines


def table(lines: list[dict[str, object]]) -> str:
    rows = [COLUMNS, tuple("---" for _ in COLUMNS)]
    rows += [(line["client"], line["asks"], line["n"], *(f"{line[key]:.1f}" for key in
             ("median_ms", "p99_ms", "max_ms"))) for line in lines if "client" in line]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backprobe", help="the command, of a release build")
    parser.add_argument("--half-open", type=int, default=1000)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--slow", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=400, help="of the training: it should outlast the asking")
    parser.add_argument("--asks", type=int, default=100, help="rounds of a new client")
    arguments = parser.parse_args()
    wanted = arguments.half_open + arguments.streams + arguments.slow + 100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(wanted, hard)), hard))
    with tempfile.TemporaryDirectory(prefix="backprobe-crowd-") as folder:
        lines = measure(arguments, pathlib.Path(folder))
    for line in lines:
        print(json.dumps(line))
    print(table(lines))


if __name__ == "__main__":
    main()
