# SPDX-License-Identifier: Apache-2.0
"""Layers as the diagnosis understands them, found in the data flow: a weighted operator with the
normalisation and the activation that follow it, and the sums that end residual blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from torch import nn

from .graph import Flow, Tensor
from .modules import ADDITIONS, PARTS, VIEWS, Kind, kind_of


@dataclass
class Call:
    """A leaf module was called, in a pass that reached the loss or not."""

    module: nn.Module
    name: str
    index: int
    shape: tuple[int, ...]  # of its output
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)  # those that the loss depends on
    in_place: bool = False
    input_shape: tuple[int, ...] = ()
    input_is_float: bool = False


@dataclass
class Member:
    """A module that is part of a layer."""

    name: str
    module: nn.Module
    kind: Kind


@dataclass
class Layer:
    name: str
    kind: str
    order: tuple[float, int] = (0.0, 0)
    members: list[Member] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)  # of its operator; none: never called
    vertices: set[int] = field(default_factory=set)
    activation: str = "linear"
    slope: float = 0.0
    norm: str = "none"
    norm_after_activation: bool = False
    # Tensors of each call: at the layer's end, and on the way there.
    output: list[Tensor] = field(default_factory=list)
    pre_activation: list[Tensor] = field(default_factory=list)
    pre_norm: list[Tensor] = field(default_factory=list)
    fallback: list[list[Tensor]] = field(default_factory=list)  # earlier ends, the last one first
    site: int | None = None  # where its output is seen
    on_the_way: frozenset[str] | None = None  # nodes between; None: it is seen before its own end
    depth: int = 1
    block: set[int] = field(default_factory=set)  # of a residual sum: vertices in its block
    entry: int = -1  # and the vertex where it begins
    n_branch: int = 0
    skip_from: int = 0
    skip_vertex: int = -1


@dataclass
class Link:
    """One thing that follows an operator, in all its calls alike."""

    part: str  # "norm" or "activation"
    word: str
    slope: float
    module: nn.Module | None  # None: functional
    vertices: list[int]
    before: list[Tensor]
    after: list[Tensor]
    resized: bool  # what lies between operator and activation changed the number of elements
    between: set[int] = field(default_factory=set)  # vertices there: dropouts, views, pools


class Finder:
    """Finds layers in a flow. `frozen` tells whether none of a module's parameters is trained."""

    def __init__(
        self, flow: Flow, calls: Sequence[Call], frozen: Callable[[nn.Module], bool]
    ) -> None:
        self.flow = flow
        self.calls = calls
        self.frozen = frozen
        self.kinds = {id(call.module): kind_of(call.module) for call in calls}
        self.of_module: dict[int, list[int]] = {}
        for k, call in enumerate(calls):
            if call.outputs:
                self.of_module.setdefault(id(call.module), []).append(k)
        self.taken: set[int] = set()  # calls that belong to a layer
        self.layer_of: dict[int, Layer] = {}  # vertex -> its layer
        self.unseen_sums: list[set[int]] = []  # the blocks that they end

    # --- what follows an operator

    def _single_reader(self, tensor: Tensor) -> int | None:
        readers = {v for v, t in self.flow.consumers[self.flow.maker(tensor)] if t == tensor}
        return readers.pop() if len(readers) == 1 else None

    def _name_of(self, vertex: int) -> str:
        node = self.flow.node[vertex]
        return self.flow.graph.names[node] if node >= 0 else ""

    def _output_of(self, vertex: int) -> Tensor | None:
        if vertex < self.flow.n_calls:
            outputs = self.calls[vertex].outputs
            return outputs[0] if outputs else None
        return (self.flow.node[vertex], 0)

    def _is_passed(self, vertex: int) -> bool | None:
        """True or False: handed on with the same number of elements or not; None: not handed on."""
        if len(self.flow.producers[vertex]) != 1:
            return None
        if vertex < self.flow.n_calls:
            kind = self.kinds[id(self.calls[vertex].module)]
            return {"dropout": True, "pool": False}.get(kind.part)
        name = self._name_of(vertex)
        if name in VIEWS or name == "NativeDropoutBackward0":
            return True
        if name == "MulBackward0":  # by a mask or a number
            return True
        return False if "Pool" in name else None

    def _next_link(self, tensor: Tensor) -> Link | None:
        resized = False
        between: set[int] = set()
        for _ in range(8):
            reader = self._single_reader(tensor)
            if reader is None:
                return None
            link = self._as_link(reader, tensor, resized)
            if link is not None:
                link.between = between
                return link
            between.add(reader)
            passed = self._is_passed(reader)
            if passed is None:
                return None
            resized = resized or not passed
            out = self._output_of(reader)
            if out is None:
                return None
            tensor = out
        return None

    def _as_link(self, vertex: int, before: Tensor, resized: bool) -> Link | None:
        out = self._output_of(vertex)
        if out is None:
            return None
        if vertex < self.flow.n_calls:
            module = self.calls[vertex].module
            kind = self.kinds[id(module)]
            if kind.part not in ("norm", "activation") or vertex in self.taken:
                return None
            return Link(
                kind.part, kind.word, kind.slope, module, [vertex], [before], [out], resized
            )
        detail = self.flow.graph.details.get(self.flow.node[vertex])
        if detail is None:
            return None
        return Link("activation", detail[0], detail[1], None, [vertex], [before], [out], resized)

    def _merged(self, links: list[Link | None]) -> Link | None:
        """The same link in all calls of an operator."""
        first = links[0]
        if first is None:
            return None
        for other in links[1:]:
            if other is None or (other.part, other.word, other.slope) != (
                first.part,
                first.word,
                first.slope,
            ):
                return None
            if other.module is not first.module and (first.module is None or first.part == "norm"):
                return None
            first.vertices += other.vertices
            first.before += other.before
            first.after += other.after
            first.resized = first.resized or other.resized
            first.between |= other.between
        if first.part == "norm" and first.module is not None:
            if set(first.vertices) != set(self.of_module[id(first.module)]):
                return None  # it normalises something else, too
        return first

    def grow(self, layer: Layer, may_norm: bool) -> None:
        """Lets what follows a layer's output join it."""
        wanted = {"activation", "norm"} if may_norm else {"activation"}
        while wanted:
            link = self._merged([self._next_link(t) for t in layer.output])
            if link is None or link.part not in wanted:
                return
            if link.part == "norm":
                assert link.module is not None
                if link.resized or self.frozen(link.module) != self._is_frozen(layer):
                    return
                layer.norm = link.word
                layer.norm_after_activation = layer.activation != "linear"
                layer.pre_norm = link.before
            else:
                layer.activation, layer.slope = link.word, link.slope
                layer.pre_activation = [] if link.resized else link.before
            wanted.discard(link.part)
            self._join(layer, link)

    def _is_frozen(self, layer: Layer) -> bool:
        return all(self.frozen(member.module) for member in layer.members)

    def _join(self, layer: Layer, link: Link) -> None:
        layer.fallback.insert(0, layer.output)
        layer.output = link.after
        own = link.between.union(link.vertices)
        layer.vertices |= own
        for v in own:
            self.layer_of[v] = layer
        self.taken.update(v for v in own if v < self.flow.n_calls)
        if link.module is None:
            return
        call = self.calls[link.vertices[0]]
        layer.members.append(Member(call.name, call.module, self.kinds[id(call.module)]))

    # --- layers of modules

    def _layer_of_module(self, k: int, kind: str) -> Layer:
        call = self.calls[k]
        own = self.of_module[id(call.module)]
        layer = Layer(call.name, kind, order=self._order_of(k))
        layer.members = [Member(call.name, call.module, self.kinds[id(call.module)])]
        layer.calls = [self.calls[i] for i in own]
        layer.output = [self.calls[i].outputs[0] for i in own]
        layer.vertices = set(own)
        self.taken.update(own)
        for v in own:
            self.layer_of[v] = layer
        return layer

    def _order_of(self, k: int) -> tuple[float, int]:
        call = self.calls[k]
        return (float(self.flow.graph.sequence[call.outputs[0][0]]), k)

    def _first_calls_of(self, *parts: str) -> Iterable[int]:
        for k, call in enumerate(self.calls):
            if k in self.taken or not call.outputs or not self.flow.is_vertex(k):
                continue
            if (
                self.kinds[id(call.module)].part in parts
                and self.of_module[id(call.module)][0] == k
            ):
                yield k

    def modules(self) -> list[Layer]:
        """Layers of the operators, then of the norms that follow none, then of activations with
        parameters of their own."""
        found: list[Layer] = []
        for k in self._first_calls_of("operator"):
            layer = self._layer_of_module(k, self.kinds[id(self.calls[k].module)].word)
            found.append(layer)
        for layer in found:
            self.grow(layer, may_norm=True)
        for k in self._first_calls_of("norm"):
            word = self.kinds[id(self.calls[k].module)].word
            layer = self._layer_of_module(k, word)
            layer.norm = word
            layer.pre_norm = self._own_input(layer)
            self.grow(layer, may_norm=False)
            found.append(layer)
        for k in self._first_calls_of("activation"):
            if next(self.calls[k].module.parameters(), None) is not None:
                found.append(self._activation(k))
        return found

    def _own_input(self, layer: Layer) -> list[Tensor]:
        """What a layer's calls read, where nothing else reads it: only then all of its error signal
        comes through this layer."""
        read = [call.inputs[:1] for call in layer.calls]
        tensors = [inputs[0] for inputs in read if inputs]
        alone = all(self._single_reader(t) in layer.vertices for t in tensors)
        return tensors if alone and len(tensors) == len(layer.calls) else []

    def _activation(self, k: int) -> Layer:
        kind = self.kinds[id(self.calls[k].module)]
        layer = self._layer_of_module(k, "activation")
        layer.activation, layer.slope = kind.word, kind.slope
        return layer

    def without_parameters(self) -> list[Layer]:
        """Pools, dropouts and activations on the way from the input to the loss that belong to no
        other layer: at a cut point they are factors of the chain rule."""
        found = []
        for k in list(self._first_calls_of("pool", "dropout", "activation")):
            own = self.of_module[id(self.calls[k].module)]
            if not self.flow.separates(self.calls[i].outputs[0] for i in own):
                continue
            kind = self.kinds[id(self.calls[k].module)]
            if kind.part == "activation":
                found.append(self._activation(k))
            else:
                found.append(self._layer_of_module(k, kind.word))
        return found

    # --- sums

    def sums(self, seen_at: Callable[[Tensor], frozenset[Tensor] | None]) -> list[Layer]:
        """Sums at the end of residual blocks. seen_at: the tensors that pass the place where this
        one is seen; a sum that no module reads is not seen and is no layer."""
        found: list[Layer] = []
        done: set[int] = set()
        for v in range(self.flow.n_calls, len(self.flow.node)):
            if v in done or not self._is_sum(v):
                continue
            layer = self._sum(v, seen_at)
            if layer is not None:
                done |= layer.vertices
                found.append(layer)
        return found

    def _is_sum(self, v: int) -> bool:
        if self._name_of(v) not in ADDITIONS or self.flow.place[v] < 0:
            return False
        return len(self.flow.data_of(v)) == 2

    def _sum(self, v: int, seen_at: Callable[[Tensor], frozenset[Tensor] | None]) -> Layer | None:
        layer = Layer("", "residual")
        layer.output = [(self.flow.node[v], 0)]
        layer.vertices = {v}
        link = self._next_link(layer.output[0])
        end = layer.output[0] if link is None or link.part == "norm" else link.after[0]
        together = seen_at(end)
        if together is None:
            self._note_unseen(v)
            return None
        if len(together) > 1 and not self._join_parallel(layer, link, together):
            return None
        if end != layer.output[0]:
            self.grow(layer, may_norm=False)
        if set(layer.output) != together:
            return None
        first = min(self._sum_vertices(layer), key=self._sequence_of)
        block = self.flow.block_of(first)
        if block is None:
            return None
        layer.entry, layer.block = block
        layer.order = (float(self._sequence_of(first)), 0)
        for member in layer.vertices:
            self.layer_of[member] = layer
        return layer

    def _note_unseen(self, v: int) -> None:
        reader = self._single_reader((self.flow.node[v], 0))
        if reader is not None and self._name_of(reader) in ADDITIONS:
            return  # one sum of several terms
        if not self._leads_to_a_call(v):
            return  # of losses
        block = self.flow.block_of(v)
        if block is not None and any(u in self.layer_of for u in block[1]):
            self.unseen_sums.append(block[1])

    def _leads_to_a_call(self, v: int) -> bool:
        seen, waiting = {v}, [v]
        while waiting:
            for w, _ in self.flow.consumers[waiting.pop()]:
                if w < self.flow.n_calls:
                    return True
                if w not in seen:
                    seen.add(w)
                    waiting.append(w)
        return False

    def _join_parallel(self, layer: Layer, link: Link | None, together: frozenset[Tensor]) -> bool:
        """The same sum in several passes through the network (siamese networks)."""
        for tensor in together:
            v = self.flow.maker(tensor)
            if link is not None and link.part == "activation" and not self._is_sum(v):
                producers = self.flow.producers[v]
                v = producers[0][0] if len(producers) == 1 else v
            if not self._is_sum(v):
                return False
            if v not in layer.vertices:
                layer.vertices.add(v)
                layer.output.append((self.flow.node[v], 0))
        return True

    def find_branches(self, layers: list[Layer]) -> list[Layer]:
        """Layers in forward order; says of each sum which layers before it form its branch and
        where its skip comes from. Sums around which no layer lies are left out."""
        kept: list[Layer] = []
        index: dict[int, int] = {}  # id of a layer -> its number, 1 …
        for layer in layers:
            if layer.kind == "residual":
                n = 0
                while n < len(kept) and kept[-1 - n].vertices & layer.block:
                    n += 1
                if n == 0:
                    continue
                layer.n_branch = n
                layer.skip_from = self._skip_from(layer, index)
            kept.append(layer)
            index[id(layer)] = len(kept)
        return kept

    def _skip_from(self, layer: Layer, index: dict[int, int]) -> int:
        """Of the two that are added the one with fewer layers behind it in the block."""
        v = min(self._sum_vertices(layer), key=self._sequence_of)
        ways = [self._layers_on_way(w, layer.block) for w, _ in self.flow.data_of(v)]
        numbers = [sorted(index[i] for i in way if i in index) for way in ways]
        shortest = min(numbers, key=len)
        if shortest:
            return shortest[-1]
        return self._last_before(layer.entry, index)

    def _sequence_of(self, v: int) -> int:
        return self.flow.graph.sequence[self.flow.node[v]]

    def _sum_vertices(self, layer: Layer) -> set[int]:
        return {v for v in layer.vertices if self._name_of(v) in ADDITIONS}

    def _layers_on_way(self, vertex: int, block: set[int]) -> set[int]:
        seen: set[int] = set()
        waiting = [vertex]
        found: set[int] = set()
        while waiting:
            v = waiting.pop()
            if v in seen or v not in block:
                continue
            seen.add(v)
            if v in self.layer_of:
                found.add(id(self.layer_of[v]))
            waiting += [w for w, _ in self.flow.data_of(v)]
        return found

    def _last_before(self, vertex: int, index: dict[int, int]) -> int:
        """The layer that a tensor comes from, 0 for the input."""
        seen = {vertex}
        waiting = [vertex]
        found = 0
        while waiting:
            v = waiting.pop()
            layer = self.layer_of.get(v)
            if layer is not None and id(layer) in index:
                found = max(found, index[id(layer)])
                continue
            for w, _ in self.flow.data_of(v):
                if w not in seen:
                    seen.add(w)
                    waiting.append(w)
        return found

    def set_depths(self, layers: list[Layer]) -> None:
        """0 for cut points whose error signal is seen, else the number of blocks around."""
        sums = [layer for layer in layers if layer.kind == "residual"]
        around = Counter(v for other in sums for v in other.block)
        for layer in layers:
            if layer.site is not None and self.flow.separates(layer.output):
                layer.depth = 0
            else:
                layer.depth = max(1, *(around[v] for v in layer.vertices))


