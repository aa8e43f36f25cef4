# SPDX-License-Identifier: Apache-2.0
"""The accuracy benchmark: its arithmetic on made-up runs, and a fixed sample of real ones."""

import json
import math
import os
import pathlib
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent / "accuracy"
sys.path.insert(0, str(HERE))

import judge  # noqa: E402
import plan  # noqa: E402
import record  # noqa: E402
import rivals  # noqa: E402
import score  # noqa: E402
import tables  # noqa: E402
import truth  # noqa: E402


def finding(problem, severity="error", parent=-1, layers=(), since=0):
    return {"problem": problem, "severity": severity, "parent": parent, "layers": list(layers), "since_step": since,
            "title": problem}


def a_run(**changes):
    run = {"id": "one", "origin": "c", "architecture": "a", "style": "s", "part": "tune", "seed": 1, "fault": "f",
           "twin": "two", "problem": "dead-units", "accepted": ["dead-units", "loss-spike"], "layers": [2, 3],
           "names": [], "position": "middle", "onset": 40, "harm": "learning", "hint": False}
    return run | changes


def outcome(losses, accuracy=(0.9,), train=None, trivial=2.0):
    epochs = [{"step": 1, "mean_loss": losses[-1], "train_loss": losses[-1], "validation_loss": losses[-1],
               "train_accuracy": t, "validation_accuracy": v} for v, t in zip(accuracy, train or accuracy)]
    return {"losses": list(losses), "epochs": epochs, "trivial_loss": trivial, "planned_epochs": len(epochs),
            "activations": {"1": "relu", "2": "linear"}, "target_range": [0, 1]}


class Intervals(unittest.TestCase):
    def test_wilson(self):
        """Brown, Cai and DasGupta 2001 give the formula; the numbers are those of R's prop.test without
        its correction."""
        for right, n, low, high in ((0, 10, 0.0, 0.27753), (5, 10, 0.23659, 0.76341), (10, 10, 0.72247, 1.0),
                                    (3, 300, 0.00341, 0.02895), (0, 300, 0.0, 0.01264)):
            with self.subTest(f"{right} of {n}"):
                self.assertAlmostEqual(score.wilson(right, n)[0], low, 4)
                self.assertAlmostEqual(score.wilson(right, n)[1], high, 4)
        self.assertEqual(score.wilson(0, 0), (0.0, 1.0))

    def test_overlap(self):
        self.assertEqual(score.overlap([2, 3], 2, 3), 1)
        self.assertEqual(score.overlap([1, 2, 3, 4], 3, 6), 2 / 6)
        self.assertEqual(score.overlap([], 3, 6), 0)


class Verdicts(unittest.TestCase):
    def verdict(self, *findings, **changes):
        return score.judge(a_run(**changes), {"kind": "faulty", "onset": 40}, list(findings))

    def test_of_a_faulty_run(self):
        dead, other = finding("dead-units"), finding("non-finite")
        self.assertEqual(self.verdict(dead)["verdict"], "right")
        self.assertEqual(self.verdict(finding("loss-spike"))["verdict"], "right")
        self.assertEqual(self.verdict(other, dead)["verdict"], "beside")
        self.assertEqual(self.verdict(other, finding("dead-units", parent=0))["verdict"], "beneath")
        self.assertEqual(self.verdict(other)["verdict"], "other")
        self.assertEqual(self.verdict()["verdict"], "missed")

    def test_a_hint_counts_only_where_it_is_enough(self):
        hint = finding("dead-units", "hint")
        self.assertEqual(self.verdict(hint)["verdict"], "missed")
        self.assertEqual(self.verdict(hint, hint=True)["verdict"], "right")

    def test_layers_and_onset(self):
        judged = self.verdict(finding("dead-units", layers=(2, 3, 4), since=43))
        self.assertAlmostEqual(judged["overlap"], 2 / 3)
        self.assertEqual((judged["onset_error"], judged["onset_within"]), (3, False))
        within = finding("dead-units", since=43) | {"since_earliest": 40, "since_latest": 50}
        self.assertTrue(self.verdict(within)["onset_within"])


