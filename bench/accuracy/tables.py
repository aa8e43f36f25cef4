# SPDX-License-Identifier: Apache-2.0
"""Figures of judged runs, and the same as Markdown."""

import statistics
from collections import Counter, defaultdict

from rivals import MEANING
from score import wilson

PARTS = ("tune", "report")


def counted(right, n):
    low, high = wilson(right, n)
    return {"right": right, "of": n, "share": right / n if n else None, "low": low, "high": high}


def figures(judged, again, said):
    return {
        "parts": {part: of_part([j for j in judged if j["run"]["part"] == part], said) for part in PARTS},
        "replays": counted(sum(same for _, _, same in again), len(again)),
        "replays_differ": [f"{name} ({who})" for name, who, same in again if not same],
    }


def of_part(judged, said):
    kinds = defaultdict(list)
    for j in judged:
        kinds[j["kind"]].append(j)
    faulty = kinds["faulty"]
    return {
        "runs": {kind: len(some) for kind, some in sorted(kinds.items()) if some},
        "healthy": of_healthy(kinds["healthy"]),
        "styles": {style: of_healthy([j for j in kinds["healthy"] if j["run"]["style"] == style])
                   for style in sorted({j["run"]["style"] for j in kinds["healthy"]})},
        "right": counted(sum(j["verdict"] == "right" for j in faulty), len(faulty)),
        "exact": counted(sum(j["roots"][:1] == [j["run"]["problem"]] for j in faulty), len(faulty)),
        "verdicts": dict(Counter(j["verdict"] for j in faulty)),
        "problems": of_problems(faulty, kinds["healthy"]),
        "positions": of_positions(faulty),
        "origins": {origin: counted(sum(j["verdict"] == "right" for j in faulty if j["run"]["origin"] == origin),
                                    sum(j["run"]["origin"] == origin for j in faulty))
                    for origin in ("c", "pytorch")},
        "confusions": confusions(faulty),
        "harmless": of_harmless(kinds["harmless"]),
        "rivals": of_rivals(faulty, kinds["healthy"], said),
    }


def of_healthy(judged):
    n = len(judged)
    return {severity: counted(sum(severity in j["severities"] for j in judged), n)
            for severity in ("error", "warning", "hint")}


def of_problems(faulty, healthy):
    """Recall over the runs that have the problem, precision over the roots that say it."""
    rows = {}
    for problem in sorted({j["run"]["problem"] for j in faulty} | {r for j in faulty + healthy for r in j["roots"]}):
        own = [j for j in faulty if j["run"]["problem"] == problem]
        roots = [j for j in faulty + healthy if problem in j["roots"]]
        right = [j for j in own if j["verdict"] == "right"]
        rows[problem] = {
            "recall": counted(len(right), len(own)),
            "precision": counted(sum(problem in j["run"]["accepted"] for j in roots), len(roots)),
            "overlap": mean(j["overlap"] for j in own),
            "onset_error": median(j["onset_error"] for j in own),
            "onset_within": mean(j["onset_within"] for j in own),
        }
    return rows


def mean(values):
    some = [value for value in values if value is not None]
    return statistics.fmean(some) if some else None


def median(values):
    some = [value for value in values if value is not None]
    return statistics.median(some) if some else None


def of_positions(faulty):
    return {position: counted(sum(j["verdict"] == "right" for j in faulty if j["run"]["position"] == position),
                              sum(j["run"]["position"] == position for j in faulty))
            | {"overlap": mean(j["overlap"] for j in faulty if j["run"]["position"] == position)}
            for position in sorted({j["run"]["position"] for j in faulty} - {""})}


def confusions(faulty):
    """[problem, root instead, how often], what is right left out."""
    pairs = Counter((j["run"]["problem"], j["roots"][0] if j["roots"] else "nothing")
                    for j in faulty if j["verdict"] != "right")
    return [[problem, root, n] for (problem, root), n in pairs.most_common()]


def of_harmless(judged):
    """Their fault is there, but costs nothing: a warning that names it is no false one."""
    return {"runs": len(judged),
            "silent": sum(not j["roots"] for j in judged),
            "named": sum(bool(j["roots"]) and j["roots"][0] in j["run"]["accepted"] for j in judged),
            "other": sum(bool(j["roots"]) and j["roots"][0] not in j["run"]["accepted"] for j in judged)}


