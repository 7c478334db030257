"""Values of diagrams in JAX against the same values in rational arithmetic, and against their own error bars."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.diagrams import value_representative

BLOCK = 16
BLOCKS = 400
UP_TO_ORDER_3 = [diagram for order in range(4) for diagram in fd.diagrams(order, root_tied=True)]
# A pair of parts, two tied pairs that cross, and three parts in one pairing.
PAIRED = tuple(fd.Diagram.parse(text) for text in ("a[b[a]]", "a[b[a] b]", "a[b[c[a]]]"))
# Order 4: parts that cross, parts nested inside others, four parts in one pairing, a tied root.
ORDER_4 = [
    fd.Diagram.parse(text)
    for text in ("[a[b[a[b]]]]", "[a[b[b[a]]]]", "a[b[c[d[a]]]]", "[a[b] a[b]]", "[a b[a b]]", "a[b[b] c[a]]")
]


def close(value, exact):
    return abs(value - float(exact)) <= 1e-12 * max(1.0, abs(float(exact)))


def assert_within_error(values, exact_value):
    """Exact estimates to rounding, sampled ones within 4.5 standard errors."""
    for diagram, estimate in values.items():
        exact = exact_value(diagram)
        if estimate.stderr is None:
            assert close(estimate.value, exact), f"{diagram}: {estimate.value!r} instead of {float(exact)!r}"
        else:
            score = (estimate.value - float(exact)) / estimate.stderr
            assert abs(score) < 4.5, f"{diagram}: {estimate} instead of {float(exact)}"


def sampled(values):
    """One diagram for each value that is sampled."""
    return list({value_representative(d): d for d in values if values[d].stderr is not None}.values())


@pytest.fixture(scope="module")
def summed(three_examples):
    """Every value of order ≤ 3 by the exact sum over all combinations of three examples."""
    with jax.enable_x64(True):
        return fd.evaluate(UP_TO_ORDER_3, three_examples.landscape, three_examples.params, estimator="double-sum")


@pytest.fixture(scope="module")
def paired(twin):
    with jax.enable_x64(True):
        return fd.evaluate(
            PAIRED,
            twin.landscape,
            twin.params,
            estimator="pairing",
            replicates=BLOCKS * BLOCK,
            key=jax.random.key(1),
            chunk_size=12,
        )


def test_values_up_to_order_3_are_exact_over_all_combinations(three_examples, summed):
    assert len(summed) == 1 + 2 + 9 + 48
    for diagram, estimate in summed.items():
        assert estimate.stderr is None
        assert close(estimate.value, three_examples.exact.moment(diagram)), f"{diagram}: {estimate.value!r}"


def test_cumulants_up_to_order_3_are_exact_over_all_combinations(three_examples):
    with jax.enable_x64(True):
        values = fd.evaluate(
            UP_TO_ORDER_3, three_examples.landscape, three_examples.params, basis="cumulant", estimator="double-sum"
        )
    for diagram, estimate in values.items():
        assert close(estimate.value, three_examples.exact.cumulant(diagram)), f"{diagram}: {estimate.value!r}"


def test_equal_values_come_from_equal_replicates(summed):
    by_value = {}
    for diagram in summed:
        by_value.setdefault(value_representative(diagram), []).append(diagram)
    assert len(by_value) < len(summed)
    for first, *others in by_value.values():
        for other in others:
            np.testing.assert_array_equal(summed.replicates(first), summed.replicates(other))


def test_cumulants_are_exact_or_within_their_error(twin):
    third = ["[a a a]", "[a[a a]]", "[a[a] a]", "[a[b] a]", "[a[b[a]]]", "a[b a c]"]
    diagrams = [*UP_TO_ORDER_3[:12], *map(fd.Diagram.parse, third)]
    with jax.enable_x64(True):
        values = fd.evaluate(
            diagrams,
            twin.landscape,
            twin.params,
            basis="cumulant",
            estimator="pairing",
            replicates=100,
            key=jax.random.key(2),
        )
    assert values.basis == "cumulant"
    assert_within_error(values, twin.exact.cumulant)
    assert any(twin.exact.cumulant(diagram) != twin.exact.moment(diagram) for diagram in diagrams)


def test_a_series_brings_its_basis(twin):
    series = fd.expand("gap", order=1, spacetime=fd.Spacetime.gd(5, 2), basis="cumulant")
    with jax.enable_x64(True):
        values = fd.evaluate(series, twin.landscape, twin.params)
    assert (values.basis, set(values)) == ("cumulant", set(series))
    assert_within_error(values, twin.exact.cumulant)


def test_order_4_with_crossing_and_nested_parts(twin):
    with jax.enable_x64(True):
        values = fd.evaluate(
            ORDER_4, twin.landscape, twin.params, estimator="pairing", replicates=300, key=jax.random.key(4)
        )
    assert {diagram.order for diagram in values} == {4}
    assert len(sampled(values)) >= 5
    assert_within_error(values, twin.exact.moment)


@pytest.mark.slow
def test_pairing_is_unbiased(twin, paired):
    assert len(sampled(paired)) == len(PAIRED)
    assert_within_error(paired, twin.exact.moment)


@pytest.mark.slow
def test_standard_scores_are_standard(twin, paired):
    for diagram in PAIRED:
        estimates = [fd.Estimate.from_replicates(rows) for rows in paired.replicates(diagram).reshape(40, -1)]
        scores = [(estimate.value - float(twin.exact.moment(diagram))) / estimate.stderr for estimate in estimates]
        assert abs(np.mean(scores)) < 4.5 / 40**0.5
        assert 0.6 < np.std(scores) < 1.5


@pytest.mark.slow
def test_intervals_cover_the_exact_value(twin, paired):
    """Sixteen replicates and a Student-t interval, four hundred times over: how often is the truth inside?"""
    shares = []
    for diagram in PAIRED:
        exact = float(twin.exact.moment(diagram))
        intervals = [
            fd.Estimate.from_replicates(rows).interval(0.95) for rows in paired.replicates(diagram).reshape(-1, BLOCK)
        ]
        assert len(intervals) == BLOCKS
        shares.append(np.mean([low <= exact <= high for low, high in intervals]))
        assert 0.92 <= shares[-1] <= 0.98, f"{diagram}: {shares[-1]}"
    assert 0.93 <= np.mean(shares) <= 0.97


@pytest.mark.slow
def test_a_combination_of_correlated_values_has_an_honest_error(twin, paired):
    """The difference of two values that share their pairings: correct coverage, which errors in quadrature miss."""
    first, second, _ = PAIRED
    rows = np.stack([paired.replicates(first), paired.replicates(second)])
    correlation = np.corrcoef(rows)[0, 1]
    assert abs(correlation) > 0.3
    weights = {first: 1 / rows[0].std(), second: -np.sign(correlation) / rows[1].std()}
    exact = sum(weight * float(twin.exact.moment(diagram)) for diagram, weight in weights.items())
    inside, quadrature = [], []
    for start in range(0, BLOCKS * BLOCK, BLOCK):
        part = fd.Values({d: paired.replicates(d)[start : start + BLOCK] for d in weights}, "moment")
        low, high = part.combine(weights).interval()
        inside.append(low <= exact <= high)
        quadrature.append(np.hypot(*(weight * part[d].stderr for d, weight in weights.items())) / (high - low))
    assert 0.91 <= np.mean(inside) <= 0.985
    reach = 2 * 2.1314  # both sides of a 95 % Student-t interval with 15 degrees of freedom
    assert np.mean(quadrature) * reach > 1.1, "adding the errors in quadrature would have been too wide"


@pytest.mark.slow
def test_intervals_cover_when_the_errors_decide_how_many_pairings_there_are():
    rng = np.random.default_rng(0)
    landscape = fd.Landscape(
        lambda theta, x: jnp.sum(x * theta**2) + x[0] * jnp.prod(theta) + x[1] * jnp.sum(theta),
        np.exp(0.5 * rng.normal(size=(60, 2))),
    )
    with jax.enable_x64(True):
        diagram, params = fd.Diagram.parse("[a a]"), jnp.array([0.3, -0.2])
        exact = fd.evaluate(diagram, landscape, params, estimator="double-sum")[diagram].value
        options = {"estimator": "pairing", "replicates": 4, "rtol": 0.015}
        found = [
            fd.evaluate(diagram, landscape, params, key=jax.random.key(seed), **options)[diagram] for seed in range(300)
        ]
    counts = {estimate.num_samples for estimate in found}
    assert len(counts) > 3, f"the errors decided nothing: {counts}"
    covered = np.mean([low <= exact <= high for low, high in (estimate.interval() for estimate in found)])
    assert 0.92 <= covered <= 0.98, covered