class Truth(unittest.TestCase):
    good = outcome([2.0] * 10 + [0.2] * 90)

    def test_worse_than_the_twin(self):
        self.assertFalse(truth.harms_learning(self.good, self.good))
        self.assertFalse(truth.harms_learning(outcome([2.0] * 10 + [0.5] * 90), self.good))
        self.assertTrue(truth.harms_learning(outcome([2.0] * 10 + [0.6] * 90), self.good))
        self.assertTrue(truth.harms_learning(outcome([2.0] * 10 + [0.2] * 90, (0.84,)), self.good))
        self.assertTrue(truth.harms_learning(outcome([2.0] * 99 + [math.nan]), self.good))

    def test_the_scale_of_the_loss_is_no_harm(self):
        self.assertFalse(truth.harms_learning(outcome([2000.0] * 10 + [200.0] * 90, trivial=2000.0), self.good))

    def test_generalisation(self):
        rises = [0.5, 0.7, 0.8, 0.8, 0.8] + 15 * [0.7]
        self.assertTrue(truth.harms_generalisation(outcome([0.1], rises), outcome([0.1], [0.9])))
        self.assertFalse(truth.harms_generalisation(outcome([0.1], rises), outcome([0.1], [0.6])))
        self.assertFalse(truth.harms_generalisation(outcome([0.1], 20 * [0.8]), outcome([0.1], [0.9])))
        self.assertTrue(truth.has_gap(outcome([0.1], [0.7], [1.0]), outcome([0.1], [0.9])))
        self.assertFalse(truth.has_gap(outcome([0.1], [0.7], [0.75]), outcome([0.1], [0.9])))

    def test_the_onset_of_overfitting_is_its_best_step(self):
        known = outcome([0.1], [0.5, 0.8, 0.7])
        for number, epoch in enumerate(known["epochs"]):
            epoch["step"] = 40 * (number + 1)
        self.assertEqual(truth.onset_of(a_run(harm="overfitting"), known), 80)
        self.assertEqual(truth.onset_of(a_run(), known), 40)
        self.assertEqual(truth.onset_of(a_run(onset=-1), outcome([1.0, math.inf])), 1)

    def test_a_spike_that_heals(self):
        spiked = outcome([2.0] * 10 + [0.2] * 30 + [40.0] * 3 + [0.2] * 57)
        self.assertTrue(truth.spikes(spiked, self.good, 40))
        self.assertFalse(truth.harms_learning(spiked, self.good))
        self.assertFalse(truth.spikes(spiked, self.good, 50))


