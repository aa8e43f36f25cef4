# SPDX-License-Identifier: Apache-2.0
"""All runs of the benchmark, as dicts: what is recorded, and what must be said about it.

id           name of its folder
origin       c or pytorch
architecture, style, data, seed
part         tune: thresholds may be chosen on it; report: only reported. Report are the seeds from
             100 on, and all runs of the networks that are held out.
fault        its name; "" in a healthy run
twin         id of the run without it, same seed
problem      what the root finding must be; accepted: others that describe the same cause
layers       first and last that are at fault, [] where it is no matter of layers; names: the same as
             modules of a PyTorch run
position     first, early, middle, late, output, stretch, all, or ""
onset        step since when it is there; -1: since the first loss that is not finite
harm, hint   see faulty.py
every        "1", "10", "5%": which steps are watched in full
network, options   of a C run: the text of its file, what the driver does
version      of a PyTorch run: which fault of its program
"""

import faulty
import torch_runs
from networks import all_networks

TUNE, REPORT = (1, 2), (101, 102, 103)
TUNE_FAULTS, REPORT_FAULTS = (1,), (101, 102)


def part_of(seed, held_out):
    return "report" if held_out or seed >= 100 else "tune"


def data_of(network):
    name = network.data if isinstance(network.data, str) else network.data["name"]
    return f"{name}, itself as target" if "autoencode:" in network.options else name


def c_run(network, seed, fault=None):
    name = network.name
    what = fault.network if fault else network
    identity = f"c-{name}-{fault.name if fault else 'healthy'}-{seed}"
    return {"id": identity, "origin": "c", "architecture": name, "style": network.style, "data": data_of(what),
            "seed": seed, "part": part_of(seed, network.held_out), **expected(fault),
            "twin": f"c-{name}-healthy-{seed}" if fault else "",
            "every": what.every, "network": what.text(seed), "options": what.options}


def expected(fault):
    """The part of an entry that says what is wrong."""
    if fault is None:
        return {"fault": "", "problem": "", "accepted": [], "layers": [], "position": "", "onset": 0, "harm": "",
                "hint": False, "names": []}
    return {"fault": fault.name, "problem": fault.problem, "accepted": sorted({fault.problem, *fault.accepted}),
            "layers": list(fault.layers), "names": list(getattr(fault, "names", ())), "position": fault.position,
            "onset": fault.onset, "harm": fault.harm, "hint": fault.hint}


def torch_run(program, seed, fault=None):
    identity = f"t-{program.name}-{fault.name if fault else 'healthy'}-{seed}"
    return {"id": identity, "origin": "pytorch", "architecture": program.name, "style": program.style,
            "data": program.data, "seed": seed, "part": part_of(seed, program.held_out), **expected(fault),
            "twin": f"t-{program.name}-healthy-{seed}" if fault else "",
            "every": program.every, "version": fault.name if fault else ""}


def all_runs():
    networks = {network.name: network for network in all_networks()}
    for network in networks.values():
        for seed in REPORT if network.held_out else TUNE + REPORT:
            yield c_run(network, seed)
    for name, fault in faulty.all_faults():
        for seed in REPORT_FAULTS if networks[name].held_out else TUNE_FAULTS + REPORT_FAULTS:
            yield c_run(networks[name], seed, fault)
    for program in torch_runs.PROGRAMS:
        for seed in REPORT if program.held_out else TUNE + REPORT:
            yield torch_run(program, seed)
        for fault in program.faults:
            for seed in REPORT_FAULTS if program.held_out else TUNE_FAULTS + REPORT_FAULTS:
                yield torch_run(program, seed, fault)


# A fixed choice of the tuning part for ./check: faults, with their twins, and healthy runs of other styles.
SAMPLE = (
    "c-relu_12-strangled_middle-1", "c-relu_12-sigmoid-1", "c-relu_12-large_all-1", "c-tanh_10-small_stretch-1",
    "c-relu_4-rate_high-1", "c-relu_4-nan_in_data-1", "c-conv_6-small_all-1", "c-gelu_8-strangled_late-1",
    "c-leaky_15-large_early-1", "c-residual_12-unscaled_branches-1", "c-relu_12-dead_middle_240-1",
    "c-relu_12-rate_rises-1", "c-relu_4-zeros-1", "c-tanh_10-rate_low-1", "c-relu_4-softmax_twice-1",
    "c-relu_4-inputs_raw-1", "c-gelu_8-one_feature-1",
    "c-tanh_20_adam-healthy-1", "c-residual_norm_16-healthy-1", "c-pooled_vector-healthy-1",
    "c-gru_adding-healthy-1", "c-autoencoder_relu-healthy-1", "c-spirals_noisy-healthy-1", "c-warm_up-healthy-1",
    "c-sparse-healthy-1", "c-short_batch-healthy-1", "c-by_budget-healthy-1", "c-lenet-healthy-1",
)
SAMPLE_PYTORCH = (
    "t-deep_tanh-strangled_middle-1", "t-deep_tanh-sigmoid-1", "t-mlp-nan_in_data-1", "t-autocast_bf16-healthy-1",
    "t-resnet-healthy-1",
)


def with_twins(names):
    """The runs of these ids and the twins that their truth needs."""
    by_id = {run["id"]: run for run in all_runs()}
    wanted = dict.fromkeys(names)
    wanted |= dict.fromkeys(by_id[name]["twin"] for name in names if by_id[name]["twin"])
    return [by_id[name] for name in wanted]


def is_named(run, only):
    """Whether a part of its id begins so, or with one of several words with commas between."""
    return any(f"-{word}" in f"-{run['id']}" for word in only.split(","))


def chosen(part="", only=""):
    return [run for run in all_runs() if part in ("", run["part"]) and is_named(run, only)]
