# SPDX-License-Identifier: Apache-2.0
"""Which hooks hang where, and when. Hooks on modules hang in full steps only; but one that did not
fire while it hung stays: its module is seldom called, or compiled, and compiled code that sees a hook
come or go is compiled again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from .hooks import (
    AfterStep,
    BeforeStep,
    BeginHook,
    DiscoveryHook,
    Hook,
    LeafHook,
    LossHook,
    ModuleHook,
    OutputHook,
)
from .structure import SiteUse, leaves

if TYPE_CHECKING:
    from .probe import Probe


class Hanging:
    """All hooks of one probe."""

    def __init__(
        self,
        probe: Probe,
        model: torch.nn.Module,
        outer: torch.nn.Module,
        loss_fn: torch.nn.Module | None,
        optimizers: Sequence[torch.optim.Optimizer],
    ) -> None:
        """outer: what the user calls, model: the one inside."""
        self._probe = probe
        self._optimizers: tuple[torch.optim.Optimizer, ...] = tuple(optimizers)
        self._before: list[tuple[Any, Hook]] = []
        after = AfterStep(probe)
        self._after: list[tuple[Any, Hook]] = [
            (optimizer.register_step_post_hook(after), after) for optimizer in self._optimizers
        ]
        self._loss = OutputHook(probe, outer) if loss_fn is None else LossHook(probe, loss_fn)
        self._loss.put()
        self._begin = BeginHook(probe, model)
        self._leaves: list[ModuleHook] = [DiscoveryHook(probe, module) for _, module in leaves(model)]
        self._is_full = False
        self.begin_full()

    def begin_full(self) -> None:
        """The next step is looked at in full."""
        self._is_full = True
        for hook in (self._begin, *self._leaves):
            hook.put()
        if not self._before:
            before = BeforeStep(self._probe)
            self._before = [(o.register_step_pre_hook(before), before) for o in self._optimizers]

    def begin_light(self, *, closures: bool) -> None:
        """closures: steps are given some, which are to be seen in each step."""
        if not self._is_full:
            return
        self._is_full = False
        for hook in (self._begin, *self._leaves):
            hook.take()
        if not closures:
            _take_down(self._before)

    def end_discovery(self, sites: Iterable[SiteUse], *, loss_in_output: bool) -> None:
        """From now on only what is read has hooks."""
        for hook in self._leaves:
            hook.take()
        modules: dict[torch.nn.Module, dict[str, tuple[int, int]]] = {}
        for use in sites:
            places = modules.setdefault(use.module, {})
            places[use.place] = use.site, use.what | places.get(use.place, (0, 0))[1]
        kept = [hook for hook in self._leaves if hook.hangs]
        self._leaves = kept + [
            LeafHook(
                self._probe,
                module,
                places.pop("output", None),
                tuple(places[place] for place in ("input", "first", "last") if place in places),
            )
            for module, places in modules.items()
        ]
        if isinstance(self._loss, OutputHook) and not loss_in_output:
            self._loss.take()

    def let_go(self, *, of_optimizers: bool) -> None:
        """All hooks off. An optimiser that is calling its hooks right now must keep them: those are
        dead from here on."""
        for hook in (self._loss, self._begin, *self._leaves):
            hook.let_go()
        self._leaves, self._optimizers = [], ()
        for hooks in (self._before, self._after):
            for _, hook in hooks:
                hook.probe = None
            if of_optimizers:
                _take_down(hooks)


def _take_down(hooks: list[tuple[Any, Hook]]) -> None:
    for handle, hook in hooks:
        hook.probe = None
        handle.remove()
    hooks.clear()
