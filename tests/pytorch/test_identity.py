# SPDX-License-Identifier: Apache-2.0
"""A watched run is the unwatched one: losses, parameters, gradients, buffers and random states, bit
for bit, after each step; and what is watched can be copied, pickled and saved at any moment."""

import contextlib
import copy
import hashlib
import io
import pickle
import random
import tempfile
import unittest

import backprobe
import numpy
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.checkpoint import checkpoint

STEPS = 15
# What the watch is asked for; every=1 has hooks in each step, every=7 puts them on and takes them off.
WATCHES = ({}, {"every": 1}, {"every": 7})


# --- models, as people write them --------------------------------------------------------------


def mlp():
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 32), nn.Tanh(),
                         nn.Dropout(0.2), nn.Linear(32, 5))


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.relu(self.bn1(self.stem(x)))
        x = self.relu(self.bn2(self.conv(x)) + x)
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.lstm = nn.LSTM(8, 12, num_layers=2, dropout=0.1, batch_first=True)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        output, _ = self.lstm(self.embedding(x))
        return self.head(output[:, -1])


class Transformer(nn.Module):
    def __init__(self, use_reentrant=None):
        super().__init__()
        self.embedding = nn.Embedding(11, 16)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True) for _ in range(2)
        )
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 5)
        self.use_reentrant = use_reentrant

    def forward(self, x):
        x = self.embedding(x)
        for block in self.blocks:
            if self.use_reentrant is None:
                x = block(x)
            else:
                x = checkpoint(block, x, use_reentrant=self.use_reentrant)
        return self.head(self.norm(x).mean(1))


def vectors():
    return torch.randn(12, 20)


def pictures():
    return torch.randn(12, 2, 6, 6)


def texts():
    return torch.randint(11, (12, 7))


MODELS = {
    "mlp": (mlp, vectors),
    "convolutional": (Convolutional, pictures),
    "recurrent": (Recurrent, texts),
    "transformer": (Transformer, texts),
}
OPTIMISERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, 0.05, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, 0.01),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, 0.01, foreach=True),
    "fused adamw": lambda parameters: torch.optim.AdamW(parameters, 0.01, fused=True),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, 0.005),
}


# --- training and its trace --------------------------------------------------------------------


def bits_of(tensor):
    raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(raw.numpy().tobytes()).hexdigest()[:16]


def random_states():
    """Of torch, NumPy and Python."""
    return (
        bits_of(torch.get_rng_state()),
        hashlib.sha256(repr(numpy.random.get_state()).encode()).hexdigest()[:16],
        hashlib.sha256(repr(random.getstate()).encode()).hexdigest()[:16],
    )


def state_of(model, loss):
    state = {"loss": bits_of(loss), "random states": random_states()}
    for name, parameter in model.named_parameters():
        state[name] = bits_of(parameter)
        state[name + ".grad"] = None if parameter.grad is None else bits_of(parameter.grad)
    for name, buffer in model.named_buffers():
        state[name] = bits_of(buffer)
    return state


class Training:
    """Everything that a step is made of; `watch` None does without the watch."""

    def __init__(self, model, data, optimiser, watch, *, micro_batches=1, clip=None, autocast=None,
                 scaler=None, set_to_none=True, schedule=False):
        torch.manual_seed(7)
        numpy.random.seed(7)
        random.seed(7)
        self.model, self.data = model(), data
        self.optimizer = optimiser(self.model.parameters())
        self.schedule = schedule and torch.optim.lr_scheduler.StepLR(self.optimizer, 3)
        self.criterion = nn.CrossEntropyLoss()
        self.micro_batches, self.clip, self.set_to_none = micro_batches, clip, set_to_none
        self.autocast = autocast
        self.scaler = scaler and torch.amp.GradScaler("cpu", **scaler)
        self.watch, self.probe = watch, None

    def __enter__(self):
        if self.watch is not None:
            self.folder = tempfile.TemporaryDirectory()
            self.probe = backprobe.watch(self.model, self.optimizer, loss_fn=self.criterion,
                                         run=self.folder.name + "/run", on_finding=print, **self.watch)
        return self

    def __exit__(self, *exception):
        if self.probe is not None:
            self.probe.close()
            self.folder.cleanup()

    def backward(self):
        x, y = self.data(), torch.from_numpy(numpy.random.randint(0, 5, 12))
        with contextlib.nullcontext() if self.autocast is None else torch.autocast(
                "cpu", dtype=self.autocast):
            loss = self.criterion(self.model(x), y) / self.micro_batches
        (self.scaler.scale(loss) if self.scaler else loss).backward()
        return loss

    def update(self):
        if self.clip is not None:
            if self.scaler:
                self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        if self.schedule:
            self.schedule.step()

    def step(self):
        for _ in range(self.micro_batches):
            loss = self.backward()
        self.update()
        state = state_of(self.model, loss)
        random.random()
        self.optimizer.zero_grad(set_to_none=self.set_to_none)
        return state


