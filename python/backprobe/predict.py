# SPDX-License-Identifier: Apache-2.0
"""backprobe.predict: what the chain rule will do to a model, from one batch and before any training.
PyTorch is imported when it is called."""

from __future__ import annotations

import contextlib
import math
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_LN_SPAN = math.log(1e3)  # as the diagnosis: a candidate for vanishing or exploding
_LN_SPAN_NORMALISED = math.log(1e4)  # growth in front of normalisations, where it shortens the steps
_FORWARD_LIMIT = 1e-3  # spread over samples / size: below it they look alike


@dataclass(frozen=True, slots=True)
class LayerGain:
    """One layer at the present weights. None is what could not be measured."""

    layer: str
    """The module's name."""
    layer_id: int
    """1 … L in forward order."""
    backward: float | None
    """The factor by which the error signal changes on its way back through the layer, of norms per
    sample; the product of the next three. None for the first: its gain leads to the data."""
    activation: float | None
    norm: float | None
    weight: float | None
    alignment: float | None
    """weight over the value that independent weights would give."""
    branch: float | None
    """Residual block: error signal through the branch alone over that at the sum."""
    error_norm: float | None
    """Of the error signal at the layer's output: of dL/d(output), per sample."""
    forward: float | None
    """The factor by which the size of what passes changes on the way forward."""
    variation: float | None
    """Spread of the output over samples, relative to its size."""
    predicted: float | None = None
    """What theory says of `backward` (means over Gaussian units in the limit of wide layers), for
    weights that were drawn independently, of the size that they have. None where theory ends."""
    critical_std: float | None = None
    """The standard deviation of this layer's weights at which a stack of such layers passes the error
    signal on as it is. None where there is none, and for layers with a normalisation."""


@dataclass(frozen=True, slots=True, repr=False)
class Prediction:
    """What `predict` measured. Its text is a table, from the input to the loss."""

    layers: tuple[LayerGain, ...]
    """Those that every path from input to loss crosses, in forward order."""
    loss: float | None
    backward: float | None
    """The product of the gains: what of the error signal at the last layer reaches the first."""
    forward: float | None
    """The product of the forward gains."""
    mean_gain: float | None
    """Geometric mean of the backward gains."""
    verdict: str
    """In words."""
    problem: str | None
    """"vanishing-gradient", "exploding-gradient" or "non-finite" where the verdict says that such a
    finding is to be expected."""
    unseen: tuple[str, ...] = ()
    """Which evidence there was not, and why."""
    not_predicted: str = ""
    """From which layer on theory says nothing, and why."""
    trainable_layers: float | None = None
    """How many layers like most of the network's this initialisation can train (Schoenholz et al.
    2017: six times the depth in which a signal changes by e); math.inf: any number."""
    critical: str | None = None
    """The weights that would pass the error signal on as it is, in words."""

    def text(self, *, width: int | None = None, colour: bool = False) -> str:
        """As a table with bars. width: in columns; None is that of the terminal, at most 100."""
        from . import prediction_layout, terminal

        return prediction_layout.text_of(self, terminal.width() if width is None else width, colour)

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__


def predict(
    model: torch.nn.Module,
    batch: Any,
    loss_fn: Any = None,
    *,
    target: Any = None,
) -> Prediction:
    """Measures each layer's gain on one batch, forward and backward, at the present weights.

    >>> print(backprobe.predict(model, (x, y), nn.CrossEntropyLoss()))

    batch: what the model is called with: a tensor; a mapping, given as keywords; or, with loss_fn
        and no target, a pair of input and target.
    loss_fn: called as loss_fn(output, target); where it is left out, the output's `.loss` is taken,
        or, where there is none, a random error signal of size 1 at each output.

    The model is as before afterwards, bit for bit: parameters, gradients, buffers (running
    statistics), training or evaluation mode, attributes, hooks, and random numbers of torch, NumPy
    and Python. A watch on the model hears nothing of it.
    """
    import torch

    from .watch import _inner

    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model: expected an nn.Module, found a {type(model).__name__}")
    inner = _inner(model)
    _check(inner)
    call = _Call(batch, loss_fn, target)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_deaf_probes(inner))
        stack.enter_context(_same_random_numbers(inner))
        stack.enter_context(_same_state(inner))
        if isinstance(loss_fn, torch.nn.Module):
            stack.enter_context(_same_state(loss_fn))
        stack.enter_context(torch.enable_grad())
        return _Measurement(inner, call).made()


