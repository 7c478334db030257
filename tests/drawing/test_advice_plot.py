"""The figure of a table of advice: one row a change, with its words, its figures and its errors."""

from types import SimpleNamespace

import numpy as np
from matplotlib.figure import Figure

from feyngd.drawing import plot_advice


def change(text, value, stderr, truncation, is_clear):
    effect = SimpleNamespace(value=value, stderr=stderr)
    return SimpleNamespace(change=text, effect=effect, truncation=truncation, is_clear=is_clear)


def test_rows_have_words_figures_and_bars() -> None:
    rows = [change("more", -0.2, 0.01, 0.03, True), change("less", 0.1, None, np.nan, False)]
    ax = plot_advice(SimpleNamespace(rows=rows, planned=SimpleNamespace(spacetime="a run")), Figure().subplots())
    assert [text.get_text() for text in ax.texts] == ["more", "-0.2 ± 0.01", "less", "+0.1 ± 0 (unclear)"]
    thin, thick, point = ax.lines[:3]
    assert np.allclose(thin.get_xdata(), [-0.25, -0.15])
    assert np.allclose(thick.get_xdata(), [-0.22, -0.18])
    assert point.get_markerfacecolor() != "white"
    assert np.allclose(ax.lines[3].get_xdata(), 0.1)  # exact, and without a truncation figure
    assert ax.lines[5].get_markerfacecolor() == "white"
    low, high = ax.get_ylim()
    assert low > high  # those that help most stand above
    assert ax.get_title() == "instead of a run"
