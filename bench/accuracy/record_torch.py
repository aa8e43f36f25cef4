#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records PyTorch runs of the accuracy benchmark: their ids come on stdin, a line each.

  record_torch.py DIR

DIR/ID/job.json says what is to be recorded; the folder gets what accuracy_record leaves of a C run."""

import contextlib
import io
import json
import math
import pathlib
import random
import sys
import traceback

import torch
import torch_images
import torch_programs
import torch_sequences
from torch import nn
from torch_programs import Case

import backprobe

EVERY = 10  # steps: what the rules of other tools see
EPOCH = 25  # steps between evaluations, the epochs of the outcome
KINDS = {nn.ReLU: "relu", nn.Sigmoid: "sigmoid", nn.Tanh: "tanh", nn.GELU: "gelu", nn.SiLU: "silu",
         nn.Linear: "linear", nn.Conv2d: "linear", nn.LeakyReLU: "leaky_relu"}
ACTIVATIONS = ["layer", "mean", "variance", "non_positive", "inactive_units", "beyond_5", "saturated_units",
               "non_finite"]
PARAMETERS = ["layer", "slot", "gradient_norm", "gradient_mean_abs", "gradient_mean", "gradient_zeros",
              "gradient_range", "count", "weight_mean", "weight_variance", "weight_max", "update_ratio", "unchanged",
              "non_finite"]
# Outputs where |input| passes a limit: those of rivals.py's rules.
BEYOND = {"tanh": (lambda x: x.abs() >= 0.9999092043, lambda x: x.abs() >= 0.99999999),
          "sigmoid": (lambda x: (x <= 0.0066928509) | (x >= 0.9933071491),
                      lambda x: (x <= 1.03e-10) | (x >= 0.99999996))}


class Evidence:
    """What record.c's evidence is, of modules and parameters in their own order."""

    def __init__(self, model, path):
        self.file = open(path, "w", encoding="utf-8")  # closed with the run
        self.file.write(json.dumps({"activations": ACTIVATIONS, "parameters": PARAMETERS}) + "\n")
        self.wanted, self.rows = False, []
        self.modules = [m for m in model.modules() if type(m) in KINDS]
        self.kinds = {i + 1: KINDS[type(m)] for i, m in enumerate(self.modules)}
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.hooks = [m.register_forward_hook(self._hook(i + 1)) for i, m in enumerate(self.modules)]

    def _hook(self, layer):
        def hook(module, _, output):
            if self.wanted and module.training and isinstance(output, torch.Tensor):
                self.rows.append(self._output(layer, output.detach().float()))
        return hook

    def _output(self, layer, x):
        rows = x.flatten(2).transpose(1, 2).flatten(0, 1) if x.dim() == 4 else x.reshape(-1, x.shape[-1])
        weak, strict = BEYOND.get(self.kinds[layer], (None, None))
        beyond = weak(rows).float().mean().item() if weak else 0.0
        saturated = (strict(rows).float().mean(0) > 0.99).float().mean().item() if strict else 0.0
        bad = (~rows.isfinite()).sum().item()
        active = (rows > 0).float().mean(0)
        return [layer, rows.mean().item(), rows.var(unbiased=False).item(), (rows <= 0).float().mean().item(),
                (active < 0.01).float().mean().item(), beyond, saturated, bad]

    def begin(self, step):
        self.wanted, self.rows = step % EVERY == 0, []

    def before_update(self):
        if self.wanted:
            self.weights = [p.detach().float().clone() for p in self.parameters]
            self.gradients = [None if p.grad is None else p.grad.detach().float().clone() for p in self.parameters]

    def end(self, step, loss):
        if not self.wanted:
            return
        lines = [self._parameter(i, g, w, p.detach().float()) for i, (g, w, p)
                 in enumerate(zip(self.gradients, self.weights, self.parameters)) if g is not None]
        line = {"step": step, "loss": loss, "activations": self.rows, "parameters": lines}
        self.file.write(json.dumps(line) + "\n")
        self.wanted = False

    @staticmethod
    def _parameter(index, g, w, after):
        spread = math.nan
        if g.isfinite().all():
            low, high = torch.quantile(g.flatten()[:100000], torch.tensor([0.05, 0.95]))
            spread = (high - low).item()
        moved = (after - w).abs()
        return [index + 1, 0 if w.dim() > 1 else 1, g.norm().item(), g.abs().mean().item(), g.mean().item(),
                (g == 0).sum().item(), spread, w.numel(), w.mean().item(), w.var(unbiased=False).item(),
                w.abs().max().item(), (moved.sum() / (w.abs().sum() + 1e-30)).item(),
                int(torch.allclose(after, w)), (~(g.isfinite() & w.isfinite())).sum().item()]

    def close(self):
        for hook in self.hooks:
            hook.remove()
        self.file.close()


def accuracy(outputs, y):
    return (outputs.argmax(1) == y).float().mean().item()


@torch.no_grad()
def evaluate(case, probe):
    """(loss, accuracy) on training samples and on held-out ones; NaN where there is no such thing."""
    scores = []
    case.model.eval()
    with probe.paused():
        for x, y in ((case.parts.x[:300], case.parts.y[:300]), (case.parts.held_x, case.parts.held_y)):
            if case.outputs is None:
                scores += [math.nan, math.nan]
                continue
            with casting(case):
                outputs = case.outputs(case.model, x).float()
            scores += [case.criterion(outputs, y).item(), accuracy(outputs, y) if case.classes else math.nan]
    case.model.train()
    return scores


def casting(case):
    return torch.autocast("cpu", dtype=case.autocast) if case.autocast else contextlib.nullcontext()