def _check(model: torch.nn.Module) -> None:
    from torch.nn.parameter import is_lazy

    if any(is_lazy(p) for p in model.parameters()):
        raise ValueError(
            "model: it has lazy modules without parameters yet; call it once with a batch, then predict"
        )
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("model: none of its parameters requires a gradient, so nothing flows back")


# --- one forward and one backward pass --------------------------------------------------------


class _Call:
    """How the model and the loss are called."""

    def __init__(self, batch: Any, loss_fn: Any, target: Any) -> None:
        if loss_fn is not None and not callable(loss_fn):
            raise TypeError(f"loss_fn: expected a function, found a {type(loss_fn).__name__}")
        is_pair = isinstance(batch, Sequence) and not isinstance(batch, str) and len(batch) == 2
        if loss_fn is not None and target is None and is_pair:
            batch, target = batch
        self.batch = batch
        self.loss_fn = loss_fn
        self.target = target
        self.arguments: tuple[Any, ...] = ()  # of loss_fn

    def output(self, model: torch.nn.Module) -> Any:
        if isinstance(self.batch, Mapping):
            return model(**self.batch)
        if isinstance(self.batch, tuple):
            return model(*self.batch)
        return model(self.batch)

    def loss(self, output: Any) -> tuple[torch.Tensor, bool]:
        """The loss, and whether it is one: not a random error signal."""
        import torch

        from .structure import tensor_in

        if self.loss_fn is not None:
            self.arguments = (output,) if self.target is None else (output, self.target)
            loss = self.loss_fn(*self.arguments)
            if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
                raise ValueError("loss_fn: expected a loss, a tensor of one number")
            return loss, True
        loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
        if isinstance(loss, torch.Tensor) and loss.numel() == 1 and loss.requires_grad:
            return loss, True
        tensor = tensor_in(output)
        if tensor is None:
            raise ValueError("model: it gave no tensor of real numbers; pass loss_fn=")
        generator = torch.Generator().manual_seed(0)
        signal = torch.randn(tensor.shape, generator=generator).to(tensor.device, tensor.dtype)
        return (tensor * signal).sum(), False


class _Measurement:
    def __init__(self, model: torch.nn.Module, call: _Call) -> None:
        from . import _native, structure

        self.model = model
        self.call = call
        self.native = _native.Probe()
        self.stage: Any = self.native
        device = next(p.device for p in model.parameters() if p.requires_grad)
        if device.type != "cpu":
            from .device import DeviceStage

            self.stage = DeviceStage(self.native, device, queued_steps=0)
        self.discovery = structure.Discovery(model)
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.output: torch.Tensor | None = None
        self.output_error: torch.Tensor | None = None
        self.samples = 0
        self.error: Exception | None = None

    def made(self) -> Prediction:
        loss, is_loss = self._pass()
        known = self._tell(loss, is_loss)
        profile = self.native.profile()
        value = float(loss) if is_loss else None
        overview = self.native.overview()
        theory = self.native.prediction(*self._facts(known))
        self.stage.close("finished")
        return _prediction(known, profile or {}, overview, value, theory or {})

    def _facts(self, known: Any) -> tuple[int, bytes | None, bytes | None, bytes | None, float, float]:
        """What theory is told of the batch: inner products of its samples, and of their error
        signals at the output. A batch of tokens tells nothing."""
        from . import gram
        from .modules import tensor_in

        nothing = (0, None, None, None, math.nan, math.nan)
        x = tensor_in(self.call.batch)
        if x is None or math.prod(known.input_shape) != x[:1].numel():
            return nothing
        return gram.facts(x, self.output_error) or nothing

    def _pass(self) -> tuple[torch.Tensor, bool]:
        import torch

        from . import losses, structure
        from .modules import tensor_in

        handles = [m.register_forward_hook(self._called) for _, m in structure.leaves(self.model)]
        try:
            output = self.call.output(self.model)
            self.output = tensor_in(output)
            loss, is_loss = self.call.loss(output)
            if not loss.requires_grad:
                raise ValueError("loss: it does not depend on a parameter that requires a gradient")
            arguments = self.call.arguments
            self.discovery.loss_is(loss, self.call.loss_fn, arguments)
            terms = losses.terms_of(self.call.loss_fn, arguments, loss) if is_loss else 1
            self.stage.loss(loss, terms)
            # Not backward(): nothing is added to .grad, and no hook behind an accumulation is called.
            ends = [self.output] if self.output is not None and self.output.requires_grad else []
            found = torch.autograd.grad(loss, [*self.trained, *ends], allow_unused=True)
            self.output_error = found[-1] if ends else None
        finally:
            for handle in handles:
                handle.remove()
        if self.error is not None:
            raise self.error
        return loss.detach(), is_loss

    def _called(self, module: torch.nn.Module, args: tuple[Any, ...], output: object) -> None:
        """A hook on every leaf module. An error of ours is raised behind the pass, not inside it."""
        from .structure import ACTIVATION, ERROR, SPREAD

        if self.error is not None:
            return
        try:
            for site, tensor in self.discovery.called(module, args, output):
                self.samples = self.samples or (int(tensor.shape[0]) if tensor.dim() else 0)
                self.stage.forward(site, tensor, ACTIVATION | SPREAD | ERROR)
        except Exception as error:
            self.error = error

    def _tell(self, loss: torch.Tensor, is_loss: bool) -> Any:
        import types

        from . import structure

        trains = types.SimpleNamespace(param_groups=[{"params": self.trained}])
        known = structure.describe(self.discovery, self.model, [trains], objective="supervised")
        self.stage.open(
            known.layers,
            known.recipe,
            known.input_shape,
            [(use.site, use.layer, use.role) for use in known.sites],
            [(layer, slot, 0) for _, _, layer, slot in known.parameters],
            {"run_folder": None, "every": 1},
        )
        parameters = [p for _, p, _, _ in known.parameters]
        self.stage.before_update(parameters, [None] * len(parameters), 1.0)
        self.stage.end_step(0.0, self.samples)
        return known


