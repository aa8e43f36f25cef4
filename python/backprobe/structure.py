# SPDX-License-Identifier: Apache-2.0
"""What a network is in the words of the diagnosis: its layers in forward order, where their
activations and error signals pass, which parameters are theirs.

`Discovery` listens to the first step; `describe` makes of it what the diagnosis understands.
Neither touches the model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from . import graph as graphs
from . import initialisers, units
from .discovery import Discovery, Place, Site, through_time_bits
from .layers import Call, Finder, Layer, Member, Places
from .modules import fans_of, kind_of, leaves, plain_name, slot_of, square_kernel_of, tensor_in

__all__ = ["Discovery", "Site", "SiteUse", "Structure", "describe", "leaves", "tensor_in"]

ACTIVATION, SPREAD, ERROR = 1, 2, 4  # bits of `what`, as in _native
MAX_LAYERS = 10_000
MAX_NAME_BYTES = 256
MAX_UNITS = 2**31
NAMED = 4  # so many names stand in a sentence


@dataclass
class SiteUse:
    """What is read at a site from now on. A site may have several uses: all its `what` together
    are asked for."""

    site: int
    module: nn.Module
    place: Place
    what: int
    layer: int
    role: str  # "": told with the site before it
    units: tuple[int, int, bool] = (0, 0, False)
    """Of an activation: the dimension along which its units lie, how many, and whether nothing was
    done to its values; 0: none is known."""


@dataclass
class Structure:
    layers: list[dict[str, Any]]
    recipe: dict[str, Any]
    input_shape: tuple[int, int, int]
    sites: list[SiteUse]
    parameters: list[tuple[str, nn.Parameter, int, str]]
    unseen: list[str]


# --- describing -----------------------------------------------------------------------------------


def describe(
    discovery: Discovery, model: nn.Module, optimizers: object, *, objective: str
) -> Structure:
    """Once, before the first update. optimizers: one, or several in a sequence."""
    discovery.finish()
    return _Description(discovery, model, _list_of(optimizers), objective).made()


def _list_of(optimizers: object) -> list[torch.optim.Optimizer]:
    if isinstance(optimizers, Iterable):
        return list(optimizers)
    return [optimizers]  # type: ignore[list-item]


class _Description:
    def __init__(
        self,
        discovery: Discovery,
        model: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        objective: str,
    ) -> None:
        self.discovery = discovery
        self.model = model
        self.objective = objective
        self.trained = {
            id(p)
            for optimizer in optimizers
            for group in optimizer.param_groups
            for p in group["params"]
            if p.requires_grad
        }
        self.unseen: list[str] = []
        self.registered = [(plain_name(name), module) for name, module in leaves(model)]
        self.first_call: dict[int, Call] = {}  # of a module; in the graph, if there is one
        for call in sorted(discovery.calls, key=lambda call: not call.outputs):
            self.first_call.setdefault(id(call.module), call)
        self.output_site = {
            id(site.module): number
            for number, site in enumerate(discovery.sites)
            if site.place == "output"
        }
        self.places: Places | None = None
        # Parameters of modules that have children, by the name of their layer.
        self.free: dict[str, nn.Parameter] = {}

    # --- which layers there are

    def made(self) -> Structure:
        layers = self._layers_in_flow() if self.discovery.flow is not None else []
        layers = self._with_the_others(layers)
        if len(layers) > MAX_LAYERS:
            self.unseen.append(
                f"of {len(layers)} layers only the first {MAX_LAYERS} are told to the diagnosis"
            )
            del layers[MAX_LAYERS:]
        self._name_all(layers)
        self._say_what_is_unseen(layers)
        parameters = self._parameters(layers)
        return Structure(
            layers=[self._as_dict(layer, layers, k) for k, layer in enumerate(layers)],
            recipe=self._recipe(),
            input_shape=_shape3(self._input_shape()[1:]),
            sites=self._uses(layers),
            parameters=parameters,
            unseen=self.unseen,
        )

    def _is_frozen(self, module: nn.Module) -> bool:
        """False for a module without parameters, which follows what it belongs to."""
        parameters = list(module.parameters())
        return bool(parameters) and not any(id(p) in self.trained for p in parameters)

    def _layers_in_flow(self) -> list[Layer]:
        flow, calls = self.discovery.flow, self.discovery.calls
        assert flow is not None
        self.places = Places(flow, self.discovery.passing)
        finder = Finder(flow, calls, self._is_frozen)
        layers = finder.modules()
        layers += finder.sums(self.places.seen_with)
        layers += finder.without_parameters()
        for layer in layers:
            self._find_site(layer)
        layers.sort(key=lambda layer: layer.order)
        layers = finder.find_branches(layers)
        finder.set_depths(layers)
        if finder.unseen_sums:
            n = len(finder.unseen_sums)
            self.unseen.append(
                f"the sum at the end of {n} residual block{'s' * (n > 1)}: "
                "no module reads it as it is"
            )
        return layers

    def _find_site(self, layer: Layer) -> None:
        """Where the layer's output is seen; where it is not, the nearest place before it."""
        assert self.places is not None
        for end in (layer.output, *layer.fallback):
            site = self.places.site_of(end, Places.SAME)
            if site is not None:
                self._settle(layer, end, site)
                return
            site = self.places.site_of(end, Places.NEAR)
            if site is not None:  # its error signal is no longer that of what lies before
                layer.pre_activation = layer.pre_norm = []
                self._settle(layer, end, site)
                return

    def _settle(self, layer: Layer, end: list[graphs.Tensor], site: int) -> None:
        assert self.places is not None
        if end is layer.output:
            layer.on_the_way = self.places.path(site, end)
        layer.site = site
        layer.output = end

    # --- those that the loss does not show

    def _with_the_others(self, layers: list[Layer]) -> list[Layer]:
        """All modules with parameters that have no layer yet get one: never called, called outside
        the graph (frozen before anything is trained), or parameters of a module's own."""
        covered = {id(m.module) for layer in layers for m in layer.members}
        owned = {id(p) for layer in layers for m in layer.members for p in m.module.parameters()}
        others: list[Layer] = []
        for name, module in self.registered:
            own = [id(p) for p in module.parameters()]
            if id(module) in covered or not own or owned.issuperset(own):
                continue  # without parameters, or another's under a second name
            others.append(self._lone_layer(name, module))
            owned.update(own)
        for name, parameter in self.model.named_parameters():
            if id(parameter) not in owned:
                others.append(Layer(plain_name(name), "other", order=(math.inf, 0)))
                self.free[plain_name(name)] = parameter
                owned.add(id(parameter))
        return self._inserted(layers, others)

    def _lone_layer(self, name: str, module: nn.Module) -> Layer:
        kind = kind_of(module)
        layer = Layer(name, kind.word if kind.part in ("operator", "norm") else "other")
        layer.members = [Member(name, module, kind)]
        if kind.part == "norm":
            layer.norm = kind.word
        if kind.part == "activation":
            layer.kind, layer.activation, layer.slope = "activation", kind.word, kind.slope
        return layer

    def _inserted(self, layers: list[Layer], others: list[Layer]) -> list[Layer]:
        """Each before the layer that follows it in the order of registration, but neither behind
        the last layer nor into the branch of a residual block."""
        if not layers:
            return others
        position = {id(module): k for k, (_, module) in enumerate(self.registered)}
        first: dict[int, int] = {}  # registration -> place in layers
        for place, layer in enumerate(layers):
            for member in layer.members:
                first[position.get(id(member.module), -1)] = place
        branch_from = list(range(len(layers)))
        for place, layer in enumerate(layers):
            for k in range(place - layer.n_branch + 1, place + 1):
                branch_from[k] = min(branch_from[k], place - layer.n_branch)
        before: dict[int, list[Layer]] = {}
        for other in others:
            place = len(layers) - 1
            if other.members:
                own = position[id(other.members[0].module)]
                later = [k for k in first if k > own]
                place = first[min(later)] if later else place
            else:
                place = _first_below(other.name.rpartition(".")[0], layers)
            while branch_from[place] < place:
                place = branch_from[place]
            before.setdefault(place, []).append(other)
        return self._renumbered(layers, before)

    def _renumbered(self, layers: list[Layer], before: dict[int, list[Layer]]) -> list[Layer]:
        merged: list[Layer] = []
        new_number = [0]
        for place, layer in enumerate(layers):
            merged += before.get(place, [])
            merged.append(layer)
            new_number.append(len(merged))
        for layer in layers:
            layer.skip_from = new_number[layer.skip_from]
        return merged

    # --- names

    def _name_all(self, layers: list[Layer]) -> None:
        for place, layer in enumerate(layers):
            if layer.kind == "residual":
                block = _common_path(
                    [
                        name
                        for other in layers[place - layer.n_branch : place]
                        for name in [other.name]
                        if name
                    ]
                )
                layer.name = f"{block}.sum" if block else "sum"
        taken: set[str] = set()
        for layer in layers:
            name = layer.name or type(self.model).__name__
            name = name.encode()[-MAX_NAME_BYTES + 8 :].decode(errors="ignore")
            unique, k = name, 1
            while unique in taken:
                k += 1
                unique = f"{name}_{k}"
            taken.add(unique)
            layer.name = unique

    # --- a layer in the native words

    def _as_dict(self, layer: Layer, layers: list[Layer], place: int) -> dict[str, Any]:
        told: dict[str, Any] = {
            "name": layer.name,
            "kind": layer.kind,
            "activation": layer.activation,
            "activation_slope": layer.slope,
            "norm": layer.norm,
            "norm_after_activation": layer.norm_after_activation,
            "frozen": self._layer_is_frozen(layer),
            "depth_in_blocks": layer.depth,
        }
        told["output_shape"] = self._sample_shape(layer)
        module = self._activation_name(layer)
        if module is not None:
            told["activation_name"] = module
        if layer.kind == "residual":
            told |= {"n_branch": layer.n_branch, "skip_from": layer.skip_from, "branch_scale": 1.0}
        elif layer.members:
            told |= self._of_module(layer.members[0], layer)
            told |= self._kernel(layer, layers, place)
        elif layer.name in self.free:
            told["fan_in"], told["fan_out"] = 1, min(self.free[layer.name].numel(), MAX_UNITS)
        return told

    @staticmethod
    def _activation_name(layer: Layer) -> str | None:
        """The path of the module that is the layer's activation; too long a path is none."""
        names = [member.name for member in layer.members if member.kind.part == "activation"]
        fits = len(names) == 1 and 0 < len(names[0].encode()) <= MAX_NAME_BYTES
        return names[0] if fits else None

    def _layer_is_frozen(self, layer: Layer) -> bool:
        if layer.name in self.free:
            return id(self.free[layer.name]) not in self.trained
        parameters = [p for m in layer.members for p in m.module.parameters()]
        if not parameters:  # a norm without gain has nothing to learn; others never have
            return layer.norm != "none"
        return not any(id(p) in self.trained for p in parameters)

    def _of_module(self, member: Member, layer: Layer) -> dict[str, Any]:
        module = member.module
        if member.kind.part == "dropout":
            return {"drop_fraction": float(getattr(module, "p", 0.0))}
        if member.kind.part != "operator":
            return {}
        fan_in, fan_out = fans_of(module)
        told: dict[str, Any] = {
            "fan_in": min(fan_in, MAX_UNITS),
            "fan_out": min(fan_out, MAX_UNITS),
            "has_bias": any(
                slot_of(module, "operator", name, p) == "bias"
                for name, p in module.named_parameters()
            ),
        }
        if layer.kind == "embedding":
            told["vocabulary"] = min(_rows_of(module), MAX_UNITS)
        told |= _initialisers(module, layer.kind, fan_in, fan_out)
        return told

    def _kernel(self, layer: Layer, layers: list[Layer], place: int) -> dict[str, Any]:
        """Told where the layer before gives this one its input, and where its own output is seen:
        the diagnosis reckons with the border of the image."""
        square = square_kernel_of(layer.members[0].module)
        if square is None or not layer.calls:
            return {}
        given, made = layer.calls[0].input_shape, layer.calls[0].shape
        before = (
            self._sample_shape(layers[place - 1]) if place else _shape3(self._input_shape()[1:])
        )
        if before != _shape3(given[1:]) or self._sample_shape(layer) != _shape3(made[1:]):
            return {}
        return dict(zip(("kernel", "stride", "padding"), square, strict=True))

    def _sample_shape(self, layer: Layer) -> tuple[int, int, int]:
        """Of one sample of what is seen of the layer; in the operator's own arrangement where that
        has as many numbers."""
        seen = _shape3(self._shape_at(layer)[1:])
        if layer.calls:
            own = _shape3(layer.calls[0].shape[1:])
            if math.prod(own) == math.prod(seen):
                return own
        return seen

    def _shape_at(self, layer: Layer) -> tuple[int, ...]:
        """With the samples in front. Of a tensor that no module returned: that of who reads it."""
        site = layer.site
        if site is not None:
            where = self.discovery.sites[site]
            call = self.first_call[id(where.module)]
            return call.shape if where.place == "output" else call.input_shape
        if layer.calls:
            return layer.calls[0].shape
        if layer.members and id(layer.members[0].module) in self.first_call:
            return self.first_call[id(layer.members[0].module)].shape
        fan_out = fans_of(layer.members[0].module)[1] if layer.members else 0
        return (0, fan_out) if fan_out else (0,)

    def _input_shape(self) -> tuple[int, ...]:
        discovery = self.discovery
        if discovery.input_site is not None:
            first = self.first_call.get(id(discovery.sites[discovery.input_site].module))
            return first.input_shape if first is not None else ()
        flow, calls = discovery.flow, discovery.calls
        if flow is None:
            return ()
        sources = (calls[k].input_shape for k in range(len(calls)) if flow.is_source[k])
        return next(sources, ())

    # --- sites and parameters

    def _uses(self, layers: list[Layer]) -> list[SiteUse]:
        uses: list[SiteUse] = []
        both = ACTIVATION | SPREAD
        site = self.discovery.input_site
        if site is not None:
            uses.append(self._use(site, both, 0, "activation"))
            uses[-1].units = units.of_input(self.discovery.sites[site].module, self._input_shape())
        for number, layer in enumerate(layers, 1):
            site = layer.site
            uses += self._uses_through_time(layer, number)
            if site is None:
                uses += self._uses_outside(layer, number)
                continue
            uses.append(self._use(site, both, number, "activation"))
            uses[-1].units = units.of_layer(layer, layers[: number - 1], self._shape_at(layer))
            uses.append(self._use(site, ERROR, number, "error_output"))
            for tensors, role in (
                (layer.pre_activation, "error_pre_activation"),
                (layer.pre_norm, "error_pre_norm"),
            ):
                assert self.places is not None
                before = self.places.site_of(tensors, Places.SAME) if tensors else None
                if before is not None and before != site:
                    uses.append(self._use(before, ERROR, number, role))
        return uses

    def _uses_through_time(self, layer: Layer, number: int) -> list[SiteUse]:
        module = layer.members[0].module if layer.members else None
        sites = [
            k
            for k, site in enumerate(self.discovery.sites)
            if site.module is module and site.place in ("first", "last")
        ]
        if module is None or not sites:
            return []
        how = zip(sites, through_time_bits(module), ("error_through_time", ""), strict=True)
        return [self._use(site, what, number, role) for site, what, role in how]

    def _uses_outside(self, layer: Layer, number: int) -> list[SiteUse]:
        """A module that was called outside the graph of the loss: frozen, as a rule; or recomputed
        in the backward pass (activation checkpointing), which then brings its error signal."""
        site = self.output_site.get(id(layer.members[0].module)) if layer.members else None
        if site is None:
            return []
        uses = [self._use(site, ACTIVATION | SPREAD, number, "activation")]
        if self._may_be_recomputed(layer):
            uses.append(self._use(site, ERROR, number, "error_output"))
        return uses

    def _may_be_recomputed(self, layer: Layer) -> bool:
        own = id(layer.members[0].module)
        return own in self.discovery.called_without_graph and not self._layer_is_frozen(layer)

    def _use(self, site: int, what: int, layer: int, role: str) -> SiteUse:
        where = self.discovery.sites[site]
        return SiteUse(site, where.module, where.place, what, layer, role)

    def _parameters(self, layers: list[Layer]) -> list[tuple[str, nn.Parameter, int, str]]:
        place: dict[int, tuple[int, str]] = {}
        for number, layer in enumerate(layers, 1):
            for member in layer.members:
                for name, parameter in member.module.named_parameters():
                    slot = slot_of(member.module, member.kind.part, name, parameter)
                    place.setdefault(id(parameter), (number, slot))
            free = self.free.get(layer.name)
            if free is not None:
                place[id(free)] = (number, "weight" if free.dim() >= 2 else "bias")
        found = [
            (plain_name(name), parameter, *place[id(parameter)])
            for name, parameter in self.model.named_parameters()
            if id(parameter) in self.trained and id(parameter) in place
        ]
        n_foreign = len(self.trained.difference(map(id, self.model.parameters())))
        if n_foreign:
            self.unseen.append(
                f"the optimiser has {n_foreign} parameters that are not the model's: not watched"
            )
        return found

    def _recipe(self) -> dict[str, Any]:
        recipe: dict[str, Any] = {"loss": "other"}
        recipe |= self.discovery.facts
        recipe["unsupervised"] = self.objective != "supervised"
        return recipe

    # --- what is not seen

    def _say_what_is_unseen(self, layers: list[Layer]) -> None:
        discovery = self.discovery
        if not discovery.was_called:
            self.unseen.append(
                "no module was seen being called (a model that torch.compile had before?): "
                "parameters, gradients, updates and the loss are watched, activations and error "
                "signals are not"
            )
            return
        if discovery.flow is None:
            self.unseen.append(
                "no module that was called takes part in a loss: error signals are not watched"
            )
        elif not discovery.loss_was_seen:
            self.unseen.append("the loss was not seen: layers are those before the last module")
        if discovery.cut_short:
            self.unseen.append(
                f"the graph has more than {graphs.MAX_NODES:,} nodes: depth is judged by the part "
                "nearest the loss"
            )
        self._say_what_was_not_called(layers)
        self._say_what_is_timeless(layers)
        outside = [
            layer
            for layer in layers
            if layer.members
            and id(layer.members[0].module) in discovery.was_called
            and layer.site is None
            and not self._layer_is_frozen(layer)
        ]
        recomputed = [layer.name for layer in outside if self._may_be_recomputed(layer)]
        lost = [layer.name for layer in outside if layer.name not in recomputed]
        if recomputed and discovery.flow is not None:
            self.unseen.append(
                "called outside the graph (activation checkpointing?), so that their place in it "
                f"is not known: {_few(recomputed)}"
            )
        if lost and discovery.flow is not None:
            self.unseen.append(f"called, but the loss does not depend on it: {_few(lost)}")

    def _say_what_is_timeless(self, layers: list[Layer]) -> None:
        timeless = [
            layer.name
            for layer in layers
            if layer.members and id(layer.members[0].module) in self.discovery.timeless
        ]
        if timeless:
            self.unseen.append(
                "what of the error signal reaches the first time steps, for the input needs no "
                f"gradient: {_few(timeless)}"
            )

    def _say_what_was_not_called(self, layers: list[Layer]) -> None:
        flow = self.discovery.flow
        used = {p for parameters in flow.parameters for p in parameters} if flow else set()
        uncalled: dict[bool, list[str]] = {True: [], False: []}
        for layer in layers:
            if layer.members and id(layer.members[0].module) not in self.discovery.was_called:
                own = {id(p) for p in layer.members[0].module.parameters()}
                uncalled[bool(own & used)].append(layer.name)
        if uncalled[False]:
            self.unseen.append(f"not called in the first step: {_few(uncalled[False])}")
        if uncalled[True]:
            self.unseen.append(
                "weights used without a call of their module, so that activations and error "
                f"signals are not seen: {_few(uncalled[True])}"
            )


