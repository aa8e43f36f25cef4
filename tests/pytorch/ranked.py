# SPDX-License-Identifier: Apache-2.0
"""A training of two processes over gloo: what each of them does, and how they are started.

As a program (`torchrun ranked.py FOLDER`) it is one rank of a data-parallel training of digits."""

import contextlib
import json
import math
import multiprocessing
import os
import pathlib
import socket
import sys

import torch
import torch.distributed as distributed
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import backprobe
import data
from backprobe import ranks

WORLD = 2
BATCH = 64  # of all ranks together
STEPS = 30


# --- what a rank does -----------------------------------------------------------------------------


def digits():
    images, labels = data.digits(BATCH * 20)
    return images.flatten(1), labels


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 10))


class Training:
    """Of digits by plain SGD, each rank with its own rows of every batch."""

    def __init__(self, model, inner=None, rank=0, world=1, **options):
        inner = inner or model
        self.model, self.rank, self.world = model, rank, world
        self.optimizer = torch.optim.SGD(inner.parameters(), lr=0.1)
        self.criterion = nn.CrossEntropyLoss()
        options.setdefault("every", 1)
        self.probe = backprobe.watch(model, self.optimizer, loss_fn=self.criterion, **options)
        self.images, self.labels = digits()

    def backward(self, step):
        at = step * BATCH % len(self.images)
        mine = slice(at + self.rank, at + BATCH, self.world)
        self.criterion(self.model(self.images[mine]), self.labels[mine]).backward()

    def update(self):
        self.optimizer.step()
        self.optimizer.zero_grad()

    def run(self, first=0, end=STEPS):
        for step in range(first, end):
            self.backward(step)
            self.update()
        return self


def alone(**options):
    Training(network(), **options).run().probe.close()


def data_parallel(rank, **options):
    model = DistributedDataParallel(network())
    Training(model, model.module, rank, WORLD, **options).run().probe.close()


def without_wrapper(rank, **options):
    """Every rank trains a network of its own."""
    Training(network(seed=rank), None, rank, WORLD, **options).run().probe.close()


def changed_by_one_rank(rank, **options):
    model = DistributedDataParallel(network())
    training = Training(model, model.module, rank, WORLD, **options).run(0, 10)
    if rank == 1:
        with torch.no_grad():
            model.module[2].weight *= 1.02
    training.run(10, 15).probe.close()


def not_averaged(rank, **options):
    """From step 5 on the mean over the ranks is left out."""
    model = DistributedDataParallel(network())
    training = Training(model, model.module, rank, WORLD, **options).run(0, 5)
    with model.no_sync():
        training.run(5, 20)
    training.probe.close()


def by_budget(rank, **options):
    model = DistributedDataParallel(network())
    Training(model, model.module, rank, WORLD, every=None, **options).run(0, 60).probe.close()


def only_other_ranks_watch(rank, **options):
    if rank == 1:
        ranks.PATIENCE_S = 0.2
        training = Training(network(), None, rank, WORLD, **options).run(0, 3)
        assert training.probe.run_folder is None
        assert training.probe.step == 3
        training.probe.close()
    distributed.barrier()  # rank 0 keeps the store


def endless(rank, **options):
    """Tells how far it came by the size of a file."""
    model = DistributedDataParallel(network())
    training = Training(model, model.module, rank, WORLD, **options)
    with open(f"steps-{rank}", "ab", buffering=0) as told:
        for step in range(1_000_000):
            training.run(step, step + 1)
            told.write(b".")


# --- shards ---------------------------------------------------------------------------------------