# --- what it means ----------------------------------------------------------------------------


def _prediction(
    known: Any,
    profile: Mapping[str, Any],
    overview: Mapping[str, Any],
    loss: float | None,
    theory: Mapping[str, Any],
) -> Prediction:
    foretold = {gain["layer_id"]: gain for gain in theory.get("gains", ())}
    quantities = profile.get("quantities", {})
    sizes, spreads = quantities.get("activation_norm", {}), quantities.get("variation", {})
    layers, before = [], 0
    for gain in profile.get("gains", ()):
        own = gain["layer_id"]
        layers.append(
            LayerGain(
                layer=gain["layer"],
                layer_id=own,
                backward=gain["gain"],
                activation=gain["activation"],
                norm=gain["norm"],
                weight=gain["weight"],
                alignment=gain["alignment"],
                branch=gain["branch"],
                error_norm=gain["error_norm"],
                forward=_ratio(sizes.get(own), sizes.get(before)),
                variation=spreads.get(own),
                predicted=foretold.get(own, {}).get("gain") if layers else None,
                critical_std=foretold.get(own, {}).get("critical_std"),
            )
        )
        before = own
    backward = _product([layer.backward for layer in layers[1:]])
    n = len(layers) - 1
    normalised = sum(_is_normalised(known.layers, layer.layer_id) for layer in layers[1:])
    limit = _LN_SPAN_NORMALISED if backward and backward > 1 and 2 * normalised > n else _LN_SPAN
    verdict, problem = _verdict(layers, backward, quantities, overview, loss, limit)
    return Prediction(
        layers=tuple(layers),
        loss=loss,
        backward=backward,
        forward=_product([layer.forward for layer in layers]),
        mean_gain=backward ** (1 / n) if backward is not None and n > 0 else None,
        verdict=verdict,
        problem=problem,
        unseen=tuple(known.unseen),
        not_predicted=theory.get("not_predicted", ""),
        trainable_layers=theory.get("trainable_layers"),
        critical=_critical(known, theory, foretold),
    )


def _critical(
    known: Any, theory: Mapping[str, Any], foretold: Mapping[int, Mapping[str, Any]]
) -> str | None:
    from .terminal import number

    main, sigma = theory.get("main_layer"), theory.get("critical_sigma")
    if not main or main not in foretold:
        return None
    activation = known.layers[main - 1].get("activation", "linear")
    if sigma is None:
        return f"no weights make {activation} layers of this depth pass the error signal on"
    std = foretold[main]["critical_std"]
    return (
        f"{activation} layers of this depth pass the error signal on with weights of std {number(std)}, "
        f"that is {number(sigma, 3)} / sqrt(fan_in); here it is {number(theory['sigma_w'], 3)} / sqrt(fan_in)"
    )


