# SPDX-License-Identifier: Apache-2.0
"""One training of several processes: which of them this is, in which folder its log goes, and which
part of a parameter it holds.

Nothing here communicates with the other processes but by a name in the store that torch.distributed
keeps anyway (or by a small file): no collective, so a rank that does not watch holds nobody up.
torch is asked only where the program has loaded it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PATIENCE_S = 30.0
"""So long a rank waits for the name of the run folder. Ranks make their first step together, and
the folder is needed at the end of it."""

_LOOK_EVERY_S = 0.05
_CLOCK_SKEW_S = 2.0

# Of launchers: torchrun; Slurm's srun; Open MPI; MPICH and its kin.
_RANK_AND_WORLD = (
    ("RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
)
# What ranks of one job have in common, and other jobs on the machine have not.
_JOB = (
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_RESTART_COUNT",
    "MASTER_ADDR",
    "MASTER_PORT",
    "OMPI_MCA_ess_base_jobid",
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
    "WORLD_SIZE",
)


class NoFolder(Exception):
    """Rank 0's run folder did not become known in time. The text is one line for the user."""


# --- which process --------------------------------------------------------------------------------


def _distributed() -> Any | None:
    """torch.distributed, once it is initialised."""
    module = sys.modules.get("torch.distributed")
    if module is None or not module.is_available() or not module.is_initialized():
        return None
    return module


def _launched() -> tuple[int, int]:
    for rank_name, world_name in _RANK_AND_WORLD:
        with contextlib.suppress(KeyError, ValueError):
            rank, world = int(os.environ[rank_name]), int(os.environ[world_name])
            if 0 <= rank < world:
                return rank, world
    return 0, 1


def rank() -> int:
    """This process's number, 0 ... world() - 1; 0 where it trains alone."""
    distributed = _distributed()
    return distributed.get_rank() if distributed else _launched()[0]


def world() -> int:
    """How many processes train together; 1: this one alone."""
    distributed = _distributed()
    return distributed.get_world_size() if distributed else _launched()[1]


# --- the run folder -------------------------------------------------------------------------------

_agreements = 0  # how many folders this process has agreed on; all ranks count alike


def own_folder(run: Path) -> Path:
    """Where this rank's log goes: rank 0 has the run folder itself, rank N `rank-N` below it. Made
    when it is not there."""
    number = rank()
    folder = run / f"rank-{number}" if number else run
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run_of(folder: str | Path) -> Path:
    """The run folder of which this is a rank's, or which it is."""
    folder = Path(folder)
    return folder.parent if re.fullmatch(r"rank-[1-9]\d*", folder.name) else folder


def agree_on_folder(
    make: Callable[[], str | Path],
    known: str | Path | None = None,
    patience_s: float | None = None,
) -> Path:
    """The folder of this rank's log. Rank 0 makes the run folder and makes its name known; another
    rank waits for the name, at most `patience_s` (PATIENCE_S), and has a folder of its own below it.

    `known`: the run folder's name, where all ranks were given it; another rank goes there when the
    name does not come. To be called as often and in the same order in all ranks that watch, best at
    the end of the first step, which they make together. Raises NoFolder where the name does not
    come, and what `make` or the system raises."""
    global _agreements
    if world() == 1:
        return Path(make())
    _agreements += 1
    patience_s = PATIENCE_S if patience_s is None else patience_s
    board = _board(_agreements)
    if rank() == 0:
        try:
            run = Path(make()).resolve()
        except BaseException:
            board.put("")  # nobody needs to wait
            raise
        board.put(str(run))
        return run
    found = board.wait(patience_s)
    if found == "":
        raise NoFolder("rank 0 keeps no log")
    found = found or known
    if found is None:
        raise NoFolder(
            f"rank {rank()} does not know rank 0's run folder after {patience_s:g} s; is rank 0 "
            "watched, too? run=… names a folder for all"
        )
    return own_folder(Path(found))


class _Store:
    """The store that the process group was made with: it is there as long as the ranks are."""

    def __init__(self, store: Any, number: int) -> None:
        self._store = store
        self._key = f"backprobe/run/{number}"

    def put(self, run: str) -> None:
        self._store.set(self._key, run)

    def wait(self, patience_s: float) -> str | None:
        # Short questions, for a long one would block the store's other users in this process.
        try:
            return _look(self._read, patience_s)
        except RuntimeError:  # the store went with the process that kept it
            return None

    def _read(self) -> str | None:
        return self._store.get(self._key).decode() if self._store.check([self._key]) else None


