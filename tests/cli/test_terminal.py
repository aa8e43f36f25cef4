# SPDX-License-Identifier: Apache-2.0
"""Signals, pipes, colours and the progress bar."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time
import unittest

from support import COMMAND, HEALTHY, VANISHING, CommandTest

ENDLESS = HEALTHY.replace("epochs: 3", "epochs: 1000000")


class Signals(CommandTest):
    def interrupted(self, *more):
        """A run that is interrupted after its second epoch; its output from there on."""
        self.write("net.yaml", ENDLESS)
        process = self.start("train", "net.yaml", *more)
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        self.assert_sound(errors)
        self.assertEqual(process.returncode, 130)
        return output

    def test_interrupt_saves_and_summarises(self):
        output = self.interrupted()
        self.assertRegex(output, r"(?m)^interrupted after \d+ steps, .* s, \d+ samples/s$")
        self.assertIn("  run        runs/net-1\n", output)
        self.assertIn("  go on      backprobe train --resume runs/net-1\n", output)
        self.assertEqual(self.files("runs/net-1"),
                         ["checkpoints", "findings.json", "log-000001.bplog", "network.yaml",
                          "weights.safetensors"])
        self.assertIn(" · interrupted", self.command("check", "runs/net-1").stdout)

    def test_interrupt_in_json(self):
        end = json.loads(self.interrupted("--json").splitlines()[-1])
        self.assertEqual((end["event"], end["end"]), ("end", "interrupted"))

    def test_second_interrupt_leaves_at_once(self):
        """While it cannot go on: nobody reads its output, and the pipe is full."""
        self.write("net.yaml", ENDLESS)
        process = self.start("train", "net.yaml")
        fcntl.fcntl(process.stdout, 1031, 4096)  # F_SETPIPE_SZ
        before = -1
        while (now := waiting_bytes(process.stdout)) != before or now < 3000:
            before = now
            time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=60), 130)
        process.communicate()

    def test_killed_run_can_be_checked(self):
        self.write("net.yaml", ENDLESS)
        process = self.start("train", "net.yaml")
        for _ in range(4):
            process.stdout.readline()
        process.kill()
        process.communicate(timeout=60)
        output = self.command("check", "runs/net-1").stdout
        self.assertIn("no end recorded: still running or killed", output)


class Pipes(CommandTest):
    def test_closed_pipe_is_quiet_and_training_goes_on(self):
        self.write("net.yaml", HEALTHY)
        process = self.start("train", "net.yaml")
        process.stdout.close()
        errors = process.stderr.read()
        process.stderr.close()
        self.assertEqual(process.wait(timeout=60), 0)
        self.assertEqual(errors, "")
        self.assertIn("weights.safetensors", self.files("runs/net-1"))

    def test_closed_pipe_of_check(self):
        self.write("deep.yaml", VANISHING)
        self.command("train", "deep.yaml", "-q", code=1)
        process = self.start("check", *["runs/deep-1"] * 50)
        process.stdout.readline()
        process.stdout.close()
        self.assertEqual(process.stderr.read(), "")
        process.stderr.close()
        self.assertEqual(process.wait(timeout=60), 1)

    def test_full_device(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            result = subprocess.run([COMMAND, "help"], stdout=full, stderr=subprocess.PIPE,
                                    text=True, check=False)
        self.assertEqual(result.returncode, 2)
        self.assertEqual(result.stderr, "backprobe: cannot write to standard output: No space "
                                        "left on device\n")


class Colours(CommandTest):
    def setUp(self):
        super().setUp()
        self.write("deep.yaml", VANISHING)
        self.command("train", "deep.yaml", "-q", code=1)

    def colours(self, *arguments, terminal=False, **environment):
        command = [COMMAND, "check", "runs/deep-1", *arguments]
        if terminal:
            output = on_terminal(command, self.folder, {**self.environment, **environment})
        else:
            output = self.command(*command[1:], code=1, environment=environment).stdout
        return "\x1b[1;31merror" in output

    def test_pipe_and_terminal(self):
        self.assertFalse(self.colours())
        self.assertTrue(self.colours(terminal=True))
        self.assertFalse(self.colours(terminal=True, TERM="dumb"))

    def test_environment(self):
        self.assertFalse(self.colours(terminal=True, NO_COLOR="1"))
        self.assertTrue(self.colours(terminal=True, NO_COLOR=""), "an empty NO_COLOR says nothing")
        self.assertTrue(self.colours(FORCE_COLOR="1"))
        self.assertFalse(self.colours(FORCE_COLOR="1", NO_COLOR="1"))

    def test_option_wins(self):
        self.assertTrue(self.colours("--color", "always", NO_COLOR="1"))
        self.assertFalse(self.colours("--color=never", terminal=True, FORCE_COLOR="1"))
        self.assertFalse(self.colours("--color", "auto"))


class Progress(CommandTest):
    def test_bar_on_a_terminal_only(self):
        self.write("net.yaml", HEALTHY)
        output = on_terminal([COMMAND, "train", "net.yaml"], self.folder, self.environment)
        self.assertRegex(output, r"\r\x1b\[Kepoch 1/3 [━─]{20} \d+ samples/s · 0:00 left · loss ")
        self.assertIn("trained after 120 steps", output)
        for bar in re.findall(r"\x1b\[K(epoch [^\r]*)", output):
            self.assertLess(len(bar), 80)  # a full line would scroll
        self.assertNotIn("samples/s", self.command("train", "net.yaml").stderr)


def waiting_bytes(pipe):
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0]


def on_terminal(command, folder, environment):
    """Everything that a command writes to a terminal of 80 columns."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    output = b""
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=side, stderr=side,
                          env=environment) as process:
        os.close(side)
        while True:
            try:
                piece = os.read(main, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            output += piece
        process.wait(timeout=60)
    os.close(main)
    return output.decode()


if __name__ == "__main__":
    unittest.main()
