# SPDX-License-Identifier: Apache-2.0
"""The rules of three other tools, written anew from their published conditions and defaults, on what
the recorders saw in the tensors themselves (evidence.jsonl, each tenth step; outcome.json, each epoch).

AutoTrainer     Zhang, Zhai, Ma, Shen: AUTOTRAINER: An Automatic DNN Training Problem Detection and Repair
                System, ICSE 2021, section III; defaults of its release: beta 1e-3, 1e-4, 70; gamma 0.7;
                zeta 0.03, eta 0.2, delta 0.01, Theta 0.7; a rule of the losses from 30% of the epochs on.
DeepDiagnosis   Wardat, Cruz, Le, Rajan: DeepDiagnosis: Automatically Diagnosing Faults and Recommending
                Actionable Fixes in Deep Learning Programs, ICSE 2022, arXiv 2112.04036, section 4 and
                its released callback. Its rule that the last layer of a classification must be a softmax
                is left out: it takes cross-entropy of logits for a fault.
SageMaker       Amazon SageMaker Debugger, "List of Debugger built-in rules": the rules that need no
                configuration, with their defaults, on tensors saved at each tenth step.

A tool says words of its own. `MEANING` says for which of our problems a word counts as right; it is
generous: any that the tool's documentation names as a cause or a form of it."""

import json
import math

MEANING = {
    "AutoTrainer": {
        "vanish": {"vanishing-gradient", "weights-too-small", "saturated-units", "zero-init"},
        "explode": {"exploding-gradient", "weights-too-large", "non-finite", "learning-rate-too-high",
                    "input-not-normalised", "labels-out-of-range"},
        "relu": {"dead-units", "zero-init"},
        "unstable": {"oscillating-loss", "learning-rate-too-high", "loss-spike"},
        "not_converge": {"plateau", "slow-convergence", "learning-rate-too-low", "underfitting",
                         "constant-output"},
    },
    "DeepDiagnosis": {
        "numerical": {"non-finite", "exploding-gradient", "weights-too-large", "dead-units", "zero-init",
                      "learning-rate-too-high", "input-not-normalised"},
        "out_of_range": {"labels-out-of-range", "wrong-last-layer-for-loss"},
        "dead_node": {"dead-units"},
        "saturated": {"saturated-units", "weights-too-large"},
        "unchanged": {"zero-init", "constant-init", "learning-rate-too-low", "constant-output",
                      "weights-too-small", "stalled-update"},
        "invalid_loss": {"non-finite", "exploding-gradient", "learning-rate-too-high", "weights-too-large",
                         "input-not-normalised"},
        "loss_not_decreasing": {"plateau", "learning-rate-too-low", "slow-convergence"},
        "invalid_accuracy": {"non-finite"},
        "accuracy_not_increasing": {"plateau", "learning-rate-too-low", "slow-convergence"},
        "vanishing": {"vanishing-gradient", "weights-too-small", "saturated-units", "zero-init"},
    },
    "SageMaker": {
        "VanishingGradient": {"vanishing-gradient", "weights-too-small", "zero-init"},
        "ExplodingTensor": {"exploding-gradient", "weights-too-large", "non-finite", "learning-rate-too-high",
                            "input-not-normalised", "low-precision-overflow"},
        "DeadRelu": {"dead-units"},
        "SaturatedActivation": {"saturated-units"},
        "WeightUpdateRatio": {"learning-rate-too-high", "learning-rate-too-low", "stalled-update",
                              "vanishing-gradient"},
        "PoorWeightInitialization": {"weights-too-small", "weights-too-large", "zero-init", "constant-init",
                                     "symmetric-units", "vanishing-gradient", "exploding-gradient"},
        "LossNotDecreasing": {"plateau", "slow-convergence", "learning-rate-too-low", "underfitting",
                              "learning-rate-too-high", "oscillating-loss"},
        "Overfit": {"overfitting", "memorising", "overconfident"},
    },
}  # fmt: skip


