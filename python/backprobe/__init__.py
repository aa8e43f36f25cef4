# SPDX-License-Identifier: Apache-2.0
"""Watches the gradients of a deep network in training, names what is wrong, says why and what to do.

>>> import backprobe
>>> for finding in backprobe.check("runs/net-1"):
...     print(finding)
"""

from ._native import version as _version
from .finding import Edit, Evidence, Finding, Gain, Remedy, Symptom
from .replay import DamagedLogWarning, check

__version__: str = _version()

__all__ = [
    "DamagedLogWarning",
    "Edit",
    "Evidence",
    "Finding",
    "Gain",
    "Remedy",
    "Symptom",
    "__version__",
    "check",
]
