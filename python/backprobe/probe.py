# SPDX-License-Identifier: Apache-2.0
"""A watched model: its hooks' calls become steps, its steps findings. `backprobe.watch` makes one."""

from __future__ import annotations

import contextlib
import os
import pathlib
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch.optim import Optimizer

from . import _native, gradients, losses, ranks, registry, run_folder, structure, talk
from . import optimizers as _optimizers
from .device import stage_for
from .finding import Finding
from .hanging import Hanging
from .hooks import Backward, Closure
from .registry import End
from .replay import tree
from .settings import Settings
from .source import Source
from .structure import tensor_in
from .watch import TrainingStopped

_EVERYTHING = _native.ACTIVATION | _native.SPREAD | _native.ERROR
_FOR_EVER = 1 << 30  # more than anybody pauses
_SEVERITIES = ("hint", "warning", "error")


class Probe:
    """One watched model, from `backprobe.watch` to `close`. Use it as a context manager, or close it;
    a program that ends without has it closed."""

    def __init__(
        self,
        model: torch.nn.Module,
        outer: torch.nn.Module,
        optimizers: Sequence[Optimizer],
        loss_fn: torch.nn.Module | None,
        settings: Settings,
    ) -> None:
        self.deaf = 0
        """Above 0: nothing is heard."""
        self.news: list[Finding] = []
        """To be told."""
        self._model = model
        self._is_bare = outer is model
        self.optimizers = tuple(optimizers)
        """Whose steps are watched."""
        self._settings = settings
        self._quiet = ranks.rank() > 0

        self._parameters: list[torch.Tensor] = [
            p for o in self.optimizers for g in o.param_groups for p in g["params"]
        ]
        self._probe = _native.Probe()
        self._native: Any = stage_for(self._probe, self._parameters)
        self._native.on_backward = Backward(self)
        self._may_ask = isinstance(self._native, _native.Probe)
        """Whether tensors may be asked for values: an accelerator would have to be waited for."""
        self.light_loss = self._probe.light_loss
        self.light_step = self._probe.light_step
        self._settled = False
        self._discovery: structure.Discovery | None = structure.Discovery(model)
        self._structure: structure.Structure | None = None
        self._source: Source | None = None
        self._shares: ranks.Shares | None = None
        self._rates: _optimizers.Rates | None = None
        self._moments: _optimizers.Moments | None = None
        self._resume: tuple[int, str | None] | None = None

        # Of the run.
        self.run_folder: str | None = None
        """Where the log is; None before the first step, and where none is kept."""
        self.unseen: tuple[str, ...] = ()
        """Which evidence there is not, and why."""
        self._closed = False
        self._failure: str | None = None
        self._told_blind = False
        self._told: dict[tuple[str, int], str] = {}
        self._kept: list[Finding] = []
        self._telling = False
        self._any_mode = False
        self._heard_in_eval = False
        self._heard_loss = False
        self._loss_source: Literal["hook", "hand"] | None = None
        self._closures = False
        self._scaler: torch.amp.GradScaler | None = None
        self._searching = True
        self._scale: float | torch.Tensor = 1.0
        self._skip_noted = False
        self._clips = False
        self._foreign = self._foreign_before = 0

        self._each_came = False
        """In the last full step a backward pass of its own came of each loss: then no hook is needed
        on that of a light step."""

        # Of a step.
        self._full_losses = self._light_losses = 0
        self._samples: list[int] = []
        self._met: list[losses.Met] = []
        self._model_samples = 0
        self._backwards = 0
        self._foreign_now = 0
        self._marks = 0
        self._overflowed = False
        self._began = False
        self._in_closure = False
        self._by_hand: float | torch.Tensor | None = None

        self._hanging = Hanging(self, model, outer, loss_fn, optimizers)
        registry.opened(self)

    # --- what hooks call -----------------------------------------------------------------------

    def listens(self) -> bool:
        """Whether what passes now is training."""
        if self.deaf or not torch.is_grad_enabled():
            return False
        if self._model.training or self._any_mode:
            return True
        self._heard_in_eval = True
        return False

    def passes(self, site: tuple[int, int], tensor: torch.Tensor | None) -> None:
        if tensor is not None:
            self._native.forward(site[0], tensor, site[1])

    def discovers(self, module: torch.nn.Module, args: tuple[Any, ...], output: object) -> None:
        if self._discovery is None:
            return
        for site, tensor in self._discovery.called(module, args, output):
            self._native.forward(site, tensor, _EVERYTHING)
        for site, tensor, what in self._discovery.through_time(module, args):
            self._native.forward(site, tensor, what)

    def begins(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """The model's forward pass begins, in a full step."""
        self._look_for_skip()
        if not self.listens():
            return
        tensor = tensor_in(args)
        if tensor is None:
            tensor = tensor_in(kwargs)
        self._model_samples = _rows(tensor)

    def gave(self, kwargs: Mapping[str, Any], output: object) -> None:
        """The model gave its output, which may hold the loss."""
        if self._loss_source == "hand":
            return
        loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
        if isinstance(loss, torch.Tensor) and loss.requires_grad and loss.numel() == 1:
            self._loss_source = "hook"
            terms = kwargs.get("num_items_in_batch")  # of Hugging Face's trainer: of the whole step
            self._probe.shares = terms is not None
            if not self.light_loss(loss):
                self._take_loss(loss, None, (), None if terms is None else _count(terms))

    def lost(self, loss_fn: torch.nn.Module, args: tuple[Any, ...], output: object) -> None:
        """The loss function gave the loss."""
        if self._loss_source == "hand":
            return
        loss = tensor_in(output)
        if loss is None or not loss.requires_grad:
            return
        self._loss_source = "hook"
        self._take_loss(loss, loss_fn, args)

    def _take_loss(
        self,
        loss: torch.Tensor,
        loss_fn: torch.nn.Module | None,
        args: tuple[Any, ...],
        terms: int | None = None,
    ) -> None:
        self._heard_loss = True
        if self._native.full:
            if self._discovery is not None:
                self._discovery.loss_is(loss, loss_fn, args)
            self._each_came = self._may_ask and loss.numel() == 1
            self._samples.append(self._model_samples or _rows(tensor_in(args)))
            self._full_losses += 1
            known = losses.read(loss_fn, args, loss)
            met = losses.met(known) if self._may_ask or not self._native.is_capturing() else losses.Met()
            self._met.append(met)
            self._native.loss(loss, losses.terms_in(known, met.classes) if terms is None else terms)
            return
        self._look_for_skip()
        self._light_losses += 1
        if self._light_losses <= self._foreign:
            return
        if self._each_came and not self._native.full:
            self._native.put_loss(loss.item(), 1.0, 0)
        else:
            self._native.loss(loss, 0)

    def backward_begins(self, number: int) -> None:
        """In a full step. Gradients that are zero now belong to no pass before."""
        if gradients.are_zero(self._parameters, may_ask=self._may_ask):
            self._native.fresh()
            del self._samples[:-1], self._met[:-1]
            self._foreign_now = number - 1
        self._backwards = number

    def backward_ended(self) -> None:
        """In a full step: gradients as they are before anybody clips them."""
        self._marks = gradients.marks(self._parameters)
        if self._searching and self._may_ask:
            self._overflowed = not gradients.are_finite(self._parameters)
        if self._structure is not None and (self._clips or self._searching or self._scaler is not None):
            self._native.gradients(self._held_here([p.grad for p in self._parameters]))

    # --- steps ---------------------------------------------------------------------------------

    def steps(
        self, optimiser: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """An optimiser is about to step."""
        self._leave_closure()
        if self.deaf:
            return None
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            self._before_update(optimiser)
            return None
        self._closures = True
        heard = Closure(self, optimiser, closure)
        if len(args) > 1:
            return (args[0], heard, *args[2:]), kwargs
        return args, {**kwargs, "closure": heard}

    def closed_once(self, optimiser: Optimizer) -> None:
        """The closure was called for the first time in this step."""
        self._before_update(optimiser)
        self._in_closure = True
        self.deaf += 1

    def _leave_closure(self) -> None:
        if self._in_closure:
            self._in_closure = False
            self.deaf -= 1

    def _before_update(self, optimiser: Optimizer) -> None:
        if self._began or not self._native.full:
            return
        if self._structure is None and not (self._is_discovered() and self._open()):
            return
        self._began = True
        self._searching = False
        if self._scaler is None:
            self._find_scaler()
        elif (scale := _optimizers.scale_of(self._scaler)) is not None:
            self._scale = scale
        now = [False if p.grad is None and not p.requires_grad else p.grad for p in self._parameters]
        if self._backwards:
            self._clips = self._marks != gradients.marks(self._parameters)
        factor = _optimizers.inner_factor(optimiser)
        self._native.before_update(self._held_here(self._parameters), self._held_here(now), factor)

    def _find_scaler(self) -> None:
        scaler = _optimizers.scaler_above()
        scale = None if scaler is None else _optimizers.scale_of(scaler)
        if scale is not None:
            self._scaler, self._scale = scaler, scale

    def _held_here(self, tensors: Sequence[Any]) -> Sequence[Any]:
        """What this process tells of tensors that lie over several."""
        return self._shares.views(tensors) if self._shares is not None else tensors

    def stepped(self, optimiser: Optimizer) -> None:
        """An optimiser has stepped."""
        self._leave_closure()
        if optimiser is not self.optimizers[-1] or self._structure is None:
            return
        if self.deaf:
            self._native.forget()
            return
        if self._native.full and self._began:
            self._native.after_update(self._held_here(self._parameters))
            if self._moments:
                moments, *constants = self._moments.now(self._native.step + 1)
                self._native.second_moments(self._held_here(moments), *constants)
        skipped = False if self._scaler is None else _optimizers.found_inf(self.optimizers)
        self._skip_noted = skipped is True
        self._end_step(skipped)

    def _look_for_skip(self) -> None:
        """A loss scaler that met an infinity does not call the optimiser, it only lowers its scale."""
        if self._scaler is None:
            # It is not known before it calls the optimiser for the first time.
            if self._overflowed and (self._structure is not None or self._open()):
                self._end_step(True)
            return
        scale = _optimizers.scale_of(self._scaler)
        if not isinstance(scale, float) or not isinstance(self._scale, float) or scale == self._scale:
            return  # or it lies on a device
        if scale < self._scale and not self._skip_noted:
            self._end_step(True)
        self._skip_noted = False
        self._scale = scale

    def _end_step(self, skipped: bool | torch.Tensor) -> None:
        native, first = self._native, self._discovery is not None
        if self._by_hand is not None:  # told after its backward pass
            native.put_loss(self._by_hand, 1.0, 0)
        if native.full:
            self._tell_targets()
            self._each_came = self._each_came and self._full_losses == self._backwards
            self._foreign = min(self._foreign_before, self._foreign_now)
            self._foreign_before = self._foreign_now
            self._settle()
        assert self._rates is not None and self._structure is not None
        # Where calls are seen the rows of those that count tell the samples.
        samples = 0 if self._structure.sites else sum(self._samples)
        scale = self._scale if self._may_ask or self._scaler is None else self._scaler._scale
        full = native.end_step(self._rates.now(), samples, skipped, scale)
        self._samples.clear()
        self._met.clear()
        self._backwards = self._foreign_now = self._light_losses = self._full_losses = self._marks = 0
        self._overflowed = self._began = False
        self._by_hand = None
        self._goes_on(full, first)

    def _tell_targets(self) -> None:
        for met in self._met:
            if met.extremes is not None:
                self._native.put_targets(*met.extremes)
            if met.guesses is not None:
                self._native.put_guesses(*met.guesses)

    def light_step_told(self) -> None:
        """The native probe told a light step, and there is something to see to."""
        self._goes_on(self._probe.full, False)

    def _goes_on(self, full: bool, first: bool) -> None:
        """A step has ended; `full`: the next one is."""
        native = self._native
        assert self._structure is not None
        if first:
            self._discovery = None
            in_output = self._loss_source == "hook"
            self._hanging.end_discovery(self._structure.sites, loss_in_output=in_output)
        if full:
            self._hanging.begin_full()
        else:
            self._hanging.begin_light(closures=self._closures)
        if first:
            self._say_where()
        if native.blind is not None and not self._told_blind:
            self._told_blind = True
            self._say(f"the log is not written any more ({native.blind}); watching and training go on")
        if native.news() and not self._quiet:
            self.news += self._worth_telling()

    def _settle(self) -> None:
        """At the end of a full step: where each loss had its backward pass, and there is but one optimiser,
        light steps are left to the native probe."""
        self._settled = (
            self._full_losses == self._backwards > 0
            and not (self._foreign or self._foreign_now or self._overflowed or self._any_mode or self._closures)
            and self._loss_source == "hook"
            and self._scaler is None
            and len(self.optimizers) == 1
            and self._may_ask
        )
        self._tell_settled()

    def _tell_settled(self) -> None:
        if self._settled and not self.deaf:
            self._probe.settle(self._model, self.optimizers[0])
        else:
            self._probe.settle(None, None)

    # --- the network is known ------------------------------------------------------------------

    def _is_discovered(self) -> bool:
        """False where this step has shown nothing: it has no gradient, or it was in evaluation mode.
        Who trains so is watched from the next step on."""
        if all(p.grad is None for p in self._parameters):
            return False
        assert self._discovery is not None
        self._any_mode = self._heard_in_eval and not self._discovery.sites
        return not self._any_mode

    def _open(self) -> bool:
        """The network is known: the run begins. False where it had begun."""
        if self._discovery is None:
            return False
        # A wrapped model has another name in the program than its layers' names begin with.
        place = registry.where_watched(self._model) if self._is_bare else None
        self._source = Source(self._model, place)
        known = structure.describe(
            self._discovery, self._model, self.optimizers, objective=self._settings.objective
        )
        recipe = {**known.recipe, **_optimizers.recipe(self.optimizers)}
        if self._samples and sum(self._samples):
            recipe.setdefault("batch", sum(self._samples))
        if self._settings.train_samples is not None:
            recipe["train_samples"] = self._settings.train_samples
            if batch := recipe.get("batch", 0) * ranks.world():
                recipe["epoch_steps"] = -(-self._settings.train_samples // batch)
        self._parameters = [p for _, p, _, _ in known.parameters]
        shares = ranks.Shares(self._parameters, [layer for _, _, layer, _ in known.parameters])
        self._native.open(
            known.layers,
            recipe,
            known.input_shape,
            [(use.site, use.layer, use.role, *use.units) for use in known.sites if use.role],
            [
                (layer, slot, elements)
                for (_, _, layer, slot), elements in zip(known.parameters, shares.elements, strict=True)
            ],
            self._options(),
        )
        self._shares = shares if shares.any else None
        self._structure = known
        self._rates = _optimizers.Rates(self.optimizers)
        self._moments = _optimizers.Moments(self.optimizers, self._parameters)
        self.unseen = tuple(self._not_seen(known))
        return True

    def _options(self) -> dict[str, Any]:
        settings = self._settings
        options: dict[str, Any] = {
            "budget": settings.budget,
            "every": settings.every or 0,
            "ranks": ranks.world(),
        }
        if settings.max_log_bytes is not None:
            options["max_log_bytes"] = settings.max_log_bytes
        self.run_folder = self._make_folder()
        if self._resume is not None:
            options["resume_step"] = self._resume[0]
        options["run_folder"] = None if self.run_folder is None else os.fsencode(self.run_folder)
        return options

    def _make_folder(self) -> str | None:
        settings = self._settings
        if settings.run is False:
            return None
        try:
            if self._resume is not None and self._resume[1] is not None:
                # A checkpoint that rank 0 wrote is loaded by all.
                run = ranks.run_of(self._resume[1])
                if run.is_dir():
                    return os.fspath(ranks.own_folder(run))
                self._say(f"{run} is gone; the log begins anew")
                self._resume = None
            known = settings.run if isinstance(settings.run, str) else None
            return os.fspath(ranks.agree_on_folder(self._make_run_folder, known))
        except (OSError, ranks.NoFolder) as error:
            self._told_blind = True
            talk.say(f"backprobe: no log is kept ({error}); watching and training go on")
            return None

    def _make_run_folder(self) -> str:
        settings = self._settings
        if isinstance(settings.run, str):
            return run_folder.make(settings.run)
        return run_folder.make_numbered(settings.name or run_folder.name_of_script())

    def _not_seen(self, known: structure.Structure) -> Iterator[str]:
        if not self._heard_loss:
            yield "the loss: pass loss_fn=, an nn.Module, or call probe.loss(loss)"
        yield from (text for text in known.unseen if not text.startswith("the loss was not seen"))

    # --- what it says --------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        if not self._quiet:
            talk.say(f"backprobe: {text}")

    def _say_where(self) -> None:
        assert self._structure is not None
        n = len(self._structure.layers)
        where = f"log in {_shown(self.run_folder)}" if self.run_folder else "no log is kept"
        line = f"watching {n} layer{'s' * (n != 1)}, {where}"
        if self.unseen:
            line += "; not seen: " + "; ".join(self.unseen)
        self._say(line)

    def _worth_telling(self) -> list[Finding]:
        """Roots that opened or became worse since they were told."""
        worth = []
        for finding in self.findings:
            key = finding.problem, finding.since_step
            before = self._told.get(key)
            worse = before is None or _SEVERITIES.index(finding.severity) > _SEVERITIES.index(before)
            if finding.open and worse:
                self._told[key] = finding.severity
                worth.append(finding)
        return worth

    def tell(self) -> None:
        """Tells the news. What it raises is meant to come through: TrainingStopped, or what the
        user's callback raised."""
        news, self.news = self.news, []
        for finding in news:
            if self._settings.on_finding is None:
                talk.finding(finding)
            else:
                self._telling = True
                try:
                    self._settings.on_finding(finding)
                finally:
                    self._telling = False
            if finding.severity == "error" and self._settings.on_error == "stop":
                self.close("stopped")
                raise TrainingStopped(finding)

    def fail(self, error: BaseException) -> None:
        """An error of ours: the watch is over, the training is not."""
        if self._failure is not None:
            return
        self.deaf += _FOR_EVER
        step = self._native.step
        self._failure = f"{type(error).__name__}: {error}"
        with contextlib.suppress(Exception):
            self._hanging.let_go(of_optimizers=False)
        with contextlib.suppress(Exception):
            self._native.close("interrupted")
        with contextlib.suppress(Exception):
            self._say(f"stopped watching at step {step} ({self._failure}); the training goes on")

    # --- for users -----------------------------------------------------------------------------

    def loss(self, loss: torch.Tensor | float) -> None:
        """Tells the loss of a (micro-)batch, best between the forward and the backward pass: then
        the factor that a loss scaler or an accumulation puts on it is seen, too. Afterwards, or as
        a number, its value alone is taken. Replaces what `loss_fn` or the model's output gave."""
        if not self.listens():
            return
        try:
            self._loss_by_hand(loss)
        except Exception as error:
            self.fail(error)

    def _loss_by_hand(self, loss: torch.Tensor | float) -> None:
        twice = self._loss_source == "hook"  # which took this one
        self._loss_source = "hand"
        if twice:
            self._settled = False
            self._tell_settled()
            return
        if not isinstance(loss, torch.Tensor) or not loss.requires_grad:
            self._heard_loss = True
            self._native.put_loss(float(loss) if self._may_ask else loss, 1.0, 0)
            return
        if self._native.full or not self._each_came:
            self._by_hand = float(loss.detach()) if self._may_ask else loss.detach()
            loss.register_hook(_Came(self))
        self._take_loss(loss, None, ())

    def backward_came(self) -> None:
        """The backward pass of a loss that was told by hand began behind that."""
        self._by_hand = None

    def validation(
        self, *, loss: float | torch.Tensor | None = None, accuracy: float | torch.Tensor | None = None
    ) -> None:
        """Tells an evaluation on held-out data, after the last step. accuracy: 0 … 1."""
        if self._structure is None or self.deaf >= _FOR_EVER:
            return
        self._native.validation(
            None if loss is None else float(loss), None if accuracy is None else float(accuracy)
        )

    def checkpoint(self, file: str | os.PathLike[str]) -> None:
        """Notes in the log that a checkpoint was written after the last step."""
        if self._structure is not None and self.deaf < _FOR_EVER:
            self._native.checkpoint(self.step, pathlib.Path(file).name)

    @property
    def cost(self) -> dict[str, float]:
        """What watching took so far: full_steps, light_steps, watch_seconds of run_seconds."""
        return self._native.cost()

    @property
    def loss_of_last_step(self) -> float | None:
        """None where it was not told."""
        return self._native.loss_of_last_step

    @property
    def step(self) -> int:
        """Steps seen so far; findings are as of the last one."""
        return self._native.step

    @property
    def findings(self) -> list[Finding]:
        """What was found so far: the roots, with what follows from them in `consequences`."""
        if self._source is None:  # before the first step, or closed
            return list(self._kept)
        found = tree(self._native.findings(), self._settings.choice)
        return [self._source.with_diff(f) for f in found]

    @property
    def blind(self) -> str | None:
        """Why nothing is watched, or logged, any more; None as long as all is well."""
        return self._failure or self._native.blind

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is heard inside: for forward and backward passes that are no training. A step that
        is made inside is not counted."""
        self.deaf += 1
        self._tell_settled()
        try:
            yield
        finally:
            self.deaf -= 1
            self._tell_settled()

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: with it the log of a resumed run goes on where it was."""
        folder = self.run_folder
        if folder is not None and ranks.rank() > 0:  # that of all of them
            folder = os.path.dirname(folder)
        return {"version": 1, "step": self.step, "run_folder": folder}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on with the run of `state`; before the first step."""
        if self._structure is not None:
            raise RuntimeError(
                f"load_state_dict() came after {self.step} steps; call it before the first, or pass "
                "resume= to watch()"
            )
        step, folder = run_folder.check_state(state)
        self._resume = step, folder

    def close(self, end: End = "finished") -> None:
        """Ends the watch: hooks off, the log complete. Findings stay."""
        if self._closed:
            return
        self._closed = True
        registry.closed(self)
        registry.forget_watched(self._model)
        dead = self.deaf >= _FOR_EVER
        self.deaf += _FOR_EVER
        self._hanging.let_go(of_optimizers=not self._telling)
        if dead and self._failure is None:  # the child of a fork
            self._release()
            return
        if self._structure is not None:
            with contextlib.suppress(Exception):
                self._kept = self.findings
        if self._failure is None:
            try:
                self._native.close(end)
            except (OSError, ValueError) as error:
                self._say(f"the log could not be finished ({error})")
            if self._structure is not None:
                self._say(self._summary())
        self._release()

    def _release(self) -> None:
        """A closed probe keeps findings, not the model."""
        self._model = torch.nn.Module()
        self._parameters = []
        self.optimizers = ()
        self._discovery = self._source = self._rates = self._moments = self._shares = self._scaler = None
        if self._structure is not None:
            self._structure.sites = []
            self._structure.parameters = []

    def _summary(self) -> str:
        found = self.findings
        where = f"; backprobe check {_shown(self.run_folder)}" if self.run_folder and found else ""
        return f"{self.step} steps watched, {_counted(found)}{where}"

    def silence(self) -> None:
        """In the child of a fork: the run is the parent's."""
        self.deaf += _FOR_EVER
        self._quiet = True

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(registry.end_by(kind))

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a Probe cannot be pickled or copied; keep probe.state_dict()")

    def __repr__(self) -> str:
        if self._structure is None:
            return "<backprobe.Probe: before the first step>"
        state = "closed" if self._closed else self.blind or "watching"
        found = self.findings
        lines = [
            f"<backprobe.Probe: {state}, {self.step} steps, {len(self._structure.layers)} layers, "
            f"{_counted(found)}, {_shown(self.run_folder) if self.run_folder else 'no log'}>"
        ]
        lines += [f"  {f.severity}[{f.problem}]: {f.title}"[:100] for f in found[:12]]
        lines += [f"  not seen: {text}"[:100] for text in self.unseen[:6]]
        return "\n".join(lines)


class _Came:
    """On a loss that was told by hand."""

    __slots__ = ("_probe",)

    def __init__(self, probe: Probe) -> None:
        self._probe = weakref.ref(probe)

    def __call__(self, gradient: torch.Tensor) -> None:
        probe = self._probe()
        if probe is not None:
            probe.backward_came()


# --- small words -------------------------------------------------------------------------------


def _rows(tensor: torch.Tensor | None) -> int:
    return int(tensor.shape[0]) if tensor is not None and tensor.dim() else 0


def _count(number: Any) -> int:
    """0, unknown, where only waiting for a device would tell."""
    return 0 if isinstance(number, torch.Tensor) and gradients.is_far(number) else int(number)


def _shown(folder: str | None) -> str:
    if folder is None:
        return ""
    relative = os.path.relpath(folder)
    return folder if relative.startswith("..") else relative


def _counted(findings: Sequence[Finding]) -> str:
    n = len(findings)
    return "nothing found" if n == 0 else f"{n} finding{'s' * (n != 1)}"