class Seen:
    """What the recorder left of a run."""

    def __init__(self, folder):
        with open(folder / "evidence.jsonl", encoding="utf-8") as file:
            names = json.loads(next(file))
            self.steps = [json.loads(line) for line in file]
        self.outcome = json.loads((folder / "outcome.json").read_text())
        self.activation = {name: i for i, name in enumerate(names["activations"])}
        self.parameter = {name: i for i, name in enumerate(names["parameters"])}
        self.kinds = {int(layer): kind for layer, kind in self.outcome["activations"].items()}
        self.epochs = self.outcome["epochs"]

    def of_outputs(self, step, name):
        """[(layer, value)]"""
        return [(int(row[0]), row[self.activation[name]]) for row in step["activations"]]

    def of_parameters(self, step, name, weights=False):
        return [row[self.parameter[name]] for row in step["parameters"] if not weights or row[1] in (0, 4)]

    def at_epochs(self):
        """[(epoch, number of it, the last evidence before its end)]"""
        found = []
        for number, epoch in enumerate(self.epochs):
            before = [step for step in self.steps if step["step"] < epoch["step"]]
            if before:
                found.append((epoch, number + 1, before[-1]))
        return found


def is_bad(*values):
    return any(not math.isfinite(value) for value in values)


# --- AutoTrainer


def auto_trainer(seen):
    total = seen.outcome["planned_epochs"]
    features = set()
    for epoch, number, step in seen.at_epochs():
        norms = seen.of_parameters(step, "gradient_norm", weights=True)
        if is_bad(*norms) or sum(seen.of_parameters(step, "non_finite")) > 0:
            return {"explode"}
        features |= _gradient_issues(seen, step, norms)
        history = seen.epochs[:number]
        if is_bad(epoch["mean_loss"], epoch["validation_loss"]) or epoch["validation_loss"] >= 1e5:
            return {"explode"}
        if is_bad(epoch["train_accuracy"], epoch["validation_accuracy"]):
            continue  # no classification: the rules that follow need accuracies
        if number >= 0.3 * total:
            features |= _accuracy_issues(history)
        if "not_converged" in features or "slow" in features:
            for issue in ("relu", "explode", "vanish"):
                if issue in features:
                    return {issue}
            if "slow" in features:
                return {"not_converge"}
        elif "unstable" in features:
            return {"unstable"}
    return set()


def _gradient_issues(seen, step, norms):
    zeros = sum(seen.of_parameters(step, "gradient_zeros"))
    ratio = norms[0] / norms[-1] if norms[-1] > 0 else math.inf
    issues = set()
    if ratio < 1e-3 and norms[0] < 1e-4:
        issues.add("vanish")
    if ratio > 70:
        issues.add("explode")
    if zeros >= 0.7 * sum(seen.of_parameters(step, "count")):
        issues.add("relu")
    return issues


def _accuracy_issues(history):
    train = [epoch["train_accuracy"] for epoch in history]
    held = [epoch["validation_accuracy"] for epoch in history]
    issues = set()
    if max(held) < 0.7 or max(train) < 0.7:
        issues.add("not_converged")
    if _largest_rise(train) < 0.01 and _largest_rise(held) < 0.01:
        issues.add("slow")
    tops = [b for a, b, c in zip(train, train[1:], train[2:]) if b >= a and b >= c]
    bottoms = [b for a, b, c in zip(train, train[1:], train[2:]) if b <= a and b <= c]
    if sum(top - bottom >= 0.03 for top, bottom in zip(tops, bottoms)) >= 0.2 * len(train):
        issues.add("unstable")
    return issues


def _largest_rise(values):
    return max((b - a for a, b in zip(values, values[1:])), default=0)


# --- DeepDiagnosis