def trace(*arguments, **options):
    quiet = io.StringIO()
    with contextlib.redirect_stderr(quiet), contextlib.redirect_stdout(quiet):
        with Training(*arguments, **options) as training:
            states = [training.step() for _ in range(STEPS)]
            steps = None if training.probe is None else training.probe.step
            cost = None if training.probe is None else training.probe._native.cost()
            blind = None if training.probe is None else training.probe.blind
    return states, steps, cost, blind


class IdentityTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
        torch.use_deterministic_algorithms(True)
        torch.set_num_threads(1)

    @classmethod
    def tearDownClass(cls):
        torch.use_deterministic_algorithms(cls.before[0])
        torch.set_num_threads(cls.before[1])

    def check(self, model, optimiser, skips=0, **options):
        make, data = MODELS[model] if isinstance(model, str) else model
        plain, *_ = trace(make, data, OPTIMISERS[optimiser], None, **options)
        for watch in WATCHES:
            with self.subTest(model=model, optimiser=optimiser, watch=watch, **options):
                watched, steps, cost, blind = trace(make, data, OPTIMISERS[optimiser], watch, **options)
                self.assertIsNone(blind)
                self.assertGreaterEqual(steps, STEPS - skips)
                self.assertGreaterEqual(cost["full_steps"], STEPS - skips if watch == {"every": 1} else 1)
                for number, (one, other) in enumerate(zip(plain, watched, strict=True)):
                    different = [key for key in one if one[key] != other[key]]
                    self.assertEqual(different, [], f"in step {number}")
                    self.assertEqual(list(one), list(other))

    def test_models_and_optimisers(self):
        for model in MODELS:
            for optimiser in ("sgd", "adam") if model != "transformer" else OPTIMISERS:
                self.check(model, optimiser)

    def test_mlp_with_every_optimiser(self):
        for optimiser in ("adamw", "fused adamw", "rmsprop"):
            self.check("mlp", optimiser, schedule=True)

    def test_bf16_autocast(self):
        for model in MODELS:
            self.check(model, "adamw", autocast=torch.bfloat16)

    def test_accumulation(self):
        for model in ("mlp", "convolutional", "transformer"):
            self.check(model, "sgd", micro_batches=3)
        self.check("mlp", "adam", micro_batches=2, set_to_none=False)

    def test_clipping(self):
        for model in ("mlp", "recurrent", "transformer"):
            self.check(model, "rmsprop", clip=0.1)

    def test_checkpointing(self):
        for use_reentrant in (False, True):
            self.check((lambda: Transformer(use_reentrant), texts), "adam")

    def test_loss_scaling(self):
        usual = {"init_scale": 1024.0, "growth_interval": 4}
        too_large = {"init_scale": 2.0**126, "growth_interval": 4, "backoff_factor": 2.0**-40}
        for optimiser in ("sgd", "fused adamw"):
            self.check("mlp", optimiser, scaler=usual, clip=0.1)
            self.check("transformer", optimiser, scaler=usual, autocast=torch.bfloat16)
            self.check("convolutional", optimiser, scaler=too_large, skips=4)

    def test_a_loss_told_by_hand(self):
        def run(watched):
            torch.manual_seed(3)
            model, states = mlp(), []
            optimizer = torch.optim.Adam(model.parameters())
            probe = backprobe.watch(model, optimizer, run=False, every=2) if watched else None
            for _ in range(STEPS):
                loss = nn.functional.cross_entropy(model(vectors()), torch.randint(5, (12,)))
                if probe:
                    probe.loss(loss)
                loss.backward()
                optimizer.step()
                states.append(state_of(model, loss))
                optimizer.zero_grad()
            if probe:
                self.assertEqual(probe.step, STEPS)
                probe.close()
            return states

        with contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(run(False), run(True))


# --- what is left behind -----------------------------------------------------------------------


def hooks_and_attributes(model, optimizer, criterion):
    """All that a watch could leave: hooks, attributes, of modules, parameters, optimiser."""
    seen = {}
    for name, module in [*model.named_modules(), ("criterion", criterion)]:
        seen[name] = {
            key: len(value) if isinstance(value, dict) else type(value).__name__
            for key, value in vars(module).items()
        }
        seen[name]["class"] = type(module)
    for name, parameter in model.named_parameters():
        seen[name] = (sorted(vars(parameter)), parameter._backward_hooks, type(parameter))
    seen["optimizer"] = {
        key: len(value) if isinstance(value, dict) and "hook" in key else type(value).__name__
        for key, value in vars(optimizer).items()
    }
    seen["optimizer class"] = type(optimizer), type(optimizer).step
    return seen