def _is_normalised(layers: Sequence[Mapping[str, Any]], layer_id: int) -> bool:
    return layers[layer_id - 1].get("norm", "none") != "none"


def _ratio(a: float | None, b: float | None) -> float | None:
    return a / b if a is not None and b else None


def _product(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return math.prod(known) if known and len(known) == len(values) else None


def _verdict(
    layers: Sequence[LayerGain],
    backward: float | None,
    quantities: Mapping[str, Mapping[int, float]],
    overview: Mapping[str, Any],
    loss: float | None,
    limit: float,
) -> tuple[str, str | None]:
    from .terminal import number

    bad = [q for q in quantities if q.endswith(("_nan", "_inf")) and any(quantities[q].values())]
    if bad or (loss is not None and not math.isfinite(loss)):
        return "numbers are not finite already: NaN or Inf in the first pass", "non-finite"
    if not layers or backward is None:
        return "error signals over depth were not seen", None
    alike = [x for x in layers if x.variation is not None and x.variation < _FORWARD_LIMIT]
    span = overview.get("backward_span_log", math.nan)
    each = number(backward ** (1 / max(1, len(layers) - 1)))
    first, last = layers[0].layer_id, layers[-1].layer_id
    if not span > limit:
        if alike:
            return (
                f"from layer {alike[0].layer_id} on samples look alike: their activations differ by only "
                f"{number(alike[0].variation or 0.0)} of their size"
            ), "vanishing-gradient"
        return (
            f"the error signal keeps within ×{number(math.exp(span))} over {len(layers)} layers, "
            f"about {each} a layer"
        ), None
    if backward < 1:
        return (
            f"passes on {each} a layer: {number(backward, 1)} of the error at layer {last} reaches layer {first}"
        ), "vanishing-gradient"
    return (
        f"grows by {each} a layer: ×{number(backward)} from layer {last} to layer {first}"
    ), "exploding-gradient"


# --- leaving no trace -------------------------------------------------------------------------


@contextlib.contextmanager
def _deaf_probes(model: torch.nn.Module) -> Iterator[None]:
    from . import registry

    with contextlib.ExitStack() as stack:
        for each in registry.open_probes():
            stack.enter_context(each.paused())
        yield


@contextlib.contextmanager
def _same_state(model: torch.nn.Module) -> Iterator[None]:
    """Copies stand in for the buffers meanwhile: what a forward pass writes goes there, and a graph
    that holds the real ones sees nothing of it. Attributes and mode of each module are put back."""
    kept = []
    copies: dict[int, torch.Tensor] = {}
    for module in model.modules():
        kept.append((module, dict(module.__dict__), dict(module._buffers)))
        for name, buffer in module._buffers.items():
            if buffer is None:
                continue
            if id(buffer) not in copies:  # a shared one stays shared
                copies[id(buffer)] = buffer.detach().clone()
            module._buffers[name] = copies[id(buffer)]
    try:
        yield
    finally:
        for module, attributes, buffers in kept:
            _restore(module.__dict__, attributes)
            _restore(module._buffers, buffers)


def _restore(now: dict[str, Any], before: dict[str, Any]) -> None:
    for key in [key for key in now if key not in before]:
        del now[key]
    for key, value in before.items():
        if now.get(key) is not value:
            now[key] = value


@contextlib.contextmanager
def _same_random_numbers(model: torch.nn.Module) -> Iterator[None]:
    import torch

    devices: dict[str, set[int]] = {}
    for parameter in model.parameters():
        if parameter.device.type not in ("cpu", "meta"):
            devices.setdefault(parameter.device.type, set()).add(parameter.device.index or 0)
    of_python = random.getstate()
    numpy = sys.modules.get("numpy.random")
    of_numpy = numpy.get_state() if numpy is not None else None
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[]))
        for kind, numbers in devices.items():
            stack.enter_context(
                torch.random.fork_rng(devices=sorted(numbers), device_type=kind)
            )
        try:
            yield
        finally:
            random.setstate(of_python)
            if numpy is not None:
                numpy.set_state(of_numpy)
