# SPDX-License-Identifier: Apache-2.0
"""The PyTorch programs of the benchmark and their faults, by name; torch_programs.py trains them.
This file needs no PyTorch: the plan is made of it everywhere."""

from dataclasses import dataclass

SMALL = ("weights-too-small", "vanishing-gradient")
SCALES = ("weights-too-large", "exploding-gradient")
RATE = ("learning-rate-too-high", "exploding-gradient", "oscillating-loss", "dead-units")


@dataclass(frozen=True)
class TorchFault:
    name: str
    problem: str
    accepted: tuple = ()
    names: tuple = ()  # modules from ... to that are at fault
    position: str = ""
    onset: int = 0
    harm: str = "learning"
    hint: bool = False
    layers: tuple = ()


@dataclass(frozen=True)
class Program:
    name: str
    style: str
    data: str
    faults: tuple = ()
    held_out: bool = False
    every: str = "1"


def fault(name, problem, *accepted, **more):
    return TorchFault(name, problem, accepted, **more)


def high(*accepted):
    return fault("rate_high", "learning-rate-too-high", *RATE, *accepted)


LOW = fault("rate_low", "learning-rate-too-low", "slow-convergence", "plateau")
PERMUTED = fault("permuted", "plateau", "underfitting", "memorising", "overfitting", "slow-convergence")
NAN = fault("nan_in_data", "non-finite", onset=-1)
RAW = fault("inputs_raw", "input-not-normalised")
SOFTMAX = fault("softmax_twice", "wrong-last-layer-for-loss")
HEAD = fault("unused_head", "unused-parameter", "frozen-parameter", names=("spare", "spare"), harm="waste", hint=True)


def tiny(last, **more):
    return fault("tiny", "weights-too-small", *SMALL, names=last, position="all", **more)


def large(last, *accepted):
    return fault("large", "weights-too-large", *SCALES, *accepted, names=last, position="all")


def strangled(name, position):
    return fault(f"strangled_{position}", "weights-too-small", *SMALL, names=(name, name), position=position)


def dead(name, position, onset):
    return fault(f"dead_{position}", "dead-units", names=(name, name), position=position, onset=onset)


PROGRAMS = (
    Program("mlp", "Adam", "digits", (
        dead("net.2", "middle", 120), high(), LOW, NAN, RAW, SOFTMAX, HEAD, PERMUTED,
        fault("zeros", "zero-init", "constant-init", position="all"),
        fault("constant", "constant-init", "symmetric-units", position="all"),
        fault("overfitting", "overfitting", "memorising", harm="overfitting", hint=True),
        fault("memorising", "memorising", "overfitting", "overconfident", harm="gap", hint=True),
        fault("clip_to_zero", "clip-to-zero"),
        fault("detached", "frozen-parameter", "unused-parameter", names=("net.0", "net.2"), hint=True),
    )),
    Program("deep_tanh", "deep plain", "digits", (
        tiny(("net.0", "net.18")), large(("net.2", "net.18"), "saturated-units"),
        strangled("net.4", "early"), strangled("net.10", "middle"), strangled("net.16", "late"),
        fault("sigmoid", "vanishing-gradient", *SMALL, "saturated-units", names=("net.0", "net.18"), position="all"),
        fault("poisoned_batch", "loss-spike", "exploding-gradient", "saturated-units", onset=150, harm="spike",
              hint=True),
        high(),
    )),
    Program("deep_relu_sgd", "deep plain", "digits", (
        large(("net.2", "net.22")), strangled("net.12", "middle"), dead("net.12", "middle", 150), high(),
        fault("stalled_bf16", "stalled-update", "learning-rate-too-low"),
        fault("underflow_f16", "low-precision-underflow", "stalled-update"),
    ), held_out=True),
    Program("cnn_norm", "normalised", "fashion", (high(), LOW, SOFTMAX, PERMUTED)),
    Program("resnet", "deep residual", "fashion", (
        high(), NAN, fault("no_norm_large", "weights-too-large", *SCALES, position="all"),
        fault("masked_mean", "non-finite", onset=-1),
    )),
    Program("cnn_plain", "convolution", "digits", (
        tiny(("net.0", "net.6")), large(("net.0", "net.6")), dead("net.2", "middle", 0), RAW,
    )),
    Program("autoencoder", "autoencoder", "digits", (
        fault("sigmoid", "vanishing-gradient", *SMALL, "saturated-units", "plateau", position="all"),
        fault("log_0", "non-finite", onset=-1), LOW,
        fault("targets_outside", "labels-out-of-range", "saturated-units"),
    )),
    Program("regression", "regression", "digits", (
        tiny(("net.0", "net.8")), high(), strangled("net.4", "middle"),
    ), held_out=True),
    Program("char_rnn", "recurrent", "text", (
        high(), fault("recurrent_large", "exploding-gradient", *SCALES, names=("rnn", "rnn")),
    )),
    Program("char_lstm", "recurrent", "text", (LOW, high()), held_out=True),
    Program("adding_gru", "recurrent", "adding", (
        fault("plain_rnn", "vanishing-gradient", "plateau", "exploding-gradient", names=("rnn", "rnn")), high(),
    )),
    Program("gpt", "warm-up", "text", (high(), LOW, fault("masked_row", "non-finite", onset=-1))),
    Program("transformer", "warm-up", "fashion", (high(), NAN), held_out=True),
    Program("autocast_bf16", "normalised", "digits", (
        fault("sqrt_0", "non-finite", onset=-1),
        fault("no_norm_large", "weights-too-large", *SCALES, position="all"),
    )),
    Program("autocast_f16", "Adam", "digits", (
        fault("overflow", "low-precision-overflow", "non-finite", "input-not-normalised"),
    )),
    Program("multilabel", "regression", "digits", (fault("sigmoid_twice", "wrong-last-layer-for-loss"), LOW, high())),
    Program("mixer", "deep residual", "digits", (high(), HEAD), held_out=True),
    Program("gan", "adversarial", "digits"),
    Program("siamese", "contrastive", "digits"),
    Program("accumulated", "short last batch", "digits", (high(),)),
    Program("finetuned", "deep plain", "digits", (high(),)),
    Program("spirals", "tiny", "spirals", (LOW, fault("same", "symmetric-units", "constant-init", position="all"))),
    Program("tiny_batch", "noisy validation", "digits", (high(),), held_out=True),
    Program("cosine_budget", "by budget", "digits", (high(), dead("net.2", "middle", 100)), every="5%"),
)
