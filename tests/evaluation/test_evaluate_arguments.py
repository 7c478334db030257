"""What evaluate takes and refuses, and what its estimates promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd

CHAIN, TIED, CROSSED = (fd.Diagram.parse(text) for text in ("[a[b]]", "[a[a]]", "a[b[a]]"))
KEY = jax.random.key(3)


def shifted_quartic(theta, x):
    return (theta[0] - x) ** 4 / 4 + jnp.sin(theta[1] * x) + theta[0] * theta[1] ** 2


def make_landscape(examples=7):
    return fd.Landscape(shifted_quartic, np.linspace(-1, 1.5, examples))


THETA = np.array([0.3, -0.6])


# --- how it runs --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole():
    """Values with all seven examples in one chunk."""
    with jax.enable_x64(True):
        return fd.evaluate(
            [TIED, CHAIN, CROSSED], make_landscape(), THETA, estimator="pairing", replicates=3, chunk_size=7, key=KEY
        )


@pytest.mark.parametrize("chunk_size", [1, 3, 64])
def test_chunks_do_not_matter(chunk_size, whole):
    with jax.enable_x64(True):
        chunked = fd.evaluate(
            whole, make_landscape(), THETA, estimator="pairing", replicates=3, chunk_size=chunk_size, key=KEY
        )
    for diagram in whole:
        np.testing.assert_allclose(chunked.replicates(diagram), whole.replicates(diagram), rtol=1e-12)


def test_the_key_decides_the_bits():
    landscape = make_landscape()
    first, again, other = (
        fd.evaluate(CROSSED, landscape, THETA, estimator="pairing", replicates=4, key=key)
        for key in (KEY, KEY, jax.random.key(4))
    )
    np.testing.assert_array_equal(first.replicates(CROSSED), again.replicates(CROSSED))
    assert not np.array_equal(first.replicates(CROSSED), other.replicates(CROSSED))
    assert len(set(first.replicates(CROSSED))) > 1


def test_a_key_is_needed_only_for_sampled_values():
    landscape = make_landscape()
    values = fd.evaluate([TIED, CHAIN], landscape, THETA)
    assert [values[diagram].stderr for diagram in (TIED, CHAIN)] == [None, None]
    with pytest.raises(fd.ArgumentError, match=r"key=jax\.random\.key"):
        fd.evaluate([TIED, CROSSED], landscape, THETA, estimator="pairing")
    summed = fd.evaluate([TIED, CROSSED], landscape, THETA)
    assert (summed[CROSSED].stderr, summed[CROSSED].kind) == (None, "contraction")


def test_scalar_parameters_and_one_example():
    landscape = fd.Landscape(lambda theta, x: jnp.exp(theta * x), np.array([0.5]))
    values = fd.evaluate([TIED, CROSSED], landscape, 0.0, replicates=2, key=KEY)
    assert values[TIED].value == pytest.approx(0.5**4)
    assert values[CROSSED].value == pytest.approx(0.5**4)


def test_nothing_asked_nothing_given():
    assert len(fd.evaluate([], make_landscape(), THETA)) == 0


# --- what it refuses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replicates", [1, 0, -2, 2.0, True, "16"])
def test_too_few_replicates(replicates):
    with pytest.raises(fd.ArgumentError, match="replicates is an integer ≥ 2"):
        fd.evaluate(CROSSED, make_landscape(), THETA, replicates=replicates, key=KEY)


@pytest.mark.parametrize("chunk_size", [0, -1, 1.5, "8", True])
def test_bad_chunk_size(chunk_size):
    with pytest.raises(fd.ArgumentError, match="chunk_size is an integer ≥ 1"):
        fd.evaluate(TIED, make_landscape(), THETA, chunk_size=chunk_size)


@pytest.mark.parametrize("mesh", [8, "cpu", ("examples",)])
def test_not_a_mesh(mesh):
    with pytest.raises(fd.ArgumentError, match="make_mesh"):
        fd.evaluate(TIED, make_landscape(), THETA, mesh=mesh)


def test_unknown_basis():
    with pytest.raises(fd.ArgumentError, match="central"):
        fd.evaluate(TIED, make_landscape(), THETA, basis="central")


def test_basis_against_the_series():
    series = fd.expand("test_loss", order=1, spacetime=fd.Spacetime.gd(4, 1))
    with pytest.raises(fd.ArgumentError, match="in_basis"):
        fd.evaluate(series, make_landscape(), THETA, basis="cumulant")


@pytest.mark.parametrize("what", ["[a]", 3, None, [TIED, "[a]"]])
def test_not_a_diagram(what):
    with pytest.raises(fd.ArgumentError, match="Diagram"):
        fd.evaluate(what, make_landscape(), THETA)


def test_loss_that_is_not_a_scalar():
    landscape = fd.Landscape(lambda theta, x: theta * x, np.ones(3))
    with pytest.raises(fd.LandscapeError, match=r"scalar.*\(2,\)"):
        fd.evaluate(TIED, landscape, THETA)


@pytest.mark.parametrize("data", [np.zeros((0, 2)), (), {"x": np.zeros(0)}])
def test_no_examples(data):
    with pytest.raises(fd.LandscapeError, match="holds"):
        fd.Landscape(shifted_quartic, data)


def test_parameters_that_are_not_finite():
    with pytest.raises(fd.LandscapeError, match="finite"):
        fd.evaluate(TIED, make_landscape(), np.array([0.3, np.nan]))


@pytest.mark.parametrize(("where", "chunk_size"), [(0, 64), (3, 1), (4, 2)])
def test_a_second_derivative_that_is_infinite_at_one_example(where, chunk_size):
    """Loss and gradient of (θ − x)^{3/2} are finite at θ = x; its curvature is not."""
    examples = np.array([-1.0, -2.0, -3.0, -4.0, -5.0])
    examples[where] = 0.5
    landscape = fd.Landscape(lambda theta, x: (theta - x) ** 1.5, examples)
    landscape.validate(0.5)
    with pytest.raises(fd.LandscapeError, match=rf"diagram \[a\[a\]\] is not finite at example {where}:"):
        fd.evaluate(fd.Diagram.parse("[a[a]]"), landscape, 0.5, chunk_size=chunk_size)


def test_an_infinite_derivative_inside_an_averaged_vector_names_the_diagram_asked_for():
    landscape = fd.Landscape(lambda theta, x: (theta - x) ** 1.5, np.array([-1.0, 0.5, -3.0]))
    asked = fd.Diagram.parse("[a[b[c]]]")
    with pytest.raises(fd.LandscapeError, match=r"not finite at example 1:") as caught:
        fd.evaluate(asked, landscape, 0.5)
    assert str(asked) in str(caught.value)


def test_an_infinite_derivative_in_a_pairing_names_its_examples():
    landscape = fd.Landscape(lambda theta, x: (theta - x) ** 1.5, np.array([-1.0, -2.0, 0.5]))
    with pytest.raises(fd.LandscapeError, match=r"not finite at example.* 2\b"):
        fd.evaluate(CROSSED, landscape, 0.5, key=KEY)


def test_a_sum_that_overflows_is_not_returned_as_infinity():
    """Every example's squared gradient, 2.25e38, is finite in float32; the sum of sixty-four is not."""
    landscape = fd.Landscape(lambda theta, x: x * theta, np.full(64, 1.5e19, dtype=np.float32))
    with pytest.raises(fd.LandscapeError, match="finite"):
        fd.evaluate(fd.Diagram.parse("a[a]"), landscape, 0.0)