def odd_network():
    """Rows that two ranks cannot share evenly; the last layer's row is rank 0's alone."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(64, 5), nn.Tanh(), nn.Linear(5, 7, bias=False), nn.Tanh(), nn.Linear(7, 10), nn.Linear(10, 1)
    )


def whole(tensor):
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def figures(model):
    """Of each layer what its whole parameters and gradients are: collective, in all ranks."""
    layers = []
    for layer in model:
        if not isinstance(layer, nn.Linear):
            continue
        weight = whole(layer.weight).detach().double()
        gradient = whole(layer.weight.grad).double()
        told = {
            "weight_rms": weight.pow(2).mean().sqrt(),
            "weight_max": weight.abs().max(),
            "gradient_rms": gradient.pow(2).mean().sqrt(),
            "shard_weights": weight.numel(),
            "parameters": weight.numel(),
        }
        largest = gradient.abs().max()
        if layer.bias is not None:
            bias = whole(layer.bias).detach().double()
            bias_gradient = whole(layer.bias.grad).double()
            told["bias_rms"] = bias.pow(2).mean().sqrt()
            told["bias_gradient_rms"] = bias_gradient.pow(2).mean().sqrt()
            told["parameters"] += bias.numel()
            largest = torch.maximum(largest, bias_gradient.abs().max())
        told["gradient_max"] = largest
        layers.append({name: float(torch.as_tensor(value)) for name, value in told.items()})
    return layers


def _train_sharded(rank, model, **options):
    options.setdefault("every", 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    criterion = nn.MSELoss()
    probe = backprobe.watch(model, optimizer, loss_fn=criterion, **options)
    images, labels = digits()
    steps = []
    for step in range(8):
        mine = slice(step * BATCH + rank, (step + 1) * BATCH, WORLD)
        criterion(model(images[mine]).squeeze(1), labels[mine].float() / 10).backward()
        layers = figures(model)
        norm = math.sqrt(
            sum(float(whole(p.grad).double().pow(2).sum()) for p in model.parameters())
        )
        weights = [m.weight for m in model if isinstance(m, nn.Linear)]
        before = [whole(weight).detach().clone() for weight in weights]
        optimizer.step()
        for layer, weight, old in zip(layers, weights, before, strict=True):
            change = (whole(weight).detach() - old).double()
            layer["update_rms"] = float(change.pow(2).mean().sqrt())
        optimizer.zero_grad()
        steps.append({"layers": layers, "gradient_norm": norm})
    assert probe.blind is None, probe.blind
    assert not probe._native.not_measured, probe._native.not_measured
    probe.close()
    if rank == 0:
        pathlib.Path("whole.json").write_text(json.dumps(steps))


def sharded(rank, **options):
    model = odd_network()
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer)
    fully_shard(model)
    _train_sharded(rank, model, **options)


def sharded_in_part(rank, **options):
    """The first layers are sharded, the last ones copies that are averaged by hand."""
    model = odd_network()
    for layer in (model[0], model[2]):
        fully_shard(layer)
    copies = [p for layer in model[4:] for p in layer.parameters()]
    for parameter in copies:
        parameter.register_post_accumulate_grad_hook(_average)
    _train_sharded(rank, model, **options)


def _average(parameter):
    distributed.all_reduce(parameter.grad)
    parameter.grad /= WORLD


def replicated_shards(rank, **options):
    """A mesh of two replicas of one shard: both ranks hold all of it, as DTensors."""
    mesh = init_device_mesh("cpu", (2, 1), mesh_dim_names=("replicas", "shards"))
    model = odd_network()
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    _train_sharded(rank, model, **options)


# --- starting them --------------------------------------------------------------------------------

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["torch._dynamo", "torch.distributed.fsdp", "backprobe.probe"])


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _be_rank(rank, port, folder, what, options):
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(WORLD), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    os.chdir(folder)
    for name, descriptor in (("out", 1), ("err", 2)):
        file = os.open(f"{name}-{rank}", os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(file, descriptor)
    distributed.init_process_group("gloo")
    what(rank, **options)
    distributed.destroy_process_group()
    with contextlib.suppress(OSError):
        sys.stdout.flush()


def start(what, folder, **options):
    """Two processes that do it; what rank N says goes to out-N and err-N in the folder."""
    port = free_port()
    processes = [
        _context.Process(target=_be_rank, args=(rank, port, folder, what, options)) for rank in range(WORLD)
    ]
    for process in processes:
        process.start()
    return processes


def run(what, folder, limit_s=120, **options):
    """Both must end well."""
    processes = start(what, folder, **options)
    for process in processes:
        process.join(limit_s)
    codes = [process.exitcode for process in processes]
    for process in processes:
        if process.is_alive():
            process.kill()
            process.join()
    if codes != [0] * WORLD:
        said = "\n".join((pathlib.Path(folder) / f"err-{rank}").read_text() for rank in range(WORLD))
        raise AssertionError(f"exit codes {codes}:\n{said}")


def main():
    torch.set_num_threads(1)
    folder = pathlib.Path(sys.argv[1])
    os.chdir(folder)
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    for name, descriptor in (("out", 1), ("err", 2)):
        os.dup2(os.open(f"{name}-{rank}", os.O_WRONLY | os.O_CREAT, 0o600), descriptor)
    data_parallel(rank)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
