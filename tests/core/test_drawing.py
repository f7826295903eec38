"""Protects the look of every figure: extremes stay, watermarks show, colours are told apart."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from workbench.core.drawing import ACCENT, DOWN, LINES, MAX_POINTS, QUIET, thin, titled


def test_thin_keeps_the_extremes_and_the_ends():
    series = pd.Series(np.random.default_rng(0).normal(size=100_000).cumsum())
    drawn = thin(series)
    assert len(drawn) <= MAX_POINTS + 2
    assert (drawn.min(), drawn.max()) == (series.min(), series.max())
    assert (drawn.index[0], drawn.index[-1]) == (0, 99_999)


# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
}  # fmt: skip
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour, matrix):
    """CIELAB of a colour as somebody with a kind of colour blindness sees it."""
    rgb = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = XYZ @ np.clip(np.array(matrix) @ linear, 0, 1) / XYZ.sum(axis=1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("kind", BLINDNESS)
@pytest.mark.parametrize(
    "pair", [(ACCENT, DOWN), (QUIET, DOWN), (ACCENT, LINES[1]), (ACCENT, QUIET)]
)
def test_colours_that_mean_something_are_told_apart_by_the_colour_blind(pair, kind):
    """A distance of 2.3 is just noticed; ten times that cannot be missed."""
    one, other = (lab(colour, BLINDNESS[kind]) for colour in pair)
    assert np.linalg.norm(one - other) > 23


def test_titled_carries_the_watermark_and_leaves_room_for_a_note():
    plain = titled(go.Figure(), "It gained", "")
    marked = titled(go.Figure(), "It gained", "SYNTHETIC", note="How to read it")
    assert plain.layout.title.text == "It gained"
    assert marked.layout.title.text == "<b>SYNTHETIC</b> · It gained"
    assert marked.layout.margin.t > plain.layout.template.layout.margin.t