class _File:
    """Where there is no store: a file in the temporary folder, named by the job."""

    def __init__(self, number: int) -> None:
        job = "\n".join(f"{name}={os.environ.get(name, '')}" for name in _JOB)
        name = hashlib.sha256(f"{os.getuid()}\n{number}\n{job}".encode()).hexdigest()[:24]
        self._path = Path(tempfile.gettempdir()) / f"backprobe-run-{name}.json"

    def put(self, run: str) -> None:
        text = json.dumps({"run": run, "time": time.time(), "host": socket.gethostname()})
        aside = self._path.with_suffix(f".{os.getpid()}")
        aside.unlink(missing_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        aside.replace(self._path)

    def wait(self, patience_s: float) -> str | None:
        return _look(self._read, patience_s)

    def _read(self) -> str | None:
        try:
            if self._path.stat().st_uid != os.getuid():
                return None
            told = json.loads(self._path.read_text(encoding="utf-8"))
            # An earlier job of the same name told it before this process began.
            return str(told["run"]) if told["time"] >= _process_began() - _CLOCK_SKEW_S else None
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _board(number: int) -> _Store | _File:
    distributed = _distributed()
    if distributed is not None:
        with contextlib.suppress(Exception):  # a private name of torch, and none of ours to raise
            store = distributed.distributed_c10d._get_default_store()
            if store is not None:
                return _Store(store, number)
    return _File(number)


def _look(ask: Callable[[], str | None], patience_s: float) -> str | None:
    until = time.monotonic() + patience_s
    while (found := ask()) is None and time.monotonic() < until:
        time.sleep(_LOOK_EVERY_S)
    return found


_imported = time.time()


def _process_began() -> float:
    """Seconds since 1970 at which this process began; where the system does not tell, those at
    which this module was loaded."""
    with contextlib.suppress(OSError, ValueError, IndexError, StopIteration):
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        lines = Path("/proc/stat").read_text().splitlines()
        boot = int(next(line for line in lines if line.startswith("btime ")).split()[1])
        return boot + ticks / os.sysconf("SC_CLK_TCK")
    return _imported


# --- parts of parameters --------------------------------------------------------------------------


def local(tensor: Any) -> Any | None:
    """What of a tensor lies in this process, without communication and without copying; the tensor
    itself where it is no DTensor. None where what lies here are terms of a sum still to be made, or
    where it has not arrived yet: such numbers mean nothing."""
    if tensor is None or not _is_dtensor(tensor):
        return tensor
    if any(placement.is_partial() for placement in tensor.placements):
        return None
    here = tensor._local_tensor
    return None if type(here).__name__ == "AsyncCollectiveTensor" else here.detach()


def shard_elements(parameter: Any) -> int:
    """Elements of the whole parameter, when this rank holds a shard of it; 0: it holds all.

    Shards are as they are trained, without padding: FSDP2 keeps the padding outside of the view
    that its parameters give (5 rows over 2 ranks are 3 and 2), and an empty shard is a tensor of 0
    elements."""
    if _is_dtensor(parameter):
        return parameter.numel() if any(p.is_shard() for p in parameter.placements) else 0
    if getattr(parameter, "_fsdp_flattened", False):  # FSDP1: a piece of a flat parameter
        return max(1, parameter.numel())
    return 0


def tells(parameter: Any) -> bool:
    """Whether this rank is the one that tells of what it holds of a parameter: of copies the first
    does."""
    if not _is_dtensor(parameter):
        return rank() == 0
    where = parameter.device_mesh.get_coordinate()
    if where is None:
        return False
    return all(
        placement.is_shard() or coordinate == 0
        for placement, coordinate in zip(parameter.placements, where, strict=True)
    )


class Shares:
    """How the parameters of a model lie over the ranks.

    What is replicated in a layer without shards is told by every rank: the reader compares them. In
    a layer of which something is sharded each element is told once: copies are left out where they
    are not the first, by a view of no elements, so that counts add up exactly."""

    def __init__(self, parameters: Sequence[Any], layers: Sequence[int]) -> None:
        """layers: the layer of each parameter."""
        sizes = [shard_elements(parameter) for parameter in parameters]
        sharded = {layer for layer, size in zip(layers, sizes, strict=True) if size}
        self.any: bool = bool(sharded) or any(map(_is_dtensor, parameters))
        """Whether `views` does anything."""
        self.elements: list[int] = [
            (size or parameter.numel()) if layer in sharded else 0
            for parameter, size, layer in zip(parameters, sizes, layers, strict=True)
        ]
        """What `_native.Probe.open` wants to know of each parameter."""
        self._left_out: list[bool] = [
            layer in sharded and not _tells_shard(parameter)
            for parameter, layer in zip(parameters, layers, strict=True)
        ]

    def views(self, tensors: Sequence[Any | None]) -> list[Any | None]:
        """Of the parameters, their gradients or their moments, in order: what this rank tells of
        each. None stays None."""
        if not self.any:
            return list(tensors)
        return [
            _nothing_of(local(tensor)) if left_out else local(tensor)
            for tensor, left_out in zip(tensors, self._left_out, strict=True)
        ]


def _tells_shard(parameter: Any) -> bool:
    if getattr(parameter, "_fsdp_flattened", False):
        return True
    return tells(parameter)


def _nothing_of(tensor: Any | None) -> Any | None:
    return tensor if tensor is None or tensor is False else tensor.detach().reshape(-1)[:0]


def _is_dtensor(tensor: Any) -> bool:
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)
