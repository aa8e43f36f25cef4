# SPDX-License-Identifier: Apache-2.0
"""What the tests of the structure share: one step under a Discovery, and an independent judgement
of what lies on every path from the data to the loss."""

import torch

from backprobe import structure

torch.set_num_threads(1)


def hang(model, discovery):
    """Hooks as a watch puts them; returns the calls that were to be observed."""
    observed = []

    def heard(module, args, output):
        observed.extend(
            (site, tensor.shape) for site, tensor in discovery.called(module, args, output)
        )

    handles = [m.register_forward_hook(heard) for _, m in structure.leaves(model)]
    return observed, handles


def discover(model, step, loss_fn=None, optimizer=None, objective="supervised"):
    """step() gives the loss and the arguments of the loss function. The structure has one more
    attribute, `discovery`."""
    discovery = structure.Discovery(model)
    observed, handles = hang(model, discovery)
    loss, args = step()
    discovery.loss_is(loss, loss_fn, args)
    for handle in handles:
        handle.remove()
    loss.backward()
    if optimizer is None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = structure.describe(discovery, model, optimizer, objective=objective)
    found.discovery, found.observed = discovery, observed
    return found


def supervised(model, inputs, target, loss_fn):
    def step():
        output = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
        return loss_fn(output, target), (output, target)

    return step


def rows(found):
    """A line a layer: name, kind, activation, norm, depth."""
    return [
        " ".join(
            str(layer[key]) for key in ("name", "kind", "activation", "norm", "depth_in_blocks")
        )
        for layer in found.layers
    ]


def seen_at(found, name):
    """role -> the place where a layer shows it."""
    number = 1 + [layer["name"] for layer in found.layers].index(name)
    return _places(found, number)


def _places(found, number):
    places = {}
    for use in found.sites:
        if use.layer == number:
            site = found.discovery.sites[use.site]
            assert site.module is use.module and site.place == use.place
            assert use.role not in places, "a role is told once"
            places[use.role] = f"{site.name}.{site.place}"
    return places


def input_at(found):
    return _places(found, 0)


def parameters_of(found, name):
    """slot of each parameter, by its name below the layer or in full."""
    number = 1 + [layer["name"] for layer in found.layers].index(name)
    return {label: slot for label, _, layer, slot in found.parameters if layer == number}


# --- judged independently -------------------------------------------------------------------------


def cut_points(model, step, found, data_modules):
    """Numbers of the layers without whose output the loss is cut off from the data: by taking the
    tensors out of PyTorch's own graph and looking what is still reached. data_modules: names of
    those that read the data; None: by calls that lie behind no other call. None of a layer's
    tensors may stand behind the others."""
    wanted = {}  # (module, place) -> layers
    for use in found.sites:
        if use.role == "error_output":
            wanted.setdefault((use.module, use.place), []).append(use.layer)
    tensors = {layer: set() for layers in wanted.values() for layer in layers}
    entries = set()
    handles = []

    def note(module, place, tensor):
        for layer in wanted.get((module, place), ()):
            if tensor.grad_fn is not None:
                tensors[layer].add((tensor.grad_fn, tensor.output_nr))

    def before(module, args):
        note(module, "input", structure.tensor_in(args))

    def after(module, args, output):
        tensor = structure.tensor_in(output)
        note(module, "output", tensor)
        if readers is None and not list(module.children()):
            made.append((tensor.grad_fn, tensor.output_nr))
        elif readers is not None and module in readers:
            entries.add((tensor.grad_fn, tensor.output_nr))

    made, readers = [], None
    if data_modules is not None:
        readers = {model.get_submodule(name) for name in data_modules}
    for module in model.modules():
        handles.append(module.register_forward_pre_hook(before))
        handles.append(module.register_forward_hook(after))
    loss, _ = step()
    for handle in handles:
        handle.remove()
    entries.update(tensor for tensor in made if not _reaches(tensor[0], set(made)))
    entries.discard((None, 0))
    root = loss.grad_fn
    reached = {layer: {t for t in cut if _reaches(root, {t})} for layer, cut in tensors.items()}
    return {layer for layer, cut in reached.items() if _is_cut(root, cut, entries)}


def _is_cut(root, cut, entries):
    seen, waiting, met, entered = {root}, [root], set(), False
    while waiting:
        for tensor in waiting.pop().next_functions:
            node = tensor[0]
            if node is None:
                continue
            if tensor in cut:
                met.add(tensor)
                continue
            entered = entered or tensor in entries
            if node not in seen:
                seen.add(node)
                waiting.append(node)
    return bool(cut) and not entered and met == cut


def _reaches(node, tensors):
    seen, waiting = {node}, [node]
    while waiting:
        for tensor in waiting.pop().next_functions:
            if tensor in tensors:
                return True
            if tensor[0] is not None and tensor[0] not in seen:
                seen.add(tensor[0])
                waiting.append(tensor[0])
    return False
