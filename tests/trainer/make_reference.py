#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PyTorch's values for the cases of test_trainer_reference (tests/trainer/cases.c).

  make_reference.py PROGRAM [NAME ...]         writes tests/trainer/reference/NAME.safetensors, of all
                                               cases when none is named
  make_reference.py PROGRAM --to FOLDER        the same elsewhere: PROGRAM FOLDER then compares with the
                                               PyTorch that is installed

PROGRAM is the built test_trainer_reference. Needs torch. Everything is float32 on one thread; inputs and
weights are random by the case's name, so a case's file does not change when others come.
"""

import argparse
import json
import math
import pathlib
import struct
import subprocess
import zlib

import torch
import torch.nn.functional as F

REFERENCE = pathlib.Path(__file__).resolve().parent / "reference"

# --- layers: y of a layer's operator from x [n, channels, height, width] and its parameters ---------


def dense(layer, p, x):
    return F.linear(x.flatten(1), p["weight"], p.get("bias"))


def avg_pool(layer, p, x):
    if x.shape[2:] == (1, 1):
        return F.avg_pool1d(x.flatten(1)[:, None], layer["pool"])
    return F.avg_pool2d(x, layer["pool"])


def max_pool(layer, p, x):
    if x.shape[2:] == (1, 1):
        return F.max_pool1d(x.flatten(1)[:, None], layer["pool"])
    return F.max_pool2d(x, layer["pool"])


def global_avg_pool(layer, p, x):
    return F.adaptive_avg_pool2d(x, 1)


def conv(layer, p, x):
    side = layer["kernel"]
    weight = p["weight"].reshape(-1, x.shape[1], side, side)
    return F.conv2d(x, weight, p.get("bias"), layer["stride"], layer["padding"])


def embedding(layer, p, x):
    return F.embedding(x.flatten(1).long(), p["weight"])


def recurrent(layer, p, x):
    """x as PyTorch reads sequences: [n, steps, features]."""
    n, c, h, w = x.shape
    x = x.reshape(n, h, w) if c == 1 and w > 1 else x.reshape(n, c, h * w)
    flat = [p["weight"], p["recurrent_weight"]]
    if "bias" in p:
        flat += [p["bias"], p["recurrent_bias"]]
    state = x.new_zeros(1, n, layer["fan_out"])
    state = (state, state.clone()) if layer["kind"] == "lstm" else state
    name = layer["kind"] if layer["kind"] != "rnn" else "rnn_" + layer["activation"]
    # biases, layers, dropout, training, bidirectional, batch first
    result = getattr(torch, name)(x, state, flat, len(flat) == 4, 1, 0.0, True, False, True)
    return result[0] if layer["return_sequences"] else result[0][:, -1]


def passes_on(layer, p, x):
    return x


OPERATORS = {
    "dense": dense,
    "avg_pool": avg_pool,
    "max_pool": max_pool,
    "global_avg_pool": global_avg_pool,
    "conv": conv,
    "embedding": embedding,
    "rnn": recurrent,
    "gru": recurrent,
    "lstm": recurrent,
    "flatten": passes_on,
    "batch_norm": passes_on,
    "layer_norm": passes_on,
    "activation": passes_on,
}

ACTIVATIONS = {
    "linear": lambda z, slope: z,
    "sigmoid": lambda z, slope: torch.sigmoid(z),
    "tanh": lambda z, slope: torch.tanh(z),
    "relu": lambda z, slope: F.relu(z),
    "leaky_relu": F.leaky_relu,
    "gelu": lambda z, slope: F.gelu(z),
    "elu": F.elu,
    "selu": lambda z, slope: F.selu(z),
    "silu": lambda z, slope: F.silu(z),
    "softplus": lambda z, slope: F.softplus(z),
    "softmax": lambda z, slope: F.softmax(z.flatten(1), dim=1).reshape(z.shape),
}


def normalise(layer, p, x):
    if layer["norm"] == "batch_norm":
        return F.batch_norm(x, p["running_mean"], p["running_variance"], p["norm_gain"],
                            p["norm_bias"], training=True)
    if layer["norm"] == "layer_norm":
        flat = x.flatten(1)
        return F.layer_norm(flat, flat.shape[1:], p["norm_gain"], p["norm_bias"]).reshape(x.shape)
    return x


def forward(case, parameters, x):
    """The outputs of all layers; entry 0 is the input."""
    outputs = [x]
    for layer in case["layers"]:
        name = layer["name"] + "."
        p = {key[len(name):]: value for key, value in parameters.items() if key.startswith(name)}
        x = outputs[-1]
        if layer["kind"] == "residual":
            y = outputs[layer["skip_from"]] + layer["branch_scale"] * x
        else:
            y = OPERATORS[layer["kind"]](layer, p, x)
        y = y.reshape(len(x), *layer["shape"])
        if not layer["norm_after_activation"]:
            y = normalise(layer, p, y)
        if layer["kind"] != "rnn":  # whose activation lies in the recurrence
            y = ACTIVATIONS[layer["activation"]](y, layer["slope"])
        if layer["norm_after_activation"]:
            y = normalise(layer, p, y)
        outputs.append(y)
    return outputs


# --- losses and optimisers --------------------------------------------------------------------------

LOSSES = {
    "mse": lambda case, y, t: F.mse_loss(y, t),
    "mae": lambda case, y, t: F.l1_loss(y, t),
    "huber": lambda case, y, t: F.huber_loss(y, t, delta=case["huber_delta"]),
    "binary_cross_entropy": lambda case, y, t: F.binary_cross_entropy_with_logits(y, t),
    "cross_entropy": lambda case, y, t: F.cross_entropy(y, t.long()),
}


def sgd(case, parameters):
    return torch.optim.SGD(parameters, lr=case["learning_rate"], momentum=case["momentum"],
                           nesterov=bool(case["nesterov"]), weight_decay=case["l2"])


def adam(case, parameters):
    return torch.optim.Adam(parameters, lr=case["learning_rate"], weight_decay=case["l2"],
                            betas=(case["beta1"], case["beta2"]), eps=case["epsilon"])


def adamw(case, parameters):
    return torch.optim.AdamW(parameters, lr=case["learning_rate"],
                             weight_decay=case["weight_decay"],
                             betas=(case["beta1"], case["beta2"]), eps=case["epsilon"])


def rmsprop(case, parameters):
    return torch.optim.RMSprop(parameters, lr=case["learning_rate"], alpha=case["alpha"],
                               eps=case["epsilon"], weight_decay=case["l2"],
                               momentum=case["momentum"])


def adagrad(case, parameters):
    return torch.optim.Adagrad(parameters, lr=case["learning_rate"], eps=case["epsilon"],
                               weight_decay=case["l2"])


OPTIMISERS = {"sgd": sgd, "adam": adam, "adamw": adamw, "rmsprop": rmsprop, "adagrad": adagrad}


def schedule_of(case, optimiser):
    """One step is an epoch in all cases."""
    schedulers = torch.optim.lr_scheduler
    if case["schedule"] == "cosine":
        return schedulers.CosineAnnealingLR(optimiser, case["steps"], case["final_learning_rate"])
    if case["schedule"] == "step":
        return schedulers.StepLR(optimiser, int(case["step_epochs"]), case["step_factor"])
    warm_up = int(case["warm_up_epochs"])
    if warm_up:
        return schedulers.LinearLR(optimiser, 1 / warm_up, total_iters=warm_up - 1)
    return schedulers.ConstantLR(optimiser, 1)


def clip(case, parameters):
    if case["clip_value"]:
        torch.nn.utils.clip_grad_value_(parameters, case["clip_value"])
    if case["clip_norm"]:
        torch.nn.utils.clip_grad_norm_(parameters, case["clip_norm"])


def add_l1(case, parameters):
    for value in parameters:
        value.grad += case["l1"] * value.detach().sign()


# --- a case -----------------------------------------------------------------------------------------


def start_values(case):
    values = {}
    for name, shape in case["parameters"].items():
        values[name] = torch.randn(shape)
        if name.endswith("norm_gain"):
            values[name] = 1 + 0.3 * values[name]
        elif len(shape) == 1:
            values[name] *= 0.3
        else:
            values[name] /= math.sqrt(shape[1])
    return values


def data_of(case):
    n, last = case["samples"], case["layers"][-1]["shape"]
    if case["layers"][0]["kind"] == "embedding":
        x = torch.randint(0, case["layers"][0]["vocabulary"], (n, *case["input"])).float()
    else:
        x = torch.randn(n, *case["input"])
    if case["loss"] == "cross_entropy":
        return x, "class", torch.randint(0, last[0], (n,)).float()
    target = torch.randn(n, math.prod(last))
    return x, "target", torch.sigmoid(target) if case["loss"] == "binary_cross_entropy" else target


def running_values(case):
    values = {}
    for layer in case["layers"]:
        if layer["norm"] == "batch_norm":
            units = case["parameters"][layer["name"] + ".norm_gain"]
            values[layer["name"] + ".running_mean"] = torch.zeros(units)
            values[layer["name"] + ".running_variance"] = torch.ones(units)
    return values


def reference(case):
    """All tensors of a case's file."""
    torch.manual_seed(zlib.crc32(case["name"].encode()))
    start = start_values(case)
    x, what, target = data_of(case)
    parameters = {name: value.clone().requires_grad_() for name, value in start.items()}
    running = running_values(case)
    optimiser = OPTIMISERS[case["optimiser"]](case, list(parameters.values()))
    schedule = schedule_of(case, optimiser)
    kept = {"input": x.flatten(1), what: target}
    kept.update({"start." + name: value for name, value in start.items()})
    losses = []
    for step in range(case["steps"]):
        outputs = forward(case, {**parameters, **running}, x)
        for y in outputs[1:]:
            y.retain_grad()
        loss = LOSSES[case["loss"]](case, outputs[-1].flatten(1), target)
        optimiser.zero_grad()
        loss.backward()
        clip(case, list(parameters.values()))
        losses.append(loss.item())
        if step == 0:
            for i, y in enumerate(outputs[1:], 1):
                kept[f"activation.{i}"] = y.flatten(1)
                kept[f"error.{i}"] = y.grad.flatten(1)
            for name, value in parameters.items():
                kept["gradient." + name] = value.grad.clone()
        add_l1(case, parameters.values())
        optimiser.step()
        schedule.step()
    kept["losses"] = torch.tensor(losses)
    moved = {**parameters, **running} if case["steps"] > 1 else running
    kept.update({"end." + name: value for name, value in moved.items()})
    return kept


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, tensor in tensors.items():
        values = tensor.detach().contiguous().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape),
                        "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--to", type=pathlib.Path, default=REFERENCE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = subprocess.run([options.program, "--describe"], capture_output=True, text=True,
                          check=True).stdout
    cases = [json.loads(line) for line in text.splitlines()]
    unknown = set(options.names) - {case["name"] for case in cases}
    if unknown:
        parser.error(f"no case has the name {', '.join(sorted(unknown))}")
    options.to.mkdir(parents=True, exist_ok=True)
    for case in cases:
        if not options.names or case["name"] in options.names:
            write_safetensors(options.to / (case["name"] + ".safetensors"), reference(case))
    print(f"PyTorch {torch.__version__}, {len(options.names or cases)} files in {options.to}")


if __name__ == "__main__":
    main()
