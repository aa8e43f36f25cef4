# SPDX-License-Identifier: Apache-2.0
"""The binding of libbackprobe. Private: `backprobe.check` and `backprobe.watch` are the interface."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypedDict

End = Literal["open", "finished", "interrupted", "stopped"]

class Damage(TypedDict):
    lost_records: int
    damaged_places: int
    lost_bytes: int
    unknown: int
    torn_tail: bool
    first: str | None

class Rank(TypedDict):
    """What the log of one of several processes gave."""

    rank: int
    first: int | None
    last: int | None
    records: int
    missing: int  # steps that others have between first and last
    end: End
    error: str | None  # why it takes no part

class Run(TypedDict):
    findings: list[dict[str, Any]]
    damage: Damage
    ranks: list[Rank]  # empty: of one process
    end: End

def version() -> str: ...
def check(path: bytes, /) -> Run: ...
def records(path: bytes, /) -> list[dict[str, Any]]:
    """The step records of a log: step, wall_time, flags, and quantities: the readings of each by
    their names (backprobe/record.h), as {row: value}; row 0 is the network or its input, then the
    layers. What was not measured is not there."""

# --- watching --------------------------------------------------------------------------------

# What is wanted of a tensor at a site (bits of `what`).
ACTIVATION: Final = 1  # its statistics
SPREAD: Final = 2  # how much it varies over samples, too
ERROR: Final = 4  # statistics of its gradient, when the backward pass brings it
# Of a sequence's gradient the first or the last tenth of the time steps alone; time is its first
# dimension, or its second.
FIRST_TENTH: Final = 8
LAST_TENTH: Final = 16
TIME_SECOND: Final = 32

class Options(TypedDict, total=False):
    run_folder: bytes | None  # exists; None keeps no log
    every: int  # 0: by budget
    budget: float
    max_log_bytes: int
    resume_step: int | None  # a run that goes on: steps done before
    ranks: int  # processes that train together; above 1 their full steps are common ones

class Layer(TypedDict, total=False):
    """bp_layer by its words: "dense", "tanh", "batch_norm", …; what is left out is unknown."""

    name: str  # required; the module's
    kind: str  # required
    activation: str
    activation_name: str  # path of the module that is the activation; left out for a function
    activation_slope: float
    norm: str
    norm_after_activation: bool
    has_bias: bool
    frozen: bool
    fan_in: int
    fan_out: int
    output_shape: tuple[int, int, int]
    weight_init: tuple[str, float]
    bias_init: tuple[str, float]
    kernel: int
    stride: int
    padding: int
    drop_fraction: float
    vocabulary: int
    branch_scale: float
    skip_from: int
    n_branch: int
    depth_in_blocks: int

class Recipe(TypedDict, total=False):
    """bp_recipe by its words; what is left out is unknown."""

    loss: str
    optimiser: str
    learning_rate: float
    momentum: float
    beta1: float
    beta2: float
    epsilon: float
    nesterov: bool
    alpha: float
    weight_decay: float
    batch: int
    epoch_steps: int
    train_samples: int
    trivial_loss: float
    chance_accuracy: float
    n_outputs: int
    unsupervised: bool
    from_probabilities: bool

class Probe:
    """One watched model. Observations are kept by site (a place in the network where a tensor
    passes) and by parameter until the step ends; only then they are told to the watch, merged over
    micro-batches. So the network need not be known before the end of its first step, and what
    turns out not to belong to a step can be forgotten. Nothing here raises for what a tensor is or
    holds: what cannot be measured is counted in `not_measured`. Methods are called with the GIL
    held, by any thread, one at a time; long work releases it."""

    full: bool  # the current step is looked at in full; read-only; True before open()
    step: int  # updates told so far; read-only
    loss_of_last_step: float | None  # read-only
    blind: str | None  # why the log is not written any more; read-only
    not_measured: dict[str, int]  # reason -> how many tensors; a copy

    # The losses of a step's passes add up to that of the step, all over the same number of terms;
    # else that is their mean.
    shares: bool

    # Called as a backward pass from a told loss begins, with its number (1, 2, …), in full steps.
    on_backward: Callable[[int], None] | None

    # --- in a step
    def forward(self, site: int, tensor: Any, what: int, /) -> bool:
        """An activation passes a site: summarised now; with ERROR, and where the tensor requires a
        gradient, a tensor hook is registered on it that summarises its gradient. Rows (samples) are
        its first dimension. False: not measured. Does nothing in light steps. The spread, and what
        units do, is an estimate where a sample has more than 4096 values or a batch more than 128
        samples: an even choice of them is looked at. Where units are known (`open`) all of them
        are, up to 4096, at places that change from step to step."""

    def loss(self, tensor: Any, terms: int, /) -> None:
        """The loss of a (micro-)batch, in every step: its value is read (a CPU tensor or a number;
        else see put_loss), and a hook on it notes that its backward pass began and with which
        factor (a loss scaler's, one over the micro-batches). A loss whose backward pass never comes
        does not count. terms: that it is the mean of; 0 unknown."""

    def fresh(self) -> None:
        """To be called from on_backward: the gradients were zero as this pass began, so what was
        observed in earlier backward passes of this step is forgotten."""

    def forget(self) -> None:
        """Forgets all that was observed in this step (paused, an exception, a skipped batch)."""

    def gradients(self, gradients: Sequence[Any | None], /) -> None:
        """All gradients as the backward pass left them, before clipping; in the order of `open`'s
        parameters. They are divided by end_step's loss_scale: whoever unscales does it later."""

    def before_update(
        self, parameters: Sequence[Any], gradients: Sequence[Any], factor: float, /
    ) -> None:
        """As the optimiser is about to get them. gradient / factor is the loss's own (1 unless the
        optimiser unscales by itself). One pass over all: statistics, and the coordinate panel's
        places before the update. A gradient that is None counts as missing, one that is False was
        not to be there."""

    def after_update(self, parameters: Sequence[Any], /) -> None: ...
    def second_moments(
        self, moments: Sequence[Any | None], epsilon: Sequence[float], correction: Sequence[float], /
    ) -> None:
        """Adam's v, its epsilon and 1 - beta2^t of each parameter: v / correction is v-hat."""

    def end_step(
        self,
        learning_rate: float,
        samples: int,
        skipped: bool = False,
        loss_scale: float = 1.0,
        /,
    ) -> bool:
        """Tells the step to the watch and decides about the next one; returns whether that is
        full. samples: of all micro-batches together; 0 unknown (then the rows of the first observed
        activation). Before open() all is dropped, and the answer is True."""

    # --- light steps of a loop that is known: they cost C alone
    def settle(self, model: Any, optimizer: Any, /) -> None:
        """From here on each loss that is told has its backward pass, with the factor 1, and a step of
        `optimizer` ends ours. None, None: no longer."""

    def light_loss(self, loss: Any, /) -> bool:
        """The loss, in a light step of a settled loop, while the model trains. False: it was not taken
        (it is not finite, for one), which is left to `loss`."""

    def light_step(self, optimizer: Any, /) -> int:
        """Ends such a step. 0: nothing was done, which is left to `end_step`; 1: done; 2: done, and the
        next step is full, or there is news, or the log is not written."""

    # --- readings that the host made itself (a device, a shard)
    def put_loss(self, value: float, factor: float, terms: int, /) -> None: ...
    def put_targets(self, low: float, high: float, /) -> None:
        """Extremes of the targets of one of the step's losses, in a full step."""

    def put_guesses(self, right: int, guesses: int, /) -> None:
        """How many classes were predicted rightly, of how many, of one of the step's losses."""

    def put_summary(
        self,
        role: Literal["activation", "error", "unclipped", "parameter", "gradient"],
        index: int,  # of the site, or of the parameter
        numbers: tuple[int, int, int, int, int, float, float, float, float],
        # count, nan, +inf, -inf, zero, min, max, sum, sum of squares (over finite elements)
        precision: int = 0,  # significand bits of the format; 0 unknown
        tiny: int = 0,  # of half formats: subnormal elements
        /,
    ) -> None: ...
    def put_missing(self, parameter: int, /) -> None:
        """Its gradient, although it was to have one."""

    def put_units(
        self,
        site: int,
        samples: int,
        shape: tuple[int, int, int],  # of a sample's values: [outer, units, inner]; at most 4096
        means: Any,  # over samples, of each value: a tensor of f64; likewise the next
        squares: Any,  # sums of squared deviations
        /,
    ) -> None: ...
    def put_spread(self, site: int, variation: float, /) -> None: ...
    def put_update(
        self, parameter: int, numbers: tuple[int, float, float, int, int], cosine: float | None, /
    ) -> None:
        """elements looked at, sum of squared changes, effect of those, made non-finite, stalled."""

    def put_adaptivity(self, parameter: int, mean: float, /) -> None:
        """Mean of sqrt(v-hat) / (sqrt(v-hat) + epsilon), behind the parameter's summary."""

    def observed(self, full: bool, seconds: float, /) -> None:
        """For a host that tells steps late, before it tells the next: whether it looked at that in
        full, whatever was decided, and how long that took it."""

    # --- the run
    def open(
        self,
        layers: Sequence[Layer],
        recipe: Recipe,
        input_shape: tuple[int, int, int],
        # Site, layer (0 the input), role: "activation", "error_output", "error_pre_activation",
        # "error_pre_norm", "error_input", "error_through_time" (of the first time steps; that of the
        # last ones passes the site with the next number). Of an activation also the dimension along
        # which its units lie (0: not known), how many, and whether its values are the layer's own.
        sites: Sequence[tuple[int, int, str] | tuple[int, int, str, int, int, bool]],
        parameters: Sequence[tuple[int, str, int]],  # layer, slot, elements of which this rank
        # holds a shard (0: it holds all); slot: "weight", "bias", "norm_gain", "norm_bias",
        # "recurrent_weight", "recurrent_bias"
        options: Options,
        /,
    ) -> None:
        """The network is known: before before_update of its first step. Raises ValueError or
        OSError as the C functions say; the probe stays unopened then."""

    def validation(self, loss: float | None, accuracy: float | None, /) -> None: ...
    def checkpoint(self, step: int, file: str, /) -> None: ...
    def news(self) -> list[dict[str, Any]]:
        """Findings that opened or changed their severity since the last call, as in `Run`; `parent`
        is an index into `findings()`. A step is judged when the next one is told (what is told of
        it in between, a validation, still belongs to it), so they come one step late."""

    def findings(self) -> list[dict[str, Any]]:
        """All findings up to the last step, flat, as in `Run`. That step's record ends here. A
        closed probe still knows them."""

    def cost(self) -> dict[str, float]:
        """full_steps, light_steps, watch_seconds, run_seconds, and mode, every, budget."""

    def profile(self) -> dict[str, Any] | None:
        """The last full step: "gains" from the input to the loss as in a finding (none where an
        error signal is missing or not finite), and "quantities", name -> {layer: value}."""

    def prediction(
        self,
        samples: int,
        inputs: bytes | None,
        means: bytes | None,
        errors: bytes | None,
        near: float,
        far: float,
        /,
    ) -> dict[str, Any] | None:
        """What theory says of the last full step's network, its weights as large as they are. inputs
        and errors: Gram matrices of f64, row by row (bp_prediction_input)."""

    def overview(self) -> dict[str, Any]:
        """bp_diagnosis_overview; none before open()."""

    def close(self, end: End, /) -> None: ...
