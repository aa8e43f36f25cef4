# SPDX-License-Identifier: Apache-2.0
"""`backprobe serve` over real runs: every endpoint, every rule by which a request is refused, events while
a training goes on. A crowd of clients is bench/crowd.py's, browsers are tests/browser's."""

import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

COMMAND = os.environ["BACKPROBE"]
VANISHING = """version: 1
data: digits
net: [16 x dense 16 sigmoid, dense 10]
init: pytorch_default
train: {learning_rate: 0.1, epochs: 2}
"""
HEALTHY = """version: 1
data: digits
net: [2 x dense 16 relu, dense 10]
init: he
train: {learning_rate: 0.1, epochs: 3}
"""
PATIENCE = 60
ADDRESS = re.compile(r"^http://(127\.0\.0\.1:(\d+))/\?token=([0-9A-Za-z_-]+)\n$")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Server:
    def __init__(self, folder, *options, port="0"):
        self.process = subprocess.Popen([COMMAND, "serve", folder, "--port", port, *options],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        found = ADDRESS.match(self.process.stdout.readline())
        assert found, self.process.communicate()
        self.host, self.port, self.token = found[1], int(found[2]), found[3]
        self.cookie = f"backprobe_{self.port}={self.token}"

    def close(self, number=signal.SIGTERM, code=0):
        self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == code, (self.process.returncode, errors)
        for word in ("Sanitizer", "runtime error:", "Assertion"):
            assert word not in errors, errors
        return out, errors

    def ask(self, path, method="GET", **headers):
        """An answer of a connection of its own: status, headers, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        given = {"Host": self.host, "Cookie": self.cookie}
        given.update({name.replace("_", "-"): value for name, value in headers.items()})
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in given.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers, body

    def json(self, path):
        status, headers, body = self.ask(path)
        assert status == 200, (path, status, body)
        assert headers["Content-Type"] == "application/json"
        return json.loads(body)

    def raw(self, *parts, pause=0.0):
        """These bytes, and all that comes back until the other side closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as file:
            answer = b""
            try:
                for part in parts:
                    file.sendall(part)
                    time.sleep(pause)
                while chunk := file.recv(65536):
                    answer += chunk
            except (ConnectionResetError, BrokenPipeError):
                pass  # it had enough
            return answer

    def head(self, line, *headers, host=True, cookie=True):
        lines = [line]
        if host:
            lines.append(f"Host: {self.host}")
        if cookie:
            lines.append(f"Cookie: {self.cookie}")
        return ("\r\n".join([*lines, "Connection: close", *headers]) + "\r\n\r\n").encode("latin-1")

    def peak_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])


def status_of(answer):
    found = re.match(rb"HTTP/1\.1 (\d+) ", answer)
    return int(found[1]) if found else None


