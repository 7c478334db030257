"""Diagrams inside matplotlib figures: the same picture as the SVG."""

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnchoredOffsetbox
from matplotlib.patches import Circle

import feyngd as fd
from feyngd.drawing import _matplotlib, diagram_box

ALL = [diagram for order in range(4) for diagram in fd.diagrams(order, root_tied=True)]


@pytest.mark.parametrize("diagram", ALL, ids=str)
def test_a_box_has_all_nodes_edges_and_outlines_within_it(diagram: fd.Diagram) -> None:
    box = diagram_box(diagram, scale=0.7)
    artists = box.get_children()
    nodes = [artist for artist in artists if isinstance(artist, Circle) and artist.get_fill()]
    lines = [artist for artist in artists if isinstance(artist, Line2D)]
    assert len(nodes) == diagram.order + 1
    assert len(lines) == diagram.order + sum(len(part) > 1 for part in diagram.parts)
    colours = [matplotlib.colors.to_hex(node.get_facecolor()) for node in nodes]
    for part in diagram.parts:
        assert len({colours[node] for node in part}) == 1
    for node in nodes:
        assert 0 < node.center[0] < box.width
        assert 0 < node.center[1] < box.height


def test_time_flows_from_left_to_right_to_the_ringed_root() -> None:
    circles = [
        artist for artist in diagram_box(fd.Diagram.parse("[a[b b]]")).get_children() if isinstance(artist, Circle)
    ]
    (ring,) = (circle for circle in circles if not circle.get_fill())
    assert all(ring.center[0] >= circle.center[0] for circle in circles)


def test_a_box_is_drawn_in_a_figure() -> None:
    figure = Figure()
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_axis_off()
    canvas.draw()
    empty = bytes(canvas.buffer_rgba())
    axes.add_artist(AnchoredOffsetbox(loc="center", child=diagram_box(fd.Diagram.parse("[a a]"))))
    canvas.draw()
    assert bytes(canvas.buffer_rgba()) != empty


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), "big"])
def test_scales_that_are_no_sizes_are_refused(scale: object) -> None:
    with pytest.raises(fd.ArgumentError, match="scale"):
        diagram_box(ALL[0], scale=scale)  # type: ignore[arg-type]


def test_only_diagrams_are_drawn() -> None:
    with pytest.raises(fd.ArgumentError, match="Only diagrams"):
        diagram_box("[a a]")  # type: ignore[arg-type]


def test_matplotlib_is_asked_for(monkeypatch):
    monkeypatch.setattr(_matplotlib, "find_spec", lambda name: None)
    with pytest.raises(fd.FeynGDError, match=r"pip install 'feyngd\[plotting\]'"):
        diagram_box(ALL[0])
