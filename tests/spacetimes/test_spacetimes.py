"""Spacetimes: sizes, the messages about invalid ones, and the runs that are drawn."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import feyngd as fd
from feyngd import Spacetime

N, B, E, T = sympy.symbols("N B E T", integer=True, positive=True)
WITHOUT_REPLACEMENT = ("reshuffled", "fixed")
SAMPLINGS = (*WITHOUT_REPLACEMENT, "with-replacement")


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_steps_are_epochs_times_points_over_batch(sampling):
    spacetime = Spacetime.sgd(10, 2, 3, sampling=sampling)
    assert (spacetime.N, spacetime.B, spacetime.E, spacetime.T) == (10, 2, 3, 15)
    symbolic = Spacetime.sgd(N, B, E, sampling=sampling)
    assert sympy.simplify(symbolic.T - E * N / B) == 0
    assert symbolic.symbols == {N, B, E}
    assert not symbolic.is_concrete
    assert symbolic.subs({N: 10, B: 2, E: 3}) == spacetime
    assert hash(symbolic.subs({N: 10, B: 2, E: 3})) == hash(spacetime)


def test_defaults_and_lengths_in_steps():
    assert Spacetime.sgd(4) == Spacetime.sgd(4, 1, 1, sampling="reshuffled") == Spacetime.sgd(N=4, T=4)
    assert Spacetime.sgd(6, 2, T=9).E == 3
    assert Spacetime.sgd(6, 4, T=5, sampling="with-replacement").E is None
    assert Spacetime.sgd(2, 6, T=1, sampling="with-replacement").B == 6
    assert Spacetime.sgd(N, T=N * E).E == E
    assert Spacetime.sgd(4, 2, 0).T == 0
    gd = Spacetime.gd(5, 3)
    assert (gd.N, gd.B, gd.T, gd.sampling) == (5, 5, 3, "full-batch")
    assert Spacetime.gd(N, T).B == N


def test_sizes_of_other_integer_types():
    expected = Spacetime.sgd(4, 2, 3)
    for kind in (np.int64, np.int32, sympy.Integer, Fraction):
        assert Spacetime.sgd(kind(4), kind(2), kind(3)) == expected


@pytest.mark.parametrize("sampling", WITHOUT_REPLACEMENT)
def test_batches_must_divide_the_points(sampling):
    with pytest.raises(fd.SpacetimeError, match=r"N=7 is not a multiple of B=2.*B=1 or 7.*with-replacement") as caught:
        Spacetime.sgd(7, 2, sampling=sampling)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(fd.SpacetimeError, match=r"B=8 is larger than N=4"):
        Spacetime.sgd(4, 8, sampling=sampling)
    with pytest.raises(fd.SpacetimeError, match="not a multiple"):
        Spacetime.sgd(N, B, sampling=sampling).subs({N: 6, B: 4})


@pytest.mark.parametrize("bad", [0, -1, 2.0, 2.5, "3", True, None, Fraction(1, 2), sympy.Rational(3, 2), sympy.oo])
@pytest.mark.parametrize("name", ["N", "B"])
def test_sizes_that_are_no_positive_integers(name, bad):
    sizes = {"N": 4, "B": 1, name: bad}
    for sampling in SAMPLINGS:
        with pytest.raises(fd.SpacetimeError, match=rf"{name}=.* is not allowed: {name} is an integer ≥ 1"):
            Spacetime.sgd(**sizes, sampling=sampling)


@pytest.mark.parametrize("bad", [-1, 1.0, 0.5, "1", True, sympy.nan])
def test_lengths_that_are_no_integers(bad):
    with pytest.raises(fd.SpacetimeError, match=r"E=.* is not allowed: E is an integer ≥ 0"):
        Spacetime.sgd(4, 1, bad)
    with pytest.raises(fd.SpacetimeError, match=r"T=.* is not allowed: T is an integer ≥ 0"):
        Spacetime.sgd(4, 1, T=bad, sampling="with-replacement")
    with pytest.raises(fd.SpacetimeError, match=r"T=.* is not allowed"):
        Spacetime.gd(4, bad)


@pytest.mark.parametrize("bad", [[10], {}, np.array([4, 2]), sympy.true, 3 + 0j, sympy.Matrix([1])])
def test_sizes_that_are_no_numbers_at_all(bad):
    with pytest.raises(fd.SpacetimeError, match="N="):
        Spacetime.sgd(bad)


@pytest.mark.parametrize(
    ("assumptions", "missing"),
    [
        ({}, "integer=True and positive=True"),
        ({"integer": True}, "positive=True"),
        ({"integer": True, "nonnegative": True}, "positive=True"),
        ({"positive": True}, "integer=True"),
        ({"real": True}, "integer=True and positive=True"),
    ],
)
def test_symbols_must_be_positive_integers(assumptions, missing):
    symbol = sympy.Symbol("M", **assumptions)
    for name, make in (("N", lambda s: Spacetime.sgd(s)), ("B", lambda s: Spacetime.sgd(N, s))):
        with pytest.raises(fd.SpacetimeError, match=f"{name}=M lacks the assumption {missing}"):
            make(symbol)
    with pytest.raises(fd.SpacetimeError, match="N=M"):
        Spacetime.gd(symbol, 1)


def test_a_length_may_be_zero_but_a_size_may_not():
    length = sympy.Symbol("L", integer=True, nonnegative=True)
    epochs, steps = Spacetime.sgd(3, 1, length).E, Spacetime.gd(3, length).T
    assert epochs == steps == length
    with pytest.raises(fd.SpacetimeError, match="E=L lacks"):
        Spacetime.sgd(3, 1, sympy.Symbol("L"))


def test_unknown_samplings_list_the_known_ones():
    for sampling in ("shuffled", "full-batch", None, 3):
        with pytest.raises(fd.SpacetimeError, match=r"'reshuffled', 'fixed', 'with-replacement'.*Spacetime.gd"):
            Spacetime.sgd(4, sampling=sampling)


def test_lengths_that_are_no_whole_epochs_or_steps():
    with pytest.raises(fd.SpacetimeError, match="E or the number of steps T, not both; got E=1, T=4"):
        Spacetime.sgd(4, 1, 1, T=4)
    assert Spacetime.sgd(4, 2, T=3).is_cut
    with pytest.raises(fd.SpacetimeError, match="give E"):
        Spacetime.sgd(N, B, T=T)
    with pytest.raises(fd.SpacetimeError, match=r"E·N/B = 3/2 is not a whole number of steps: give T"):
        Spacetime.sgd(3, 2, 1, sampling="with-replacement")


def test_explicit_batches():
    spacetime = Spacetime.from_batches([[0, 0, 1], (2,)], N=4)
    assert (spacetime.N, spacetime.B, spacetime.T, spacetime.E) == (4, 3, 2, None)
    assert spacetime.batches() == [[0, 0, 1], [2]]
    assert spacetime.subs({N: 9}) is spacetime
    assert spacetime == Spacetime.from_batches(iter([np.array([0, 0, 1]), range(2, 3)]), N=4)
    assert list(spacetime.outcomes()) == [(1, ((0, 0, 1), (2,)))]
    assert Spacetime.from_batches([], N=2).T == 0


@pytest.mark.parametrize(
    ("batches", "points", "words"),
    [
        ([[0], []], 2, "Batch 1 is empty"),
        ([[0], [1, 2]], 2, r"Batch 1 names point\(s\) \[2\].*points are 0 to 1"),
        ([[-1]], 2, r"\[-1\]"),
        ([[0]], N, "concrete N"),
        ([[0]], 0, "N=0"),
        ([[0]], 2.0, r"N=2\.0"),
        ([[0.5]], 2, r"0\.5"),
        ([["1"]], 2, "'1'"),
        ([0, 1], 2, "Batch 0"),
    ],
)
def test_explicit_batches_that_are_refused(batches, points, words):
    with pytest.raises(fd.SpacetimeError, match=words):
        Spacetime.from_batches(batches, points)


def test_subs_checks_as_anew():
    symbolic = Spacetime.sgd(N, B, E)
    partly = symbolic.subs({N: 6})
    assert (partly.N, partly.B) == (6, B)
    assert partly.subs({B: 3, E: 2}) == Spacetime.sgd(6, 3, 2)
    assert Spacetime.gd(N, T).subs({N: 3, T: 2}) == Spacetime.gd(3, 2)
    lengths = Spacetime.sgd(N, B, T=T, sampling="with-replacement").subs({N: 3, B: 2, T: 5})
    assert lengths == Spacetime.sgd(3, 2, T=5, sampling="with-replacement")
    with pytest.raises(fd.SpacetimeError):
        symbolic.subs({N: 0})
    with pytest.raises(fd.SpacetimeError):
        symbolic.subs({N: 2.0})


def test_symbols_have_no_runs():
    symbolic = Spacetime.sgd(N, 1, E)
    for use in (lambda: symbolic.batches(np.random.default_rng(0)), symbolic.outcomes):
        with pytest.raises(fd.SpacetimeError, match=r"replace E, N with numbers by subs"):
            use()


def test_random_runs_need_a_source_of_randomness():
    for sampling in ("reshuffled", "with-replacement"):
        with pytest.raises(fd.SpacetimeError, match="rng="):
            Spacetime.sgd(4, 2, sampling=sampling).batches()
    assert Spacetime.sgd(4, 2, 2, sampling="fixed").batches() == [[0, 1], [2, 3]] * 2
    assert Spacetime.gd(3, 2).batches() == [[0, 1, 2]] * 2
    with pytest.raises(fd.SpacetimeError, match="different sizes"):
        Spacetime.from_batches([[0], [0, 1]], N=2).sample(None, 3)


@settings(max_examples=50)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 3), st.integers(0, 2**32))
def test_epochs_use_every_point_once(batch, steps, epochs, seed):
    points = batch * steps
    for sampling in WITHOUT_REPLACEMENT:
        spacetime = Spacetime.sgd(points, batch, epochs, sampling=sampling)
        runs = spacetime.sample(np.random.default_rng(seed), 5)
        assert runs.shape == (5, epochs * steps, batch)
        by_epoch = runs.reshape(5, epochs, points)
        assert (np.sort(by_epoch, axis=-1) == np.arange(points)).all()
        if sampling == "fixed":
            assert (by_epoch == np.arange(points)).all()


def test_reshuffled_epochs_are_independent_and_uniform():
    runs = Spacetime.sgd(3, 1, 2).sample(np.random.default_rng(1), 7200).reshape(7200, 6)
    counts = Counter(map(tuple, runs.tolist()))
    assert len(counts) == 36
    assert all(abs(count - 200) < 75 for count in counts.values())  # five standard deviations


def test_draws_with_replacement_are_independent_and_uniform():
    spacetime = Spacetime.sgd(3, 2, T=2, sampling="with-replacement")
    runs = spacetime.sample(np.random.default_rng(2), 16200)
    assert runs.shape == (16200, 2, 2)
    counts = Counter(map(tuple, runs.reshape(-1, 4).tolist()))
    assert len(counts) == 81
    assert all(abs(count - 200) < 75 for count in counts.values())


def test_the_same_seed_draws_the_same_run():
    spacetime = Spacetime.sgd(8, 2, 3)
    first, again = (spacetime.batches(np.random.default_rng(4)) for _ in range(2))
    assert first == again
    assert first != spacetime.batches(np.random.default_rng(5))


@settings(max_examples=60)
@given(
    fd.testing.spacetimes(
        samplings=("fixed", "reshuffled", "with-replacement", "full-batch", "explicit"), max_points=4, max_steps=4
    )
)
def test_outcomes_are_distinct_and_add_up_to_one(spacetime):
    outcomes = list(spacetime.outcomes())
    assert sum(p for p, _ in outcomes) == 1
    assert len({run for _, run in outcomes}) == len(outcomes)
    assert all(len(run) == spacetime.T for _, run in outcomes)
    if spacetime.sampling != "explicit":
        assert all(len(batch) == spacetime.B for _, run in outcomes for batch in run)
    drawn = spacetime.batches(np.random.default_rng(0))
    seen = {tuple(tuple(sorted(batch)) for batch in run) for _, run in outcomes}
    assert tuple(tuple(sorted(batch)) for batch in drawn) in seen


def test_randomness_and_text():
    assert not Spacetime.sgd(4).is_random
    assert Spacetime.sgd(4, 1, 2).is_random
    assert Spacetime.sgd(4, sampling="with-replacement").is_random
    assert not Spacetime.sgd(4, 1, 2, sampling="fixed").is_random
    assert not Spacetime.gd(4, 2).is_random
    assert str(Spacetime.sgd(N, B, E)) == "reshuffled, N, B, E"
    assert str(Spacetime.sgd(4, T=3, sampling="with-replacement")) == "with-replacement, N=4, B=1, T=3"
    assert str(Spacetime.gd(4, 2)) == "full batch, N=4, T=2"
    assert str(Spacetime.from_batches([[0], [1]], N=2)) == "2 explicit batches of N=2 points"


@pytest.mark.parametrize(
    "spacetime",
    [
        Spacetime.sgd(4, 4, 3),
        Spacetime.sgd(3, 1, 0),
        Spacetime.sgd(1, 1, 5),
        Spacetime.sgd(1, 2, T=3, sampling="with-replacement"),
    ],
)
def test_draws_without_a_choice_are_not_random(spacetime):
    assert not spacetime.is_random
    assert len({batches for _, batches in spacetime.outcomes()}) == 1
    diagram = fd.Diagram.parse("[a[b]]")
    assert len(list(fd.embeddings(diagram, spacetime))) == fd.count_embeddings(diagram, spacetime)


@pytest.mark.parametrize("kind", [np.int64, np.int8, np.uint16, np.array, sympy.Integer, Fraction])
def test_sizes_of_any_integers_are_exact(kind):
    assert Spacetime.sgd(kind(6), kind(2), kind(3)) == Spacetime.sgd(6, 2, 3)
    assert Spacetime.gd(kind(6), kind(2)) == Spacetime.gd(6, 2)
    assert Spacetime.sgd(kind(3), T=kind(2), sampling="with-replacement").T == 2
    assert Spacetime.from_batches([[0, 1]], kind(3)).N == 3


def test_sizes_of_jax_scalars_are_exact():
    jnp = pytest.importorskip("jax.numpy")
    assert Spacetime.sgd(jnp.array(6), jnp.int32(2), jnp.asarray(3)) == Spacetime.sgd(6, 2, 3)
    for bad in (jnp.array(True), jnp.array(6.0), jnp.array([6])):
        with pytest.raises(fd.SpacetimeError, match=r"N=.* is not allowed"):
            Spacetime.gd(bad, 2)


@pytest.mark.parametrize("bad", [np.True_, np.float64(4), np.float32(4), np.array([4]), np.array(4.0), 4 + 0j])
def test_sizes_that_are_no_integers_of_any_kind(bad):
    with pytest.raises(fd.SpacetimeError, match=r"N=.* is not allowed"):
        Spacetime.sgd(bad)
    with pytest.raises(fd.SpacetimeError, match=r"T=.* is not allowed"):
        Spacetime.gd(4, bad)


def test_gradient_descent_for_the_steps_of_another_run():
    """E·N/B counts the steps of SGD, and is checked once there are numbers."""
    gd = Spacetime.gd(N, E * N / B)
    assert gd.T == Spacetime.sgd(N, B, E).T
    assert gd.subs({N: 6, B: 2, E: 3}) == Spacetime.gd(6, 9)
    with pytest.raises(fd.SpacetimeError, match="T=3/2"):
        gd.subs({N: 6, B: 4, E: 1})
    assert Spacetime.sgd(N, B, T=E * N / B) == Spacetime.sgd(N, B, E)
    for bad in (N / B - 1, -N / B, N / 2, sympy.sqrt(N), N / sympy.Symbol("x", positive=True)):
        with pytest.raises(fd.SpacetimeError, match=r"T=.* lacks"):
            Spacetime.gd(N, bad)
    for make in (lambda: Spacetime.sgd(N / B), lambda: Spacetime.sgd(N, N / B), lambda: Spacetime.gd(E * N / B, 2)):
        with pytest.raises(fd.SpacetimeError, match=r"not known to be whole: write .*N = M\*B"):
            make()


@pytest.mark.parametrize(("E", "T"), [(3, 5), (2, 8), (0, 1)])
def test_sizes_that_contradict_each_other(E, T):
    with pytest.raises(fd.SpacetimeError, match=r"are not T=\d steps: T = E·N/B"):
        Spacetime(*map(sympy.Integer, (4, 2, E, T)), "fixed")
    with pytest.raises(fd.SpacetimeError, match="not both"):
        Spacetime.sgd(4, 2, E, T=T)
