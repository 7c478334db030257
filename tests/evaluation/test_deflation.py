"""Deflation is exact for any directions: what it takes out and what it leaves to pairing make the whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.evaluation import _deflation
from feyngd.evaluation._engine import Engine
from feyngd.evaluation._expressions import means_below
from feyngd.evaluation._rows import all_rows

SIZE, EXAMPLES = 4, 3
DIAGRAMS = tuple(map(fd.Diagram.parse, ("[a a]", "[a b[a]]", "[a[b[b[a]]]]", "[a[b a[b]]]")))


def loss(theta, x):
    along = jnp.dot(x, theta)
    return along + jnp.tanh(along) * x[0] + jnp.sum(theta**4 * x**2) / 8 + along**3 / 6


def averages(engine, number):
    """The average of a number over all combinations of examples."""
    if len(number.positions) < 2:
        return engine.exact((number,))[number]
    rows = all_rows(tuple(sorted(number.positions)), *engine.sizes)
    return np.mean([engine.rows((number,), one)[number] for one in rows])


@pytest.fixture(scope="module")
def numbers():
    """An engine, and paired numbers with the ways to deflate them."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        landscape, point = fd.Landscape(loss, rng.normal(size=(EXAMPLES, SIZE))), rng.normal(size=SIZE) / 2
        plan = fd.evaluate(DIAGRAMS, landscape, point, plan_only=True)
        ways = {number: way for number in plan.paired if (way := _deflation.deflatable(plan.ways[number])) is not None}
        engine = Engine(landscape, point)
        engine.average(plan.means)
        for way in ways.values():
            engine.average(means_below(way))
        yield engine, ways


def test_the_exact_part_and_the_rest_make_the_whole_with_any_directions(numbers, monkeypatch):
    """The directions are random: those of the gradients would hide that the two vectors of a pair are exchanged."""
    engine, ways = numbers
    with jax.enable_x64(True):
        basis = jnp.asarray(np.linalg.qr(np.random.default_rng(1).normal(size=(SIZE, 2)))[0].T)
        monkeypatch.setattr(_deflation, "_leading_directions", lambda *given: basis)
        deflation = _deflation.Deflation(engine, ways, jax.random.key(0))
        for number in ways:
            whole = averages(engine, number)
            exact, rest = deflation.exact[number], averages(engine, deflation.residual(number))
            assert abs(exact + rest - whole) < 1e-9 * (abs(exact) + abs(rest) + abs(whole)), number.text


def test_some_numbers_change_when_their_vectors_are_exchanged(numbers):
    """Otherwise the test above would not see both cross terms."""
    _, ways = numbers
    exchanged = []
    for way in ways.values():
        _, _, position = _deflation._pair(way)
        pairs = (_deflation.LEFT, _deflation.RIGHT), (_deflation.RIGHT, _deflation.LEFT)
        one, other = (_deflation._closed(_deflation._substituted(way, position, iter(pair))) for pair in pairs)
        exchanged.append(one != other)
    assert len(ways) >= 4
    assert any(exchanged)
    assert not all(exchanged)
