# SPDX-License-Identifier: Apache-2.0
"""What the drivers of this folder share."""

import contextlib
import mmap
import os
import pathlib
import struct
import subprocess
import tempfile

HOST = os.environ["HOST"]
SHARED_MEMORY = pathlib.Path("/dev/shm")
RING_HEAD_BYTES = 16384
STARTING, OPENING, TRAINING, CLOSING, CLOSED = range(5)


def shim(paths, fault, at=1, forever=True, **more):
    """The environment of a process whose calls on these paths fail (shim.c). A sanitizer's library
    would like to stand before it."""
    return {"LD_PRELOAD": os.environ["SHIM"], "TORTURE_PATHS": ":".join(map(str, paths)),
            "TORTURE_AT": str(at), "TORTURE_FAULT": str(fault), "TORTURE_FOREVER": str(int(forever)),
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0",
            **{f"TORTURE_{key.upper()}": str(value) for key, value in more.items()}}


def rings(folder, whole=True):
    """The rings of a run folder, or of those below a folder: their heads name it."""
    found, name = [], f"{folder}\0" if whole else f"{folder}/"
    for path in SHARED_MEMORY.iterdir():
        try:
            with open(path, "rb") as file:
                if name.encode() in file.read(RING_HEAD_BYTES):
                    found.append(path)
        except OSError:  # a folder, or gone in the meantime
            pass
    return found


def sweep(folder):
    """A run elsewhere, which clears away what dead runs left; rings that may be just begun it leaves
    alone, so those below the folder are made old."""
    for path in rings(folder) + rings(folder, whole=False):
        with contextlib.suppress(FileNotFoundError):  # another run may be sweeping
            os.utime(path, (0, 0))
    with tempfile.TemporaryDirectory(prefix="backprobe-sweep-") as other:
        subprocess.run([HOST, "train", other, "steps=1"], check=True, stdout=subprocess.DEVNULL)


class Page:
    """What the host knows of itself, readable after its death: phase, last recorded step, steps done."""

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(24))
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 24)

    def reset(self):
        self.memory[:] = struct.pack("<3q", STARTING, -1, 0)

    def read(self):
        return struct.unpack("<3q", self.memory)

    def wait_for(self, process, phase, steps=0):
        """Without sleep: what comes next is over in microseconds."""
        while (self.memory[0] < phase or self.read()[2] < steps) and process.poll() is None:
            os.sched_yield()
