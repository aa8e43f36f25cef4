# SPDX-License-Identifier: Apache-2.0
"""The autograd graph of one loss, walked once, and the data flow that it shows.

The graph is read while it exists (between the forward and the backward pass) and kept as plain
numbers: no node and no tensor of the user's is held afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_NODES = 100_000
MAX_WORK = 2_000_000  # vertices looked at, so that no network keeps its user waiting

Tensor = tuple[int, int]
"""A tensor that carries a gradient: the node that made it, and which of its outputs it is."""


@dataclass
class Graph:
    """Nodes 0 (the loss) … n - 1. `inputs` lists the tensors that a node reads, as far as they
    carry a gradient; a parameter is a node of its own, found in `variables`."""

    names: list[str] = field(default_factory=list)
    inputs: list[list[Tensor]] = field(default_factory=list)
    sequence: list[int] = field(default_factory=list)  # rises in the order of the forward pass
    details: dict[int, Any] = field(default_factory=dict)  # what `look` said of a node
    variables: dict[int, int] = field(default_factory=dict)  # node -> id() of the parameter
    number: dict[Any, int] = field(default_factory=dict)  # node -> its number; see forget_nodes
    cut_short: bool = False  # more than MAX_NODES

    def forget_nodes(self) -> None:
        self.number = {}


def walk(root: Any, look: Callable[[str, Any], Any], limit: int = MAX_NODES) -> Graph:
    """Walks from a node towards the input. `look(name, node)` says what else is to be kept."""
    graph = Graph()
    nodes = [root]
    number = graph.number = {root: 0}
    for node in nodes:  # grows while it is read
        name = node.name()
        graph.names.append(name)
        graph.sequence.append(node._sequence_nr())
        inputs: list[Tensor] = []
        for producer, output in node.next_functions:
            if producer is None:
                continue
            k = number.get(producer)
            if k is None:
                k = len(nodes)
                if k >= limit:
                    graph.cut_short = True
                    continue
                number[producer] = k
                nodes.append(producer)
            inputs.append((k, output))
        graph.inputs.append(inputs)
        if not inputs:
            variable = getattr(node, "variable", None)
            if variable is not None:
                graph.variables[number[node]] = id(variable)
        detail = look(name, node)
        if detail is not None:
            graph.details[number[node]] = detail
    return graph


@dataclass
class Region:
    """A call of a leaf module: the tensors that it read and returned."""

    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    in_place: bool = False  # its input is no more: the output took its place


class Flow:
    """The same graph with each call of a leaf module made one vertex: what lies inside belongs to
    the module. Vertices 0 … n_calls - 1 are the calls (some may be unconnected), the others single
    functional operations."""

    def __init__(self, graph: Graph, calls: Sequence[Region]) -> None:
        self.graph = graph
        self.n_calls = len(calls)
        self._owner = [-1] * len(graph.names)
        self.reached = [bool(call.outputs) for call in calls]
        outputs: set[int] = set()
        for k, call in enumerate(calls):
            self._claim(k, call, outputs)
            outputs.update(node for node, _ in call.outputs)
        self.node: list[int] = [-1] * self.n_calls  # of a functional vertex
        for node in range(len(graph.names)):
            if self._owner[node] < 0 and node not in graph.variables:
                self._owner[node] = len(self.node)
                self.node.append(node)
        self._connect()
        self.order: list[int] = []
        self.is_source: list[bool] = []
        self.has_circle = False
        self.work = 0

    def _claim(self, k: int, call: Region, outputs: set[int]) -> None:
        """What lies between a call's inputs and outputs is its own."""
        graph = self.graph
        border = outputs.union(node for node, _ in call.inputs)
        if call.in_place:  # one operation: its input's node cannot be told from its output's
            for node, _ in call.outputs:
                if self._owner[node] < 0 and node not in outputs:
                    self._owner[node] = k
            return
        waiting = [node for node, _ in call.outputs if node not in border]
        while waiting:
            node = waiting.pop()
            if self._owner[node] >= 0 or node in graph.variables:
                continue
            self._owner[node] = k
            waiting += [n for n, _ in graph.inputs[node] if n not in border]

    def _connect(self) -> None:
        n = len(self.node)
        self.producers: list[list[tuple[int, Tensor]]] = [[] for _ in range(n)]
        self.consumers: list[list[tuple[int, Tensor]]] = [[] for _ in range(n)]
        self.parameters: list[list[int]] = [[] for _ in range(n)]
        for node, inputs in enumerate(self.graph.inputs):
            reader = self._owner[node]
            for tensor in inputs:
                if tensor[0] in self.graph.variables:
                    self.parameters[reader].append(self.graph.variables[tensor[0]])
                    continue
                maker = self._owner[tensor[0]]
                if maker != reader:
                    self.producers[reader].append((maker, tensor))
                    self.consumers[maker].append((reader, tensor))

    def is_vertex(self, v: int) -> bool:
        """False for a call in which nothing was done (an identity)."""
        return bool(self.producers[v] or self.consumers[v]) or v == self.root

    def maker(self, tensor: Tensor) -> int:
        """The vertex that a tensor comes from."""
        return self._owner[tensor[0]]

    @property
    def root(self) -> int:
        """The vertex of the loss."""
        return self._owner[0]

    def first_calls(self) -> list[int]:
        """Calls before which there is no other call: what they read is data."""
        above = [False] * len(self.node)  # a call lies on the way to the input
        for v in reversed(self._sorted(lambda v: self.producers[v])):
            above[v] = any(above[w] or w < self.n_calls for w, _ in self.producers[v])
        return [k for k in range(self.n_calls) if self.reached[k] and not above[k]]

    def _sorted(self, producers: Callable[[int], Iterable[tuple[int, Tensor]]]) -> list[int]:
        """Vertices from the loss towards the input, each behind all that read it. Shorter where
        the graph has a circle (two calls wound into each other)."""
        waiting = [0] * len(self.node)
        seen = {self.root}
        found = [self.root]
        for v in found:
            for w, _ in producers(v):
                waiting[w] += 1
                if w not in seen:
                    seen.add(w)
                    found.append(w)
        order = [self.root] if not waiting[self.root] else []
        for v in order:
            for w, _ in producers(v):
                waiting[w] -= 1
                if waiting[w] == 0:
                    order.append(w)
        self.has_circle = len(order) < len(found)
        return order

    def from_sources(self, sources: Sequence[int]) -> None:
        """Finds what lies between the sources (calls that read the data) and the loss; what else
        there is (parameters, positions) tells nothing of depth."""
        n = len(self.node)
        self.is_source = [False] * n
        for v in sources:
            self.is_source[v] = True
        self.carries = [False] * n
        waiting = list(sources)
        while waiting:
            v = waiting.pop()
            if self.carries[v]:
                continue
            self.carries[v] = True
            waiting += [w for w, _ in self.consumers[v]]
        self.order = self._sorted(self.data_of) if sources and self.carries[self.root] else []
        if self.has_circle:
            self.order = []
        self.place = [-1] * n
        for place, v in enumerate(self.order):
            self.place[v] = place
        self._find_cuts()

    def data_of(self, v: int) -> list[tuple[int, Tensor]]:
        """The producers of a vertex by which data arrive."""
        return [(w, tensor) for w, tensor in self.producers[v] if self.carries[w]]

    def _find_cuts(self) -> None:
        """A vertex of which no edge leads past, in an order from the loss to the input, lies on
        every path."""
        n = len(self.order)
        change = [0] * (n + 2)
        for place, v in enumerate(self.order):
            ends = [self.place[w] for w, _ in self.data_of(v)]
            if self.is_source[v]:
                ends.append(n)
            for end in ends:
                change[place + 1] += 1
                change[end] -= 1
        covered = 0
        self.is_cut = [False] * len(self.node)
        for place, v in enumerate(self.order):
            covered += change[place]
            self.is_cut[v] = covered == 0

    def separates(self, tensors: Iterable[Tensor]) -> bool:
        """True when every path from the data to the loss crosses one of the tensors, and none of
        them stands behind the others: what is used again further on has no one place in depth."""
        cut = set(tensors)
        if not self.order or not cut:
            return False
        if len(cut) == 1:
            tensor = next(iter(cut))
            v = self.maker(tensor)
            return self.is_cut[v] and all(
                t == tensor for w, t in self.consumers[v] if self.place[w] >= 0
            )
        seen = {self.root}
        waiting = [self.root]
        met: set[Tensor] = set()
        while waiting:
            v = waiting.pop()
            self.work += 1
            if self.is_source[v] or self.work > MAX_WORK:
                return False
            for w, tensor in self.data_of(v):
                if tensor in cut:
                    met.add(tensor)
                elif w not in seen:
                    seen.add(w)
                    waiting.append(w)
        return met == cut

    def block_of(self, v: int) -> tuple[int, set[int]] | None:
        """The nearest vertex towards the input that all paths to v cross, and what lies between;
        None where that is the data itself."""
        if self.place[v] < 0 or self.is_source[v]:
            return None
        reached: set[int] = set()
        far = 0
        place = self.place[v]
        while True:
            u = self.order[place]
            self.work += 1
            if self.work > MAX_WORK:
                return None
            if u == v or u in reached:
                if u != v and place == far:
                    reached.discard(u)
                    return u, reached
                if self.is_source[u]:
                    return None
                for w, _ in self.data_of(u):
                    reached.add(w)
                    far = max(far, self.place[w])
            place += 1
