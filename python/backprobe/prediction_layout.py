# SPDX-License-Identifier: Apache-2.0
"""A prediction as text: a table with bars, from the input to the loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from . import picture
from .terminal import Page, columns, number, shown

if TYPE_CHECKING:
    from .predict import LayerGain, Prediction

_MARGIN, _MAX_NAME, _MAX_BAR, _MIN_BAR = 2, 24, 22, 6
_COLUMNS = (("error signal", 13), ("gain", 9), ("predicted", 11), ("forward", 9), ("variation", 11))


def text_of(prediction: Prediction, width: int, colour: bool) -> str:
    page = Page(width, colour)
    page.wrap(f"prediction from one batch: {prediction.verdict}", _MARGIN, "bold")
    page.end_line()
    if prediction.loss is not None:
        page.pad(_MARGIN)
        page.put(f"loss {number(prediction.loss, 3)}")
        page.end_line()
    if prediction.layers:
        _put_table(page, prediction)
    for text in prediction.unseen:
        _put_paragraph(page, "not seen:", text)
    if prediction.not_predicted:
        _put_paragraph(page, "not predicted:", prediction.not_predicted)
    if prediction.trainable_layers is not None:
        _put_paragraph(page, "depth:", _depth(prediction.trainable_layers, len(prediction.layers)))
    if prediction.critical is not None:
        _put_paragraph(page, "critical:", prediction.critical)
    if prediction.problem is not None:
        _put_paragraph(page, "see:", f"backprobe explain {prediction.problem}")
    return page.text()


def _depth(trainable: float, present: int) -> str:
    if math.isinf(trainable):
        return "any number of such layers can be trained"
    return (
        f"about {number(max(1.0, round(trainable)), 3)} such layers can be trained, "
        f"the network has {present}"
    )


def _put_paragraph(page: Page, label: str, text: str) -> None:
    page.pad(_MARGIN)
    page.put(f"{label} ", "bold")
    page.wrap(text, 9)
    page.end_line()


def _put_table(page: Page, prediction: Prediction) -> None:
    layers = prediction.layers
    chosen = _rows(layers)
    digits = len(str(layers[-1].layer_id))
    rest = page.width - _MARGIN - sum(room for _, room in _COLUMNS)
    name = min(_MAX_NAME, max(columns(shown(layers[i].layer)) for i in chosen), rest - digits - 1)
    label = max(5, digits + 1 + name)
    scale = picture.Scale([layer.error_norm for layer in layers])
    room = min(_MAX_BAR, rest - label - 1)
    room = 0 if room < _MIN_BAR or scale.is_empty else room
    page.pad(_MARGIN)
    page.cell("layer", label, "dim")
    if room:
        page.cell(" (log scale)", room + 1, "dim")
    for head, wide in _COLUMNS:
        page.cell(head, wide, "dim", right=True)
    page.end_line()
    for i in chosen:
        layer = layers[i]
        page.pad(_MARGIN)
        page.put(f"{layer.layer_id:>{digits}} ")
        page.cell(layer.layer, label - 1 - digits)
        if room:
            page.put(" ")
            page.cell(scale.bar(layer.error_norm, room), room, "hint")
        values = (
            layer.error_norm,
            layer.backward,
            layer.predicted,
            layer.forward,
            layer.variation,
        )
        for value, (_, wide) in zip(values, _COLUMNS, strict=True):
            page.cell("–" if value is None else number(value), wide, right=True)
        page.end_line()
    if len(chosen) < len(layers):
        page.pad(_MARGIN)
        page.put(f"({len(chosen)} of {len(layers)} layers are shown)", "dim")
        page.end_line()


def _rows(layers: tuple[LayerGain, ...]) -> list[int]:
    return picture.rows_by([0.0] * len(layers)) if layers else []
