"""A spacetime or its sizes, not both; and what shows progress is checked before anything runs."""

import jax
import jax.numpy as jnp
import pytest

import feyngd as fd
from feyngd.landscapes import Landscape

KEY = jax.random.key(0)
LANDSCAPE = Landscape(lambda params, x: 0.5 * (params - x) ** 2, jnp.arange(4.0))
START = jnp.array(2.0)
SPACETIME = fd.Spacetime.sgd(4, 2)


@pytest.fixture(scope="module")
def anchored():
    return fd.anchor(LANDSCAPE, START, steps=2, learning_rate=0.1, num_samples=2, truncation_samples=0, key=KEY)


@pytest.mark.parametrize("given", [{"N": 9}, {"B": 2}, {"E": 1}, {"T": 2}, {"sampling": "fixed"}], ids=str)
def test_sizes_beside_a_spacetime_are_refused(anchored, given):
    ((name, size),) = given.items()
    with pytest.raises(fd.ArgumentError, match=rf"Give a spacetime or its sizes, not both; got .* and {name}={size!r}"):
        anchored.predict(SPACETIME, **given)
    with pytest.raises(fd.ArgumentError, match="not both"):
        anchored.orders(SPACETIME, **given, key=KEY)


def test_a_spacetime_and_its_sizes_predict_the_same(anchored):
    by_sizes = anchored.predict(N=4, B=2, E=1)
    assert by_sizes.spacetime == SPACETIME
    assert anchored.predict(SPACETIME).mean.tolist() == by_sizes.mean.tolist()
    assert anchored.predict(N=4, T=2, sampling="with-replacement").spacetime.B == 1
    with pytest.raises(fd.ArgumentError, match="spacetime is made by"):
        anchored.predict(4)


@pytest.mark.parametrize(
    "call",
    [
        lambda progress: fd.evaluate(fd.diagrams(1), LANDSCAPE, START, progress=progress),
        lambda progress: fd.predict(LANDSCAPE, START, SPACETIME, 0.1, progress=progress, key=KEY),
        lambda progress: fd.simulate(LANDSCAPE, START, SPACETIME, 0.1, runs=2, progress=progress, key=KEY),
        lambda progress: fd.simulate_sde(LANDSCAPE, START, SPACETIME, 0.1, runs=2, progress=progress, key=KEY),
        lambda progress: fd.near_minimum(LANDSCAPE, START, progress=progress, key=KEY),
        lambda progress: fd.anchor(LANDSCAPE, START, steps=2, learning_rate=0.1, progress=progress, key=KEY),
    ],
)
def test_what_cannot_show_progress_is_refused(call):
    with pytest.raises(fd.ArgumentError, match="progress"):
        call("bar")
