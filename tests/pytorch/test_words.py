# SPDX-License-Identifier: Apache-2.0
"""What a finding says of a PyTorch program: code that mends, a change of the user's own source where
its place is sure and none where it is not, and words that do not tear progress bars."""

import contextlib
import io
import os
import re
import runpy
import subprocess
import sys
import textwrap
import types
import unittest
from unittest import mock

import torch
from torch import nn
from watching import Watching

import backprobe
import data
from backprobe import talk


def deep(activation, depth=15, width=64, out=10, scale=None):
    layers = [nn.Flatten()]
    for k in range(depth):
        layers += [nn.Linear(64 if k == 0 else width, width), activation()]
    layers.append(nn.Linear(width, out))
    if scale is not None:
        for layer in layers:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=scale / layer.in_features**0.5)
                nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


class Mends(Watching):
    """A network that does not train; the remedy's lines are executed; then it does."""

    def train(self, model, optimizer, steps, **options):
        x, y = data.digits()
        criterion = nn.CrossEntropyLoss()
        probe = self.watch(model, optimizer, loss_fn=criterion, run=False, **options)
        losses = []
        order = torch.Generator().manual_seed(2)
        for _ in range(steps):
            i = torch.randint(0, len(x), (64,), generator=order)
            loss = criterion(model(x[i]), y[i])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            if not torch.isfinite(loss):
                break
        findings = probe.findings
        probe.close()
        return findings, sum(losses[-20:]) / len(losses[-20:])

    def assert_mended(self, make, optimise, steps=60, problem=None, before=2.0, after=1.0):
        model = make()
        optimizer = optimise(model)
        findings, loss = self.train(model, optimizer, steps)
        self.assertEqual(findings[0].problem, problem)
        self.assertFalse(loss < before, loss)
        code = findings[0].remedy.code
        torch.manual_seed(1)
        model = make()
        names = {"model": model, "optimizer": optimise(model), "torch": torch, "nn": nn}
        exec(compile(code, "remedy", "exec"), names)
        findings, loss = self.train(model, names["optimizer"], steps + 240)
        self.assertEqual(findings, [])
        self.assertLess(loss, after)
        return code

    def test_deep_sigmoid(self):
        code = self.assert_mended(
            lambda: deep(nn.Sigmoid),
            lambda m: torch.optim.SGD(m.parameters(), lr=0.1),
            problem="vanishing-gradient",
        )
        self.assertIn("model[i] = nn.Tanh()", code)
        self.assertIn("nn.init.xavier_normal_(model[i].weight)", code)

    def test_too_large_relu_weights(self):
        code = self.assert_mended(
            lambda: deep(nn.ReLU, scale=2.5 * 2**0.5),
            lambda m: torch.optim.SGD(m.parameters(), lr=0.01),
            problem="weights-too-large",
        )
        self.assertIn("nn.init.kaiming_normal_(model[i].weight, nonlinearity=\"relu\")", code)

    def test_too_small_weights(self):
        self.assert_mended(
            lambda: deep(nn.Tanh, scale=0.05),
            lambda m: torch.optim.SGD(m.parameters(), lr=0.1),
            problem="weights-too-small",
        )

    def test_too_high_a_learning_rate(self):
        code = self.assert_mended(
            lambda: deep(nn.ReLU, depth=3, scale=2**0.5),
            lambda m: torch.optim.SGD(m.parameters(), lr=50.0, momentum=0.9),
            problem="learning-rate-too-high",
        )
        self.assertRegex(
            code,
            r"optimizer = torch.optim.SGD\(model.parameters\(\), lr=0\.\d+, momentum=0.9\)"
            r"  # lr was 50\n",
        )
        self.assertIn("torch.nn.utils.clip_grad_norm_(model.parameters(), 1)", code)


# --- the user's own source ----------------------------------------------------------------------