def _rows_of(table: Any) -> int:
    return int(table.num_embeddings)


def _first_below(path: str, layers: Sequence[Layer]) -> int:
    """Place of the first layer in a module; 0 where there is none."""
    start = f"{path}."
    below = (
        place
        for place, layer in enumerate(layers)
        if any(member.name.startswith(start) for member in layer.members)
    )
    return next(below, 0) if path else 0


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED])
    return f"{shown} and {len(names) - NAMED} more" if len(names) > NAMED else shown


def _common_path(names: Sequence[str]) -> str:
    """The path below which all of them lie; of a single one its parent."""
    paths = [name.split(".")[:-1] for name in names]
    common: list[str] = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return ".".join(common)


def _shape3(shape: Sequence[int]) -> tuple[int, int, int]:
    """Of one sample: channels, height, width; a vector is (units, 1, 1)."""
    sizes = [max(1, int(s)) for s in shape]
    sizes += [1] * (3 - len(sizes))
    first, second, third = sizes[0], sizes[1], math.prod(sizes[2:])
    if first * second * third > MAX_UNITS:
        return (1, 1, 1)
    return (first, second, third)


def _initialisers(module: nn.Module, kind: str, fan_in: int, fan_out: int) -> dict[str, Any]:
    told: dict[str, Any] = {}
    by = fan_out if kind in ("rnn", "gru", "lstm") else fan_in
    for name, parameter in module.named_parameters():
        slot = slot_of(module, "operator", name, parameter)
        if slot == "weight" and "weight_init" not in told:
            what: initialisers.What = "table" if kind == "embedding" else "matrix"
            told["weight_init"] = initialisers.measure(parameter, by, fan_out, what=what)
        elif slot == "bias" and "bias_init" not in told:
            told["bias_init"] = initialisers.measure(parameter, by, fan_out, what="bias")
    return told
