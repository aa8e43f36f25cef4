#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The trainer against PyTorch: whole training runs from the same weights on the bundled digits.

  tests/trainer/against_pytorch.py COMMAND        needs torch; the log is docs/evidence/pytorch.md

Every step takes the whole training part as its batch, so that the order of samples does not matter.
The losses of all steps must agree within 1e-5, relatively (1e-4 behind batch norm: the bias before it
has a gradient of exactly 0, whose rounding noise Adam rescales).
"""

import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import torch
import torch.nn.functional as F

DIGITS = pathlib.Path(__file__).resolve().parents[2] / "data/digits/digits.txt"
HIDDEN, STEPS = 3, 30
ACTIVATIONS = {
    "": lambda z: z,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": F.relu,
    "leaky_relu 0.1": lambda z: F.leaky_relu(z, 0.1),
    "gelu": F.gelu,
}
OPTIMISERS = {
    "optimiser: sgd, learning_rate: 0.05, momentum: 0.9":
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "optimiser: adam, learning_rate: 0.001": lambda p: torch.optim.Adam(p, lr=0.001),
}


def training_part():
    """Inputs and classes of the split that data/digits/README.md describes."""
    images = []
    for line in DIGITS.read_text().splitlines():
        if line and not line.startswith("#"):
            pixels = line[2:].replace(" ", "")
            images.append((int(line[0]), ["0123456789abcdefg".index(c) for c in pixels]))
    order = sorted(range(len(images)), key=lambda i: (images[i][0], i))
    count, held_out = len(images), 540
    kept = [i for p, i in enumerate(order)
            if held_out * (p + 1) // count == held_out * p // count]
    x = torch.tensor([images[i][1] for i in sorted(kept)], dtype=torch.float64)
    x = (x - x.mean()) / x.std(correction=0)
    return x.float(), torch.tensor([images[i][0] for i in sorted(kept)])


def read_safetensors(path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        flat = torch.frombuffer(bytearray(data[8 + length + begin:8 + length + end]),
                                dtype=torch.float32)
        tensors[name] = flat.reshape(entry["shape"])
    return tensors


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, tensor in tensors.items():
        values = tensor.detach().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape),
                        "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def initial(shapes):
    values = {}
    for name, tensor in shapes.items():
        if name.endswith(("norm_gain", "running_variance")):
            values[name] = torch.ones_like(tensor)
        elif name.endswith(("norm_bias", "running_mean")):
            values[name] = torch.zeros_like(tensor)
        elif name.endswith("bias"):
            values[name] = 0.1 * torch.randn_like(tensor)
        else:
            values[name] = torch.randn_like(tensor) * (2 / tensor.shape[1]) ** 0.5
    return values


def forward(x, parameters, activation, norm):
    for i in range(1, HIDDEN + 1):
        layer = f"dense_{i}."
        x = F.linear(x, parameters[layer + "weight"], parameters[layer + "bias"])
        if norm == "batch_norm":
            x = F.batch_norm(x, None, None, parameters[layer + "norm_gain"],
                             parameters[layer + "norm_bias"], training=True)
        elif norm == "layer_norm":
            x = F.layer_norm(x, x.shape[1:], parameters[layer + "norm_gain"],
                             parameters[layer + "norm_bias"])
        x = ACTIVATIONS[activation](x)
    last = f"dense_{HIDDEN + 1}."
    return F.linear(x, parameters[last + "weight"], parameters[last + "bias"])


def train_torch(data, weights, activation, norm, loss_name, optimiser):
    x, classes = data
    parameters = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()
                  if "running" not in name}
    update = OPTIMISERS[optimiser](list(parameters.values()))
    losses = []
    for _ in range(STEPS):
        output = forward(x, parameters, activation, norm)
        loss = (F.cross_entropy(output, classes) if loss_name == "cross_entropy"
                else F.mse_loss(output, F.one_hot(classes, 10).float()))
        update.zero_grad()
        loss.backward()
        update.step()
        losses.append(loss.item())
    return losses


def train_ours(command, folder, text, weights=None):
    network, run = folder / "net.yaml", folder / ("run" if weights else "shapes")
    network.write_text(text)
    words = [command, "train", network, "--run", run, "--json", "--no-watch"]
    words += ["--weights", weights] if weights else ["--epochs", "1"]
    output = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True)
    events = [json.loads(line) for line in output.stdout.splitlines()]
    return run / "weights.safetensors", [e["loss"] for e in events if e["event"] == "epoch"]


def compare(command, data, activation, norm, loss, optimiser):
    items = ", ".join(filter(None, [f"dense 64 {activation if not norm else ''}".strip(), norm,
                                    activation if norm else ""]))
    text = (f"version: 1\ndata: digits\nnet: [{{repeat: {HIDDEN}, net: [{items}]}}, dense 10]\n"
            f"loss: {loss}\ntrain: {{{optimiser}, batch: {len(data[0])}, epochs: {STEPS}}}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        shapes, _ = train_ours(command, folder, text)
        weights = initial(read_safetensors(shapes))
        write_safetensors(folder / "start.safetensors", weights)
        _, ours = train_ours(command, folder, text, folder / "start.safetensors")
    theirs = train_torch(data, weights, activation, norm, loss, optimiser)
    assert len(ours) == len(theirs) == STEPS
    return max(abs(a - b) / abs(b) for a, b in zip(ours, theirs)), ours[-1], theirs[-1]


def main():
    command = pathlib.Path(sys.argv[1]).resolve()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = training_part()
    cases = [(a, "", "cross_entropy", o) for a in ACTIVATIONS for o in OPTIMISERS]
    cases += [("relu", "batch_norm", "cross_entropy", o) for o in OPTIMISERS]
    cases += [("gelu", "layer_norm", "cross_entropy", o) for o in OPTIMISERS]
    cases += [("tanh", "", "mse", o) for o in OPTIMISERS]
    failed = 0
    print("| network | loss | optimiser | last loss, ours | PyTorch | largest relative difference |")
    print("| --- | --- | --- | --- | --- | --- |")
    for activation, norm, loss, optimiser in cases:
        worst, ours, theirs = compare(command, data, activation, norm, loss, optimiser)
        failed += worst > (1e-4 if norm == "batch_norm" else 1e-5)
        what = " ".join(filter(None, [f"{HIDDEN} × dense 64", norm, activation or "linear"]))
        print(f"| {what} | {loss} | {optimiser.split(',')[0].split()[1]} | {ours:.6f} | "
              f"{theirs:.6f} | {worst:.1e} |", flush=True)
    print(f"\n{len(cases) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