class Rivals(unittest.TestCase):
    activations = ["layer", "mean", "variance", "non_positive", "inactive_units", "beyond_5", "saturated_units",
                   "non_finite"]
    parameters = ["layer", "slot", "gradient_norm", "gradient_mean_abs", "gradient_mean", "gradient_zeros",
                  "gradient_range", "count", "weight_mean", "weight_variance", "weight_max", "update_ratio",
                  "unchanged", "non_finite"]

    def say(self, accuracy, losses=None, first=(), last=(), output=()):
        """What the tools say of ten epochs of one step each; `first`, `last`: the weights' columns."""
        normal = dict(zip(self.parameters, [1, 0, 0.1, 1e-3, 1e-4, 0, 0.01, 100, 0.0, 0.1, 1.0, 1e-3, 0, 0]))
        shown = dict(zip(self.activations, [1, 0.5, 1.0, 0.5, 0.0, 0.0, 0.0, 0]))
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            losses = losses or [1.0 / (i + 1) for i in range(10)]
            known = outcome(losses, accuracy)
            for i, epoch in enumerate(known["epochs"]):
                epoch.update(step=i + 1, mean_loss=losses[i], validation_loss=losses[i])
            (folder / "outcome.json").write_text(json.dumps(known))
            lines = [{"activations": self.activations, "parameters": self.parameters}]
            for i in range(10):
                rows = [list((normal | dict(first)).values()), list((normal | {"layer": 2} | dict(last)).values())]
                lines.append({"step": i, "loss": losses[i], "activations": [list((shown | {"mean": 0.5 + i / 100} | dict(output)).values())],
                              "parameters": rows})
            (folder / "evidence.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
            return rivals.judge(folder)

    def test_silent_on_a_run_that_learns(self):
        learns = [0.3 + 0.06 * i for i in range(10)]
        self.assertEqual(self.say(learns), dict.fromkeys(rivals.RULES, []))

    def test_vanishing(self):
        """In AutoTrainer's words by the ratio of norms, in the others' by the mean magnitude."""
        said = self.say([0.1] * 10, first={"gradient_norm": 1e-6, "gradient_mean_abs": 1e-9})
        self.assertEqual(said["AutoTrainer"], ["vanish"])
        self.assertEqual(said["DeepDiagnosis"], ["vanishing"])
        self.assertIn("VanishingGradient", said["SageMaker"])

    def test_dead(self):
        said = self.say([0.1] * 10, first={"gradient_zeros": 90}, last={"gradient_zeros": 60},
                        output={"inactive_units": 0.6, "non_positive": 0.9})
        self.assertEqual(said["AutoTrainer"], ["relu"])
        self.assertEqual(said["DeepDiagnosis"], ["dead_node"])
        self.assertEqual(said["SageMaker"], ["DeadRelu"])

    def test_not_finite(self):
        said = self.say([0.1] * 10, losses=[1.0] * 5 + [math.nan] * 5, first={"non_finite": 1})
        self.assertEqual(said["AutoTrainer"], ["explode"])
        self.assertIn("ExplodingTensor", said["SageMaker"])

    def test_each_meaning_is_a_problem(self):
        problems = {problem for run in plan.all_runs() for problem in run["accepted"]}
        for meanings in rivals.MEANING.values():
            self.assertTrue(set(meanings) and all(meanings.values()))
        self.assertLessEqual({"vanishing-gradient", "dead-units", "overfitting"}, problems)


class Plan(unittest.TestCase):
    def test_as_many_runs_as_are_claimed(self):
        runs = list(plan.all_runs())
        self.assertEqual(len({run["id"] for run in runs}), len(runs))
        self.assertGreaterEqual(len(runs), 600)
        self.assertGreaterEqual(sum(not run["fault"] for run in runs), 300)
        by_id = {run["id"]: run for run in runs}
        for run in runs:
            if run["fault"]:
                self.assertFalse(by_id[run["twin"]]["fault"], run["id"])
                self.assertIn(run["problem"], run["accepted"])
        positions = {run["position"] for run in runs}
        self.assertLessEqual({"first", "early", "middle", "late", "output", "stretch", "all"}, positions)

    def test_what_is_reported_is_never_tuned_on(self):
        runs = list(plan.all_runs())
        tuned = {(run["architecture"], run["seed"]) for run in runs if run["part"] == "tune"}
        reported = {(run["architecture"], run["seed"]) for run in runs if run["part"] == "report"}
        self.assertFalse(tuned & reported)
        self.assertFalse({seed for _, seed in tuned} & {seed for _, seed in reported})
        self.assertGreaterEqual(len({a for a, _ in reported} - {a for a, _ in tuned}), 10)


class Tables(unittest.TestCase):
    def test_figures_of_made_up_runs(self):
        known = {"kind": "faulty", "onset": 40}
        judged = [score.judge(a_run(), known, [finding("dead-units", layers=(2, 3), since=41)]),
                  score.judge(a_run(id="three"), known, [finding("non-finite")]),
                  score.judge(a_run(id="two", fault="", problem="", accepted=[]), {"kind": "healthy", "onset": None},
                              [finding("plateau", "warning")])]
        said = {j["run"]["id"]: {tool: ["explode"] if tool == "AutoTrainer" else [] for tool in rivals.MEANING}
                for j in judged}
        figures = tables.figures(judged, [("one", "live", True), ("one", "followed", False)], said)
        part = figures["parts"]["tune"]
        self.assertEqual((part["right"]["right"], part["right"]["of"]), (1, 2))
        self.assertEqual(part["healthy"]["warning"]["right"], 1)
        self.assertEqual(part["confusions"], [["dead-units", "non-finite", 1]])
        self.assertEqual(part["problems"]["dead-units"]["precision"]["share"], 1)
        self.assertEqual(part["problems"]["non-finite"]["precision"]["right"], 0)
        self.assertEqual(part["rivals"]["AutoTrainer"]["false"]["right"], 1)
        self.assertEqual(figures["replays"]["right"], 1)
        text = tables.markdown(figures)
        self.assertIn("1 of 2 (50.0%, 9.5–90.5)", text)
        self.assertEqual(len(list(tables.wrong(judged, []))), 2)


class Sample(unittest.TestCase):
    """Real runs: the root of each fault is right, healthy runs are silent, and who reads the log while
    it grows or afterwards finds what the live run found."""

    def test_a_fixed_sample(self):
        build = pathlib.Path(os.environ["BUILD"])
        runs = plan.with_twins(plan.SAMPLE)
        self.assertGreaterEqual(len(runs), 24)
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            program, detectors = build / "bench/accuracy_record", record.detectors_of(build)
            for run in runs:
                self.assertEqual(record.record_c(program, folder / run["id"], run, detectors), "")
            judged, again = judge.judge(build, folder, runs)
            truth.outcome.cache_clear()
        self.assertEqual(list(tables.wrong(judged, again, hints=False)), [])
        self.assertEqual({j["run"]["id"] for j in judged if j["kind"] == "harmless"}, set())
        self.assertEqual(len(again), 2 * len(runs))


if __name__ == "__main__":
    unittest.main()