def batch(case, step):
    if case.draw:
        return case.draw()
    index = torch.randint(len(case.parts.x), (case.batch,))
    x = case.parts.x[index]
    if case.poison and step == case.poison[0]:
        x = x * case.poison[1]
    return x, case.parts.y[index]


def backward(case, probe, step):
    """The loss of the step, a number."""
    total = 0.0
    for _ in range(case.micro):
        with casting(case):
            loss = case.loss(case.model, *batch(case, step)) / case.micro
        probe.loss(loss * case.micro)
        total += loss.item()
        scaled = loss * case.scale
        (case.scaler.scale(scaled) if case.scaler else scaled).backward()
    return total


def train_step(case, probe, evidence, step):
    if step in case.before:
        case.before[step]()
    if case.schedule:
        for group, base in zip(case.optimizer.param_groups, case.rates):
            group["lr"] = base * case.schedule(step)
    evidence.begin(step)
    case.optimizer.zero_grad()
    loss = backward(case, probe, step)
    if case.scaler:
        case.scaler.unscale_(case.optimizer)
    if case.clip:
        torch.nn.utils.clip_grad_norm_(case.model.parameters(), case.clip)
    evidence.before_update()
    if case.scaler:
        case.scaler.step(case.optimizer)
        case.scaler.update()
    else:
        case.optimizer.step()
    evidence.end(step, loss)
    return loss


def train(case, probe, evidence):
    """(losses, epochs, whether it was stopped)"""
    losses, epochs = [], []
    case.model.train()
    for step in range(case.steps):
        losses.append(train_step(case, probe, evidence, step))
        if (step + 1) % EPOCH == 0:
            own_loss, own_accuracy, held_loss, held_accuracy = evaluate(case, probe)
            if not math.isnan(held_loss) or case.outputs:
                probe.validation(loss=held_loss, accuracy=None if math.isnan(held_accuracy) else held_accuracy)
            epochs.append({"step": step + 1, "mean_loss": sum(losses[-EPOCH:]) / EPOCH, "train_loss": own_loss,
                           "train_accuracy": own_accuracy, "validation_loss": held_loss,
                           "validation_accuracy": held_accuracy})
        if len(losses) > 20 and not any(map(math.isfinite, losses[-20:])):
            break
    return losses, epochs or [dict.fromkeys(
        ("mean_loss", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"), math.nan)
        | {"step": len(losses)}]


def trivial_loss(case):
    """The loss of guessing: entropy of the classes, variance of the targets."""
    y = case.parts.y
    if not math.isnan(case.trivial) or case.objective != "supervised":
        return case.trivial
    if case.classes:
        share = torch.bincount(y).float() / len(y)
        return float(-(share[share > 0] * share[share > 0].log()).sum())
    if isinstance(case.criterion, nn.BCEWithLogitsLoss):
        p = y.mean(0).clamp(1e-6, 1 - 1e-6)
        return float(-(p * p.log() + (1 - p) * (1 - p).log()).mean())
    return float((y - y.mean(0)).pow(2).mean())


def flat(findings, parent=-1, counter=None):
    counter = counter if counter is not None else [0]
    for f in findings:
        place = counter[0]
        counter[0] += 1
        told = {"problem": f.problem, "severity": f.severity, "since_step": f.since_step, "last_step": f.last_step,
                "open": f.open, "parent": parent, "layers": list(f.layer_ids), "title": f.title, "cause": f.cause,
                "note": f.note}
        for key in ("since_earliest", "since_latest"):
            if hasattr(f, key):
                told[key] = getattr(f, key)
        yield told
        yield from flat(f.consequences, place, counter)


def program_of(name):
    for module in (torch_programs, torch_images, torch_sequences):
        if hasattr(module, name):
            return getattr(module, name)
    raise SystemExit(f"no program {name}")


def record(folder, job):
    torch.manual_seed(job["seed"])
    random.seed(job["seed"])
    case = Case(job["version"])
    program_of(job["architecture"])(case)
    case.rates = [group["lr"] for group in case.optimizer.param_groups]
    trivial = trivial_loss(case)
    evidence = Evidence(case.model, folder / "evidence.jsonl")
    every = {"budget": float(job["every"][:-1]) / 100} if "%" in job["every"] else {"every": int(job["every"])}
    with contextlib.redirect_stderr(io.StringIO()):
        probe = backprobe.watch(case.model, case.optimizer, run=str(folder / "log"), objective=case.objective,
                                on_finding=lambda finding: None, **every)
        losses, epochs = train(case, probe, evidence)
        live = list(flat(probe.findings))
        blind = probe.blind
        probe.close()
    evidence.close()
    if blind:
        raise RuntimeError(f"the watch went blind: {blind}")
    (folder / "live.json").write_text(json.dumps(live, indent=0))
    y = case.parts.y.float()
    one_hot = case.classes or y.dim() < 2
    outcome = {"epochs": epochs, "trivial_loss": trivial, "chance_accuracy": math.nan,
               "target_range": [0, 1] if one_hot else [y.min().item(), y.max().item()],
               "activations": evidence.kinds, "planned_epochs": case.steps // EPOCH, "epoch_steps": EPOCH,
               "losses": losses}
    (folder / "outcome.part").write_text(json.dumps(outcome))
    (folder / "outcome.part").rename(folder / "outcome.json")


def main():
    torch.set_num_threads(1)
    root = pathlib.Path(sys.argv[1])
    failed = 0
    for line in sys.stdin:
        folder = root / line.strip()
        try:
            record(folder, json.loads((folder / "job.json").read_text()))
        except Exception:  # the other runs are recorded all the same
            failed += 1
            print(f"{line.strip()}:\n{traceback.format_exc()}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
