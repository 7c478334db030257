"""Deflation is exact for any directions: what it takes out and what it leaves to pairing make the whole."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.evaluation.engine import Engine
from feyngd.evaluation.estimators import Setting, _deflation
from feyngd.evaluation.estimators._double_sum import all_rows
from feyngd.evaluation.planning import means_below

SIZE, EXAMPLES = 4, 3
DIAGRAMS = tuple(map(fd.Diagram.parse, ("[a a]", "[a a[b]]", "[a b[a]]", "[a[b a[b]]]", "[a[a[b] b[c]]]")))


def loss(theta, x):
    along = jnp.dot(x, theta)
    return along + jnp.tanh(along) * x[0] + jnp.sum(theta**4 * x**2) / 8 + along**3 / 6


def averages(engine, numbers):
    """The averages of numbers over all combinations of examples."""
    found = {}
    for positions in {tuple(sorted(number.positions)) for number in numbers}:
        group = tuple(number for number in numbers if tuple(sorted(number.positions)) == positions)
        rows = [engine.rows(group, one) for one in all_rows(positions, *engine.sizes)]
        found |= {number: np.mean([one[number] for one in rows]) for number in group}
    return [found[number] for number in numbers]


@pytest.fixture(scope="module")
def numbers():
    """An engine, what is known before anything is computed, and paired numbers with the ways to deflate them."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        landscape, point = fd.Landscape(loss, rng.normal(size=(EXAMPLES, SIZE))), rng.normal(size=SIZE) / 2
        plan = fd.plan(DIAGRAMS, landscape, point)
        # More parameters than there are, so that the directions do not count as all there are.
        setting = Setting(EXAMPLES, 0, 100, plan.ways)
        ways = {number: way for number in plan.paired if (way := _deflation.deflatable(plan.ways[number])) is not None}
        engine = Engine(landscape.frozen(point), point)
        engine.average(plan.means)
        for way in ways.values():
            engine.average(means_below(way))
        yield engine, setting, ways


def test_the_exact_part_and_the_rest_make_the_whole_with_any_directions(numbers, monkeypatch):
    """The directions are random: those of the gradients would hide that the two vectors of a pair are exchanged."""
    engine, setting, ways = numbers
    with jax.enable_x64(True):
        basis = jnp.asarray(np.linalg.qr(np.random.default_rng(1).normal(size=(SIZE, 2)))[0].T)
        monkeypatch.setattr(_deflation, "_leading_directions", lambda *given: basis)
        splits = _deflation.Deflation().split(list(ways), setting, engine, jax.random.key(0), lambda: None)
        whole, rest = averages(engine, list(ways)), averages(engine, [splits[number].rest for number in ways])
        exact = [splits[number].fixed for number in ways]
    np.testing.assert_allclose(np.add(exact, rest), whole, rtol=1e-9)
    assert (np.abs(exact) > 1e-3).all()
    assert (np.abs(rest) > 1e-3).all()


def test_directions_that_span_all_parameters_leave_nothing(numbers):
    engine, setting, ways = numbers
    small = dataclasses.replace(setting, num_params=SIZE)
    with jax.enable_x64(True):
        splits = _deflation.Deflation().split(list(ways), small, engine, jax.random.key(0), lambda: None)
        whole = averages(engine, list(ways))
    assert {split.rest for split in splits.values()} == {None}
    np.testing.assert_allclose([splits[number].fixed for number in ways], whole, rtol=1e-9)


def test_some_numbers_change_when_their_vectors_are_exchanged(numbers):
    """Otherwise the test above would not see both cross terms: here are all four kinds, by the vectors and by these."""
    _, _, ways = numbers
    kinds = set()
    for way in ways.values():
        u, v, position = _deflation._pair(way)
        pairs = (_deflation.LEFT, _deflation.RIGHT), (_deflation.RIGHT, _deflation.LEFT)
        one, other = (_deflation._closed(_deflation._substituted(way, position, iter(pair))) for pair in pairs)
        kinds.add((u == v, one == other))
    assert kinds == {(False, False), (False, True), (True, False), (True, True)}
