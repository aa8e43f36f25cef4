# SPDX-License-Identifier: Apache-2.0
"""The callbacks for Hugging Face's Trainer and Lightning, each in real trainings on real data: what
their loops do with a step, its loss, a checkpoint and an exception."""

import contextlib
import io
import json
import logging
import subprocess
import sys
import tempfile
import unittest
import warnings

import lightning
import torch
import torch.nn.functional as F
import transformers
from data import digits, text
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments
from watching import Watching, records

import backprobe
import backprobe.huggingface
import backprobe.lightning


class Quiet(Watching):
    """What the libraries say is not shown."""

    def setUp(self):
        super().setUp()
        self.enterContext(contextlib.redirect_stdout(io.StringIO()))
        self.enterContext(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for name in ("transformers", "lightning.pytorch"):
            logging.getLogger(name).setLevel(logging.ERROR)

    def problems(self, callback):
        return [finding.problem for finding in callback.findings]


# --- Hugging Face ---------------------------------------------------------------------------------


class Characters(torch.utils.data.Dataset):
    def __init__(self, window=32):
        characters = text()[:20000]
        self.alphabet = sorted(set(characters))
        self.data = torch.tensor([self.alphabet.index(c) for c in characters])
        self.window = window

    def __len__(self):
        return len(self.data) // self.window

    def __getitem__(self, i):
        tokens = self.data[i * self.window : (i + 1) * self.window]
        return {"input_ids": tokens, "labels": tokens}


def tiny_gpt2(alphabet):
    return GPT2LMHeadModel(GPT2Config(vocab_size=len(alphabet), n_positions=32, n_embd=32, n_layer=2, n_head=2,
                                      bos_token_id=0, eos_token_id=0))


class Images(torch.utils.data.Dataset):
    def __init__(self):
        self.x, self.y = digits(1000)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return {"x": self.x[i], "labels": self.y[i]}


class DeepSigmoid(nn.Module):
    """Gives back a loss as the Trainer wants it."""

    def __init__(self, layers=12):
        super().__init__()
        hidden = [part for _ in range(layers) for part in (nn.Linear(64, 64), nn.Sigmoid())]
        self.net = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(64, 10))

    def forward(self, x, labels):
        logits = self.net(x)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


class Breaks(Exception):
    pass


class HuggingFace(Quiet):
    def trainer(self, model, data, callback, cls=Trainer, **options):
        settings = {"max_steps": 40, "per_device_train_batch_size": 8, "learning_rate": 3e-3, "logging_steps": 1,
                    "save_strategy": "no", "report_to": [], "disable_tqdm": True, "use_cpu": True, "seed": 1,
                    "dataloader_pin_memory": False, **options}
        arguments = TrainingArguments(output_dir=str(self.folder / "out"), **settings)
        return cls(model, arguments, train_dataset=data, eval_dataset=torch.utils.data.Subset(data, range(32)),
                   callbacks=[callback])

    def callback(self, **options):
        options = {"run": self.folder / "run", "every": 1, **options}
        return backprobe.huggingface.BackprobeCallback(**options)

    def gpt2(self, callback, cls=Trainer, **options):
        data = Characters()
        return self.trainer(tiny_gpt2(data.alphabet), data, callback, cls, **options)

    def test_a_healthy_transformer_is_silent(self):
        callback = self.callback()
        trainer = self.gpt2(callback, max_steps=60)
        trainer.train()
        self.assertEqual(callback.probe._settings.train_samples, len(Characters()))
        self.assertEqual(self.problems(callback), [])
        self.assertEqual(callback.probe.step, 60)
        self.assertEqual(callback.probe.unseen, ())
        self.assertEqual(backprobe.check(self.folder / "run"), [])
        self.assertEqual(list(trainer.model._forward_hooks), [])
        self.assertIn("60 steps watched, nothing found", self.said)

    def test_a_broken_network_is_found(self):
        callback = self.callback(on_finding=lambda _: None)
        self.trainer(DeepSigmoid(), Images(), callback, learning_rate=1e-3).train()
        self.assertEqual(self.problems(callback), ["vanishing-gradient"])
        self.assertEqual(callback.findings[0].layers[0], "net.1")
        self.assertEqual([f.problem for f in backprobe.check(self.folder / "run")], ["vanishing-gradient"])

    def test_accumulation_is_one_step_with_the_mean_loss(self):
        for every in (1, 3):
            with self.subTest(every=every):
                run = self.folder / f"run-{every}"
                callback = self.callback(run=run, every=every)
                trainer = self.gpt2(callback, max_steps=7, gradient_accumulation_steps=4)
                trainer.train()
                logged = [row["loss"] for row in trainer.state.log_history if "loss" in row]
                told = records(run)
                self.assertEqual([r.step for r in told], list(range(7)))
                for record, loss in zip(told, logged, strict=True):
                    self.assert_near(record["loss"], loss)
                self.assertEqual({r["samples"] for r in told if r.is_full}, {32})

    def test_evaluations_and_checkpoints_are_noted(self):
        callback = self.callback()
        trainer = self.gpt2(callback, max_steps=8, save_strategy="steps", save_steps=4, eval_strategy="steps",
                            eval_steps=4)
        trainer.train()
        state = json.loads((self.folder / "out/checkpoint-4/backprobe.json").read_text())
        self.assertEqual((state["step"], state["run_folder"]), (4, str(self.folder / "run")))

    def test_a_resumed_training_is_one_run(self):
        options = {"save_strategy": "steps", "save_steps": 4}
        self.gpt2(self.callback(), max_steps=4, **options).train()
        again = self.callback(run=None)
        trainer = self.gpt2(again, max_steps=12, **options)
        trainer.train(resume_from_checkpoint=str(self.folder / "out/checkpoint-4"))
        self.assertEqual(again.probe.step, 12)
        self.assertEqual(again.probe.run_folder, str(self.folder / "run"))
        self.assertEqual(backprobe.check(self.folder / "run"), [])

    def test_a_checkpoint_without_a_watch_begins_a_run(self):
        options = {"save_strategy": "steps", "save_steps": 4}
        callback = self.callback()
        self.gpt2(callback, max_steps=4, **options).train()
        (self.folder / "out/checkpoint-4/backprobe.json").unlink()
        again = self.callback(run=self.folder / "second")
        self.gpt2(again, max_steps=8, **options).train(
            resume_from_checkpoint=str(self.folder / "out/checkpoint-4"))
        self.assertEqual(again.probe.step, 4)

    def test_a_training_that_broke_off_can_be_begun_anew(self):
        class Breaking(Trainer):
            broken = False

            def training_step(self, *args, **named):
                if self.state.global_step == 3 and not self.broken:
                    self.broken = True
                    raise Breaks
                return super().training_step(*args, **named)

        callback = self.callback(run=False)
        trainer = self.gpt2(callback, Breaking, max_steps=6)
        with self.assertRaises(Breaks):
            trainer.train()
        first = callback.probe
        trainer.train()
        self.assertIsNot(callback.probe, first)
        self.assertEqual((first.step, callback.probe.step), (3, 6))
        self.assertEqual(list(trainer.model._forward_hooks), [])


