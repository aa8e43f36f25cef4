# SPDX-License-Identifier: Apache-2.0
"""Faults in networks for the C trainer. Each is a healthy network with one thing changed; the
network as it was, with the same seed, is its mended twin.

`problem` is what the root finding must say. `accepted` are others that describe the same cause as
well: they count as right, and judge.py tells how often that was needed."""

from dataclasses import dataclass

from networks import Network, all_networks


@dataclass
class Fault:
    name: str
    problem: str
    network: Network  # with the fault in it
    accepted: tuple = ()
    layers: tuple = ()  # first and last of those that are at fault; (): not a matter of layers
    position: str = ""  # first, early, middle, late, output, stretch, all; "": not of the stack
    onset: int = 0  # step; -1: the first loss that is not finite
    harm: str = "learning"  # how it must show against the twin: judge.py's measures
    hint: bool = False  # a hint is enough: nothing is lost yet


NETWORKS = {network.name: network for network in all_networks()}
SCALES = ("weights-too-large", "exploding-gradient")
SMALL = ("weights-too-small", "vanishing-gradient")
RATE = ("learning-rate-too-high", "exploding-gradient", "oscillating-loss")


def changed(name, suffix, problem, *options, accepted=(), **more):
    """A copy of the network with options of the driver; what `more` names of it is replaced."""
    network = NETWORKS[name].copy()
    network.options += options
    about = {key: more.pop(key) for key in ("layers", "position", "onset", "harm", "hint") if key in more}
    for key, value in more.items():
        if key == "train":
            network.train.update(value)
        else:
            setattr(network, key, value)
    return name, Fault(suffix, problem, network, tuple(accepted), **about)


