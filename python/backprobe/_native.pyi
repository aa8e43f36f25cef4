# SPDX-License-Identifier: Apache-2.0
"""The binding of libbackprobe. Private: `backprobe.check` is the interface."""

from typing import Any, Literal, TypedDict

class Damage(TypedDict):
    lost_records: int
    damaged_places: int
    lost_bytes: int
    unknown: int
    torn_tail: bool
    first: str | None

class Run(TypedDict):
    findings: list[dict[str, Any]]
    damage: Damage
    end: Literal["open", "finished", "interrupted", "stopped"]

def version() -> str: ...
def check(path: bytes, /) -> Run: ...