# --- estimates ----------------------------------------------------------------------------------------------------


def test_estimate_from_replicates():
    rows = np.array([1.0, 2.0, 4.0])
    estimate = fd.Estimate.from_replicates(rows)
    assert estimate.value == pytest.approx(7 / 3)
    assert estimate.stderr == pytest.approx((7 / 3) ** 0.5 / 3**0.5)  # variance 7/3 with ddof=1
    assert (estimate.num_samples, estimate.kind) == (3, "pairing")
    low, high = estimate.interval(0.95)
    assert high - estimate.value == pytest.approx(4.302653 * estimate.stderr, rel=1e-6)  # Student-t, 2 degrees
    assert estimate.value - low == pytest.approx(high - estimate.value)
    assert str(estimate) == "2.33333 ± 0.88"


def test_exact_estimate():
    estimate = fd.Estimate.from_replicates(np.array([0.25]))
    assert estimate == fd.Estimate(0.25, None, 0, "exact")
    assert estimate.interval() == (0.25, 0.25)
    assert str(estimate) == "0.25"


@pytest.mark.parametrize("confidence", [0, 1, 95, -0.5, float("nan")])
def test_bad_confidence(confidence):
    with pytest.raises(fd.ArgumentError, match="confidence"):
        fd.Estimate(1.0, 0.1, 4, "pairing").interval(confidence)


def test_combining_values():
    values = fd.Values({TIED: np.array([2.0]), CHAIN: np.array([3.0]), CROSSED: np.array([1.0, 5.0])}, "moment")
    assert values.combine({TIED: 2.0, CHAIN: -1.0}) == fd.Estimate(1.0, None, 0, "exact")
    mixed = values.combine({TIED: 1.0, CROSSED: -2.0})
    assert (mixed.value, mixed.num_samples) == (-4.0, 2)
    assert mixed.stderr == pytest.approx(2 * values[CROSSED].stderr)
    assert values.combine({}) == fd.Estimate(0.0, None, 0, "exact")
    with pytest.raises(fd.ArgumentError, match=r"\[a\]"):
        values.combine({fd.Diagram.parse("[a]"): 1.0})


def test_values_print_every_diagram():
    values = fd.Values({TIED: np.array([2.0]), CROSSED: np.array([1.0, 5.0])}, "moment")
    assert str(values) == "[a[a]]    2\na[b[a]]   3 ± 2"
    assert repr(values) == "<Values of 2 diagrams, moment basis>"


@pytest.mark.parametrize("key", [5, "0", np.zeros(3)])
def test_a_key_that_is_none_is_refused(key):
    with pytest.raises(fd.ArgumentError, match=r"key=jax\.random\.key"):
        fd.evaluate(CROSSED, make_landscape(), THETA, estimator="pairing", key=key)


def test_not_a_landscape_is_refused():
    with pytest.raises(fd.ArgumentError, match="Landscape"):
        fd.evaluate(TIED, lambda theta, x: theta * x, 0.0)
