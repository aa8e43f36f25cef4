# SPDX-License-Identifier: Apache-2.0
"""How a run counts, given what is known of it and what was found.

right        the first root finding (warning or error; a hint where the fault is one that a hint is
             enough for) says the problem, or one that describes the same cause
beside       a later root does
beneath      only a consequence under another root does
other        there are root findings, all of other problems
missed       there is none"""

import math


def wilson(right, n, z=1.959963984540054):
    """The 95% interval of a share (Wilson 1927): (low, high)."""
    if n == 0:
        return 0.0, 1.0
    share, square = right / n, z * z
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = z / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def overlap(layers, first, last):
    """Intersection over union of the layers that are named and those from first to last."""
    named, true = set(layers), set(range(first, last + 1))
    return len(named & true) / len(named | true)


def verdict(run, findings, counted):
    roots = [finding for finding in counted if finding["parent"] == -1]
    if not roots:
        return "missed"
    if roots[0]["problem"] in run["accepted"]:
        return "right"
    if any(finding["problem"] in run["accepted"] for finding in roots):
        return "beside"
    return "beneath" if any(finding["problem"] in run["accepted"] for finding in findings) else "other"


def judge(run, known, findings):
    enough = ("error", "warning", "hint") if run["hint"] else ("error", "warning")
    counted = [finding for finding in findings if finding["severity"] in enough]
    result = {
        "run": run, "kind": known["kind"], "findings": findings,
        "roots": [finding["problem"] for finding in counted if finding["parent"] == -1],
        "severities": [finding["severity"] for finding in findings],
        "verdict": verdict(run, findings, counted) if run["fault"] else "",
        "overlap": None, "onset_error": None, "onset_within": None,
    }
    right = next((finding for finding in counted if finding["problem"] in run["accepted"]), None)
    if right and result["verdict"] in ("right", "beside"):
        if len(run["layers"]) == 2:
            result["overlap"] = overlap(right["layers"], *run["layers"])
        if known["onset"] is not None:
            result["onset_error"] = abs(right["since_step"] - known["onset"])
            earliest = right.get("since_earliest", right["since_step"])
            latest = right.get("since_latest", right["since_step"])
            result["onset_within"] = earliest <= known["onset"] <= latest
    return result
