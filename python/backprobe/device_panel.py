# SPDX-License-Identifier: Apache-2.0
"""What an accelerator says of updates and of samples, at chosen places: all parameters and all sites
are rows of one matrix, so that the number of kernel launches beyond the gathering is fixed."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, prod

import torch
from torch import Tensor

from .device_tiles import copy_all, to_host, wide_of

PLACES = 2048  # of a parameter, as in the library's own panel
UNITS = 4096  # of an activation
SAMPLES = 32  # fewer do not tell how much an activation varies
MOST_SAMPLES = 128  # of one call

MOST_SITES = 512  # whose units are told: 64 KiB each

Shape = tuple[int, int, int]  # of a sample's values: [outer, units, inner]
Update = tuple[int, float, float, int, int]


def places_of(count: int, number: int) -> Tensor | None:
    """Fixed places, one drawn from each of as many equal stretches, in step with no row length.
    None: all elements. The draw is a hash, for the random state of the run is not ours."""
    if count <= PLACES:
        return None
    drawn = ((k + PLACES * number) * 0x9E3779B97F4A7C15 >> 32 & 0xFFFFFFFF for k in range(PLACES))
    places = ((k << 32 | low) * count // PLACES >> 32 for k, low in enumerate(drawn))
    return torch.tensor(list(places), dtype=torch.int64, device="cpu")


class Panel:
    """Parameters, gradients and Adam's second moments at the same few places, before and after the
    update."""

    def __init__(self, counts: Sequence[int], device: torch.device) -> None:
        shape = (len(counts), PLACES)
        self._counts = [min(count, PLACES) for count in counts]
        drawn = [places_of(count, number) for number, count in enumerate(counts)]
        self._places = [None if places is None else places.to(device) for places in drawn]
        dtype = wide_of(device)
        self._zero = torch.zeros((), dtype=dtype, device=device)
        self._weights, self._gradient, self._last, self._new = (
            torch.zeros(shape, dtype=dtype, device=device) for _ in range(4)
        )
        self._held: set[int] = set()  # rows of the gradient that belong to this step
        self._held_last: set[int] = set()

    def before(self, weights: Sequence[Tensor | None], gradients: Sequence[Tensor | None]) -> None:
        """None: not measured."""
        self._gradient, self._last = self._last, self._gradient
        self._held_last = self._held
        self._held = {
            row
            for row, pair in enumerate(zip(weights, gradients, strict=True))
            if all(self._fits(row, tensor) for tensor in pair)
        }
        self._gather(weights, self._held, self._weights)
        self._gather(gradients, self._held, self._gradient)

    def after(self, weights: Sequence[Tensor | None]) -> PanelResults:
        measured = {row for row in self._held if self._fits(row, weights[row])}
        self._gather(weights, measured, self._new)
        host = to_host(self._compare())
        return PanelResults(host, self._counts, measured, measured & self._held_last)

    def adaptivity(
        self,
        moments: Sequence[Tensor | None],
        epsilon: Sequence[float],
        correction: Sequence[float],
    ) -> AdaptivityResults:
        """Mean of sqrt(v-hat) / (sqrt(v-hat) + epsilon) over the places."""
        measured = {row for row, moment in enumerate(moments) if self._fits(row, moment)}
        self._gather(moments, measured, self._new)
        rows = [list(epsilon), list(correction)]
        constants = torch.tensor(rows, dtype=self._new.dtype, device="cpu")
        if self._new.device.type == "cuda":
            constants = constants.pin_memory()  # else the copy would wait
        constants = constants.to(self._new.device, non_blocking=True).unsqueeze(2)
        root = (self._new / constants[1]).sqrt_()
        share = root / (root + constants[0])
        share.nan_to_num_(0.0, 0.0, 0.0)
        return AdaptivityResults(to_host(share.sum(1)), self._counts, measured)

    def _fits(self, row: int, tensor: Tensor | None) -> bool:
        if tensor is None:
            return False
        places, count = self._places[row], tensor.numel()
        return count > PLACES if places is not None else count == self._counts[row]

    def _gather(self, tensors: Sequence[Tensor | None], rows: set[int], out: Tensor) -> None:
        targets, sources = [], []
        for row in sorted(rows):
            tensor = tensors[row].detach()
            places = self._places[row]
            at_places = tensor.reshape(-1) if places is None else torch.take(tensor, places)
            sources.append(at_places)
            targets.append(out[row, : self._counts[row]])
        copy_all(targets, sources)

    def _compare(self) -> Tensor:
        """[7, rows]: squared change, effect, made non-finite, stalled, g·h, g·g, h·h (h: g before)."""
        before, after, gradient, last = self._weights, self._new, self._gradient, self._last
        was_finite, is_finite = before.isfinite(), after.isfinite()
        change = torch.where(was_finite & is_finite, after - before, self._zero)
        usable = gradient.isfinite()
        effect = torch.where(usable, gradient, self._zero).mul_(change).neg_()
        bits = torch.int64 if before.dtype is torch.float64 else torch.int32
        stalled = (before.view(bits) == after.view(bits)).logical_and_(gradient != 0)
        usable &= last.isfinite()
        g, h = (torch.where(usable, values, self._zero) for values in (gradient, last))
        columns = (
            change * change,
            effect,
            (was_finite & ~is_finite).to(before.dtype),
            stalled.to(before.dtype),
            g * h,
            g * g,
            h * h,
        )
        return torch.stack([column.sum(1) for column in columns])


class PanelResults:
    """What an update did, on its way to the host."""

    def __init__(
        self, host: Tensor, counts: list[int], measured: set[int], compared: set[int]
    ) -> None:
        self._host = host
        self._counts = counts
        self._measured = measured
        self._compared = compared

    def readings(self, factor: float) -> list[tuple[int, Update, float | None]]:
        """When they have arrived: parameter, numbers, cosine, as native's put_update takes them;
        gradients are divided by `factor`."""
        columns = self._host.double().tolist()
        readings = []
        for row in sorted(self._measured):
            squares, effect, bad, stalled, gh, gg, hh = (column[row] for column in columns)
            numbers = (self._counts[row], squares, effect / factor, int(bad), int(stalled))
            comparable = row in self._compared and 0 < gg < inf and 0 < hh < inf
            cosine = min(max(gh / (gg**0.5 * hh**0.5), -1.0), 1.0) if comparable else None
            readings.append((row, numbers, cosine))
        return readings


class AdaptivityResults:
    def __init__(self, host: Tensor, counts: list[int], measured: set[int]) -> None:
        self._host = host
        self._counts = counts
        self._measured = measured

    def readings(self) -> list[tuple[int, float]]:
        """When they have arrived: parameter, mean."""
        sums = self._host.tolist()
        rows = sorted(row for row in self._measured if self._counts[row])
        return [(row, sums[row] / self._counts[row]) for row in rows]


class Spread:
    """How much the units of each site vary over samples: mean and sum of squared deviations of each
    unit, joined over calls until there are enough samples."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._dtype = wide_of(device)
        self._moments = torch.zeros((2, 0, UNITS), dtype=self._dtype, device=device)
        self._samples: list[int] = []
        self._units: list[int] = []
        self.geometry: dict[int, tuple[int, int]] = {}
        """Of the sites whose units are known: along which dimension they lie, how many."""
        self._shapes: dict[int, Shape] = {}  # of these sites: where units lie in what is looked at
        self._turns: dict[int, int] = {}
        self._sizes: dict[int, tuple[int, ...]] = {}  # of the first step, whose geometry comes behind it
        self._places: dict[int, Tensor] = {}  # by the number of units of a tensor

    def add(self, site: int, tensor: Tensor) -> bool:
        """tensor: [samples, ...]. Other units than before begin anew. False: it has no samples."""
        if tensor.dim() < 1 or tensor.numel() == 0:
            return False
        self._make_room(site)
        every = -(-len(tensor) // MOST_SAMPLES)
        values = self._chosen(site, tensor.detach()[::every])
        samples, units = values.shape
        if self._units[site] != units:
            self._moments[:, site].zero_()  # nothing may stand behind the last unit
            self._units[site], self._samples[site] = units, 0
        variance, mean = torch.var_mean(values.to(self._dtype), 0, correction=0)
        means, deviations = self._moments[:, site, :units]
        before, self._samples[site] = self._samples[site], self._samples[site] + samples
        if not before:
            means.copy_(mean)
            torch.mul(variance, samples, out=deviations)
            return True
        mean -= means
        means.add_(mean, alpha=samples / (before + samples))
        deviations.add_(variance, alpha=samples)
        deviations.addcmul_(mean, mean, value=before * samples / (before + samples))
        return True

    def collect(self) -> SpreadResults:
        """Sites with enough samples; they begin again."""
        means, deviations = self._moments
        host = to_host(torch.stack(((means * means).sum(1), deviations.sum(1))))
        for site, sizes in self._sizes.items():
            if site in self.geometry:
                self._shapes[site] = _shape_of(sizes, *self.geometry[site])
        self._sizes.clear()
        known = [site for site in self._shapes if self._samples[site] >= SAMPLES][:MOST_SITES]
        moments = [(site, self._shapes[site], to_host(self._moments[:, site])) for site in known]
        for site in known:
            self._turns[site] = self._turns.get(site, 0) + 1
        ready = {
            site: (samples, self._units[site])
            for site, samples in enumerate(self._samples)
            if samples >= SAMPLES
        }
        for site in ready:
            self._samples[site] = 0
        return SpreadResults(host, ready, moments)

    def forget(self) -> None:
        self._samples = [0] * len(self._samples)

    def _chosen(self, site: int, samples: Tensor) -> Tensor:
        """[samples, values], at most UNITS of them."""
        axis, n = self.geometry.get(site, (0, 0))
        self._shapes.pop(site, None)
        if 0 < axis < samples.dim():
            samples = unfolded(samples, axis, n)
            samples = samples[(slice(None), *thinned(samples.shape, axis, self._turns.get(site, 0)))]
            self._shapes[site] = _shape_of(tuple(samples.shape), axis, samples.shape[axis])
        values = samples.flatten(1) if samples.dim() > 1 else samples.unsqueeze(1)
        if values.shape[1] > UNITS:
            return values.index_select(1, self._places_among(values.shape[1]))
        if not axis:
            self._sizes[site] = tuple(samples.shape)
        return values

    def _make_room(self, site: int) -> None:
        rows = len(self._samples)
        if site < rows:
            return
        grown = self._moments.new_zeros((2, max(site + 1, 2 * rows), UNITS))
        grown[:, :rows].copy_(self._moments)
        self._moments = grown
        self._samples += [0] * (grown.shape[1] - rows)
        self._units += [0] * (grown.shape[1] - rows)

    def _places_among(self, units: int) -> Tensor:
        if units not in self._places:
            chosen = [k * units // UNITS for k in range(UNITS)]
            self._places[units] = torch.tensor(chosen, device="cpu").to(self._device)
        return self._places[units]


def unfolded(samples: Tensor, axis: int, n: int) -> Tensor:
    """What was flattened has n channels again."""
    if samples.dim() == 2 and axis == 1 and samples.shape[1] != n and n > 0 and samples.shape[1] % n == 0:
        return samples.unflatten(1, (n, -1))
    return samples


def _shape_of(sizes: tuple[int, ...], axis: int, n: int) -> Shape:
    if len(sizes) == 2 and axis == 1:
        return 1, n, sizes[1] // max(n, 1)
    return prod(sizes[1:axis]), sizes[axis], prod(sizes[axis + 1 :])


def thinned(shape: Sequence[int], axis: int, turn: int) -> list[slice]:
    """Of each dimension but the first every so manieth place, units last, so that no more than UNITS
    values are left; others each time. As python/native/units.c does."""
    every = [1] * len(shape)

    def places(d: int) -> int:
        return -(-shape[d] // every[d])

    while prod(map(places, range(1, len(shape)))) > UNITS:
        others = [d for d in range(1, len(shape)) if d != axis and places(d) > 1]
        every[max(others, key=lambda d: shape[d] // every[d], default=axis)] += 1
    slices = []
    for d in range(1, len(shape)):
        start, count = 0, places(d)
        if d != axis and every[d] > 1:
            count = shape[d] // every[d]
            starts = shape[d] - (count - 1) * every[d]
            start, turn = turn % starts, turn // starts
        slices.append(slice(start, start + (count - 1) * every[d] + 1, every[d]))
    return slices


class SpreadResults:
    def __init__(
        self,
        host: Tensor,
        ready: dict[int, tuple[int, int]],
        moments: list[tuple[int, Shape, Tensor]],
    ) -> None:
        self._host = host
        self._ready = ready
        self._moments = moments

    def units(self) -> list[tuple[int, int, Shape, Tensor, Tensor]]:
        """When they have arrived, of sites whose units are known: site, samples, where units lie, mean
        and sum of squared deviations of each value, as native's put_units takes them."""
        return [
            (site, self._ready[site][0], shape, *host[:, : prod(shape)].double())
            for site, shape, host in self._moments
        ]

    def readings(self) -> list[tuple[int, float]]:
        """When they have arrived: site, sqrt(mean variance) / rms; 0 where all is 0. Sites with a
        value that is not finite are left out."""
        squares, deviations = self._host.tolist()
        readings = []
        for site, (samples, units) in self._ready.items():
            variance, square = deviations[site] / samples / units, squares[site] / units
            mean_square = square + variance
            if not mean_square < inf:
                continue
            readings.append((site, (variance / mean_square) ** 0.5 if mean_square > 0 else 0.0))
        return readings
