# SPDX-License-Identifier: Apache-2.0
"""Hugging Face's Trainer on a tiny GPT-2 from its configuration, on the project's text."""

import logging
import tempfile

import torch
from data import text
from outcome import Fault, Goal
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

GOAL = Goal("loss", at_most=3.3)
STEPS = 120
BROKEN = {
    "initializer_range": Fault(
        "initializer_range=2", "exploding-gradient", "transformer.wte", since=(0, 5)
    ),
    "rate": Fault("learning rate 1000 times too high", "learning-rate-too-high", since=(0, 20)),
}


class Characters(torch.utils.data.Dataset):
    def __init__(self, characters, window):
        self.alphabet = sorted(set(characters))
        self.data = torch.tensor([self.alphabet.index(c) for c in characters])
        self.window = window

    def __len__(self):
        return len(self.data) // self.window

    def __getitem__(self, i):
        tokens = self.data[i * self.window : (i + 1) * self.window]
        return {"input_ids": tokens, "labels": tokens}


def main(watch, broken=None, steps=STEPS):
    logging.getLogger("transformers").setLevel(logging.ERROR)
    dataset = Characters(text()[:40000], window=32)
    config = GPT2Config(
        vocab_size=len(dataset.alphabet), n_positions=32, n_embd=48, n_layer=3, n_head=4,
        initializer_range=2.0 if broken == "initializer_range" else 0.02,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, max_steps=steps, per_device_train_batch_size=8,
            learning_rate=3.0 if broken == "rate" else 3e-3, warmup_steps=10,
            logging_steps=10, save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True,
            dataloader_pin_memory=False, seed=torch.initial_seed() % 2**31,
        )  # fmt: skip
        trainer = Trainer(model, arguments, train_dataset=dataset, callbacks=watch.huggingface())
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return sum(losses[-3:]) / 3
