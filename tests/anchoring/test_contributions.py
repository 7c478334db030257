"""What noise contributes along the path, with its diagrams."""

import jax
import matplotlib
import pytest
from matplotlib.figure import Figure

import feyngd as fd
from feyngd.anchoring._prediction import noise_diagrams

matplotlib.use("agg")


@pytest.fixture(scope="module")
def anchored() -> fd.Anchored:
    landscape, params = fd.landscapes.toys.cosh()
    options = {"epoch_lengths": [2], "num_samples": 4, "key": jax.random.key(0)}
    return fd.anchor(landscape, params + 1.0, steps=4, learning_rate=0.1, **options)


def test_no_larger_diagram_is_of_second_order_in_the_noise() -> None:
    found = set()
    for diagram in (diagram for order in range(6) for diagram in fd.diagrams(order)):
        tied = {node for part in diagram.parts if len(part) > 1 for node in part}
        alone = set(range(1, diagram.order + 1)) - tied
        # Lone nodes in the path or its propagator have at most one child.
        if len(tied) == 2 and all(len(diagram.children[node]) >= 2 for node in alone):
            found.add(diagram)
    assert found == set(noise_diagrams()) == {fd.Diagram.parse(text) for text in ("[a a]", "[a[a]]", "[a[b b]]")}


def test_every_part_has_its_diagrams(anchored: fd.Anchored) -> None:
    for quantity, names in (
        ("test_loss", {"minibatch noise", "finite data"}),
        ("train_loss", {"minibatch noise", "finite data", "gap"}),
        ("gap", {"gap"}),
    ):
        assert set(anchored.predict(N=8, B=4, quantity=quantity, E=2).diagrams) == names
    # Those of the gap tie the measurement to a step.
    assert [str(d) for d in anchored.predict(N=8, B=4, quantity="gap", E=2).diagrams["gap"]] == ["a[a]"]
    higher = anchored.orders(N=8, B=4, E=2, order=3, num_samples=2, key=jax.random.key(0))
    assert higher.diagrams == {"order 2": noise_diagrams()}


@pytest.mark.parametrize("quantity", ["test_loss", "train_loss", "gap"])
def test_contributions_are_drawn_with_their_diagrams(anchored: fd.Anchored, quantity: str) -> None:
    prediction = anchored.predict(N=8, B=4, E=2, quantity=quantity)
    axes = Figure().subplots()
    assert prediction.plot_contributions(axes) is axes
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) == len(prediction.times)]
    assert len(lines) == len(prediction.parts)
    texts = {text.get_text() for text in axes.findobj(matplotlib.text.Text)}
    assert {str(prediction.spacetime), *prediction.parts} <= texts
    boxes = axes.findobj(matplotlib.offsetbox.DrawingArea)
    assert len(boxes) >= sum(map(len, prediction.diagrams.values()))
