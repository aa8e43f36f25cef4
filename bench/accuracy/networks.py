# SPDX-License-Identifier: Apache-2.0
"""Healthy networks for the C trainer: every style that a judgement must be silent on."""

import copy
import json
from dataclasses import dataclass, field


@dataclass
class Network:
    """A network file as a value that faults change."""

    name: str
    style: str
    items: list  # of `net`, long forms
    data: object = "digits"
    init: object = "he"
    loss: str = "cross_entropy"
    train: dict = field(default_factory=dict)
    options: list = field(default_factory=list)  # what the driver does to data or weights
    hidden: int = 0  # layers 1 ... hidden are of one kind, one behind the other; 0: faults find none
    every: str = "1"
    held_out: bool = False  # only reported, never tuned on

    def text(self, seed):
        train = dict(self.train, seed=seed)
        lines = ["version: 1", f"data: {flow(self.data)}", "net:"]
        lines += [f"  - {flow(item)}" for item in self.items]
        lines += [f"init: {flow(self.init)}", f"loss: {self.loss}", f"train: {flow(train)}"]
        return "\n".join(lines) + "\n"

    def copy(self):
        return copy.deepcopy(self)


def flow(value):
    """YAML in flow style; JSON is a part of it."""
    return value if isinstance(value, str) else json.dumps(value)


def dense(n, units, activation, **more):
    return [dict({"dense": units, "activation": activation}, **more) for _ in range(n)]


def convs(n, channels, activation, **more):
    item = {"conv": channels, "kernel": 3, "padding": "same", "activation": activation}
    return [dict(item, **more) for _ in range(n)]


OUT = [{"dense": 10}]


def sgd(rate, epochs, **more):
    return dict({"optimiser": "sgd", "learning_rate": rate, "epochs": epochs}, **more)


def adam(rate, epochs, **more):
    return dict({"optimiser": "adam", "learning_rate": rate, "epochs": epochs}, **more)


def mlp(name, style, n, activation, init, train, width=64, **more):
    return Network(name, style, dense(n, width, activation) + OUT, init=init, train=train, hidden=n, **more)


def residual(n, scale, norm=None, activation="relu"):
    branch = [{"dense": 64, "activation": activation}, {"dense": 64}]
    if norm:
        branch = [{"norm": norm}, *branch]
    return [{"residual": branch, "scale": scale} for _ in range(n)]


def plain():
    """Layers of one kind: the networks that most faults are put into."""
    yield mlp("relu_4", "tiny", 4, "relu", "he", sgd(0.05, 12))
    yield mlp("relu_12", "deep plain", 12, "relu", "he", sgd(0.02, 14))
    yield mlp("relu_20", "deep plain", 20, "relu", "he", sgd(0.01, 16), held_out=True)
    yield mlp("relu_8_adam", "Adam", 8, "relu", "he", adam(0.001, 12))
    yield mlp("tanh_10", "deep plain", 10, "tanh", "xavier", sgd(0.05, 12))
    yield mlp("tanh_20_adam", "Adam", 20, "tanh", "xavier", adam(0.0005, 14))
    yield mlp("gelu_8", "Adam", 8, "gelu", "he", dict(adam(0.001, 12), optimiser="adamw"))
    yield mlp("silu_8", "Adam", 8, "silu", "he", adam(0.001, 12), held_out=True)
    yield mlp("leaky_15", "deep plain", 15, "leaky_relu", "he", sgd(0.02, 14))
    yield mlp("elu_10", "deep plain", 10, "elu", "he", sgd(0.01, 14))
    yield mlp("selu_16", "deep plain", 16, "selu", "lecun", sgd(0.01, 14), held_out=True)
    yield mlp("relu_6_rms", "Adam", 6, "relu", "he", dict(sgd(0.0005, 12), optimiser="rmsprop"))
    yield mlp("relu_6_momentum", "deep plain", 6, "relu", "he", sgd(0.01, 12, momentum=0.9))
    yield mlp("sigmoid_2", "tiny", 2, "sigmoid", "xavier", sgd(0.5, 15))
    yield mlp("softplus_4", "tiny", 4, "softplus", "he", adam(0.002, 12))
    yield Network("conv_6", "convolution", convs(6, 8, "relu") + OUT, train=sgd(0.02, 6, momentum=0.9), hidden=6)