HEAD = """\
import torch
from torch import nn
import backprobe
"""
TRAIN = """\
x, y = torch.randn(256, 64), torch.randint(0, 2, (256,))
criterion = nn.CrossEntropyLoss()
with backprobe.watch(net, sgd, loss_fn=criterion, run=False, every=1, on_finding=FOUND.append):
    for step in range(STEPS):
        i = torch.randint(0, 256, (32,))
        criterion(net(x[i]), y[i]).backward()
        sgd.step()
        sgd.zero_grad()
"""
OPTIMIZER = "sgd = torch.optim.SGD(net.parameters(), lr=0.1)\n"

class Source(Watching):
    """Scripts as people write them. The change that a finding shows is applied by patch(1); the
    script then makes the model that the remedy means."""

    def run_script(self, script, steps=24):
        path = self.folder / "train.py"
        path.write_text(script, encoding="utf-8")
        found = []
        torch.manual_seed(1)
        names = runpy.run_path(str(path), {"FOUND": found, "STEPS": steps})
        return path, found, names["net"]

    @staticmethod
    def about_depth(found):
        """Some of the scripts have a gate at the end on purpose, which is a finding of its own."""
        return [f for f in found if f.problem != "wrong-last-layer-for-loss"]

    def changed(self, construction, optimizer=OPTIMIZER, head=HEAD, train=TRAIN):
        """The script before and after, line by line, where it changed; None without a diff."""
        script = head + textwrap.dedent(construction) + optimizer + train
        path, found, net = self.run_script(script)
        found = self.about_depth(found)
        self.assertTrue(found, "nothing was found")
        diff = found[0].remedy.diff
        if diff is None:
            return None
        self.assertNotIn(found[0].remedy.code, str(found[0]))
        self.assertIn("".join(diff.split()), "".join(str(found[0]).split()))  # wrapped
        with contextlib.chdir(self.folder):
            subprocess.run(["patch", "-s", path], input=diff, text=True, check=True,
                           capture_output=True)  # fmt: skip
        after = path.read_text(encoding="utf-8")
        _, again, mended = self.run_script(after, steps=40)
        self.assertEqual([f.problem for f in self.about_depth(again)], [])
        self.assert_as_the_code_says(net, mended, found[0].remedy.code)
        new = [line for line in after.splitlines() if line not in script.splitlines()]
        return [line.strip() for line in new]

    def assert_as_the_code_says(self, net, mended, code):
        optimizer = types.SimpleNamespace(param_groups=[])
        with contextlib.suppress(Exception):
            exec(compile(code, "remedy", "exec"),
                 {"model": net, "optimizer": optimizer, "torch": torch, "nn": nn})  # fmt: skip
        self.assertEqual(str(net), str(mended))

    def assert_changed(self, construction, *lines, **parts):
        new = self.changed(construction, **parts)
        self.assertIsNotNone(new, "no place was found")
        kept = [line for line in new if "nn.init" not in line and not line.startswith(("#", "for"))]
        self.assertEqual(kept, list(lines))
        self.assertIn("# once, before training", new)

    def assert_unchanged(self, construction, **parts):
        self.assertIsNone(self.changed(construction, **parts))

    def test_attributes(self):
        lines = [f"self.a{k} = nn.Sigmoid()" for k in range(12)]
        self.assert_changed(
            "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
            + "".join(f"        self.f{k} = nn.Linear(64, 64); {line}\n" for k, line in enumerate(lines))
            + "        self.head = nn.Linear(64, 2)\n"
            "    def forward(self, x):\n"
            "        for k in range(12):\n"
            "            x = getattr(self, f'a{k}')(getattr(self, f'f{k}')(x))\n"
            "        return self.head(x)\n"
            "net = Net()\n",
            *(f"self.f{k} = nn.Linear(64, 64); self.a{k} = nn.Tanh()" for k in range(12)),
        )

    def test_a_sequential_with_a_comprehension(self):
        self.assert_changed(
            """
            class Net(nn.Module):
                def __init__(self, width=64):
                    super().__init__()
                    self.body = nn.Sequential(
                        *[nn.Sequential(nn.Linear(64, width), torch.nn.Sigmoid()) for _ in range(14)]
                    )
                    self.head = nn.Linear(width, 2)
                def forward(self, x):
                    return self.head(self.body(x))
            net = Net()
            """,
            "*[nn.Sequential(nn.Linear(64, width), torch.nn.Tanh()) for _ in range(14)]",
        )

    def test_a_list_in_the_script(self):
        self.assert_changed(
            """
            layers = []
            for _ in range(14):
                layers += [nn.Linear(64, 64), nn.Sigmoid()]
            net = nn.Sequential(*layers, nn.Linear(64, 2))
            """,
            "layers += [nn.Linear(64, 64), nn.Tanh()]",
        )

    def test_a_function_that_builds(self):
        self.assert_changed(
            """
            def build(depth):
                layers = []
                for _ in range(depth):
                    layers.append(nn.Linear(64, 64))
                    layers.append(nn.Sigmoid())
                return nn.Sequential(*layers, nn.Linear(64, 2))
            net = build(14)
            """,
            "layers.append(nn.Tanh())",
        )

    def test_blocks_of_a_class_and_a_method(self):
        self.assert_changed(
            """
            class Block(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(64, 64)
                    self.act = self._activation()
                def _activation(self):
                    return nn.Sigmoid()
                def forward(self, x):
                    return self.act(self.fc(x))
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = nn.ModuleList()
                    for _ in range(14):
                        self.body.append(Block())
                    self.head = nn.Linear(64, 2)
                def forward(self, x):
                    for block in self.body:
                        x = block(x)
                    return self.head(x)
            net = Net()
            """,
            "return nn.Tanh()",
        )

    def test_one_module_for_all(self):
        self.assert_changed(
            """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fcs = nn.ModuleList([nn.Linear(64, 64) for _ in range(14)])
                    self.act = nn.Sigmoid()
                    self.head = nn.Linear(64, 2)
                def forward(self, x):
                    for fc in self.fcs:
                        x = self.act(fc(x))
                    return self.head(x)
            net = Net()
            """,
            "self.act = nn.Tanh()",
        )

    def test_what_stays_is_left(self):
        """The gate at the end is the output's."""
        self.assert_changed(
            """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = nn.Sequential()
                    for _ in range(14):
                        self.body.append(nn.Linear(64, 64))
                        self.body.append(nn.Sigmoid())
                    self.head = nn.Sequential(nn.Linear(64, 2), nn.Sigmoid())
                def forward(self, x):
                    return self.head(self.body(x))
            net = Net()
            """,
            "self.body.append(nn.Tanh())",
        )

    def test_an_argument_of_a_sequential_beside_one_that_stays(self):
        body = ", ".join(["nn.Linear(64, 64), nn.Sigmoid()"] * 10)
        mended = ", ".join(["nn.Linear(64, 64), nn.Tanh()"] * 10)
        self.assert_changed(
            f"net = nn.Sequential({body}, nn.Linear(64, 2), nn.Sigmoid())\n",
            f"net = nn.Sequential({mended}, nn.Linear(64, 2), nn.Sigmoid())",
        )

    def test_umlauts_before_a_call_on_its_line(self):
        self.assert_changed(
            """
            größe = 64
            net = nn.Sequential(*[nn.Sequential(nn.Linear(größe, größe), nn.Sigmoid()) for ä in "äöüäöüäöüäöüäö"], nn.Linear(64, 2))
            """,
            'net = nn.Sequential(*[nn.Sequential(nn.Linear(größe, größe), nn.Tanh()) for ä in "äöüäöüäöüäöüäö"], nn.Linear(64, 2))',
        )

    def test_torch_is_called_as_the_script_calls_it(self):
        script = (
            "net = t.nn.Sequential(*[t.nn.Sequential(t.nn.Linear(64, 64), t.nn.Sigmoid()) for _ in range(14)], t.nn.Linear(64, 2))\n"
        )
        head = "import torch as t\nfrom torch import nn\nimport torch\nimport backprobe\n"
        self.assert_changed(script, script.replace("t.nn.Sigmoid", "t.nn.Tanh").strip(), head=head)

    PARTS = """\
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            *[nn.Sequential(nn.Linear(64, 64), nn.Sigmoid()) for _ in range(14)]
        )
        self.head = nn.Linear(64, 2)
    def forward(self, x):
        return self.head(self.body(x))
"""

    def in_another_file(self, after_import=""):
        (self.folder / "parts_of_a_net.py").write_text(self.PARTS, encoding="utf-8")
        with mock.patch.object(sys, "path", [str(self.folder), *sys.path]), mock.patch.dict(sys.modules):
            script = f"import parts_of_a_net\n{after_import}net = parts_of_a_net.Net()\n"
            _, found, _ = self.run_script(HEAD + script + OPTIMIZER + TRAIN)
        return found[0].remedy

    def test_a_class_in_another_file(self):
        remedy = self.in_another_file()
        self.assertEqual(remedy.diff.count("--- "), 2)
        self.assertIn("+            *[nn.Sequential(nn.Linear(64, 64), nn.Tanh()) for _ in range(14)]\n", remedy.diff)
        self.assertIn("+    nn.init.xavier_normal_(net.get_submodule(name).weight)\n", remedy.diff)

    def test_another_file_that_was_changed_since(self):
        changes = "import pathlib\np = pathlib.Path(parts_of_a_net.__file__)\n"
        changes += 'p.write_text("# a line more" + chr(10) + p.read_text())\n'
        remedy = self.in_another_file(changes)
        self.assertIsNone(remedy.diff)
        self.assertIsNotNone(remedy.code)

    # --- where it is not sure

    def test_a_class_that_is_handed_around(self):
        self.assert_unchanged(
            """
            class Net(nn.Module):
                def __init__(self, act):
                    super().__init__()
                    self.body = nn.Sequential(*[nn.Sequential(nn.Linear(64, 64), act()) for _ in range(14)])
                    self.head = nn.Linear(64, 2)
                def forward(self, x):
                    return self.head(self.body(x))
            net = Net(nn.Sigmoid)
            """
        )

    def test_a_type_by_its_name(self):
        self.assert_unchanged(
            """
            class Net(nn.Module):
                def __init__(self, act="Sigmoid"):
                    super().__init__()
                    self.body = nn.Sequential(*[nn.Sequential(nn.Linear(64, 64), getattr(nn, act)()) for _ in range(14)])
                    self.head = nn.Linear(64, 2)
                def forward(self, x):
                    return self.head(self.body(x))
            net = Net()
            """
        )

    def test_one_call_for_what_goes_and_what_stays(self):
        self.assert_unchanged(
            """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = nn.Sequential(*[self.layer(64) for _ in range(14)])
                    self.head = self.layer(2)
                def layer(self, out):
                    return nn.Sequential(nn.Linear(64, out), nn.Sigmoid())
                def forward(self, x):
                    return self.head(self.body(x))
            net = Net()
            """
        )

    def test_functions_in_forward(self):
        self.assert_unchanged(
            """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fcs = nn.ModuleList([nn.Linear(64, 64) for _ in range(14)])
                    self.head = nn.Linear(64, 2)
                def forward(self, x):
                    for fc in self.fcs:
                        x = torch.sigmoid(fc(x))
                    return self.head(x)
            net = Net()
            """
        )

    def test_a_model_that_is_made_twice(self):
        self.assert_unchanged(
            """
            net = nn.Sequential(nn.Linear(64, 2), nn.Sigmoid())
            if torch.rand(1) < 2:
                net = nn.Sequential(*[nn.Sequential(nn.Linear(64, 64), nn.Sigmoid()) for _ in range(14)], nn.Linear(64, 2))
            """
        )

    def test_a_call_beside_a_class_that_is_called_by_another_name(self):
        self.assert_unchanged(
            """
            layers = [nn.Linear(64, 64), nn.Sigmoid()]
            make = nn.Sigmoid
            for _ in range(13):
                layers += [nn.Linear(64, 64), make()]
            net = nn.Sequential(*layers, nn.Linear(64, 2))
            """
        )

    def test_a_class_that_only_looks_like_torchs(self):
        self.assert_unchanged(
            """
            class Sigmoid(nn.Sigmoid):
                pass
            net = nn.Sequential(*[nn.Sequential(nn.Linear(64, 64), Sigmoid()) for _ in range(14)], nn.Linear(64, 2))
            """
        )

    def test_a_script_that_was_changed_since(self):
        script = HEAD + textwrap.dedent(
            """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = nn.Sequential(*[nn.Sequential(nn.Linear(64, 64), nn.Sigmoid()) for _ in range(14)])
                    self.head = nn.Linear(64, 2)
                def forward(self, x):
                    return self.head(self.body(x))
            net = Net()
            import pathlib
            here = pathlib.Path(__file__)
            here.write_text("# a line more" + chr(10) + here.read_text())
            """
        ) + OPTIMIZER + TRAIN  # fmt: skip
        _, found, _ = self.run_script(script)
        self.assertIsNone(found[0].remedy.diff)
        self.assertIsNotNone(found[0].remedy.code)

    # --- the log

    def test_a_log_says_the_same(self):
        script = (
            HEAD + "net = nn.Sequential(*[nn.Sequential(nn.Linear(64, 64), nn.Sigmoid()) for _ in range(14)], nn.Linear(64, 2))\n"
            + OPTIMIZER + TRAIN.replace("run=False", f"run={str(self.folder / 'run')!r}")
        )  # fmt: skip
        _, found, _ = self.run_script(script)
        (replayed,) = backprobe.check(self.folder / "run")
        self.assertIsNotNone(found[0].remedy.diff)
        self.assertIsNone(replayed.remedy.diff)
        self.assertEqual(replayed.remedy.code, found[0].remedy.code)
        self.assertEqual(replayed.remedy.title, found[0].remedy.title)
        self.assertIn("         for name in [", str(replayed))

    # --- the optimizer

    STABLE = "net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))\n"

    def test_a_learning_rate_and_clipping(self):
        for argument in ("lr=50.0", "50.0"):
            new = self.changed(
                self.STABLE, f"sgd = torch.optim.SGD(net.parameters(), {argument}, momentum=0.9)\n"
            )
            self.assertEqual(len(new), 2, new)
            self.assertRegex(new[0], r"^sgd = torch.optim.SGD\(net.parameters\(\), (lr=)?0\.\d+, momentum=0.9\)$")
            self.assertEqual(new[1], "torch.nn.utils.clip_grad_norm_(net.parameters(), 1)")

    def test_a_learning_rate_from_elsewhere(self):
        self.assertIsNone(
            self.changed(
                self.STABLE,
                "rate = 50.0\nsgd = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)\n",
            )
        )