def tile_of(body):
    """As the page reads it; src/report/tile.h has the format."""
    magic, codec, rows, columns, last, octave, _ = struct.unpack_from("<4sIIIqiI", body)
    assert magic == b"BPT1"
    starts = struct.unpack_from(f"<{columns + 1}d", body, 32)
    size = {0: 2, 1: 8}[codec]
    plane, flags = (-(-n * rows * columns // 8) * 8 for n in (size, 1))
    assert len(body) == 32 + 8 * (columns + 1) + 3 * plane + flags, len(body)
    place = 32 + 8 * (columns + 1)
    values = struct.unpack_from(f"<{rows * columns}{'H' if codec == 0 else 'd'}", body, place)
    return {"rows": rows, "columns": columns, "last": last, "octave": octave, "starts": starts,
            "mean": [values[i * columns:(i + 1) * columns] for i in range(rows)], "codec": codec}


def train(folder, run, text, *options):
    net = folder / "net.yaml"
    net.write_text(text)
    done = subprocess.run([COMMAND, "train", net, "--quiet", "--every", "1", "--run", folder / "runs" / run,
                           "--fail-on", "never", *options], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


class ServeTest(unittest.TestCase):
    """One server over runs that all tests look at; those that change something have their own."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="backprobe-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.runs = cls.folder / "runs"
        cls.runs.mkdir()
        train(cls.folder, "sick", VANISHING)
        train(cls.folder, "group/<b>well", HEALTHY)
        (cls.runs / "broken").mkdir()
        (cls.runs / "broken/log-000001.bplog").write_bytes(b"no log at all\n" * 100)
        cls.server = Server(cls.runs)
        cls.addClassCleanup(cls.server.close)
        cls.ids = {run["name"]: run["id"] for run in cls.server.json("/api/runs")["runs"]}

    def tile(self, name, query):
        status, headers, body = self.server.ask(f"/api/runs/{self.ids[name]}/{query}")
        self.assertEqual(status, 200, body)
        self.assertEqual(headers["Content-Type"], "application/octet-stream")
        return tile_of(body)


class Answers(ServeTest):
    def test_the_list(self):
        told = self.server.json("/api/runs")
        self.assertEqual(told["schema"], "backprobe.runs/1")
        self.assertEqual(told["folder"], "runs")
        self.assertEqual([run["name"] for run in told["runs"]], ["broken", "group/<b>well", "sick"])
        broken, well, sick = told["runs"]
        self.assertEqual((sick["severity"], sick["problem"], sick["end"], sick["n_findings"]),
                         ("error", "vanishing-gradient", "finished", 1))
        self.assertEqual((well["severity"], well["end"], well["n_findings"]), (None, "finished", 0))
        self.assertEqual((broken["severity"], broken["end"], broken["last_step"]), (None, None, None))
        self.assertFalse(sick["live"])
        self.assertEqual(sick["bytes"], sum(p.stat().st_size for p in (self.runs / "sick").glob("*.bplog")))

    def test_documents(self):
        run = self.server.json(f"/api/runs/{self.ids['sick']}")
        self.assertEqual((run["schema"], run["id"], run["name"]),
                         ("backprobe.run/1", self.ids["sick"], "sick"))
        self.assertEqual((run["read_fraction"], run["live"]), (1, False))
        (finding,) = run["findings"]["findings"]
        self.assertEqual(finding["problem"], "vanishing-gradient")
        self.assertTrue(finding["remedy"]["diff"])
        self.assertEqual(run["findings"]["end"], "finished")
        self.assertNotIn(str(self.folder), json.dumps(run))
        # The same findings as those that the training left.
        left = json.loads((self.runs / "sick/findings.json").read_text())
        self.assertEqual(left["findings"][0]["title"], finding["title"])
        self.assertEqual(left["findings"][0]["evidence"], finding["evidence"])
        self.assertEqual(self.server.json(f"/api/runs/{self.ids['sick']}"), run)

    def test_a_log_that_cannot_be_read(self):
        for path in (f"/api/runs/{self.ids['broken']}", f"/api/runs/{self.ids['broken']}/tile?series=loss"):
            status, _, body = self.server.ask(path)
            self.assertEqual(status, 422, body)
            self.assertIn("log-000001.bplog", json.loads(body)["error"])

    def test_tiles_of_every_series(self):
        run = self.server.json(f"/api/runs/{self.ids['sick']}")
        self.assertGreater(len(run["series"]), 15)
        n_layers = len(run["findings"]["network"]["layers"])
        for series in run["series"]:
            tile = self.tile("sick", f"tile?series={series['name']}")
            self.assertEqual(tile["rows"], n_layers + 1 if series["of"] == "layers" else 1, series)
            self.assertEqual(list(tile["starts"]), sorted(set(tile["starts"])))
            self.assertLessEqual(tile["columns"], 800)

    def test_a_tile_of_a_part(self):
        whole = self.tile("sick", "tile?series=loss&columns=4096")
        self.assertEqual((whole["columns"], whole["starts"][0], whole["last"]), (80, 0, 79))
        part = self.tile("sick", "tile?series=loss&first=16&last=31&columns=16")
        self.assertEqual(list(part["starts"]), list(range(16, 33)))
        self.assertEqual(part["mean"][0], whole["mean"][0][16:32])
        few = self.tile("sick", "tile?series=gradient_rms&columns=3")
        self.assertLessEqual(few["columns"], 3)
        behind = self.tile("sick", "tile?series=loss&first=1000000&last=2000000")
        self.assertEqual(behind["last"], 79)
        self.assertEqual(self.tile("sick", "tile?series=loss&last=9223372036854775807")["last"], 79)

    def test_histograms(self):
        tile = self.tile("sick", "histogram?role=gradient&layer=17&columns=100")
        self.assertEqual(tile["codec"], 0)  # as in a report
        tile = self.tile("sick", "histogram?role=gradient&layer=4294967295")
        self.assertEqual(tile["rows"], 0)

    def test_what_is_not_there(self):
        sick = self.ids["sick"]
        for path in ("/api", "/api/runs/", "/api/runs/0123456789abcdef", f"/api/runs/{sick}/tile?series=nothing",
                     f"/api/runs/{sick}/histogram?role=nothing&layer=1", f"/api/runs/{sick}/log-000001.bplog",
                     "/api/runs/0123456789abcdef/tile?series=loss", "/favicon.png"):
            status, headers, body = self.server.ask(path)
            self.assertEqual(status, 404, path)
            self.assertEqual(headers["Content-Type"], "application/json")
            self.assertTrue(json.loads(body)["error"])
        self.assertEqual(self.server.ask("/favicon.ico")[0], 204)

    def test_every_answer_is_guarded(self):
        sick = self.ids["sick"]
        status, headers, page = self.server.ask("/")
        self.assertEqual(status, 200)
        policy = re.search(rb'http-equiv="?Content-Security-Policy"? content="([^"]*)"', page)[1].decode()
        for path in ("/", "/?token=wrong", "/?token=" + self.server.token, "/api/runs", f"/api/runs/{sick}",
                     f"/api/runs/{sick}/tile?series=loss", "/api/runs/0123456789abcdef", "/nothing",
                     "/favicon.ico", "/api/events?run=x"):
            for cookie in (self.server.cookie, None):
                status, headers, _ = self.server.ask(path, Cookie=cookie)
                for name, value in HEADERS.items():
                    self.assertEqual(headers.get_all(name), [value], (path, status))
                self.assertEqual(headers["Content-Security-Policy"], policy + "; frame-ancestors 'none'")
                self.assertIsNone(headers["Server"])
                self.assertIsNone(headers["Access-Control-Allow-Origin"])

    def test_head_is_get_without_a_body(self):
        for path in ("/", "/api/runs", f"/api/runs/{self.ids['sick']}", "/nothing", "/api/events"):
            status, headers, body = self.server.ask(path, "HEAD")
            self.assertEqual(status, 404 if path == "/nothing" else 200)
            self.assertEqual(body, b"")
            if path != "/api/events":
                self.assertEqual(headers["Content-Length"], self.server.ask(path)[1]["Content-Length"])

    def test_a_connection_is_used_again(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
        for path in ("/api/runs", "/", "/nothing", f"/api/runs/{self.ids['sick']}", "/api/runs"):
            connection.request("GET", path, headers={"Cookie": self.server.cookie})
            answer = connection.getresponse()
            answer.read()
            self.assertIsNone(answer.headers["Connection"], path)
        connection.close()

    def test_memory(self):
        for name in ("sick", "group/<b>well"):
            for series in self.server.json(f"/api/runs/{self.ids[name]}")["series"]:
                self.tile(name, f"tile?series={series['name']}&columns=4096")
        if "sanitize" not in COMMAND:  # their shadow memory counts
            self.assertLess(self.server.peak_bytes(), 128 << 20)


class Refusals(ServeTest):
    def test_the_token_gives_a_cookie(self):
        status, headers, body = self.server.ask(f"/?token={self.server.token}", Cookie=None)
        self.assertEqual((status, headers["Location"], body), (303, "/", b""))
        self.assertEqual(headers["Set-Cookie"],
                         self.server.cookie + "; HttpOnly; SameSite=Strict; Path=/")
        self.assertGreaterEqual(len(self.server.token), 32)

    def test_a_link_on_another_site(self):
        """A browser would keep the Strict cookie back if it were redirected at once."""
        link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
        status, headers, body = self.server.ask(f"/?token={self.server.token}", Cookie=None, **link)
        self.assertEqual((status, headers["Location"]), (200, None))
        self.assertTrue(headers["Set-Cookie"].startswith(self.server.cookie))
        self.assertIn(b'http-equiv="refresh" content="0;url=/"', body)
        self.assertEqual(self.server.ask("/", **link)[0], 403)
        link["Sec_Fetch_Dest"] = "iframe"
        self.assertEqual(self.server.ask(f"/?token={self.server.token}", Cookie=None, **link)[0], 403)

    def hostile(self):
        """Name, the request's bytes, the statuses that are right; None: closed without a word."""
        s = self.server
        run = self.ids["sick"]
        get = "GET /api/runs HTTP/1.1"

        def at(path, *headers):
            return s.head(f"GET {path} HTTP/1.1", *headers)

        yield "no cookie", s.head(get, cookie=False), {401}
        yield "a wrong cookie", s.head(get, f"Cookie: backprobe_{s.port}={'0' * 32}", cookie=False), {401}
        yield "another port's cookie", s.head(get, f"Cookie: backprobe_1={s.token}", cookie=False), {401}
        yield "an empty cookie", s.head(get, f"Cookie: backprobe_{s.port}=", cookie=False), {401}
        yield "half the token", s.head(get, f"Cookie: {s.cookie[:-1]}", cookie=False), {401}
        yield "the token as a header", s.head(get, f"Authorization: Bearer {s.token}", cookie=False), {401}
        yield "the token elsewhere", s.head(f"GET /api/runs?token={s.token} HTTP/1.1", cookie=False), {401}
        yield "a wrong token", s.head("GET /?token=" + "0" * 32 + " HTTP/1.1", cookie=False), {401}
        yield "an empty token", s.head("GET /?token= HTTP/1.1", cookie=False), {401}
        yield "a token twice", s.head(f"GET /?token=x&token={s.token} HTTP/1.1", cookie=False), {401}
        for host in ("evil.example", f"evil.example:{s.port}", "127.0.0.1", "127.0.0.1:1", "", "localhost",
                     f"127.0.0.1.evil.example:{s.port}", f"{s.host}@evil.example", f"0x7f000001:{s.port}",
                     f"[::ffff:127.0.0.1]:{s.port}", f"{s.host}, evil.example"):
            yield f"host {host}", s.head(get, f"Host: {host}", host=False), {403}
            yield f"host {host}, with the token", s.head(f"GET /?token={s.token} HTTP/1.1", f"Host: {host}",
                                                         host=False, cookie=False), {403}
        yield "no host", s.head(get, host=False), {403}
        yield "no host in 1.0", s.head("GET /api/runs HTTP/1.0", host=False), {403}
        yield "two hosts", s.head(get, "Host: evil.example"), {403}
        yield "the same host twice", s.head(get, f"Host: {s.host}"), {403}
        yield "an absolute address", s.head("GET http://evil.example/api/runs HTTP/1.1"), {400, 404}
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "PROPFIND", "get", "X" * 99):
            yield f"method {method[:9]}", s.head(f"{method} /api/runs HTTP/1.1"), {405, 400}
        yield "a body", s.head(get, "Content-Length: 5") + b"12345", {400}
        yield "a body in chunks", s.head(get, "Transfer-Encoding: chunked") + b"5\r\n12345\r\n0\r\n\r\n", {400}
        yield "a huge body", s.head(get, "Content-Length: 18446744073709551615"), {400, 413}
        yield "a body of no length", s.head(get, "Content-Length: x"), {400}
        yield "smuggled", s.head(get, "Content-Length: 50", "Transfer-Encoding: chunked") + b"0\r\n\r\nGET / HTTP/1.1", {400}
        for origin in ("http://evil.example", "null", "", f"https://{s.host}", f"http://localhost:{s.port}",
                       f"http://{s.host}.evil.example"):
            yield f"origin {origin}", s.head(get, f"Origin: {origin}"), {403}
            yield f"events, origin {origin}", at("/api/events", f"Origin: {origin}"), {403}
        yield "two origins", s.head(get, f"Origin: http://{s.host}", f"Origin: http://{s.host}"), {403}
        for site in ("cross-site", "same-site", "", "x"):
            yield f"site {site}", s.head(get, f"Sec-Fetch-Site: {site}"), {403}
            yield f"events, site {site}", at("/api/events", f"Sec-Fetch-Site: {site}"), {403}
        yield "a frame of another site", at("/", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate",
                                            "Sec-Fetch-Dest: iframe"), {403}
        for path in ("/..", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/api/runs/..", "/api/runs/sick",
                     "/api/runs/..%2f..%2fetc%2fpasswd", "//etc/passwd", "/api/runs/%00", "/api/runs/" + "a" * 1000,
                     f"/api/runs/{run}/../{run}", f"/api/runs/{run}%00", f"/api/runs/{run.upper()}x",
                     f"/api/runs/{run};/tile", f"/api/runs/{run}/network.yaml", "/index.html", "/api/runs/<script>"):
            yield f"path {path[:40]}", at(path), {404, 400}
        for query in ("series=loss&columns=0", "series=loss&columns=4097", "series=loss&columns=-1",
                      "series=loss&columns=99999999999999999999", "series=loss&columns=1e3", "series=loss&columns=",
                      "series=loss&columns", "series=loss&first=9223372036854775808", "series=loss&first=2&last=1",
                      "series=loss&first=1.5", "series=loss&first=+1", "series=loss&first=%31", "series=../loss",
                      "series=loss%00", "series=", "series", "", "series=loss&series=loss", "series=loss&x=1",
                      "series=" + "a" * 2000, "&&&", "series=loss&first=1&first=2", "layer=1&series=loss", "=", "%"):
            yield f"tile?{query[:40]}", at(f"/api/runs/{run}/tile?{query}"), {400}
        for query in ("role=gradient", "layer=1", "role=gradient&layer=-1", "role=gradient&layer=4294967296"):
            yield f"histogram?{query}", at(f"/api/runs/{run}/histogram?{query}"), {400}
        for query in ("run=", "run=..", "run=" + "a" * 17, "&".join(["run=" + run] * 17), "x=1"):
            yield f"events?{query[:40]}", at(f"/api/events?{query}"), {400}
        yield "HTTP/0.9", b"GET /api/runs\r\n\r\n", {505, 400, None}
        yield "HTTP/0.9 at the door", f"GET /?token={s.token}\r\n\r\n".encode(), {505, 400, None}
        yield "HTTP/3", s.head("GET /api/runs HTTP/3.0"), {505, 400}
        yield "HTTP/1.10", s.head("GET /api/runs HTTP/1.10"), {505, 400}
        yield "no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200, {505, 400, None}
        yield "a preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {505, 400, 403, 405, None}
        yield "NULs", b"\0" * 100 + b"\r\n\r\n", {505, 400, 403, None}
        # The library reads up to the NUL.
        yield "a NUL in the path", s.head("GET /api/runs\0x HTTP/1.1", cookie=False), {401}
        yield "a NUL in a header", s.head(get, "Origin: http://evil.example\0x"), {403}
        yield "a bomb of headers", s.head(get, *(f"X-{i}: {'a' * 50}" for i in range(5000))), {431, 413, 400, None}
        yield "a huge header", s.head(get, "X: " + "a" * 1_000_000), {431, 413, 400, None}
        yield "a huge path", s.head("GET /" + "a" * 1_000_000 + " HTTP/1.1"), {414, 431, 413, 400, None}
        yield "a header without a colon", s.head(get, "nonsense", cookie=False), {400, 401, None}
        yield "a folded header", s.head(get, "X: a\r\n b", cookie=False), {400, 401, None}

    def test_hostile_requests(self):
        table = list(self.hostile())
        self.assertGreater(len(table), 100)
        with concurrent.futures.ThreadPoolExecutor(40) as pool:  # some are given up after 10 s only
            answers = list(pool.map(lambda row: self.server.raw(row[1]), table))
        for (name, _, right), answer in zip(table, answers, strict=True):
            with self.subTest(name):
                self.assertIn(status_of(answer), right, answer[:300])
                self.assertNotIn(b"vanishing", answer)
                self.assertNotIn(b"Set-Cookie", answer)
        self.assertEqual(len(self.server.json("/api/runs")["runs"]), 3)  # it is none the worse

    def test_refusals_say_nothing_of_runs(self):
        for path in ("/", "/api/runs", f"/api/runs/{self.ids['sick']}", "/nothing", "/api/runs/0123456789abcdef"):
            status, headers, body = self.server.ask(path, Cookie=None)
            self.assertEqual((status, headers["Content-Type"]), (401, "text/plain; charset=utf-8"))
            self.assertEqual(body, b"open the address with the token that backprobe serve printed")
        status, headers, _ = self.server.ask("/api/runs", "POST", Cookie=None)
        self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD"))

    def test_requests_that_follow_each_other(self):
        """Pipelined: each is judged for itself."""
        def get(path, cookie):
            return (f"GET {path} HTTP/1.1\r\nHost: {self.server.host}\r\n"
                    + (f"Cookie: {self.server.cookie}\r\n" if cookie else "") + "\r\n").encode()

        answer = self.server.raw(get("/api/runs", True) + get("/nothing", True) + get("/api/runs", False))
        self.assertEqual(re.findall(rb"HTTP/1\.1 (\d+) ", answer), [b"200", b"404", b"401"])
        many = self.server.raw(get("/api/runs", True) * 200 + get("/api/runs", False))
        self.assertEqual(re.findall(rb"HTTP/1\.1 (\d+) ", many), [b"200"] * 200 + [b"401"])

    def test_requests_in_small_pieces(self):
        request = self.server.head("GET /nothing HTTP/1.1")
        answer = self.server.raw(*(request[i:i + 1] for i in range(len(request))), pause=0.001)
        self.assertEqual(status_of(answer), 404)

    def test_half_a_request_is_given_up(self):
        """And one whose bytes trickle: it is the head that must be there in time."""
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            half = pool.submit(self.server.raw, b"GET /api/ru")
            trickling = [b"GET / HTTP/1.1\r\n"] + [b"X: y\r\n"] * 60
            trickle = pool.submit(self.server.raw, *trickling, pause=0.5)
            self.assertIn(status_of(half.result()), (None, 408))
            self.assertIn(status_of(trickle.result()), (None, 408))


class Events(ServeTest):
    def stream(self, server, query):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        connection.request("GET", f"/api/events{query}", headers={"Cookie": server.cookie})
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (200, "text/event-stream"))
        self.addCleanup(connection.close)
        return answer

    def events(self, answer):
        """Until the stream ends as it should: a cut one raises."""
        while line := answer.readline():
            if line.startswith(b"data: "):
                yield json.loads(line[6:])

    def test_the_present_state_comes_first(self):
        sick, well = self.ids["sick"], self.ids["group/<b>well"]
        answer = self.stream(self.server, f"?run={sick}&run={well}&run=0123456789abcdef")
        seen = {}
        for event in self.events(answer):
            if event["type"] == "runs":  # another test's run came or went
                continue
            seen[event["id"]] = event
            if all(seen.get(i, {}).get("read_fraction") == 1 for i in (sick, well)):
                break
        self.assertEqual(set(seen), {sick, well})
        self.assertEqual((seen[sick]["type"], seen[sick]["last_step"]), ("run", 79))

    def test_a_training_is_followed(self):
        server = Server(self.runs)
        training = subprocess.Popen([COMMAND, "train", self.folder / "net.yaml", "--quiet", "--every", "1", "--epochs",
                                     "4000", "--run", self.runs / "live"], stdout=subprocess.DEVNULL)
        self.addCleanup(training.wait)
        self.addCleanup(training.terminate)
        runs = self.stream(server, "")
        for event in self.events(runs):
            self.assertEqual(event, {"type": "runs"})
            found = [run for run in server.json("/api/runs")["runs"] if run["name"] == "live"]
            if found:
                break
        self.assertTrue(found[0]["live"])
        identity, steps, findings = found[0]["id"], [], 0
        answer = self.stream(server, f"?run={identity}")
        for event in self.events(answer):
            if event["type"] == "runs":
                continue
            self.assertEqual((event["type"], event["id"]), ("run", identity))
            steps.append(event["last_step"])
            findings += event["findings"]
            run = server.json(f"/api/runs/{identity}")
            self.assertTrue(run["live"])
            if run["read_fraction"] == 1:
                self.assertGreaterEqual(run["findings"]["steps"]["last"], steps[-1])
            tile = tile_of(server.ask(f"/api/runs/{identity}/tile?series=loss")[2])
            self.assertGreaterEqual(tile["last"], steps[-1])
            if len(steps) >= 6 and event["read_fraction"] == 1:
                break
        self.assertEqual(steps, sorted(steps))
        self.assertGreater(steps[-1], steps[0])
        self.assertGreater(findings, 0)
        training.send_signal(signal.SIGINT)
        self.assertEqual(training.wait(PATIENCE), 130)
        for event in self.events(answer):  # its end is told, too
            run = server.json(f"/api/runs/{identity}")
            if run["findings"]["end"] == "interrupted":
                break
            self.assertEqual(run["findings"]["end"], "open")
        self.assertFalse(run["live"])
        self.assertEqual(run["read_fraction"], 1)
        server.process.terminate()
        for _ in self.events(answer):  # up to its end
            pass
        self.assertEqual(server.process.wait(PATIENCE), 0)
        server.process.communicate()

    def test_a_run_that_goes_and_comes_again(self):
        folder = self.runs / "passing"
        shutil.copytree(self.runs / "sick", folder)
        self.addCleanup(shutil.rmtree, folder, True)
        server = Server(self.runs)
        self.addCleanup(server.close)
        (run,) = [run for run in server.json("/api/runs")["runs"] if run["name"] == "passing"]
        path = f"/api/runs/{run['id']}"
        self.assertEqual(server.json(path)["findings"]["findings"][0]["problem"], "vanishing-gradient")
        self.assertEqual(server.ask(path + "/tile?series=loss")[0], 200)
        shutil.rmtree(folder)
        self.assertEqual(server.ask(path)[0], 404)
        self.assertEqual(server.ask(path + "/tile?series=loss")[0], 404)
        shutil.copytree(self.runs / "group/<b>well", folder)
        deadline = time.monotonic() + PATIENCE
        while server.ask(path)[0] == 404 and time.monotonic() < deadline:
            server.json("/api/runs")
            time.sleep(0.1)
        self.assertEqual(server.json(path)["findings"]["findings"], [])
        self.assertEqual(tile_of(server.ask(path + "/tile?series=gradient_rms")[2])["rows"], 4)

    def test_streams_have_a_limit(self):
        server = Server(self.runs)
        self.addCleanup(server.close)
        streams = []
        request = server.head("GET /api/events HTTP/1.1")
        for _ in range(256):
            file = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
            self.addCleanup(file.close)
            file.sendall(request)
            streams.append(file)
        for file in streams:
            self.assertEqual(status_of(file.recv(4096)), 200)
        self.assertEqual(server.ask("/api/events")[0], 503)
        self.assertEqual(server.ask("/api/runs")[0], 200)
        for file in streams:
            file.close()
        deadline, status = time.monotonic() + PATIENCE, 0
        while status != 200 and time.monotonic() < deadline:  # those that went are seen to be gone
            with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as file:
                file.sendall(request)
                status = status_of(file.recv(4096))
            time.sleep(0.1)
        self.assertEqual(status, 200)


class Command(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="backprobe-test-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def fails(self, *arguments, message, environment=None):
        done = subprocess.run([COMMAND, "serve", *arguments], cwd=self.folder, capture_output=True, text=True,
                              timeout=PATIENCE, env={**os.environ, **(environment or {})}, check=False)
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
        self.assertIn(message, done.stderr)

    def test_how_it_ends(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)):
            server = Server(self.folder)
            out, errors = server.close(number, code)
            self.assertEqual(out, "")
            self.assertEqual(errors, f"backprobe: the runs below {self.folder}; Ctrl-C ends it\n")

    def test_a_hangup_that_is_ignored(self):
        """As with nohup."""
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        server = Server(self.folder)
        signal.signal(signal.SIGHUP, before)
        server.process.send_signal(signal.SIGHUP)
        self.assertEqual(server.json("/api/runs")["runs"], [])
        server.close()

    def test_the_address_as_json(self):
        process = subprocess.Popen([COMMAND, "serve", "--port", "0", "--json"], cwd=self.folder,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        told = json.loads(process.stdout.readline())
        process.terminate()
        process.communicate(timeout=PATIENCE)
        self.assertEqual(told["folder"], ".")
        self.assertRegex(told["url"], ADDRESS.pattern[1:-3])

    def test_the_folder(self):
        (self.folder / "runs").mkdir()
        process = subprocess.Popen([COMMAND, "serve", "--port", "0", "--json"], cwd=self.folder,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.assertEqual(json.loads(process.stdout.readline())["folder"], "runs")
        process.terminate()
        process.communicate(timeout=PATIENCE)
        self.fails("nowhere", message="nowhere: cannot open the folder: No such file or directory")
        self.fails("a", "b", message="serve")

    def test_a_port_that_is_taken(self):
        server = Server(self.folder)
        self.addCleanup(server.close)
        self.fails(".", "--port", str(server.port), message=f"port {server.port}: Address already in use")

    def test_a_token_of_ones_own(self):
        token = "abcdefghijklmnopqrstuvwxyz-_ABC0123"
        (self.folder / "token").write_text(token + "\n")
        (self.folder / "token").chmod(0o600)
        (self.folder / "short").write_text("short\n")
        server = Server(self.folder, "--token-file", self.folder / "token")
        self.assertEqual(server.token, token)
        self.assertEqual(server.ask("/api/runs")[0], 200)
        _, errors = server.close()
        self.assertNotIn("others can read", errors)
        (self.folder / "token").chmod(0o644)
        _, errors = Server(self.folder, "--token-file", self.folder / "token").close()
        self.assertIn("others can read", errors)
        self.fails("--token-file", "short", message="short: expected 32 or more letters")
        self.fails("--token-file", "nothing", message="nothing")
        self.fails("--listen", "0.0.0.0", message="it wants a token of yours")
        self.fails("--listen", "0.0.0.0", message="BACKPROBE_TOKEN: expected 32 or more",
                   environment={"BACKPROBE_TOKEN": "a b" * 20})

    def test_all_addresses(self):
        os.environ["BACKPROBE_TOKEN"] = "0123456789abcdef0123456789abcdef"
        self.addCleanup(os.environ.pop, "BACKPROBE_TOKEN")
        server = Server(self.folder, "--listen", "0.0.0.0", "--host", "box.example", "--host", "proxy.example:8443")
        for host, status in ((server.host, 200), (f"10.1.2.3:{server.port}", 200), ("proxy.example:8443", 200),
                             (f"box.example:{server.port}", 200), (f"evil.example:{server.port}", 403),
                             ("10.1.2.3", 403), ("box.example:1", 403)):
            self.assertEqual(server.ask("/api/runs", Host=host)[0], status, host)
        _, errors = server.close()
        self.assertIn("not encrypted", errors)
        self.fails(".", "--host", "a b", message="a b: expected a name, or name:port")

    def test_open(self):
        """The browser gets an address that is good once: others see it in the list of processes."""
        opener = self.folder / "xdg-open"
        opener.write_text(f"#!/bin/sh\necho \"$1\" > {self.folder}/opened.tmp; mv {self.folder}/opened.tmp {self.folder}/opened\n")
        opener.chmod(0o755)
        path = os.environ["PATH"]
        os.environ["PATH"] = f"{self.folder}:{path}"
        self.addCleanup(os.environ.__setitem__, "PATH", path)
        server = Server(self.folder, "--open")
        deadline = time.monotonic() + PATIENCE
        while not (self.folder / "opened").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        ticket = ADDRESS.match((self.folder / "opened").read_text())[3]
        self.assertNotEqual(ticket, server.token)
        status, headers, _ = server.ask(f"/?token={ticket}", Cookie=None)
        self.assertEqual((status, headers["Set-Cookie"].split(";")[0]), (303, server.cookie))
        self.assertEqual(server.ask(f"/?token={ticket}", Cookie=None)[0], 401)
        server.close()


if __name__ == "__main__":
    sys.exit(unittest.main())
