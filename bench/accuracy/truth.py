# SPDX-License-Identifier: Apache-2.0
"""What is known of a recorded run: whether its fault did harm, and since when it was there.

A fault counts only when the run came out worse than its mended twin, the same network and seed
without it, by a margin that depends on the kind of harm (faulty.Fault.harm):

learning     the loss at the end (median of the last tenth of the steps, as a share of its trivial
             level) is higher by at least a fifth of what the twin gained; or the accuracy on held-out
             samples (mean over the last tenth of the epochs) is lower by at least 0.05; or it ended
             with numbers that are not finite
overfitting  the held-out accuracy (without classes: the loss) ended at least 0.05 (a fifth of the gain)
             below its own best, the mean of three epochs, and below the twin's end
gap          on training samples the accuracy ended at least 0.1 above the held-out one, and the
             held-out one at least 0.05 below the twin's
spike        over 50 steps from the onset on the loss is higher by at least a fifth of the twin's gain,
             or there is harm to learning at the end
waste        none is measured: parameters that nothing trains are there by construction"""

import functools
import json
import math
import statistics

MARGIN_GAIN, MARGIN_ACCURACY, MARGIN_GAP = 0.2, 0.05, 0.1


@functools.cache
def outcome(folder, name):
    """None where it was not recorded."""
    try:
        return json.loads((folder / name / "outcome.json").read_text())
    except OSError:
        return None


def first_not_finite(known):
    return next((i for i, loss in enumerate(known["losses"]) if not math.isfinite(loss)), None)


def trivial(known):
    """The loss of guessing; without one the first ten steps."""
    level = known["trivial_loss"]
    if math.isfinite(level) and level > 0:
        return level
    return abs(statistics.fmean(known["losses"][:10])) or 1.0


def share_left(known, first=0.9, steps=None):
    """The loss as a share of its trivial level, at the end of the run or over given steps."""
    losses = known["losses"]
    some = losses[slice(*steps)] if steps else losses[int(first * len(losses)) :]
    if not some or any(not math.isfinite(loss) for loss in some):
        return math.inf
    # A spike is a few steps: their mean holds it, the median would not.
    middle = statistics.fmean(some) if steps else statistics.median(some)
    return middle / trivial(known)


def ended(known, key):
    values = [epoch[key] for epoch in known["epochs"]]
    return statistics.fmean(values[-max(1, len(values) // 10) :])


def best(known, key, of=max):
    values = [epoch[key] for epoch in known["epochs"]]
    return of(statistics.fmean(values[i : i + 3]) for i in range(max(1, len(values) - 2)))


def loses(own, twin, steps=None):
    """Whether the loss is worse than the twin's by the margin."""
    healthy = share_left(twin, steps=steps)
    return share_left(own, steps=steps) - healthy >= MARGIN_GAIN * max(1 - healthy, 0.05)


def harms_learning(own, twin):
    if first_not_finite(own) is not None:
        return True
    if loses(own, twin):
        return True
    return ended(own, "validation_accuracy") <= ended(twin, "validation_accuracy") - MARGIN_ACCURACY


def harms_generalisation(own, twin):
    if math.isnan(ended(own, "validation_accuracy")):
        now, then = ended(own, "validation_loss"), best(own, "validation_loss", min)
        return now - then >= MARGIN_GAIN * (trivial(own) - then) and now > ended(twin, "validation_loss")
    now = ended(own, "validation_accuracy")
    return now <= best(own, "validation_accuracy") - MARGIN_ACCURACY and now < ended(twin, "validation_accuracy")


def has_gap(own, twin):
    now = ended(own, "validation_accuracy")
    return (now <= ended(own, "train_accuracy") - MARGIN_GAP
            and now <= ended(twin, "validation_accuracy") - MARGIN_ACCURACY)


def spikes(own, twin, onset):
    steps = (onset, onset + 50)
    return harms_learning(own, twin) or loses(own, twin, steps)


def onset_of(run, own):
    """The step since when the fault shows; None where no step can be named. Overfitting begins where
    the held-out metric is best."""
    if run["harm"] == "gap":
        return None
    if run["harm"] == "overfitting":
        classes = not math.isnan(ended(own, "validation_accuracy"))
        key, of_ = ("validation_accuracy", max) if classes else ("validation_loss", min)
        return of_(own["epochs"], key=lambda epoch: epoch[key])["step"]
    return run["onset"] if run["onset"] >= 0 else first_not_finite(own)


def of(run, folder):
    """{"kind": healthy, faulty, harmless or unknown (no twin was recorded); "onset"}"""
    own = outcome(folder, run["id"])
    onset = onset_of(run, own)
    if not run["fault"]:
        return {"kind": "healthy", "onset": None}
    twin = outcome(folder, run["twin"])
    if twin is None:
        return {"kind": "unknown", "onset": onset}
    if run["harm"] == "waste":
        return {"kind": "faulty", "onset": onset}
    measures = {"learning": harms_learning, "overfitting": harms_generalisation, "gap": has_gap,
                "spike": functools.partial(spikes, onset=onset)}
    return {"kind": "faulty" if measures[run["harm"]](own, twin) else "harmless", "onset": onset}
