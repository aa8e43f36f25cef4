# SPDX-License-Identifier: Apache-2.0
"""Where the log of a run goes."""

from __future__ import annotations

import os
import pathlib
import re
import sys
from collections.abc import Mapping
from typing import Any

_MOST = 100_000  # runs of one name
_NO_SCRIPT = {"", "-c", "-", "-m"}


def name_of_script() -> str:
    """What a run is called that was given no name."""
    script = sys.argv[0] if sys.argv else ""
    if script in _NO_SCRIPT:
        return "python"
    path = pathlib.Path(script)
    stem = path.parent.name if path.stem == "__main__" else path.stem
    if stem in ("ipykernel_launcher", "colab_kernel_launcher"):
        return "notebook"
    return plain_name(stem)


def plain_name(name: str) -> str:
    """A name that is one part of a path on any system."""
    return re.sub(r"[^\w.-]+", "-", name).strip(".-")[:80] or "run"


def make_numbered(name: str) -> str:
    """Makes and returns `runs/<name>-<n>` with the first n that is free."""
    os.makedirs("runs", exist_ok=True)
    for number in range(1, _MOST):
        folder = os.path.join("runs", f"{name}-{number}")
        try:
            os.mkdir(folder)
        except FileExistsError:
            continue
        return os.path.abspath(folder)
    raise OSError(f"runs/{name}-1 … {_MOST} are all in use")


def make(folder: str) -> str:
    """Makes a folder that was asked for. One in use is refused: no run is ever overwritten."""
    refuse_used(folder)
    os.makedirs(folder, exist_ok=True)
    return os.path.abspath(folder)


def refuse_used(folder: str) -> None:
    if os.path.isdir(folder):
        if os.listdir(folder):
            raise FileExistsError(
                f"run={folder!r}: expected a new or empty folder, found one in use; to go on with its run "
                "pass resume=probe.state_dict() of that run"
            )
    elif os.path.lexists(folder):
        raise FileExistsError(f"run={folder!r}: expected a folder, found a file")


def check_state(state: Mapping[str, Any]) -> tuple[int, str | None]:
    """Step and folder of what state_dict() gave."""
    step = state.get("step") if isinstance(state, Mapping) else None
    if not isinstance(step, int) or step < 0 or state.get("version") != 1:
        raise ValueError(f"expected what probe.state_dict() gave, found {state!r:.80}")
    return step, state.get("run_folder")