class Places:
    """Which site shows a tensor."""

    # Exactly; in another arrangement; but for what a dropout or a slice does to it; pooled.
    LEVELS = range(4)
    SAME, NEAR = (0, 1), (2, 3)

    def __init__(self, flow: Flow, passing: dict[int, list[Tensor]]) -> None:
        self.flow = flow
        self.passing = passing
        self.by_level: list[dict[frozenset[Tensor], int]] = [{} for _ in self.LEVELS]
        self.around: list[dict[Tensor, frozenset[Tensor]]] = [{} for _ in self.LEVELS]
        for site, tensors in passing.items():
            for level in self.LEVELS:
                origins = frozenset(self.origin(t, level) for t in tensors)
                self.by_level[level].setdefault(origins, site)
                for origin in origins:
                    known = self.around[level].get(origin)
                    if known is None or len(origins) < len(known):
                        self.around[level][origin] = origins

    def _is_passed(self, name: str, level: int) -> bool:
        return (
            name in VIEWS
            or (level >= 2 and name in PARTS)
            or (level >= 3 and "Pool" in name and name.endswith(("Backward0", "Backward1")))
        )

    def origin(self, tensor: Tensor, level: int) -> Tensor:
        while level > 0:
            v = self.flow.maker(tensor)
            node = self.flow.node[v]
            producers = self.flow.producers[v]
            if node < 0 or len(producers) != 1 or self.flow.parameters[v]:
                break
            if not self._is_passed(self.flow.graph.names[node], level):
                break
            tensor = producers[0][1]
        return tensor

    def path(self, site: int, ends: Sequence[Tensor]) -> frozenset[str] | None:
        """The nodes between tensors and the place that shows them."""
        names = set()
        for tensor in self.passing[site]:
            while tensor not in ends:
                v = self.flow.maker(tensor)
                node, producers = self.flow.node[v], self.flow.producers[v]
                if node < 0 or len(producers) != 1:
                    return None
                names.add(self.flow.graph.names[node])
                tensor = producers[0][1]
        return frozenset(names)

    def site_of(self, tensors: Sequence[Tensor], levels: Iterable[int]) -> int | None:
        wanted = frozenset(tensors)
        for level in levels:
            site = self.by_level[level].get(wanted)
            if site is not None:
                return site
        return None

    def seen_with(self, tensor: Tensor) -> frozenset[Tensor] | None:
        """The tensors that pass the place where this one is seen."""
        for level in self.LEVELS:
            together = self.around[level].get(tensor)
            if together is not None:
                return together
        return None