def deep_diagnosis(seen):
    """It stops the training at its first symptom."""
    low, high = seen.outcome["target_range"]
    last = max(seen.kinds)
    limits = {"sigmoid": (0, 1), "tanh": (-1, 1)}.get(seen.kinds[last])
    if limits and (low < limits[0] or high > limits[1]):
        return {"out_of_range"}
    means, losses, accuracies = [], [], []
    for epoch, number, step in seen.at_epochs():
        outputs = seen.of_outputs(step, "mean")
        if any(is_bad(mean) or mean == 0 for _, mean in outputs):
            return {"numerical"}
        if number == seen.outcome["planned_epochs"]:
            low_share = dict(seen.of_outputs(step, "non_positive"))
            if any(kind == "relu" and low_share.get(layer, 0) >= 0.7 for layer, kind in seen.kinds.items()):
                return {"dead_node"}
        if number % 5 == 0 and any(share > 0.5 for _, share in seen.of_outputs(step, "beyond_5")):
            return {"saturated"}
        means.append([mean for layer, mean in outputs if layer != last])
        losses.append(epoch["mean_loss"])
        accuracies.append(epoch["train_accuracy"])
        if number % 5 == 0 and any(len(set(column)) == 1 for column in zip(*means[-5:])):
            return {"unchanged"}
        if is_bad(losses[-1]):
            return {"invalid_loss"}
        if number % 5 == 0 and len(set(losses[-5:])) == 1:
            return {"loss_not_decreasing"}
        if not is_bad(accuracies[-1]):
            if accuracies[-1] == 0:
                return {"invalid_accuracy"}
            if number % 20 == 0 and len(set(accuracies[-20:])) == 1:
                return {"accuracy_not_increasing"}
        if any(is_bad(mean) or mean == 0 for mean in seen.of_parameters(step, "gradient_mean", weights=True)):
            return {"numerical"}
        if any(mean < 1e-7 for mean in seen.of_parameters(step, "gradient_mean_abs", weights=True)):
            return {"vanishing"}
    return set()


# --- SageMaker Debugger


def sage_maker(seen):
    fired = set()
    losses = [step["loss"] for step in seen.steps]
    for number, step in enumerate(seen.steps):
        if any(mean < 1e-7 for mean in seen.of_parameters(step, "gradient_mean_abs")):
            fired.add("VanishingGradient")
        bad = sum(seen.of_parameters(step, "non_finite")) + sum(n for _, n in seen.of_outputs(step, "non_finite"))
        if bad > 0 or is_bad(step["loss"]):
            fired.add("ExplodingTensor")
        if any(share > 0.5 and seen.kinds.get(layer) == "relu"
               for layer, share in seen.of_outputs(step, "inactive_units")):
            fired.add("DeadRelu")
        if any(share > 0.5 for _, share in seen.of_outputs(step, "saturated_units")):
            fired.add("SaturatedActivation")
        if any(ratio > 10 or ratio < 1e-8 for ratio in seen.of_parameters(step, "update_ratio", weights=True)):
            fired.add("WeightUpdateRatio")
        if number >= 10 and not losses[number] <= 0.999 * losses[number - 10]:
            fired.add("LossNotDecreasing")
    if _is_poor_start(seen, losses):
        fired.add("PoorWeightInitialization")
    for epoch in seen.epochs:
        if epoch["validation_loss"] - epoch["mean_loss"] > 0.1 * epoch["mean_loss"] > 0:
            fired.add("Overfit")
    return fired


def _is_poor_start(seen, losses):
    """The first ten saved steps: weights of unlike variance or gradients in a narrow range, and a loss
    that has not become better for five of them."""
    first = seen.steps[:10]
    for number, step in enumerate(first):
        variances = [v for v in seen.of_parameters(step, "weight_variance", weights=True) if v > 0]
        ranges = seen.of_parameters(step, "gradient_range", weights=True)
        poor = (variances and max(variances) > 10 * min(variances)) or min(ranges, default=1) < 1e-3
        if poor and number >= 5 and not min(losses[number - 4 : number + 1]) < min(losses[: number - 4]):
            return True
    return False


def sage_maker_tensors(seen):
    """Those that look at gradients, weights and activations: in short runs on small data the two that
    look at losses alone fire nearly always."""
    return sage_maker(seen) - {"LossNotDecreasing", "Overfit"}


RULES = {"AutoTrainer": auto_trainer, "DeepDiagnosis": deep_diagnosis, "SageMaker": sage_maker,
         "SageMaker, tensors alone": sage_maker_tensors}
MEANING["SageMaker, tensors alone"] = MEANING["SageMaker"]


def judge(folder):
    """{tool: [words that it says]}"""
    seen = Seen(folder)
    return {tool: sorted(rule(seen)) for tool, rule in RULES.items()}