# --- saying it ----------------------------------------------------------------------------------


class _Terminal(io.StringIO):
    def isatty(self):
        return True


class Talk(unittest.TestCase):
    FINDING = backprobe.Finding(
        "vanishing-gradient", "error", 0, 0, 0, 9, True, ("net.0",), (1,),
        "layer 1 of 9 does not learn", "a cause", "", (), (), (), None, (),
    )  # fmt: skip

    def said(self, speak, stream=None):
        stream = io.StringIO() if stream is None else stream
        with contextlib.redirect_stderr(stream):
            speak()
        return stream.getvalue()

    def test_plain(self):
        self.assertEqual(self.said(lambda: talk.say("a\nb")), "a\nb\n")
        self.assertEqual(self.said(lambda: talk.finding(self.FINDING)), f"{self.FINDING}\n")
        self.assertEqual(
            self.said(lambda: talk.finding(self.FINDING, brief=True)),
            "error[vanishing-gradient]: layer 1 of 9 does not learn\n",
        )

    def test_colours_on_a_terminal_only(self):
        with mock.patch.dict(os.environ, {"TERM": "xterm"}):
            os.environ.pop("NO_COLOR", None)
            os.environ.pop("FORCE_COLOR", None)
            self.assertIn("\033[1;31m", self.said(lambda: talk.finding(self.FINDING), _Terminal()))
            self.assertNotIn("\033", self.said(lambda: talk.finding(self.FINDING)))
            with mock.patch.dict(os.environ, {"NO_COLOR": "1"}):
                self.assertNotIn("\033", self.said(lambda: talk.finding(self.FINDING), _Terminal()))

    def test_above_a_bar_of_tqdm(self):
        from tqdm.auto import tqdm

        stream = _Terminal()
        with contextlib.redirect_stderr(stream):
            for _ in tqdm(range(3), file=stream, mininterval=0, ncols=60):
                talk.say("backprobe: some words")
        lines = re.split("[\r\n]", stream.getvalue())
        self.assertEqual(lines.count("backprobe: some words"), 3)  # never behind a bar on its line
        self.assertIn("3/3", lines[-2] + lines[-1])
        self.assertEqual(self.said(lambda: talk.say("after")), "after\n")

    def test_above_a_display_of_rich(self):
        import rich
        from rich.console import Console
        from rich.progress import Progress

        console = Console(file=_Terminal(), width=120, force_terminal=True, color_system=None)
        with mock.patch.object(rich, "_console", console), contextlib.redirect_stderr(io.StringIO()):
            with Progress(console=console, redirect_stdout=False, redirect_stderr=False) as progress:
                progress.add_task("training", total=3)
                talk.say("[bold]not markup[/bold] 12.5 " + "w" * 100)
            talk.say("after")
            self.assertEqual(sys.stderr.getvalue(), "after\n")
        shown = re.sub(r"\033\[[\d;?]*[a-zA-Z]", "\n", console.file.getvalue())
        self.assertIn("[bold]not markup[/bold] 12.5 " + "w" * 100 + "\n", shown.replace("\r", "\n"))

    def test_html_in_a_notebook(self):
        shown = []
        python = types.ModuleType("IPython")
        python.get_ipython = lambda: types.SimpleNamespace(kernel=object())
        display = types.ModuleType("IPython.display")
        display.display = shown.append
        with mock.patch.dict(sys.modules, {"IPython": python, "IPython.display": display}):
            self.assertEqual(self.said(lambda: talk.finding(self.FINDING)), "")
            self.assertNotEqual(self.said(lambda: talk.finding(self.FINDING, brief=True)), "")
        self.assertEqual(shown, [self.FINDING])

    def test_it_never_raises(self):
        class Broken(io.StringIO):
            encoding = "ascii"

            def write(self, text):
                text.encode(self.encoding)
                return super().write(text)

        self.assertIn("since step 0 ? now step 9", self.said(lambda: talk.finding(self.FINDING), Broken()))
        closed = io.StringIO()
        closed.close()
        with contextlib.redirect_stderr(closed):
            talk.say("a")
            talk.finding(self.FINDING)
        with contextlib.redirect_stderr(None):
            talk.say("a")
            talk.finding(self.FINDING)
        talk.finding(object())

    def test_nothing_is_imported(self):
        code = (
            "import sys, backprobe.talk as t; t.say('a');"
            "print([m for m in ('torch', 'tqdm', 'rich', 'IPython') if m in sys.modules])"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                                check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
        self.assertEqual((result.stdout, result.stderr), ("[]\n", "a\n"))


if __name__ == "__main__":
    unittest.main()