class TracesTest(unittest.TestCase):
    def test_nothing_is_left_behind(self):
        for model in MODELS:
            for watch in WATCHES:
                for steps in (0, 1, 9):
                    with self.subTest(model=model, watch=watch, steps=steps):
                        self.leaves_nothing(model, watch, steps)

    def leaves_nothing(self, model, watch, steps):
        make, data = MODELS[model]
        with Training(make, data, OPTIMISERS["adam"], None) as training:
            training.step()  # an optimiser's own state and hooks come with its first step
            things = training.model, training.optimizer, training.criterion
            before, keys = hooks_and_attributes(*things), list(training.model.state_dict())
            with contextlib.redirect_stderr(io.StringIO()):
                probe = backprobe.watch(training.model, training.optimizer, run=False,
                                        loss_fn=training.criterion, on_finding=print, **watch)
                for _ in range(steps):
                    training.step()
                    self.assertEqual(list(training.model.state_dict()), keys)
                    self.assertEqual(sorted(training.optimizer.state_dict()), ["param_groups", "state"])
                probe.close()
            self.assertEqual(hooks_and_attributes(*things), before)


# --- copies ------------------------------------------------------------------------------------


@contextlib.contextmanager
def kept_random_state():
    """What happens inside draws from it, and the training does not notice."""
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


def by_torch_save(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "copy.deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.save": by_torch_save,
}


class CopiesTest(unittest.TestCase):
    """In full steps, with all hooks on, and in light ones."""

    def run_with(self, make, data, watch, act):
        """Trains; `act` may do something with the training after each backward pass and after each
        step. Returns the trace, and what the log has."""
        with contextlib.redirect_stderr(io.StringIO()):
            with Training(make, data, OPTIMISERS["adam"], watch) as training:
                states = []
                for _ in range(6):
                    loss = training.backward()
                    act(training)
                    training.update()
                    states.append(state_of(training.model, loss))
                    training.optimizer.zero_grad()
                    act(training)
                steps = training.probe.step
                cost = training.probe._native.cost()
                findings = [finding.problem for finding in training.probe.findings]
        return states, steps, cost["full_steps"], findings

    def check(self, act):
        for model in ("mlp", "convolutional", "recurrent", "transformer"):
            make, data = MODELS[model]
            for watch in ({"every": 1}, {"every": 1000}):
                with self.subTest(model=model, watch=watch):
                    plain = self.run_with(make, data, watch, lambda training: None)
                    self.assertEqual(self.run_with(make, data, watch, act), plain)

    def test_copies_are_not_watched(self):
        for name, make_copy in COPIES.items():
            def act(training, make_copy=make_copy):
                with kept_random_state():
                    self.train_by_itself(make_copy(training.model), training.data)

            with self.subTest(name):
                self.check(act)

    def train_by_itself(self, twin, data):
        before = [bits_of(parameter) for parameter in twin.parameters()]
        optimizer = torch.optim.SGD(twin.parameters(), 0.1)
        twin.train()
        nn.functional.cross_entropy(twin(data()), torch.zeros(12, dtype=torch.int64)).backward()
        optimizer.step()
        self.assertNotEqual([bits_of(parameter) for parameter in twin.parameters()], before)

    def test_states_are_saved(self):
        def act(training):
            file = io.BytesIO()
            states = training.model.state_dict(), training.optimizer.state_dict()
            torch.save(states, file)
            file.seek(0)
            model, optimizer = torch.load(file, weights_only=True)
            self.assertEqual(list(model), list(states[0]))
            self.assertEqual(list(optimizer), list(states[1]))
            pickle.loads(pickle.dumps(training.optimizer))
            copy.deepcopy(training.optimizer)
            pickle.loads(pickle.dumps(training.criterion))(torch.ones(2, 3), torch.tensor([0, 1]))

        self.check(act)

    def test_averaged_models(self):
        averages = {}

        def act(training):
            average = averages.get(id(training))
            if average is None:
                averages.clear()
                average = averages[id(training)] = AveragedModel(training.model)
            average.update_parameters(training.model)
            with torch.no_grad(), kept_random_state():
                average(training.data())

        self.check(act)

    def test_states_are_loaded(self):
        def act(training):
            training.model.load_state_dict(copy.deepcopy(training.model.state_dict()))
            training.optimizer.load_state_dict(copy.deepcopy(training.optimizer.state_dict()))

        self.check(act)


if __name__ == "__main__":
    unittest.main()
