# SPDX-License-Identifier: Apache-2.0
"""Runs as pictures of characters: what is drawn, in which colours, and the terminal while a run goes on."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unittest

from support import COMMAND, EXPLODING, HEALTHY, VANISHING, CommandTest

ENDLESS = HEALTHY.replace("epochs: 3", "epochs: 1000000")
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


class ShowTest(CommandTest):
    def setUp(self):
        super().setUp()
        self.environment["LANG"] = "en_GB.UTF-8"
        for name in ("LC_ALL", "LC_CTYPE", "COLORTERM"):
            self.environment.pop(name, None)

    def trained(self, network):
        """The folder of a run of that network."""
        self.write("net.yaml", network)
        result = subprocess.run([COMMAND, "train", "net.yaml", "--every", "1"], cwd=self.folder,
                                env=self.environment, capture_output=True, text=True, check=False)
        self.assertIn(result.returncode, (0, 1), result.stderr)
        return "runs/net-1"


class Show(ShowTest):
    def shown(self, *arguments, **environment):
        return self.command("show", *arguments, environment=environment).stdout

    def test_vanishing(self):
        lines = self.shown(self.trained(VANISHING)).splitlines()
        self.assertRegex(lines[0], r"^runs/net-1: \d findings? · 80 steps · loss ")
        self.assertEqual(lines[1], "")
        self.assertEqual(lines[2],
                         "  gradient_rms: of the weights' gradient (mean of a column's steps)")
        self.assertRegex(lines[3], r"^  10⁻\S+ ▁▁▂▂▃▃▄▄▅▅▆▆▇▇██ (10⁻\S+|1)$")
        self.assertRegex(lines[4], r"^ {14}.*①")  # beside the names
        self.assertIn("▼", lines[4])
        rows = [line for line in lines if re.match(r"^. +\d+ dense_", line)]
        self.assertEqual(len(rows), 17)
        self.assertRegex(rows[0], r"^①  1 dense_1 +▁+$")
        self.assertRegex(rows[-1], r"^.  ?17 dense_17 █+$")
        self.assertEqual({len(row) for row in rows}, {100})
        self.assertRegex("\n".join(lines), r"(?m)^ +step ╵0 +╵\d+ ")
        self.assertIn("⠒⠒ loss  × validation loss", "\n".join(lines))
        headline = next(line for line in lines if line.startswith("① e"))
        self.assertIn("error[vanishing-gradient]: layers", headline)
        self.assertEqual(lines[-1], "more: backprobe check runs/net-1")
        self.assertEqual(self.files("runs/net-1"),
                         ["checkpoints", "findings.json", "log-000001.bplog", "network.yaml",
                          "weights.safetensors"])  # nothing is left there

    def test_healthy_has_one_line_of_words(self):
        text = self.shown(self.trained(HEALTHY))
        self.assertRegex(text, r"^runs/net-1: no findings · ")
        self.assertNotIn("more:", text)
        self.assertNotIn("▼", text)

    def test_what_is_not_finite_is_a_letter(self):
        run = self.trained(EXPLODING)
        text = self.shown(run, "--series", "non_finite")
        self.assertRegex(text, r"\n  0 ▁▁▂▂▃▃▄▄▅▅▆▆▇▇██ 10")
        text = self.shown(run)
        self.assertRegex(text, r"(?m)^① +1 dense_1 .*N$")
        self.assertRegex(text, r"┤.*[NI]")  # the loss
        self.assertIn("[exploding-gradient]", text)

    def test_sizes(self):
        run = self.trained(VANISHING)
        for width in (60, 83, 200):
            text = self.shown(run, "--width", str(width))
            rows = [line for line in text.splitlines() if "dense_" in line]
            self.assertEqual({len(row) for row in rows if "error" not in row}, {width})
        for height in (24, 30, 60):
            text = self.shown(run, "--height", str(height))
            self.assertLessEqual(len(text.splitlines()), height)
        few = self.shown(run, "--height", "10").splitlines()
        self.assertTrue(any(re.match(r"^① 1–\d+ ", line) for line in few), few)

    def test_colours(self):
        run = self.trained(VANISHING)
        plain = self.shown(run)
        self.assertNotIn("\x1b", plain)
        depths = {"24bit": "48;2;", "256": "48;5;", "16": "[0;45m"}
        for depth, sequence in depths.items():
            text = self.shown(run, "--colors", depth)
            self.assertIn(sequence, text)
            for other in set(depths.values()) - {sequence}:
                self.assertNotIn(other, text)
        auto = ["--color", "always"]
        for environment, depth in (({"COLORTERM": "truecolor"}, "24bit"),
                                   ({"COLORTERM": "24bit", "TERM": "xterm-256color"}, "24bit"),
                                   ({"TERM": "screen-256color"}, "256"), ({"TERM": "xterm"}, "16"),
                                   ({}, "16")):
            self.assertEqual(self.shown(run, *auto, **environment),
                             self.shown(run, "--colors", depth))
        self.assertEqual(self.shown(run, "--color", "never", COLORTERM="truecolor"), plain)
        self.assertEqual(self.shown(run, "--colors", "24bit", "--color", "never"), plain)
        self.assertEqual(self.shown(run, "--colors", "none", "--color", "always"), plain)
        self.assertEqual(self.shown(run, COLORTERM="truecolor", NO_COLOR="1"), plain)
        self.assertIn("48;2;", self.shown(run, COLORTERM="truecolor", FORCE_COLOR="1"))

    def test_locales(self):
        run = self.trained(VANISHING)
        for environment in ({"LC_ALL": "C"}, {"LANG": "de_DE.ISO-8859-1"},
                            {"LANG": "", "LC_CTYPE": "POSIX"}):
            text = self.shown(run, **environment)
            self.assertTrue(text.isascii())
            self.assertRegex(text, r"\n  1e-\d+ \.\.::--==\+\+\*\*##@@ ")
            self.assertRegex(text, r"(?m)^1  1 dense_1 +\.+$")
        for environment in ({"LANG": ""}, {"LC_ALL": "C.utf8"}):
            self.assertIn("▁▁▂▂", self.shown(run, **environment))
        self.assertNotRegex(self.shown(run, TERM="linux"), "[\u2800-\u28ff]")

    def test_series_and_steps(self):
        run = self.trained(VANISHING)
        text = self.shown(run, "--series", "gain", "--plane", "max", "--steps", "10:19")
        self.assertIn("\n  gain: error signal's norm where the layer begins", text)
        self.assertRegex(text, r"\n  (10⁻¹|≤10⁻²|10⁻²) ▁")
        self.assertRegex(text, r"(?m)^ +step ╵10 .*╵18 *")
        self.assertIn("╵0 ", self.shown(run, "--steps", ":19"))
        self.assertNotIn("╵0 ", self.shown(run, "--steps", "40:"))
        self.assertIn("  weight_rms: ", self.shown(run, "--series", "weight_rms"))
        self.assertIn(" network ", self.shown(run, "--series", "gradient_norm"))

    def test_errors(self):
        run = self.trained(HEALTHY)
        self.fails("show", run, "--series", "gradient_rsm",
                   message="unknown series 'gradient_rsm': did you mean 'gradient_rms'?")
        for steps in ("7", "a:b", "9:3", "-4:3", "1:2:3"):
            self.fails("show", run, f"--steps={steps}",
                       message=["show: --steps: expected A:B, such as 100:200, got "
                                f"'{steps}'", "try 'backprobe show --help'"])
        result = self.command("show", run, "--series", "error_through_time", code=2)
        self.assertRegex(result.stderr, "^backprobe: runs/net-1: nothing of error_through_time was "
                         "measured; there is activation_norm, ")
        self.fails("show", "nowhere", message="cannot open nowhere, expected a run folder or a "
                   "run log: No such file or directory")
        self.fails("show", "net.yaml", message="net.yaml is no run folder but a file")
        (self.folder / "empty").mkdir()
        self.fails("show", "empty", message="empty holds no run log: expected files named "
                   "log-000001.bplog, found none")
        self.command("show", code=2)

    def test_hostile_names(self):
        os.rename(self.folder / self.trained(HEALTHY), self.folder / "runs/\x1b[31mred\u202e")
        text = self.shown("runs/\x1b[31mred\u202e")
        self.assertNotIn("\x1b", text)
        self.assertNotIn("\u202e", text)
        self.assertIn(r"\x1b[31mred\u202e: ", text)

    def test_first_steps(self):
        """A run of which nothing is known yet, and of one step."""
        self.write("net.yaml", HEALTHY.replace("epochs: 3", "epochs: 1, batch: 1300"))
        self.command("train", "net.yaml", "--every", "1")
        self.assertRegex(self.shown("runs/net-1"), r"(?m)^ +step ╵0$")


class Terminal:
    """The other end of a pseudo-terminal, and what came out of it."""

    def __init__(self, arguments, folder, environment, columns=80, rows=24):
        self.main, side = pty.openpty()
        self.resize(columns, rows)
        self.output = ""
        self.process = subprocess.Popen([COMMAND, *arguments], cwd=folder, stdin=subprocess.DEVNULL,
                                        stdout=side, stderr=side, env=environment,
                                        start_new_session=True)
        os.close(side)

    def resize(self, columns, rows):
        fcntl.ioctl(self.main, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not select.select([self.main], [], [], 0.05)[0]:
                continue
            try:
                piece = os.read(self.main, 65536)
            except OSError:  # the other end is closed
                return False
            if not piece:
                return False
            self.output += piece.decode(errors="replace")
        return True

    def wait_for(self, pattern, seconds=60):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.output):
            assert time.monotonic() < end, f"no {pattern} in …{self.output[-500:]!r}"
            if not self.read(0.1):
                break
        assert re.search(pattern, self.output), self.output[-500:]

    def finish(self):
        """What it printed at last, and its exit code."""
        while self.read(60):
            pass
        code = self.process.wait(timeout=60)
        os.close(self.main)
        return self.output, code


class Screen:
    """As much of a terminal as is needed to see what stands on it."""

    def __init__(self, output):
        self.lines, self.row, self.column = {}, 1, 1
        for token in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|.|\n", output):
            self.take(token)

    def take(self, token):
        line = self.lines.setdefault(self.row, {})
        if token.endswith("H") and token.startswith("\x1b"):
            self.row, self.column = map(int, token[2:-1].split(";"))
        elif token == "\x1b[K":
            for column in [c for c in line if c >= self.column]:
                del line[column]
        elif token == "\x1b[J":
            for row in [r for r in self.lines if r >= self.row]:
                self.lines[row] = {}
        elif token == "\x1b[2J":
            self.lines = {}
        elif not token.startswith("\x1b"):
            line[self.column] = token
            self.column += 1

    def text(self):
        def line(row):
            cells = self.lines.get(row, {})
            return "".join(cells.get(c, " ") for c in range(1, max(cells, default=0) + 1))
        return [line(row) for row in range(1, max(self.lines, default=0) + 1)]


class Follow(ShowTest):
    def start_training(self, network=ENDLESS):
        self.write("net.yaml", network)
        training = subprocess.Popen([COMMAND, "train", "net.yaml", "--quiet"], cwd=self.folder,
                                    env=self.environment, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL)
        self.addCleanup(training.wait)
        self.addCleanup(training.kill)
        end = time.monotonic() + 60
        while not list(self.folder.glob("runs/net-1/*.bplog")):
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        return training

    def follow(self, *more, **size):
        terminal = Terminal(["show", "runs/net-1", "--follow", *more], self.folder,
                            {**self.environment, "TERM": "xterm-256color"}, **size)
        self.addCleanup(terminal.process.kill)
        return terminal

    def pictures(self, output):
        """What was on the other screen, and what is on the first one then."""
        self.assertEqual(output.count(ENTER), 1, output)
        self.assertEqual(output.count(LEAVE), 1)
        self.assertTrue(output.startswith(ENTER))
        return output[len(ENTER):].split("\x1b[0m" + LEAVE)

    def test_interrupt_gives_the_terminal_back(self):
        self.start_training()
        for number in (signal.SIGINT, signal.SIGTERM):
            terminal = self.follow()
            terminal.wait_for("dense_1")
            terminal.read(1.2)
            terminal.process.send_signal(number)
            output, code = terminal.finish()
            self.assertEqual(code, 130, output)
            drawn, last = self.pictures(output)
            screen = Screen(drawn).text()
            self.assertLessEqual(len(screen), 24)
            self.assertRegex(screen[0], r"^runs/net-1: .* steps? · loss")
            self.assertIn("more: backprobe check" if "finding" in last and "no findings" not in last
                          else "loss", last)

    def test_grows_by_what_differs(self):
        """What is sent again and again leaves what one picture at the end would."""
        self.start_training()
        terminal = self.follow()
        terminal.wait_for("dense_1")
        terminal.read(4)
        terminal.process.send_signal(signal.SIGINT)
        drawn, _ = self.pictures(terminal.finish()[0])
        steps = [int(n) for n in re.findall(r"(\d+) steps", drawn)]
        self.assertGreater(len(steps), 3)
        self.assertEqual(steps, sorted(steps))
        self.assertIn(f"{steps[-1]} steps", Screen(drawn).text()[0])
        whole = self.command("show", "runs/net-1", "--colors", "256", "--width", "80").stdout
        self.assertLess(len(drawn) / len(steps), 0.85 * len(whole))

    def test_ends_with_the_run(self):
        training = self.start_training()
        terminal = self.follow()
        terminal.wait_for("dense_1")
        training.send_signal(signal.SIGINT)
        output, code = terminal.finish()
        self.assertEqual(code, 0)
        last = self.pictures(output)[1]
        self.assertIn(" · interrupted", last)
        self.assertRegex(last, r"step.*╵0")

    def test_resize(self):
        self.start_training()
        terminal = self.follow()
        terminal.wait_for("dense_1")
        terminal.resize(100, 40)
        terminal.process.send_signal(signal.SIGWINCH)
        terminal.wait_for(r"(\x1b\[2J(.|\n)*){3}dense_1")  # entered, drawn, drawn anew
        terminal.process.send_signal(signal.SIGINT)
        output, code = terminal.finish()
        self.assertEqual(code, 130)
        screen = Screen(self.pictures(output)[0]).text()
        self.assertEqual(len(next(line for line in screen if " dense_1 " in line)), 100)

    def test_suspended_and_taken_up_again(self):
        self.start_training()
        terminal = self.follow()
        terminal.wait_for("dense_1")
        terminal.process.send_signal(signal.SIGTSTP)
        terminal.wait_for(re.escape(LEAVE))
        end = time.monotonic() + 10
        while "T" not in subprocess.run(["ps", "-o", "stat=", "-p", str(terminal.process.pid)],
                                        capture_output=True, text=True, check=True).stdout:
            self.assertLess(time.monotonic(), end)
        self.assertEqual(terminal.output.count(ENTER), 1)
        terminal.process.send_signal(signal.SIGCONT)
        terminal.wait_for(re.escape(ENTER) + r"(.|\n)*" + re.escape(ENTER) + r"(.|\n)*step")
        terminal.process.send_signal(signal.SIGINT)
        self.assertEqual(terminal.finish()[1], 130)

    def test_an_ended_run_is_shown_once(self):
        self.trained(HEALTHY)
        output, code = self.follow().finish()
        self.assertEqual(code, 0)
        self.assertNotIn(ENTER, output)
        self.assertEqual(output.count("runs/net-1: "), 1)

    def test_without_a_terminal_a_line_a_finding(self):
        self.write("net.yaml", VANISHING.replace("epochs: 2", "epochs: 1000000"))
        training = self.start_training(VANISHING.replace("epochs: 2", "epochs: 1000000"))
        process = self.start("show", "runs/net-1", "--follow")
        self.addCleanup(process.kill)
        line = process.stdout.readline()
        self.assertRegex(line, r"^step \d+: (error|warning|hint)\[[a-z-]+\]: ")
        training.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
        self.assert_sound(errors)
        self.assertEqual(process.returncode, 0)
        self.assertIn("more: backprobe check runs/net-1", rest)
        self.assertNotIn("\x1b", line + rest)


if __name__ == "__main__":
    unittest.main()