def normalised():
    yield Network("batch_norm_12", "normalised", dense(12, 64, "relu", norm="batch_norm") + OUT,
                  train=sgd(0.05, 10), hidden=12)
    yield Network("batch_norm_30", "normalised", dense(30, 48, "relu", norm="batch_norm") + OUT,
                  train=sgd(0.02, 8), hidden=30, held_out=True)
    yield Network("layer_norm_12", "normalised", dense(12, 64, "gelu", norm="layer_norm") + OUT,
                  train=adam(0.001, 10), hidden=12)
    yield Network("conv_batch_norm", "normalised",
                  convs(3, 8, "relu", norm="batch_norm") + [{"max_pool": 2}]
                  + convs(3, 16, "relu", norm="batch_norm") + OUT, train=sgd(0.05, 5, momentum=0.9))


def deep_residual():
    yield Network("residual_12", "deep residual", dense(1, 64, "relu") + residual(12, 0.3) + OUT,
                  train=sgd(0.02, 10))
    yield Network("residual_norm_16", "deep residual",
                  dense(1, 64, "linear") + residual(16, 0.25, "layer_norm", "gelu") + OUT,
                  train=adam(0.001, 8))
    yield Network("residual_tanh_8", "deep residual", dense(1, 64, "tanh") + residual(8, 0.5, None, "tanh") + OUT,
                  init="xavier", train=sgd(0.03, 10), held_out=True)
    yield Network("conv_residual", "deep residual",
                  convs(1, 8, "relu", norm="batch_norm")
                  + [{"repeat": 4, "net": [{"residual": convs(1, 8, "relu", norm="batch_norm")
                                            + [{"conv": 8, "kernel": 3, "padding": "same", "norm": "batch_norm"}]},
                                           {"activation": "relu"}]},
                     {"global_avg_pool": True}] + OUT, train=sgd(0.05, 5, momentum=0.9))


def pooled():
    lenet = [{"conv": 6, "kernel": 5, "padding": 2, "activation": "relu"}, {"max_pool": 2},
             {"conv": 16, "kernel": 3, "padding": 1, "activation": "relu"}, {"max_pool": 2},
             {"dense": 60, "activation": "relu"}, {"dense": 42, "activation": "relu"}] + OUT
    yield Network("lenet", "pooled", lenet, init="pytorch_default", train=sgd(0.05, 8, momentum=0.9))
    yield Network("lenet_fashion", "pooled", lenet, data={"name": "fashion_mnist", "train_samples": 1500},
                  init="pytorch_default", train=sgd(0.05, 4, momentum=0.9))
    yield Network("pooled_vector", "pooled",
                  dense(1, 128, "relu") + [{"avg_pool": 4}] + dense(2, 64, "relu") + [{"avg_pool": 2}] + OUT,
                  train=sgd(0.05, 10))
    yield Network("pooled_globally", "pooled", convs(4, 12, "relu") + [{"global_avg_pool": True}] + OUT,
                  train=adam(0.003, 6), held_out=True)


def recurrent():
    adding = {"name": "adding", "steps": 15, "samples": 1500}
    yield Network("rnn_digits", "recurrent", [{"rnn": 32}, {"rnn": 32}] + OUT, init="pytorch_default",
                  train=adam(0.003, 10))
    yield Network("lstm_digits", "recurrent", [{"lstm": 32}] + OUT, init="pytorch_default", train=adam(0.005, 8))
    yield Network("gru_adding", "recurrent", [{"gru": 16}, {"dense": 1}], data=adding, loss="mse",
                  init="pytorch_default", train=adam(0.01, 14, clip_norm=1))
    yield Network("lstm_adding", "recurrent", [{"lstm": 24, "forget_bias": 1}, {"dense": 1}], data=adding,
                  loss="mse", init="pytorch_default", train=adam(0.01, 14, clip_norm=1))
    yield Network("rnn_adding", "recurrent", [{"rnn": 24}, {"dense": 1}],
                  data={"name": "adding", "steps": 8, "samples": 1500}, loss="mse", init="pytorch_default",
                  train=adam(0.005, 14, clip_norm=1), held_out=True)


def autoencoders():
    def coder(activation):
        return (dense(2, 64, activation) + dense(1, 16, activation) + dense(2, 64, activation)
                + [{"dense": 64}])
    yield Network("autoencoder_relu", "autoencoder", coder("relu"), loss="mse", train=adam(0.002, 14),
                  options=["autoencode:"], hidden=5)
    yield Network("autoencoder_tanh", "autoencoder", coder("tanh"), loss="mse", init="xavier",
                  train=adam(0.002, 14), options=["autoencode:"], hidden=5, held_out=True)