def of_rivals(faulty, healthy, said):
    rows = {}
    for tool, meanings in MEANING.items():
        def is_right(j, tool=tool, meanings=meanings):
            return any(meanings[word] & set(j["run"]["accepted"]) for word in said[j["run"]["id"]][tool])
        rows[tool] = {
            "false": counted(sum(bool(said[j["run"]["id"]][tool]) for j in healthy), len(healthy)),
            "found": counted(sum(bool(said[j["run"]["id"]][tool]) for j in faulty), len(faulty)),
            "right": counted(sum(is_right(j) for j in faulty), len(faulty)),
            "words": dict(Counter(word for j in healthy for word in said[j["run"]["id"]][tool])),
        }
    return rows


# --- as text


def wrong(judged, again, hints=True):
    """A line for each run that is not judged as it should be; hints: a healthy one has not even a hint."""
    for j in judged:
        run, about = j["run"], [f"{f['severity']} {f['problem']} (since {f['since_step']}): {f['title']}"
                                for f in j["findings"]]
        if j["kind"] == "healthy" and (about if hints else j["roots"]):
            yield f"{run['id']}: healthy, but {'; '.join(about)}"
        elif j["kind"] == "faulty" and j["verdict"] != "right":
            yield f"{run['id']}: {j['verdict']}: expected {run['problem']}, found {'; '.join(about) or 'nothing'}"
        elif j["kind"] == "unknown":
            yield f"{run['id']}: its twin {run['twin']} is not recorded"
    for name, who, same in again:
        if not same:
            yield f"{name}: the findings of the {who} run are not those of its log"


def percent(value):
    return "–" if value is None else f"{100 * value:.1f}%"


def share(count):
    """"12 of 13 (92.3%, 66.7–98.6)" """
    if not count["of"]:
        return "–"
    return (f"{count['right']} of {count['of']} ({percent(count['share'])}, "
            f"{100 * count['low']:.1f}–{100 * count['high']:.1f})")


def table(head, rows):
    yield f"| {' | '.join(head)} |"
    yield f"| {' | '.join('---' for _ in head)} |"
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"
    yield ""


def number(value, form):
    return "–" if value is None else format(value, form)


def part_as_text(name, part):
    healthy = part["healthy"]
    yield f"## Part `{name}`"
    yield ""
    yield "Runs: " + ", ".join(f"{n} {kind}" for kind, n in part["runs"].items()) + "."
    yield ""
    yield from table(["", "runs"], [
        ["right root cause of faulty runs", share(part["right"])],
        ["the first root says the very problem", share(part["exact"])],
        *[[f"right, {origin}", share(count)] for origin, count in part["origins"].items()],
        *[[f"healthy runs with a false {severity}", share(healthy[severity])] for severity in healthy],
        ["not right", ", ".join(f"{n} {word}" for word, n in sorted(part["verdicts"].items()) if word != "right")],
        ["harmless faults", ", ".join(f"{n} {word}" for word, n in part["harmless"].items())],
    ])
    yield from table(["problem", "recall", "precision of the roots", "overlap of layers", "onset off by (median steps)",
                      "onset within its interval"],
                     [[problem, share(row["recall"]), share(row["precision"]), number(row["overlap"], ".2f"),
                       number(row["onset_error"], ".0f"), percent(row["onset_within"])]
                      for problem, row in part["problems"].items()])
    yield from table(["position in the stack", "right", "overlap of layers"],
                     [[position, share(row), number(row["overlap"], ".2f")]
                      for position, row in part["positions"].items()])
    yield from table(["instead of", "the first root says", "runs"], part["confusions"])
    yield from table(["healthy style", "runs", "errors", "warnings", "hints"],
                     [[style, row["error"]["of"], *(row[s]["right"] for s in ("error", "warning", "hint"))]
                      for style, row in part["styles"].items()])
    yield from table(["rules of", "healthy runs with an alarm", "faulty runs with any alarm", "of the right cause"],
                     [[tool, share(row["false"]), share(row["found"]), share(row["right"])]
                      for tool, row in part["rivals"].items()])
    yield "Their alarms in healthy runs: " + "; ".join(
        f"{tool}: " + (", ".join(f"{n} {word}" for word, n in sorted(row["words"].items())) or "none")
        for tool, row in part["rivals"].items()) + "."
    yield ""


def markdown(figures_):
    lines = []
    for name, part in figures_["parts"].items():
        if part["runs"]:
            lines += part_as_text(name, part)
    lines.append(f"Findings of a live run, of a reader that followed its log, and of the log afterwards agree: "
                 f"{share(figures_['replays'])}.")
    lines += [f"- they differ: {name}" for name in figures_["replays_differ"]]
    return "\n".join(lines)
