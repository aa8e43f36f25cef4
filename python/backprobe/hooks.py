# SPDX-License-Identifier: Apache-2.0
"""What is hung onto a model, its loss and its optimisers. A hook holds a probe and calls it; it raises
nothing of ours, does nothing while code is compiled, and pickles and copies to a call that does
nothing."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.compiler import is_compiling

from .structure import tensor_in

if TYPE_CHECKING:
    from .probe import Probe


def _nothing() -> Callable[..., None]:
    """A call of the standard library's that takes anything and does nothing: a model that was saved
    while it was watched loads where there is no backprobe."""
    return contextlib.nullcontext().__exit__


class Hook:
    """Knows its probe until that lets go of it."""

    __slots__ = ("probe",)

    def __init__(self, probe: Probe) -> None:
        self.probe: Probe | None = probe

    def __copy__(self) -> Callable[..., None]:
        return _nothing()

    def __deepcopy__(self, memo: dict[int, object]) -> Callable[..., None]:
        return _nothing()

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (contextlib.nullcontext(), "__exit__")


class ModuleHook(Hook):
    """On a module: behind its forward pass."""

    __slots__ = ("_handle", "fired", "module")

    def __init__(self, probe: Probe, module: torch.nn.Module) -> None:
        super().__init__(probe)
        self.module: torch.nn.Module | None = module
        self.fired = False
        self._handle: Any = None

    @property
    def hangs(self) -> bool:
        return self._handle is not None

    def put(self) -> None:
        self.fired = False
        if self._handle is None and self.module is not None:
            self._handle = self._hang(self.module)

    def take(self) -> None:
        """Unless it did not fire."""
        if self._handle is not None and self.fired:
            self._handle.remove()
            self._handle = None

    def let_go(self) -> None:
        """For good."""
        self.fired = True
        self.take()
        self.probe = self.module = None

    def _hang(self, module: torch.nn.Module) -> Any:
        return module.register_forward_hook(self)


class LeafHook(ModuleHook):
    """On a module whose sites are known."""

    __slots__ = ("_inputs", "_output")

    def __init__(
        self,
        probe: Probe,
        module: torch.nn.Module,
        output: tuple[int, int] | None,
        inputs: tuple[tuple[int, int], ...],
    ) -> None:
        super().__init__(probe, module)
        self._output = output  # (site, what)
        self._inputs = inputs

    def __call__(self, module: torch.nn.Module, args: tuple[Any, ...], output: object) -> None:
        if is_compiling():
            return
        self.fired = True
        probe = self.probe
        if probe is None or not probe.listens():
            return
        try:
            for place in self._inputs:
                probe.passes(place, tensor_in(args))
            if self._output is not None:
                probe.passes(self._output, output if type(output) is torch.Tensor else tensor_in(output))
        except Exception as error:
            probe.fail(error)


class DiscoveryHook(ModuleHook):
    """On every leaf module, as long as the network is not known."""

    __slots__ = ()

    def __call__(self, module: torch.nn.Module, args: tuple[Any, ...], output: object) -> None:
        if is_compiling():
            return
        self.fired = True
        probe = self.probe
        if probe is None or not probe.listens():
            return
        try:
            probe.discovers(module, args, output)
        except Exception as error:
            probe.fail(error)


class BeginHook(ModuleHook):
    """Before the model's forward pass, in full steps."""

    __slots__ = ()

    def _hang(self, module: torch.nn.Module) -> Any:
        return module.register_forward_pre_hook(self, with_kwargs=True)

    def __call__(self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if is_compiling():
            return
        self.fired = True
        probe = self.probe
        if probe is None:
            return
        try:
            probe.begins(args, kwargs)
        except Exception as error:
            probe.fail(error)
        if probe.news:  # of a step that a loss scaler skipped
            probe.tell()


class OutputHook(ModuleHook):
    """On the model: its output may hold the loss."""

    __slots__ = ()

    def _hang(self, module: torch.nn.Module) -> Any:
        return module.register_forward_hook(self, with_kwargs=True)

    def __call__(
        self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object
    ) -> None:
        if is_compiling():
            return
        self.fired = True
        probe = self.probe
        if probe is None or not probe.listens():
            return
        try:
            probe.gave(kwargs, output)
        except Exception as error:
            probe.fail(error)
        if probe.news:
            probe.tell()


class LossHook(ModuleHook):
    """On the loss function, in every step."""

    __slots__ = ()

    def __call__(self, module: torch.nn.Module, args: tuple[Any, ...], output: object) -> None:
        if is_compiling():
            return
        probe = self.probe
        if probe is None:
            return
        try:
            if probe.light_loss(output) or not probe.listens():
                return
            probe.lost(module, args, output)
        except Exception as error:
            probe.fail(error)
        if probe.news:
            probe.tell()


class BeforeStep(Hook):
    """Before an optimiser's step: in full steps, and where steps are given closures."""

    __slots__ = ()

    def __call__(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if is_compiling():
            return None
        probe = self.probe
        if probe is None:
            return None
        try:
            return probe.steps(optimizer, args, kwargs)
        except Exception as error:
            probe.fail(error)
            return None


# What a light step comes to: _native.Probe.light_step.
_NOT_TOLD, _TOLD_AND_MORE = 0, 2


class AfterStep(Hook):
    """After an optimiser's step, in every step. What it raises is the user's own: the finding that
    stops a training, or what his callback raised."""

    __slots__ = ()

    def __call__(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if is_compiling():
            return
        probe = self.probe
        if probe is None:
            return
        try:
            told = probe.light_step(optimizer)
            if told == _NOT_TOLD:
                probe.stepped(optimizer)
            elif told == _TOLD_AND_MORE:
                probe.light_step_told()
        except Exception as error:
            probe.fail(error)
        if probe.news:
            probe.tell()


class Closure:
    """The user's closure, heard when it is called first: the later calls of a line search are no
    steps of their own."""

    __slots__ = ("_first", "_function", "_optimizer", "_probe")

    def __init__(self, probe: Probe, optimizer: torch.optim.Optimizer, function: Callable[[], Any]) -> None:
        self._probe = probe
        self._optimizer = optimizer
        self._function = function
        self._first = True

    def __call__(self) -> Any:
        result = self._function()
        if self._first:
            self._first = False
            try:
                self._probe.closed_once(self._optimizer)
            except Exception as error:
                self._probe.fail(error)
        return result


class Backward:
    """A backward pass begins. The native probe holds it, so that it must not hold the probe."""

    __slots__ = ("_probe",)

    def __init__(self, probe: Probe) -> None:
        self._probe = weakref.ref(probe)

    def __call__(self, number: int) -> None:
        probe = self._probe()
        if probe is None or probe.deaf:
            return
        try:
            probe.backward_begins(number)
            torch.autograd.Variable._execution_engine.queue_callback(self._ends)
        except Exception as error:
            probe.fail(error)

    def _ends(self) -> None:
        # Whoever reduces gradients over processes does so in a callback, too; once more puts us
        # behind it.
        torch.autograd.Variable._execution_engine.queue_callback(self._ended)

    def _ended(self) -> None:
        probe = self._probe()
        if probe is None or probe.deaf:
            return
        try:
            probe.backward_ended()
        except Exception as error:
            probe.fail(error)