def others():
    spirals = {"name": "spirals", "samples": 900}
    yield Network("spirals", "tiny", dense(3, 48, "tanh") + [{"dense": 2}], data=spirals, init="xavier",
                  train=adam(0.005, 60), hidden=3)
    yield Network("spirals_noisy", "noisy validation", dense(3, 24, "relu") + [{"dense": 2}],
                  data={"name": "spirals", "samples": 700, "noise": 0.08}, train=adam(0.005, 25),
                  options=["validation:40"], hidden=3)
    yield Network("narrow", "tiny", dense(4, 12, "tanh") + OUT, init="xavier", train=adam(0.005, 12), hidden=4)
    yield Network("bottleneck", "tiny", dense(1, 64, "relu") + dense(1, 8, "relu") + dense(1, 64, "relu") + OUT,
                  train=adam(0.003, 12))
    yield mlp("few_validation", "noisy validation", 3, "relu", "he", sgd(0.05, 14), options=["validation:24"])
    yield Network("dropout", "noisy validation",
                  dense(2, 64, "relu") + [{"dropout": 0.3}] + dense(1, 64, "relu") + OUT,
                  train=adam(0.002, 12), options=["validation:60"])
    yield mlp("warm_up", "warm-up", 8, "relu", "he",
              sgd(0.02, 12, momentum=0.9, warm_up_epochs=3, schedule="cosine"))
    yield mlp("warm_up_adam", "warm-up", 6, "gelu", "he", adam(0.003, 12, warm_up_epochs=3), held_out=True)
    yield mlp("cosine", "cosine to zero", 6, "relu", "he", sgd(0.05, 14, schedule="cosine"))
    yield mlp("cosine_adam", "cosine to zero", 6, "tanh", "xavier", adam(0.002, 14, schedule="cosine"))
    yield mlp("steps", "cosine to zero", 5, "relu", "he",
              sgd(0.05, 14, schedule="step", step_epochs=5, step_factor=0.1))
    yield mlp("sparse", "sparse ReLU", 3, "relu", {"weights": "he", "biases": {"constant": -0.4}},
              sgd(0.05, 14), width=96)
    yield mlp("sparse_l1", "sparse ReLU", 4, "relu", "he", sgd(0.05, 14, l1=0.0003), width=96)
    yield mlp("sparse_adam", "sparse ReLU", 3, "relu", {"weights": "he", "biases": {"constant": -0.3}},
              adam(0.002, 12), width=128, held_out=True)
    yield mlp("short_batch", "short last batch", 4, "relu", "he", sgd(0.05, 40, batch=250))
    yield mlp("short_batch_64", "short last batch", 6, "tanh", "xavier", adam(0.002, 20, batch=78))
    yield mlp("single_sample", "short last batch", 2, "tanh", "xavier", sgd(0.01, 1, batch=1), width=32)
    yield mlp("large_batch", "short last batch", 4, "relu", "he", adam(0.003, 60, batch=512))
    yield mlp("mse", "regression", 3, "tanh", "xavier", sgd(0.2, 14), loss="mse")
    yield Network("mae", "regression", dense(3, 64, "relu") + [{"dense": 64}], loss="mae",
                  train=adam(0.002, 14), options=["autoencode:"])
    yield mlp("binary", "regression", 3, "relu", "he", sgd(0.2, 14), loss="binary_cross_entropy", held_out=True)
    yield mlp("adagrad", "Adam", 4, "relu", "he", dict(sgd(0.01, 12), optimiser="adagrad"))
    yield mlp("nesterov_l2", "deep plain", 5, "relu", "he",
              sgd(0.02, 12, momentum=0.9, nesterov=True, l2=0.0005))
    yield mlp("orthogonal", "deep plain", 12, "tanh", "orthogonal", sgd(0.03, 12))
    yield mlp("clipped", "deep plain", 8, "relu", "he", sgd(0.05, 12, clip_norm=1))
    yield mlp("by_budget", "by budget", 6, "relu", "he", sgd(0.03, 20), every="5%")
    yield mlp("every_10", "by budget", 8, "tanh", "xavier", adam(0.001, 16), every="10")


def all_networks():
    for group in (plain, normalised, deep_residual, pooled, recurrent, autoencoders, others):
        yield from group()
