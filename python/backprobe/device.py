# SPDX-License-Identifier: Apache-2.0
"""Watching tensors that live on an accelerator, without waiting for it in a step.

A `DeviceStage` stands between the hooks and the native probe and has the methods that the probe has
for tensors. Statistics are reduced on the device, in the stream of the run; what comes out, a few
kilobytes, is copied to pinned memory behind them, and an event is recorded behind the copies. At
the end of each later step the stage asks whether the event has come (it never waits) and then tells
the step to the probe, by put_loss, put_summary and so on. So the probe hears of a step a few steps
late, of all of them in order.

What happens where things are not as usual:

- A CUDA graph is being captured: nothing is measured, for what is captured would be replayed into
  the same memory behind our back. Replays call no hook, so a step in which the optimiser is
  captured too is not seen.
- The model lies on several devices: each has its own tiles and panel, and a step is told when the
  events of all devices have come. Tensors that lie on the CPU are reduced there.
- Work on a stream of the user's own: the results belong to the stream that was current when the
  device was first seen. Tensors on another stream are not measured, and counted as that.
- Adam's `capturable` and a fused optimiser's loss scale keep numbers on the device: `factor`,
  `loss_scale` and `skipped` may be tensors, and are read when they have arrived.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from . import _native
from .device_panel import Panel, Spread
from .device_step import Call, Event, Loss, Scalar, Step, time_steps
from .device_tiles import Arrived, Tiles, why_not, wide_of

QUEUED_STEPS = 64  # that were not told yet; the next one waits for the oldest
QUEUED_FULL_STEPS = 4  # these hold more memory
SCALARS = 16  # in one piece of pinned memory
_TIME_STEPS = _native.FIRST_TENTH | _native.LAST_TENTH | _native.TIME_SECOND

class HasCome:
    """The event of a device that is never behind: the CPU."""

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        pass


def recorded_event(device: torch.device) -> Event:
    if device.type == "cpu":
        return HasCome()
    event = torch.Event(device)
    event.record(torch.accelerator.current_stream(device))
    return event


class ErrorHook:
    """Stands on an activation until its graph is freed; keeps no tensor."""

    __torch_unserializable__ = True  # saving the tensor needs no warning

    def __init__(self, stage: DeviceStage, step: Step, call: Call) -> None:
        self.stage, self.step, self.call = stage, step, call

    def __call__(self, gradient: Tensor) -> None:
        self.stage._guarded(self.stage._error_came, self.step, self.call, gradient)


class LossHook:
    __torch_unserializable__ = True

    def __init__(self, stage: DeviceStage, step: Step, loss: Loss) -> None:
        self.stage, self.step, self.loss = stage, step, loss

    def __call__(self, gradient: Tensor) -> None:
        self.stage._guarded(self.stage._backward_began, self.step, self.loss, gradient)


class Station:
    """What stands on one device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.tiles = Tiles(device)
        self.spread = Spread(device)
        self.parameters: list[int] = []
        self.panel: Panel | None = None
        self.stream = self._current_stream()

    def is_at_home(self) -> bool:
        return self._current_stream() == self.stream

    def choose(self, tensors: Sequence[Any]) -> list[Any]:
        """Of the tensors of all parameters, those of this device's."""
        return [tensors[index] for index in self.parameters]

    def _current_stream(self) -> object:
        if self.device.type in ("cuda", "xpu"):
            return torch.accelerator.current_stream(self.device)
        return None


