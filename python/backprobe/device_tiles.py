# SPDX-License-Identifier: Apache-2.0
"""Statistics of tensors on an accelerator, by a number of kernel launches that hardly depends on how
many tensors there are.

Tensors are copied (and widened) into the rows of a tile, a flat buffer that is allocated once; a
tensor begins a row of its own, what its last row does not fill stays NaN. A full tile is reduced
row by row, all rows at once, into ten numbers each. So a tensor costs one launch (a list of them
one for all), a tile some twenty, and memory does not grow with the model. The host adds the rows of
a tensor up when they have arrived, in f64. Nothing here waits for the device.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

NARROW = 2048  # elements of a row for small tensors, which would leave most of a wide one empty
WIDE = 65536  # f32 counts up to it exactly
NARROW_ROWS = 256
WIDE_ROWS = 32
# Columns of the results.
NAN, POSITIVE, NEGATIVE, ZERO, LOWEST, HIGHEST, SUM, SCALE, SQUARES, TINY = range(10)
COLUMNS = 10  # the last one of half formats alone

Numbers = tuple[int, int, int, int, int, float, float, float, float]

NARROW_FORMATS = {
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
}

PRECISIONS = {torch.float64: 53, torch.float32: 24, torch.float16: 11, torch.bfloat16: 8}
HALVES = (torch.float16, torch.bfloat16)


def why_not(tensor: object) -> str | None:
    """Why a tensor cannot be measured here; None if it can."""
    if not isinstance(tensor, Tensor):
        return "not a tensor"
    if tensor.layout is not torch.strided:
        return "sparse"
    if tensor.is_meta:
        return "meta"
    if tensor.is_quantized:
        return "quantised"
    if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return "wrapped"
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return "wrapped"
    if tensor.dtype is torch.float64 or tensor.dtype in NARROW_FORMATS:
        return None
    return "not a floating-point format that is measured"


def wide_of(device: torch.device) -> torch.dtype:
    """The widest format in which a device reckons."""
    return torch.float32 if device.type == "mps" else torch.float64


def flat(tensor: Tensor) -> Tensor:
    """All elements in one dimension; in the order of memory where that saves a copy."""
    tensor = tensor.detach()
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return tensor.permute(0, 2, 3, 1).view(-1)
    return tensor.reshape(-1)


def to_host(tensor: Tensor) -> Tensor:
    """A copy that is complete when the device has come so far, in memory that it may write to by
    itself. torch keeps such memory for the next time."""
    pinned = tensor.device.type in ("cuda", "xpu")
    host = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=pinned)
    return host.copy_(tensor, non_blocking=True)


def copy_all(targets: list[Tensor], sources: list[Tensor]) -> None:
    """One launch for many where the device has it."""
    if len(targets) == 1:
        targets[0].copy_(sources[0])
    elif targets:
        torch._foreach_copy_(targets, sources)


# Of a tile: its format, its width, and the half format of what it holds.
Kind = tuple[torch.dtype, int, torch.dtype | None]


class Reading(NamedTuple):
    """Where the statistics of one tensor will stand when its step has arrived."""

    tile: Tile
    first: int  # row, counted over all tiles of the step
    rows: int
    count: int  # elements
    precision: int = 0  # significand bits of its format; 0 unknown


class Tile:
    """Rows of one width and format, and the results of those that were reduced in this step."""

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype,
        width: int,
        rows: int,
        half: torch.dtype | None = None,
    ) -> None:
        """half: the format that all its tensors have, of which subnormal numbers are counted."""
        self.smallest_normal = None if half is None else torch.finfo(half).smallest_normal
        self.width = width
        self.rows = rows
        self._tiny = torch.finfo(dtype).tiny
        self._buffer = torch.full((rows * width,), torch.nan, dtype=dtype, device=device)
        self._scratch = torch.empty_like(self._buffer)
        self._results = torch.empty((1, COLUMNS, rows), dtype=dtype, device=device)
        self._reduced = 0  # tiles of this step
        self._used = 0  # rows of the tile that is being filled

    def take(self, tensors: list[Tensor]) -> list[Reading]:
        """One-dimensional tensors, copied before this returns to the caller's stream."""
        readings, targets, sources = [], [], []
        for tensor in tensors:
            first, rows = self._reduced * self.rows + self._used, 0
            start, count = 0, tensor.numel()
            while start < count:
                if self._used == self.rows:
                    copy_all(targets, sources)
                    targets, sources = [], []
                    self._reduce()
                n = min((self.rows - self._used) * self.width, count - start)
                at = self._used * self.width
                targets.append(self._buffer[at : at + n])
                sources.append(tensor[start : start + n])
                start += n
                filled = -(-n // self.width)
                rows += filled
                self._used += filled
            readings.append(Reading(self, first, rows, count))
        copy_all(targets, sources)
        return readings

    def collect(self) -> Tensor:
        """The numbers of this step's rows, [tiles, COLUMNS, rows], on their way to the host; the next
        step begins."""
        self._reduce()
        host = to_host(self._results[: self._reduced])
        self._reduced = 0
        return host

    def _place_of_results(self) -> Tensor:
        if self._reduced == len(self._results):
            grown = self._results.new_empty((2 * self._reduced, COLUMNS, self.rows))
            grown[: self._reduced].copy_(self._results)
            self._results = grown
        return self._results[self._reduced]

    def _reduce(self) -> None:
        """Rows to ten numbers. Sums are of the elements over the largest magnitude, so that neither
        they nor squares overflow or vanish in the tile's format."""
        if self._used == 0:
            return
        n, inf = self._used * self.width, torch.inf
        x = self._buffer[:n].view(self._used, self.width)
        y = self._scratch[:n].view(self._used, self.width)
        out = self._place_of_results()[:, : self._used]
        torch.ne(x, x, out=y)
        torch.sum(y, 1, out=out[NAN])
        for column, value in ((POSITIVE, inf), (NEGATIVE, -inf), (ZERO, 0.0)):
            torch.eq(x, value, out=y)
            torch.sum(y, 1, out=out[column])
        if self.smallest_normal is not None:
            torch.abs(x, out=y)
            torch.lt(y, self.smallest_normal, out=y)
            torch.sum(y, 1, out=out[TINY])
        torch.nan_to_num(x, inf, inf, inf, out=y)
        torch.amin(y, 1, out=out[LOWEST])
        torch.nan_to_num(x, -inf, -inf, -inf, out=y)
        torch.amax(y, 1, out=out[HIGHEST])
        torch.maximum(out[LOWEST].neg(), out[HIGHEST], out=out[SCALE])
        out[SCALE].clamp_min_(self._tiny)
        torch.nan_to_num(x, 0.0, 0.0, 0.0, out=y)
        y.div_(out[SCALE].unsqueeze(1))
        torch.sum(y, 1, out=out[SUM])
        y.mul_(y)
        torch.sum(y, 1, out=out[SQUARES])
        self._buffer[:n].fill_(torch.nan)
        self._reduced += 1
        self._used = 0


class Tiles:
    """All tiles of one device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._tiles: dict[Kind, Tile] = {}

    def take(self, tensors: Iterable[Tensor]) -> list[Reading]:
        """Readings in the order of the tensors, which why_not() let pass."""
        flats = [flat(tensor) for tensor in tensors]
        groups: dict[Kind, list[int]] = {}
        for index, tensor in enumerate(flats):
            groups.setdefault(self._kind(tensor), []).append(index)
        readings: dict[int, Reading] = {}
        for kind, indices in groups.items():
            taken = self._tile(kind).take([flats[index] for index in indices])
            for index, reading in zip(indices, taken, strict=True):
                precision = PRECISIONS.get(flats[index].dtype, 0)
                readings[index] = reading._replace(precision=precision)
        return [readings[index] for index in range(len(flats))]

    def collect(self) -> dict[Tile, Tensor]:
        return {tile: tile.collect() for tile in self._tiles.values()}

    def _kind(self, tensor: Tensor) -> Kind:
        is_wide = tensor.dtype is torch.float64
        width = WIDE if tensor.numel() > 8 * NARROW else NARROW
        half = tensor.dtype if tensor.dtype in HALVES else None
        return (wide_of(self._device) if is_wide else torch.float32, width, half)

    def _tile(self, kind: Kind) -> Tile:
        if kind not in self._tiles:
            dtype, width, half = kind
            rows = WIDE_ROWS if width == WIDE else NARROW_ROWS
            self._tiles[kind] = Tile(self._device, dtype, width, rows, half)
        return self._tiles[kind]


class Arrived:
    """The results of a step on the host."""

    def __init__(self, collected: dict[Tile, Tensor]) -> None:
        self._columns = {
            tile: host.transpose(0, 1).reshape(COLUMNS, -1).double().tolist()
            for tile, host in collected.items()
        }

    def format(self, reading: Reading) -> tuple[int, int]:
        """As native's put_summary takes it: significand bits, and how many elements are subnormal."""
        if reading.tile.smallest_normal is None:
            return reading.precision, 0
        rows = slice(reading.first, reading.first + reading.rows)
        columns = self._columns[reading.tile]
        return reading.precision, int(sum(columns[TINY][rows])) - int(sum(columns[ZERO][rows]))

    def numbers(self, reading: Reading, factor: float = 1.0) -> Numbers:
        """As native's put_summary takes them, of the tensor divided by `factor`."""
        rows = slice(reading.first, reading.first + reading.rows)
        columns = [column[rows] for column in self._columns[reading.tile]]
        padding = reading.rows * reading.tile.width - reading.count
        lowest = min(columns[LOWEST], default=torch.inf) / factor
        highest = max(columns[HIGHEST], default=-torch.inf) / factor
        if factor < 0:
            lowest, highest = highest, lowest
        scales = [scale / factor for scale in columns[SCALE]]
        total = sum(part * scale for part, scale in zip(columns[SUM], scales, strict=True))
        squares = sum(
            part * scale * scale for part, scale in zip(columns[SQUARES], scales, strict=True)
        )
        largest = sys.float_info.max
        return (
            reading.count,
            int(sum(columns[NAN])) - padding,
            int(sum(columns[POSITIVE])),
            int(sum(columns[NEGATIVE])),
            int(sum(columns[ZERO])),
            lowest,
            highest,
            min(max(total, -largest), largest),
            min(squares, largest),
        )