def places(depth):
    """Where a single layer is at fault."""
    return {"first": 1, "early": max(2, depth // 4), "middle": (depth + 1) // 2 + 1,
            "late": depth - 1 if depth > 4 else depth, "output": depth + 1}


def with_item(network, layer, **more):
    items = [dict(item) for item in network.items]
    items[layer - 1].update(more)
    return items


def strangled():
    """One frozen layer whose weights are next to nothing."""
    for name, where in (("relu_12", ("first", "early", "middle", "late")), ("tanh_10", ("early", "middle", "late")),
                        ("relu_8_adam", ("middle", "late")), ("gelu_8", ("early", "late")),
                        ("silu_8", ("middle",)), ("selu_16", ("early", "late")), ("relu_20", ("middle",))):
        network = NETWORKS[name]
        for position in where:
            layer = places(network.hidden)[position]
            items = with_item(network, layer, frozen=True, init={"normal": {"std": 1e-5}})
            yield changed(name, f"strangled_{position}", "weights-too-small", items=items, accepted=SMALL,
                          layers=(layer, layer), position=position)


def too_small():
    for name, gain in (("relu_12", 0.2), ("leaky_15", 0.3), ("tanh_20_adam", 0.05), ("relu_20", 0.35),
                       ("conv_6", 0.1), ("gelu_8", 0.05)):
        network = NETWORKS[name]
        init = "xavier" if "tanh" in name else "he"
        yield changed(name, "small_all", "weights-too-small", init={init: {"gain": gain}}, accepted=SMALL,
                      layers=(1, network.hidden + 1), position="all")
    for name, at, factor in (("relu_12", (5, 9), 0.02), ("tanh_10", (4, 7), 0.02), ("elu_10", (3, 6), 0.02)):
        yield changed(name, "small_stretch", "weights-too-small", f"scale:{at[0]}:{at[1]}:{factor}:0",
                      accepted=SMALL, layers=at, position="stretch")
    for name in ("relu_20", "relu_12"):
        yield changed(name, "default_init", "weights-too-small", init="pytorch_default", accepted=SMALL,
                      layers=(1, NETWORKS[name].hidden), position="all")


def sigmoid_stack():
    for name, train in (("relu_12", {"learning_rate": 0.1}), ("tanh_10", {"learning_rate": 0.1}),
                        ("relu_8_adam", {}), ("tanh_20_adam", {}), ("relu_20", {"learning_rate": 0.1}),
                        ("conv_6", {})):
        network = NETWORKS[name]
        items = [dict(item, activation="sigmoid") if "activation" in item else item for item in network.items]
        yield changed(name, "sigmoid", "vanishing-gradient", items=items, init="pytorch_default", train=train,
                      accepted=(*SMALL, "saturated-units"), layers=(1, network.hidden), position="all")


def too_large():
    for name, gain in (("relu_12", 3), ("leaky_15", 3), ("relu_20", 2.5), ("elu_10", 5), ("conv_6", 4)):
        network = NETWORKS[name]
        yield changed(name, "large_all", "weights-too-large", init={"he": {"gain": gain}}, accepted=SCALES,
                      layers=(1, network.hidden + 1), position="all")
    for name, gain in (("tanh_10", 6), ("tanh_20_adam", 8)):
        yield changed(name, "large_all", "weights-too-large", init={"xavier": {"gain": gain}},
                      accepted=(*SCALES, "saturated-units"), layers=(1, NETWORKS[name].hidden + 1), position="all")
    for name, where in (("relu_12", ("first", "middle", "output")), ("tanh_10", ("middle",)),
                        ("leaky_15", ("early", "late")), ("relu_6_momentum", ("middle",))):
        for position in where:
            layer = places(NETWORKS[name].hidden)[position]
            yield changed(name, f"large_{position}", "weights-too-large", f"scale:{layer}:{layer}:60:0",
                          accepted=(*SCALES, "saturated-units"), layers=(layer, layer), position=position)
    for name, at, factor in (("relu_12", (4, 8), 6), ("gelu_8", (3, 6), 12), ("selu_16", (6, 10), 6)):
        yield changed(name, "large_stretch", "weights-too-large", f"scale:{at[0]}:{at[1]}:{factor}:0",
                      accepted=SCALES, layers=at, position="stretch")
    for name, scale in (("residual_12", 3.0), ("residual_tanh_8", 40.0)):
        items = [dict(item, scale=scale) if "residual" in item else item for item in NETWORKS[name].items]
        yield changed(name, "unscaled_branches", "exploding-gradient", items=items,
                      accepted=SCALES, position="all")
    yield changed("relu_12", "grown", "weights-too-large", "scale:1:12:3:200", accepted=(*SCALES, "loss-spike"),
                  layers=(1, 12), position="all", onset=200)


def rates():
    for name, factor in (("relu_4", 200), ("relu_12", 60), ("tanh_10", 60), ("relu_6_momentum", 60), ("conv_6", 50),
                         ("relu_8_adam", 300), ("gelu_8", 300), ("tanh_20_adam", 200), ("relu_6_rms", 300),
                         ("lenet", 40), ("residual_12", 60), ("batch_norm_12", 3000), ("mse", 40), ("silu_8", 300),
                         ("lstm_digits", 100), ("conv_residual", 300)):
        rate = NETWORKS[name].train["learning_rate"]
        yield changed(name, "rate_high", "learning-rate-too-high", train={"learning_rate": rate * factor},
                      accepted=(*RATE, "dead-units"))
    for name, at in (("relu_12", 250), ("tanh_10", 200), ("relu_8_adam", 200), ("leaky_15", 300)):
        yield changed(name, "rate_rises", "learning-rate-too-high", f"rate:150:{at}:100000",
                      accepted=(*RATE, "loss-spike", "dead-units"), onset=at)
    for name, at in (("relu_4", 150), ("relu_6_momentum", 200), ("conv_6", 100)):
        yield changed(name, "one_long_step", "dead-units", f"rate:2000:{at}:{at + 1}",
                      accepted=(*RATE, "loss-spike", "dead-units"), onset=at)
    for name, factor in (("relu_4", 1e-3), ("tanh_10", 1e-3), ("relu_8_adam", 1e-3), ("gelu_8", 1e-3),
                         ("lenet", 1e-3), ("batch_norm_12", 3e-4), ("autoencoder_relu", 2e-3), ("silu_8", 1e-3)):
        rate = NETWORKS[name].train["learning_rate"]
        yield changed(name, "rate_low", "learning-rate-too-low", train={"learning_rate": rate * factor},
                      accepted=("learning-rate-too-low", "slow-convergence", "plateau"))
    yield changed("clipped", "clipped_away", "learning-rate-too-low", train={"clip_norm": 0.002},
                  accepted=("learning-rate-too-low", "slow-convergence", "clip-to-zero"))


def not_finite():
    for name, sample in (("relu_4", 7), ("tanh_10", 400), ("lenet", 900), ("gelu_8", 55), ("autoencoder_relu", 5)):
        yield changed(name, "nan_in_data", "non-finite", f"nan:{sample}", accepted=("non-finite",), onset=-1)
    yield changed("relu_12", "overflow", "weights-too-large", "scale:1:12:1000:0",
                  accepted=(*SCALES, "non-finite"), layers=(1, 12), position="all")
    yield changed("mse", "overflow_targets", "labels-out-of-range", "targets:1e20:0",
                  accepted=("labels-out-of-range", "non-finite", "exploding-gradient"))


def dead():
    for name, where, at in (("relu_4", ("first", "middle"), 0), ("relu_12", ("early", "late"), 0),
                            ("relu_12", ("middle",), 240), ("relu_8_adam", ("middle",), 200),
                            ("relu_6_momentum", ("first", "late"), 160), ("conv_6", ("middle",), 80)):
        for position in where:
            layer = places(NETWORKS[name].hidden)[position]
            yield changed(name, f"dead_{position}_{at}", "dead-units", f"biases:{layer}:{layer}:-30:{at}",
                          accepted=("dead-units",), layers=(layer, layer), position=position, onset=at)


def saturated():
    for name, where, at in (("tanh_10", ("early", "middle", "late"), 0), ("tanh_10", ("middle",), 200),
                            ("tanh_20_adam", ("middle",), 0), ("cosine_adam", ("early",), 0)):
        for position in where:
            layer = places(NETWORKS[name].hidden)[position]
            yield changed(name, f"saturated_{position}_{at}", "saturated-units",
                          f"scale:{layer}:{layer}:100:{at}", accepted=("saturated-units", "weights-too-large"),
                          layers=(layer, layer), position=position, onset=at)


def symmetric():
    for name in ("relu_4", "tanh_10", "relu_8_adam", "gelu_8"):
        yield changed(name, "zeros", "zero-init", init="zeros", accepted=("zero-init", "constant-init"),
                      layers=(1, NETWORKS[name].hidden + 1), position="all")
    for name, value in (("relu_4", 0.05), ("tanh_10", 0.1), ("narrow", 0.2), ("silu_8", 0.05), ("sigmoid_2", 0.1)):
        yield changed(name, "constant", "constant-init", init={"constant": {"value": value}},
                      accepted=("constant-init", "symmetric-units"), layers=(1, NETWORKS[name].hidden + 1),
                      position="all")
    for name, position in (("relu_12", "middle"), ("tanh_10", "early"), ("spirals", "first"), ("leaky_15", "late")):
        layer = places(NETWORKS[name].hidden)[position]
        yield changed(name, f"same_{position}", "symmetric-units", f"same:{layer}:{layer}:0",
                      accepted=("symmetric-units", "constant-init"), layers=(layer, layer), position=position)
        yield changed(name, f"zero_{position}", "zero-init", f"weights:{layer}:{layer}:0:0",
                      accepted=("zero-init", "constant-init"), layers=(layer, layer), position=position)


def generalisation():
    few = {"name": "digits", "train_samples": 200}
    for name, noise, epochs in (("relu_4", 0.3, 220), ("relu_8_adam", 0.3, 150), ("gelu_8", 0.4, 150),
                                ("tanh_10", 0.3, 220), ("silu_8", 0.3, 150), ("mse", 0.3, 200)):
        yield changed(name, "overfitting", "overfitting", f"noise:{noise}", data=few, train={"epochs": epochs},
                      accepted=("overfitting", "memorising"), harm="overfitting", hint=True)
    for name, epochs in (("relu_4", 200), ("relu_8_adam", 150), ("gelu_8", 150)):
        yield changed(name, "memorising", "memorising", data={"name": "digits", "train_samples": 60},
                      train={"epochs": epochs}, accepted=("memorising", "overfitting", "overconfident"),
                      harm="gap", hint=True)
    yield changed("relu_4", "one_unit", "underfitting",
                  items=[{"dense": 1, "activation": "relu"}, {"dense": 10}],
                  accepted=("underfitting", "plateau", "slow-convergence"))
    yield changed("relu_12", "decayed", "underfitting", train={"l2": 0.3},
                  accepted=("underfitting", "plateau", *SMALL))
    yield changed("gelu_8", "two_units", "underfitting",
                  items=[{"dense": 2, "activation": "gelu"}, {"dense": 10}],
                  accepted=("underfitting", "plateau", "slow-convergence"))


def data():
    for name, factor, offset in (("relu_4", 255, 0), ("tanh_10", 80, 300), ("relu_8_adam", 255, 1000),
                                 ("lenet", 255, 100), ("sigmoid_2", 255, 0), ("leaky_15", 1000, 0)):
        yield changed(name, "inputs_raw", "input-not-normalised", f"inputs:{factor}:{offset}",
                      accepted=("input-not-normalised",), layers=(1, 1), position="first")
    for name in ("tanh_10", "relu_8_adam", "gelu_8"):
        yield changed(name, "one_feature", "input-not-normalised", "feature:20:100000",
                      accepted=("input-not-normalised",), layers=(1, 1), position="first")
    for name in ("relu_12", "lenet", "batch_norm_12", "residual_12"):
        yield changed(name, "permuted", "plateau", "permuted:",
                      accepted=("plateau", "underfitting", "memorising", "overfitting", "slow-convergence"))
    for name in ("mse", "autoencoder_tanh", "autoencoder_relu"):
        network = NETWORKS[name]
        items = [*network.items[:-1], dict(network.items[-1], activation="tanh")]
        yield changed(name, "targets_outside", "labels-out-of-range", "targets:50:0", items=items,
                      accepted=("labels-out-of-range", "saturated-units"))
    for name, at in (("relu_4", 200), ("relu_6_momentum", 250), ("conv_6", 120), ("gelu_8", 250)):
        yield changed(name, "poisoned_batch", "loss-spike", f"poison:3000:{at}",
                      accepted=("loss-spike", "exploding-gradient", "dead-units"), onset=at, harm="spike", hint=True)


def last_layers():
    for name in ("relu_4", "tanh_10", "relu_8_adam", "lenet", "gelu_8"):
        network = NETWORKS[name]
        items = [*network.items[:-1], {"dense": 10, "activation": "softmax"}]
        yield changed(name, "softmax_twice", "wrong-last-layer-for-loss", items=items,
                      accepted=("wrong-last-layer-for-loss",), layers=(len(items), len(items)), position="output")
    for name in ("binary", "relu_12"):
        network = NETWORKS[name]
        items = [*network.items[:-1], {"dense": 10, "activation": "sigmoid"}]
        yield changed(name, "sigmoid_twice", "wrong-last-layer-for-loss", items=items,
                      accepted=("wrong-last-layer-for-loss",), layers=(len(items), len(items)), position="output")
    for name in ("relu_4", "gelu_8"):
        network = NETWORKS[name]
        items = [*network.items[:-1], {"dense": 10, "activation": "relu"}]
        yield changed(name, "relu_output", "wrong-last-layer-for-loss", items=items,
                      accepted=("wrong-last-layer-for-loss", "dead-units"), layers=(len(items), len(items)),
                      position="output")


def through_time():
    adding = {"name": "adding", "steps": 60, "samples": 1500}
    yield changed("lstm_adding", "vanishes_in_time", "vanishing-gradient", data=adding,
                  items=[{"rnn": 24}, {"dense": 1}], accepted=("vanishing-gradient", "plateau"), layers=(1, 1))
    yield changed("rnn_digits", "explodes_in_time", "exploding-gradient", init={"orthogonal": {"gain": 4}},
                  items=[{"rnn": 32, "activation": "relu"}, {"rnn": 32, "activation": "relu"}, {"dense": 10}],
                  accepted=SCALES, layers=(1, 2))
    yield changed("lstm_digits", "deep_lstm", "vanishing-gradient", items=[{"lstm": 24}] * 8 + [{"dense": 10}],
                  train={"optimiser": "sgd", "learning_rate": 0.05}, accepted=SMALL, layers=(1, 8), position="all")


def all_faults():
    """(name of the healthy network, fault)"""
    for group in (strangled, too_small, sigmoid_stack, too_large, rates, not_finite, dead, saturated, symmetric,
                  generalisation, data, last_layers, through_time):
        yield from group()