class DeviceStage:
    """The native probe's methods for tensors, for tensors on an accelerator; the others pass through.

    `device` is the one on which most of the model lies. "cpu" works, too, and gives the numbers of
    the native probe: for tests.
    """

    def __init__(
        self,
        probe: _native.Probe,
        device: str | torch.device,
        *,
        event: Callable[[torch.device], Event] = recorded_event,
        queued_steps: int = QUEUED_STEPS,
    ) -> None:
        self._probe = probe
        self._device = torch.device(device)
        self._event = event
        self._queued_steps = queued_steps
        self._stations: dict[torch.device, Station] = {}
        self._pending: deque[Step] = deque()
        self._free: list[Tensor] = []  # pinned memory for scalars
        self._used_scalars = SCALARS
        self._every = 0
        self._number = 0  # of the current step
        self._sites: list[int] = []  # of layers' outputs
        self._geometry: dict[int, tuple[int, int]] = {}  # of the sites whose units are known
        self._failure: Exception | None = None
        self._not_measured: dict[str, int] = {}
        self._now = Step(probe.full)
        self.on_backward: Callable[[int], None] | None = None

    # --- in a step

    @property
    def full(self) -> bool:
        return self._now.full

    @property
    def step(self) -> int:
        """Steps that have ended. The probe knows of those that have arrived."""
        return self._number

    @property
    def pending(self) -> int:
        """Steps that have ended and are not told yet."""
        return len(self._pending)

    @property
    def not_measured(self) -> dict[str, int]:
        counts = dict(self._probe.not_measured)
        for reason, count in self._not_measured.items():
            counts[reason] = counts.get(reason, 0) + count
        return counts

    @torch.no_grad()
    def forward(self, site: int, tensor: Any, what: int, /) -> bool:
        """As the native probe's."""
        step = self._now
        # In inference mode nothing is learnt, and what we allocated there could not be used later.
        if not step.full or torch.is_inference_mode_enabled() or not self._can_measure(tensor):
            return False
        began = time.perf_counter()
        rows = tensor.shape[0] if tensor.dim() else 1
        is_hooked = bool(what & _native.ERROR) and tensor.requires_grad
        call = Call(site, rows, is_hooked, what & _TIME_STEPS)
        station = self._station(tensor.device)
        if what & _native.ACTIVATION:
            [call.activation] = station.tiles.take([tensor])
        if what & _native.SPREAD:
            station.spread.add(site, tensor)
        if call.is_hooked:
            tensor.register_hook(ErrorHook(self, step, call))
        step.calls.append(call)
        step.seconds += time.perf_counter() - began
        return True

    @torch.no_grad()
    def loss(self, tensor: Any, terms: int, /) -> None:
        """As the native probe's; the value is read when it has arrived."""
        if isinstance(tensor, Tensor) and tensor.numel() != 1:
            self._count("a loss of more than one number")
            return
        if self.is_capturing():
            return
        step = self._now
        loss = Loss(self._later(tensor), terms)
        if not isinstance(tensor, Tensor):
            step.begin_pass(-1, loss)
        elif tensor.requires_grad:
            tensor.register_hook(LossHook(self, step, loss))

    def put_loss(self, value: Scalar, factor: float, terms: int, /) -> None:
        """As the native probe's; the value may be a tensor."""
        self._now.begin_pass(-1, Loss(self._later(value), terms, factor))

    def put_targets(self, low: Scalar, high: Scalar, /) -> None:
        """As the native probe's, and so is the next."""
        if self._now.full and not self.is_capturing():
            self._now.targets.append((self._later(low), self._later(high)))

    def put_guesses(self, right: Scalar, guesses: Scalar, /) -> None:
        if self._now.full and not self.is_capturing():
            self._now.guesses.append((self._later(right), self._later(guesses)))

    def fresh(self) -> None:
        """As the native probe's. Whether gradients that are there are all zero is not asked of a
        device: this is for gradients that are None."""
        self._now.forget_older_passes()
        self._now.of_parameters.pop("unclipped", None)

    def forget(self) -> None:
        """As the native probe's. What a tile holds of the step is not told."""
        self._release(self._now)
        self._now, self._used_scalars = Step(self._now.full), SCALARS
        for station in self._stations.values():
            station.spread.forget()

    @torch.no_grad()
    def gradients(self, gradients: Sequence[Any], /) -> None:
        """As the native probe's."""
        step = self._now
        if not step.full:
            return
        began = time.perf_counter()
        self._take("unclipped", gradients)
        step.seconds += time.perf_counter() - began

    @torch.no_grad()
    def before_update(
        self, parameters: Sequence[Any], gradients: Sequence[Any], factor: Scalar, /
    ) -> None:
        """As the native probe's; the factor may be a tensor."""
        step = self._now
        if not step.full or self.is_capturing():
            return
        began = time.perf_counter()
        step.factor = self._later(factor)
        step.missing = [index for index, gradient in enumerate(gradients) if gradient is None]
        self._take("parameter", parameters)
        self._take("gradient", gradients)
        self._open_panels(parameters)
        weights, slopes = self._measurable(parameters), self._measurable(gradients)
        for station in self._with_panels():
            station.panel.before(station.choose(weights), station.choose(slopes))
        step.seconds += time.perf_counter() - began

    @torch.no_grad()
    def after_update(self, parameters: Sequence[Any], /) -> None:
        step = self._now
        if not step.full or self.is_capturing():
            return
        began = time.perf_counter()
        weights = self._measurable(parameters)
        for station in self._with_panels():
            results = station.panel.after(station.choose(weights))
            step.panels.append((station.parameters, results))
        step.seconds += time.perf_counter() - began

    @torch.no_grad()
    def second_moments(
        self,
        moments: Sequence[Any],
        epsilon: Sequence[float],
        correction: Sequence[float],
        /,
    ) -> None:
        """As the native probe's, at the panel's places."""
        step = self._now
        if not step.full or self.is_capturing():
            return
        began = time.perf_counter()
        measurable = self._measurable(moments)
        for station in self._with_panels():
            chosen = (station.choose(each) for each in (measurable, epsilon, correction))
            step.adaptivity.append((station.parameters, station.panel.adaptivity(*chosen)))
        step.seconds += time.perf_counter() - began

    @torch.no_grad()
    def end_step(
        self,
        learning_rate: float,
        samples: int,
        skipped: Scalar | bool = False,
        loss_scale: Scalar = 1.0,
        /,
    ) -> bool:
        """Ends the step, tells those that have arrived, and says whether the next one is full.
        An error that a tensor's hook met is raised here."""
        if self._failure is not None:
            raise self._failure
        if self.is_capturing():
            return self.full
        step = self._now
        began = time.perf_counter()
        step.ends = (learning_rate, samples, self._later(skipped), self._later(loss_scale))
        if step.full:
            self._collect(step)
        step.events = [self._event(device) for device in self._stations or (self._device,)]
        step.seconds += time.perf_counter() - began if step.full else 0.0
        self._used_scalars = SCALARS
        self._pending.append(step)
        self._number += 1
        self._tell_what_has_come()
        self._now = Step(self._next_is_full())
        return self._now.full

    # --- the run

    def open(
        self,
        layers: Sequence[Any],
        recipe: Any,
        input_shape: tuple[int, int, int],
        sites: Sequence[tuple[int, int, str]],
        parameters: Sequence[tuple[int, str, int]],
        options: _native.Options,
        /,
    ) -> None:
        self._probe.open(layers, recipe, input_shape, sites, parameters, options)
        self._every = options.get("every", 0)
        self._sites = [site for site, _, role, *_ in sites if role == "activation"]
        self._geometry = {site: (units[0], units[1]) for site, _, _, *units in sites if units and units[0]}
        for station in self._stations.values():
            station.spread.geometry = self._geometry
        self._number = self._probe.step

    def validation(self, loss: float | None, accuracy: float | None, /) -> None:
        self._behind_last(lambda: self._probe.validation(loss, accuracy))

    def checkpoint(self, step: int, file: str, /) -> None:
        self._behind_last(lambda: self._probe.checkpoint(step, file))

    def close(self, end: _native.End, /) -> None:
        """Waits for what is under way, for nothing comes behind it."""
        try:
            while self._pending:
                self._pending[0].wait()
                self._tell(self._pending.popleft())
        finally:
            self._probe.close(end)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._probe, name)  # news, findings, cost, overview, blind

    # --- what hooks bring

    def _guarded(self, work: Callable[..., None], *arguments: Any) -> None:
        """A hook of the backward pass raises nothing; end_step does."""
        if self._failure is not None or torch.compiler.is_compiling():
            return
        try:
            with torch.no_grad():
                work(*arguments)
        except Exception as error:
            self._failure = error

    def _error_came(self, step: Step, call: Call, gradient: Tensor) -> None:
        if step is not self._now or not self._can_measure(gradient):
            return
        began = time.perf_counter()
        chosen = time_steps(gradient, call.part) if call.part else gradient
        if chosen is None:
            return
        [reading] = self._station(gradient.device).tiles.take([chosen])
        call.errors.append((step.passes[-1] if step.passes else None, reading))
        call.forgotten = False
        step.seconds += time.perf_counter() - began

    def _backward_began(self, step: Step, loss: Loss, gradient: Tensor) -> None:
        if step is not self._now or self.is_capturing():
            return
        loss.factor = self._later(gradient)
        begins = step.begin_pass(torch._C._current_graph_task_id(), loss)
        if begins and step.full and self.on_backward is not None:
            self.on_backward(len(step.passes))

    # --- measuring

    def _station(self, device: torch.device) -> Station:
        if device not in self._stations:
            self._stations[device] = Station(device)
            self._stations[device].spread.geometry = self._geometry
        return self._stations[device]

    def _count(self, reason: str) -> None:
        self._not_measured[reason] = self._not_measured.get(reason, 0) + 1

    def _can_measure(self, tensor: Any) -> bool:
        if self.is_capturing():
            return False
        reason = why_not(tensor)
        if reason is None and not self._station(tensor.device).is_at_home():
            reason = "on another stream"
        if reason is not None:
            self._count(reason)
        return reason is None

    def _measurable(self, tensors: Iterable[Any]) -> list[Tensor | None]:
        return [tensor if why_not(tensor) is None else None for tensor in tensors]

    def is_capturing(self) -> bool:
        """Nothing may be asked of the device now."""
        return self._device.type == "cuda" and torch.cuda.is_current_stream_capturing()

    def _take(self, role: str, tensors: Sequence[Any]) -> None:
        by_device: dict[torch.device, list[int]] = {}
        for index, tensor in enumerate(tensors):
            if tensor is not None and tensor is not False and self._can_measure(tensor):
                by_device.setdefault(tensor.device, []).append(index)
        readings = self._now.of_parameters[role] = {}
        for device, indices in by_device.items():
            taken = self._station(device).tiles.take([tensors[index] for index in indices])
            readings.update(zip(indices, taken, strict=True))

    def _open_panels(self, parameters: Sequence[Any]) -> None:
        if any(station.panel for station in self._stations.values()):
            return
        for index, parameter in enumerate(parameters):
            if why_not(parameter) is None:
                self._station(parameter.device).parameters.append(index)
        for station in self._stations.values():
            counts = [parameters[index].numel() for index in station.parameters]
            if counts:
                station.panel = Panel(counts, station.device)

    def _with_panels(self) -> list[Any]:
        return [
            station
            for station in self._stations.values()
            if station.panel is not None and station.is_at_home()
        ]

    def _collect(self, step: Step) -> None:
        for station in self._stations.values():
            step.tiles.update(station.tiles.collect())
            step.spreads.append(station.spread.collect())

    def _later(self, value: Any) -> Any:
        """A scalar of a device on its way to the host; others are numbers already."""
        if not isinstance(value, Tensor):
            return value
        if value.device.type == "cpu" and self._device.type != "cpu":
            return float(value)
        if self._used_scalars == SCALARS:
            self._now.pinned.append(self._free.pop() if self._free else self._new_scalars())
            self._used_scalars = 0
        place = self._now.pinned[-1][self._used_scalars]
        self._used_scalars += 1
        return place.copy_(value.detach().reshape(()), non_blocking=True)

    def _new_scalars(self) -> Tensor:
        pinned = self._device.type in ("cuda", "xpu")
        dtype = wide_of(self._device)
        return torch.empty(SCALARS, dtype=dtype, device="cpu", pin_memory=pinned)

    # --- telling

    def _behind_last(self, tell: Callable[[], None]) -> None:
        if self._pending:
            self._pending[-1].then.append(tell)
        else:
            tell()

    def _tell_what_has_come(self) -> None:
        while self._pending:
            full = sum(step.full for step in self._pending)
            if len(self._pending) > self._queued_steps or full > QUEUED_FULL_STEPS:
                self._pending[0].wait()
            elif not self._pending[0].has_come():
                return
            self._tell(self._pending.popleft())

    def _next_is_full(self) -> bool:
        """By count the rule is the governor's. By budget the governor is asked, who knows the run
        up to the last step that was told; a full step that is under way is his answer's price."""
        if self._every:
            return self._number % self._every == 0
        return self._probe.full and not any(step.full for step in self._pending)

    def _tell(self, step: Step) -> None:
        probe = self._probe
        probe.observed(step.full, step.seconds)
        arrived = Arrived(step.tiles)
        for each in step.counting_passes():
            if each is not None and each.losses:
                probe.put_loss(each.value(), each.factor(), each.terms())
            for call in step.calls:  # they belong to the pass that was told last
                for reading in call.errors_of(each):
                    probe.put_summary(
                        "error", call.site, arrived.numbers(reading), *arrived.format(reading)
                    )
        learning_rate, samples, skipped, loss_scale = step.ends
        if step.full:
            self._tell_activations(step, arrived)
            self._tell_parameters(step, arrived)
            self._tell_targets(step)
            counts = map(step.samples_of, self._sites)
            samples = samples or next((count for count in counts if count), 0)
        probe.end_step(learning_rate, samples, bool(skipped), float(loss_scale))
        for then in step.then:
            then()
        self._release(step)

    def _tell_activations(self, step: Step, arrived: Arrived) -> None:
        for call in step.counting_calls():
            if call.activation is not None:
                numbers = arrived.numbers(call.activation)
                self._probe.put_summary("activation", call.site, numbers, *arrived.format(call.activation))
        for spread in step.spreads:
            for site, variation in spread.readings():
                self._probe.put_spread(site, variation)
            for units in spread.units():
                self._probe.put_units(*units)

    def _tell_parameters(self, step: Step, arrived: Arrived) -> None:
        probe, factor = self._probe, float(step.factor)
        if factor == 0 or not isfinite(factor):
            self._count("a loss scale that is no factor")
            return
        for role, readings in step.of_parameters.items():
            for parameter, reading in readings.items():
                numbers = arrived.numbers(reading, 1.0 if role == "parameter" else factor)
                probe.put_summary(role, parameter, numbers, *arrived.format(reading))
        for parameter in step.missing:
            probe.put_missing(parameter)
        for parameters, panel in step.panels:
            for row, update, cosine in panel.readings(factor):
                probe.put_update(parameters[row], update, cosine)
        for parameters, adaptivity in step.adaptivity:
            for row, mean in adaptivity.readings():
                probe.put_adaptivity(parameters[row], mean)

    def _tell_targets(self, step: Step) -> None:
        for low, high in step.targets:
            self._probe.put_targets(float(low), float(high))
        for right, guesses in step.guesses:
            self._probe.put_guesses(int(right), int(guesses))

    def _release(self, step: Step) -> None:
        """A graph that the user keeps keeps its hooks, and these the step, but not what it held."""
        self._free += step.pinned
        for held in (step.pinned, step.calls, step.passes, step.tiles, step.panels, step.spreads):
            held.clear()


def stage_for(probe: _native.Probe, parameters: Iterable[Tensor]) -> _native.Probe | DeviceStage:
    """What is told of tensors: the probe where it can read all parameters itself."""
    away = [p.device for p in parameters if p.device.type not in ("cpu", "meta")]
    return DeviceStage(probe, away[0]) if away else probe