def batched(values, n):
    return [values[i : i + n] for i in range(0, len(values), n)]


# --- Lightning ------------------------------------------------------------------------------------


class Digits(lightning.LightningModule):
    def __init__(self, activation=nn.ReLU, layers=2, breaks=None):
        super().__init__()
        hidden = [part for _ in range(layers) for part in (nn.Linear(64, 64), activation())]
        self.net = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(64, 10))
        self.breaks = breaks
        self.losses = []

    def training_step(self, batch, index):
        if self.breaks is not None and self.global_step == 3:
            raise self.breaks
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.losses.append(loss.item())
        return {"loss": loss}

    def validation_step(self, batch, index):
        x, y = batch
        out = self.net(x)
        self.log_dict({"val_loss": F.cross_entropy(out, y), "val_acc": (out.argmax(1) == y).float().mean()})

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class Gan(lightning.LightningModule):
    """Two optimisers with a part each, in manual optimisation, as Lightning's own example has it."""

    def __init__(self, toggles):
        super().__init__()
        self.automatic_optimization = False
        self.toggles = toggles
        self.generator = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 64))
        self.discriminator = nn.Sequential(nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def training_step(self, batch, index):
        real = batch[0].flatten(1)
        of_generator, of_discriminator = self.optimizers()
        fake = self.generator(torch.randn(len(real), 8))
        for optimizer, loss in (
            (of_discriminator, lambda: self.judged(real, 1) + self.judged(fake.detach(), 0)),
            (of_generator, lambda: self.judged(fake, 1)),
        ):
            if self.toggles:
                self.toggle_optimizer(optimizer)
            if optimizer is of_generator:
                fake = self.generator(torch.randn(len(real), 8))
            optimizer.zero_grad()
            self.manual_backward(loss())
            optimizer.step()
            if self.toggles:
                self.untoggle_optimizer(optimizer)

    def judged(self, images, as_what):
        out = self.discriminator(images)
        return F.binary_cross_entropy_with_logits(out, torch.full_like(out, as_what))

    def configure_optimizers(self):
        return [torch.optim.Adam(part.parameters(), lr=2e-4) for part in (self.generator, self.discriminator)]


class Lightning(Quiet):
    def callback(self, **options):
        return backprobe.lightning.BackprobeCallback(**{"run": self.folder / "run", "every": 1, **options})

    def fit(self, module, callback, *others, ckpt_path=None, **options):
        x, y = digits(1000)
        train = DataLoader(TensorDataset(x[:800], y[:800]), batch_size=32)
        validation = DataLoader(TensorDataset(x[800:], y[800:]), batch_size=200)
        settings = {"max_steps": 60, "accelerator": "cpu", "logger": False, "enable_progress_bar": False,
                    "enable_checkpointing": bool(others), "enable_model_summary": False,
                    "default_root_dir": self.folder, **options}
        trainer = lightning.Trainer(callbacks=[callback, *others], **settings)
        trainer.fit(module, train, validation if module.automatic_optimization else None, ckpt_path=ckpt_path)
        return trainer

    def test_a_healthy_network_is_silent(self):
        callback, module = self.callback(), Digits()
        trainer = self.fit(module, callback, gradient_clip_val=1.0)
        self.assertEqual(self.problems(callback), [])
        self.assertEqual(callback.probe.step, 60)
        self.assertEqual(callback.probe.unseen, ())
        self.assertEqual(backprobe.check(self.folder / "run"), [])
        self.assertNotIn("training_step", vars(trainer.strategy))
        self.assertNotIn("training_step", vars(module))

    def test_a_broken_network_is_found(self):
        callback = self.callback(on_finding=lambda _: None)
        self.fit(Digits(nn.Sigmoid, 12), callback)
        self.assertEqual(self.problems(callback), ["vanishing-gradient"])
        self.assertEqual(callback.findings[0].layers[0], "net.1")

    def test_accumulation_is_one_step_with_the_mean_loss(self):
        callback, module = self.callback(), Digits()
        self.fit(module, callback, max_steps=5, accumulate_grad_batches=4)
        self.assertEqual(callback.probe.step, 5)
        for record, losses in zip(records(self.folder / "run"), batched(module.losses, 4), strict=True):
            self.assert_near(record["loss"], sum(losses) / 4)
            self.assert_near(record["samples"], 4 * 32)

    def test_a_training_that_is_stopped_by_a_finding(self):
        callback = self.callback(on_error="stop", on_finding=lambda _: None)
        with self.assertRaises(backprobe.TrainingStopped):
            self.fit(Digits(nn.Sigmoid, 12), callback)
        self.assertLess(callback.probe.step, 60)

    def test_an_exception_ends_the_watch(self):
        for breaks, raised in ((Breaks(), Breaks), (KeyboardInterrupt(), SystemExit)):
            with self.subTest(raised.__name__):
                callback, module = self.callback(run=False), Digits(breaks=breaks)
                with self.assertRaises(raised):
                    self.fit(module, callback)
                self.assertEqual(callback.probe.step, 3)
                self.assertIn("3 steps watched", self.said)
                self.assertEqual([m for m in module.modules() if m._forward_hooks], [])

    def test_a_resumed_training_is_one_run(self):
        saved = ModelCheckpoint(self.folder / "saved", every_n_train_steps=10, save_top_k=-1)
        self.fit(Digits(), self.callback(), saved, max_steps=10)
        again = self.callback(run=None)
        self.fit(Digits(), again, max_steps=20, ckpt_path=saved.best_model_path)
        self.assertEqual(again.probe.step, 20)
        self.assertEqual(again.probe.run_folder, str(self.folder / "run"))
        self.assertEqual(backprobe.check(self.folder / "run"), [])

    def test_two_optimisers_get_a_watch_each(self):
        for toggles in (True, False):
            with self.subTest(toggles=toggles):
                callback = self.callback(run=self.folder / f"gan-{toggles}", objective="gan")
                self.fit(Gan(toggles), callback, max_steps=40)  # a step of either counts
                self.assertEqual(sorted(callback.probes), ["discriminator", "generator"])
                self.assertEqual([probe.step for probe in callback.probes.values()], [20, 20])
                self.assertEqual(self.problems(callback), [])
                # Without toggles nobody can tell whose loss goes backward: its value alone is taken.
                if toggles:
                    self.assertEqual([probe.unseen for probe in callback.probes.values()], [(), ()])
                told = records(self.folder / f"gan-{toggles}" / "generator")
                self.assertEqual([r["loss"] is None for r in told], 20 * [False])
                for part in ("generator", "discriminator"):
                    self.assertEqual(backprobe.check(self.folder / f"gan-{toggles}" / part), [])


class Imports(unittest.TestCase):
    def fresh(self, code):
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                              cwd=tempfile.gettempdir()).stdout.split()

    def test_the_callback_is_one_of_the_package_in_use(self):
        for package in ("lightning.pytorch", "pytorch_lightning"):
            code = (f"import {package} as pl; from backprobe.lightning import BackprobeCallback as B; "
                    "print(issubclass(B, pl.Callback))")
            self.assertEqual(self.fresh(code), ["True"])

    def test_huggingface_is_not_lightning(self):
        code = "import backprobe.huggingface, sys; print(*(n for n in ('lightning', 'keras') if n in sys.modules))"
        self.assertEqual(self.fresh(code), [])


if __name__ == "__main__":
    unittest.main()
