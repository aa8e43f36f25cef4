# SPDX-License-Identifier: Apache-2.0
"""Watches the gradients of a deep network in training, names what is wrong, says why and what to do.

>>> import backprobe
>>> probe = backprobe.watch(model, optimizer, loss_fn=criterion)  # PyTorch
>>> for finding in backprobe.check("runs/net-1"):
...     print(finding)
"""

from typing import TYPE_CHECKING, Any

from ._native import version as _version
from .finding import Edit, Evidence, Finding, Gain, Remedy, Symptom
from .predict import LayerGain, Prediction, predict
from .replay import DamagedLogWarning, check
from .watch import TrainingStopped, watch

if TYPE_CHECKING:
    from .probe import Probe

__version__: str = _version()

__all__ = [
    "DamagedLogWarning",
    "Edit",
    "Evidence",
    "Finding",
    "Gain",
    "LayerGain",
    "Prediction",
    "Probe",
    "Remedy",
    "Symptom",
    "TrainingStopped",
    "__version__",
    "check",
    "predict",
    "watch",
]


def __getattr__(name: str) -> Any:
    # What needs PyTorch is loaded when it is asked for.
    if name == "Probe":
        from .probe import Probe

        return Probe
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
