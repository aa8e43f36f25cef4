# SPDX-License-Identifier: Apache-2.0
"""What the first step shows: calls of leaf modules, and the autograd graph of the first loss."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from . import _native, losses
from . import graph as graphs
from .layers import Call
from .modules import leaves, look, plain_name, tensor_in, tensors_in

MAX_CALLS = 100_000

# "first" and "last": the time steps of a recurrent module's input, of which the error signal is read.
Place = Literal["output", "input", "first", "last"]


@dataclass
class Site:
    """A place where a tensor passes: what a leaf module returns, or what it is given."""

    module: nn.Module
    name: str
    place: Place


@dataclass
class _Heard:
    """A call as it is heard, with nodes of the graph: kept until the loss is known."""

    call: Call
    inputs: list[tuple[Any, int]]
    outputs: list[tuple[Any, int]]
    first: tuple[Any, int] | None  # of the tensor that the site "output" shows
    first_input: tuple[Any, int] | None
    reads_a_table: bool  # by numbers of its rows that are not the same for the whole batch


def _key(tensor: Tensor) -> tuple[Any, int] | None:
    node = tensor.grad_fn
    return None if node is None else (node, tensor.output_nr)


class Discovery:
    """Listens to one step. No tensor is held; nodes of the graph are, until the loss is known."""

    def __init__(self, model: nn.Module) -> None:
        self.sites: list[Site] = []
        self.names = {id(module): plain_name(name) for name, module in leaves(model)}
        self._number: dict[tuple[int, Place], int] = {}
        self._heard: list[_Heard] = []
        self._made_by: dict[tuple[Any, int], bool] = {}  # -> the maker has parameters
        self._plain: dict[int, weakref.ref[Tensor]] = {}  # outputs without a gradient
        self._has_parameters: dict[int, bool] = {}
        self._last: tuple[Any, int] | None = None
        self.was_called: set[int] = set()
        self.called_without_graph: set[int] = set()
        self.calls: list[Call] = []
        self.flow: graphs.Flow | None = None
        self.passing: dict[int, list[graphs.Tensor]] = {}  # site -> tensors of the first loss
        self.input_site: int | None = None
        self.input_shape: tuple[int, ...] = ()
        self.timeless: set[int] = set()  # recurrent modules whose input needs no gradient
        self.facts: dict[str, Any] = {}
        self.loss_was_seen = False
        self.cut_short = False

    # --- listening

    def called(
        self, module: nn.Module, args: tuple[Any, ...], output: object
    ) -> list[tuple[int, Tensor]]:
        """A leaf module was called: notes order, nodes of the graph and shapes. Returns sites and
        tensors to be observed: its output; its input where that is no earlier output, or that of a
        module without parameters (which may be used at several places)."""
        given, returned = tensor_in(args), tensor_in(output)
        if returned is None:
            return []
        self.was_called.add(id(module))
        passed: list[tuple[int, Tensor]] = []
        in_place = returned is given
        is_identity = in_place and not getattr(module, "inplace", False)
        if given is not None and not in_place and self._is_wanted(module, given):
            passed.append((self._site(module, "input"), given))
            self._note_input(module, given)
        if not is_identity:
            passed.append((self._site(module, "output"), returned))
        if self.flow is None and len(self._heard) < MAX_CALLS:
            self._hear(module, args, given, output, returned, in_place and not is_identity)
        return passed

    def through_time(self, module: nn.Module, args: tuple[Any, ...]) -> list[tuple[int, Tensor, int]]:
        """Of a recurrent module that was called: what is to be observed of its input's error signal,
        as sites with numbers in a row, and how. A packed sequence has its time steps mixed."""
        given = args[0] if args and isinstance(module, nn.RNNBase) else None
        if not isinstance(given, Tensor) or not given.is_floating_point() or given.dim() not in (2, 3):
            return []
        if not given.requires_grad:
            self.timeless.add(id(module))
            return []
        how = through_time_bits(module)
        sites = [self._site(module, place) for place in ("first", "last")]
        return [(site, given, what) for site, what in zip(sites, how, strict=True)]

    def _site(self, module: nn.Module, place: Place) -> int:
        number = self._number.get((id(module), place))
        if number is None:
            number = self._number[id(module), place] = len(self.sites)
            self.sites.append(Site(module, self.names.get(id(module), ""), place))
        return number

    def _is_wanted(self, module: nn.Module, given: Tensor) -> bool:
        """Once the graph was read the places are chosen."""
        if self.flow is None:
            return self._is_new(given)
        return (id(module), "input") in self._number

    def _is_new(self, tensor: Tensor) -> bool:
        if not tensor.is_floating_point():
            return False
        key = _key(tensor)
        if key is not None:
            return not self._made_by.get(key, False)
        known = self._plain.get(id(tensor))
        return known is None or known() is not tensor

    def _note_input(self, module: nn.Module, tensor: Tensor) -> None:
        if self.input_site is None and tensor.grad_fn is None and self.flow is None:
            self.input_site = self._site(module, "input")

    def _hear(
        self,
        module: nn.Module,
        args: tuple[Any, ...],
        given: Tensor | None,
        output: object,
        returned: Tensor,
        in_place: bool,
    ) -> None:
        call = Call(module, self.names.get(id(module), ""), len(self._heard), tuple(returned.shape))
        call.in_place = in_place
        if given is not None:
            call.input_shape = tuple(given.shape)
            call.input_is_float = given.is_floating_point()
        inputs = [key for key in map(_key, tensors_in(args)) if key is not None]
        outputs = [key for key in map(_key, tensors_in(output)) if key is not None]
        trained = self._has_parameters.get(id(module))
        if trained is None:
            trained = next(module.parameters(), None) is not None
            self._has_parameters[id(module)] = trained
        for key in outputs:
            self._made_by.setdefault(key, trained)
        if returned.grad_fn is None:
            self._plain[id(returned)] = weakref.ref(returned)
            self.called_without_graph.add(id(module))
        else:
            self._last = _key(returned)
        table = given is not None and not given.is_floating_point()
        if table and given is not None and given.dim() and given.shape[0] > 1:
            table = given.stride(0) != 0
        first_input = _key(given) if given is not None and not in_place else None
        self._heard.append(_Heard(call, inputs, outputs, _key(returned), first_input, table))

    # --- the loss

    def loss_is(self, loss: Tensor, loss_fn: object | None, args: tuple[Any, ...]) -> None:
        """Reads the graph of the first loss that depends on a called module, before the backward
        pass frees it."""
        if self.flow is not None or loss.grad_fn is None:
            return
        if not self.facts:
            self.facts = losses.facts_of(loss_fn, args, loss)
            self.facts.setdefault("loss", "other")
        self.loss_was_seen = True
        self._read(loss.grad_fn)

    def finish(self) -> None:
        """Without a loss the last call that was heard stands for it: its nodes still are there."""
        if self.flow is None and self._last is not None:
            self._read(self._last[0])
        self._drop_nodes()

    def _read(self, root: Any) -> None:
        graph = graphs.walk(root, look)
        number = graph.number
        regions = []
        for heard in self._heard:
            call = heard.call
            call.inputs = [(number[n], i) for n, i in heard.inputs if n in number]
            call.outputs = [(number[n], i) for n, i in heard.outputs if n in number]
            regions.append(graphs.Region(call.inputs, call.outputs, call.in_place))
        if not any(region.outputs for region in regions):
            return  # of what is watched nothing takes part
        self.cut_short = graph.cut_short
        self.flow = graphs.Flow(graph, regions)
        self.calls = [heard.call for heard in self._heard]
        self._note_passing(number)
        self.flow.from_sources(self._sources())
        self._drop_nodes()
        graph.forget_nodes()

    def _note_passing(self, number: dict[Any, int]) -> None:
        """Which tensors each site showed; by a call that leads nowhere, too."""
        for heard in self._heard:
            call = heard.call
            places: tuple[tuple[Place, tuple[Any, int] | None], ...] = (
                ("output", heard.first),
                ("input", heard.first_input),
            )
            for place, key in places:
                site = self._number.get((id(call.module), place))
                if site is None or key is None or key[0] not in number:
                    continue
                tensors = self.passing.setdefault(site, [])
                tensor = (number[key[0]], key[1])
                if tensor not in tensors:
                    tensors.append(tensor)

    def _sources(self) -> list[int]:
        """Calls that read the data. A table looked up by places instead of tokens (positions) is
        the same for all samples."""
        assert self.flow is not None
        first = [k for k in self.flow.first_calls() if self.flow.is_vertex(k)]
        tables = [self.calls[k].input_shape for k in first if self._heard[k].reads_a_table]
        if not tables:
            return first
        last = max((call for call in self.calls if call.outputs), key=lambda call: call.index)
        with_batch = [shape for shape in tables if shape[:1] == last.shape[:1]]
        tokens = max(with_batch or tables, key=lambda shape: (len(shape), math.prod(shape)))
        return [
            k
            for k in first
            if self.calls[k].input_is_float
            or (self._heard[k].reads_a_table and _has_batch(self.calls[k].input_shape, tokens))
        ]

    def _drop_nodes(self) -> None:
        self._heard = []
        self._made_by = {}
        self._plain = {}
        self._last = None


def through_time_bits(module: Any) -> tuple[int, int]:
    """Of the first and of the last time steps: the bits of `what`."""
    axis = _native.TIME_SECOND if module.batch_first else 0
    return _native.ERROR | _native.FIRST_TENTH | axis, _native.ERROR | _native.LAST_TENTH | axis


def _has_batch(shape: tuple[int, ...], tokens: tuple[int, ...]) -> bool:
    """True when the first size is the batch's, as it is of the tokens."""
    if not shape or shape[0] != tokens[0]:
        return False
    return len(shape) >= len(tokens) or shape[0] != tokens[-1]
