"""Values on a small neural network against whole derivative tensors, summed over all assignments of examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.diagrams import value_representative

TIED = ("a[a]", "a[b[a]]", "a[a[b] b]", "a[b[c[a]]]")
DIAGRAMS = [diagram for order in range(4) for diagram in fd.diagrams(order)] + [fd.Diagram.parse(t) for t in TIED]


def network_loss(params, example):
    """A tanh network with two inputs and two hidden units, seven parameters, and a squared error."""
    image, label = example
    hidden = jnp.tanh(params["hidden"]["weight"] @ image)
    return (params["out"]["weight"] @ hidden + params["out"]["bias"] - label) ** 2


def data():
    images = np.array([[0.5, -1.0], [1.5, 0.25], [-0.75, 0.5], [0.1, 2.0], [-1.2, -0.4]])
    return images, np.array([1.0, -1.0, 1.0, 1.0, -1.0])


def start():
    return {
        "hidden": {"weight": np.array([[0.7, -0.4], [0.2, 1.1]])},
        "out": {"weight": np.array([0.9, -1.3]), "bias": np.array(0.2)},
    }


@pytest.fixture(scope="module")
def tensors():
    """Derivatives of order k at every example, arrays of shape (5, 7, …, 7), by nested forward differentiation."""
    with jax.enable_x64(True):
        theta, unravel = jax.flatten_util.ravel_pytree(start())
        assert theta.shape == (7,)

        def losses(vector):
            return jax.vmap(lambda example: network_loss(unravel(vector), example))(jax.tree.map(jnp.asarray, data()))

        found, function = [], losses
        for _ in range(5):
            found.append(np.asarray(function(theta)))
            function = jax.jacfwd(function)
    return found


@pytest.fixture(scope="module")
def values():
    with jax.enable_x64(True):
        landscape = fd.Landscape(network_loss, data())
        return fd.evaluate(DIAGRAMS, landscape, start(), estimator="pairing", replicates=50, key=jax.random.key(7))


def brute_force(diagram, tensors):
    """One Einstein sum: an index for the example of every part and an index for every edge."""
    operands = []
    for node in range(diagram.order + 1):
        # Indices 0, 1, … are the examples of the parts; 100 + n is the edge above node n.
        edges = [100 + n for n in range(1, diagram.order + 1) if node in (n, diagram.parents[n])]
        part = next(i for i, members in enumerate(diagram.parts) if node in members)
        operands += [tensors[len(edges)], [part, *edges]]
    names = {index: i for i, index in enumerate(sorted({i for indices in operands[1::2] for i in indices}))}
    operands[1::2] = [[names[i] for i in indices] for indices in operands[1::2]]
    return float(np.einsum(*operands, [], optimize="greedy")) / len(tensors[0]) ** len(diagram.parts)


@pytest.mark.parametrize("diagram", DIAGRAMS, ids=str)
def test_value_is_the_contraction(diagram, values, tensors):
    estimate, truth = values[diagram], brute_force(diagram, tensors)
    if estimate.stderr is None:
        assert estimate.value == pytest.approx(truth, rel=1e-10, abs=1e-14)
    else:
        assert abs(estimate.value - truth) < 4.5 * estimate.stderr


@pytest.mark.slow
def test_all_values_of_order_4_are_the_contractions(tensors):
    """All 62 distinct values, exactly: over one example, or over all combinations of several."""
    diagrams = fd.diagrams(4)
    with jax.enable_x64(True):
        values = fd.evaluate(diagrams, fd.Landscape(network_loss, data()), start(), estimator="double-sum")
    truths = {}
    for diagram in diagrams:
        truth = brute_force(diagram, tensors)
        assert values[diagram].stderr is None
        assert values[diagram].value == pytest.approx(truth, rel=1e-9)
        truths[value_representative(diagram)] = truth
    assert len(truths) == 62
    assert len({f"{truth:.9e}" for truth in truths.values()}) == 62


def test_all_root_tied_values_of_order_3_are_the_contractions(tensors):
    diagrams = [diagram for order in range(4) for diagram in fd.diagrams(order, root_tied=True)]
    with jax.enable_x64(True):
        values = fd.evaluate(diagrams, fd.Landscape(network_loss, data()), start(), estimator="double-sum")
    for diagram in diagrams:
        assert values[diagram].value == pytest.approx(brute_force(diagram, tensors), rel=1e-9)
    assert len({value_representative(diagram) for diagram in diagrams}) == 25


@pytest.mark.slow
def test_all_paired_values_of_order_4_are_within_their_errors(tensors):
    diagrams = list({value_representative(diagram): diagram for diagram in fd.diagrams(4)}.values())
    with jax.enable_x64(True):
        landscape = fd.Landscape(network_loss, data())
        values = fd.evaluate(diagrams, landscape, start(), estimator="pairing", replicates=60, key=jax.random.key(8))
    paired = [diagram for diagram in diagrams if values[diagram].stderr is not None]
    assert len(paired) == 40
    for diagram in paired:
        assert abs(values[diagram].value - brute_force(diagram, tensors)) < 4.5 * values[diagram].stderr, diagram


def test_the_network_tells_diagrams_apart(tensors):
    """Guards the test above: values that vanish or coincide by symmetry would prove nothing."""
    truths = [brute_force(diagram, tensors) for diagram in DIAGRAMS]
    assert min(abs(truth) for truth in truths) > 1e-6
    assert len({f"{truth:.6e}" for truth in truths}) >= 16


def test_nested_and_flat_parameters_give_the_same_values():
    with jax.enable_x64(True):
        theta, unravel = jax.flatten_util.ravel_pytree(start())
        flat = fd.Landscape(lambda vector, example: network_loss(unravel(vector), example), data())
        nested = fd.Landscape(network_loss, data())
        diagrams = [fd.Diagram.parse(text) for text in ("[a]", "a[b[a]]")]
        ours = fd.evaluate(diagrams, nested, start(), estimator="pairing", replicates=4, key=jax.random.key(0))
        theirs = fd.evaluate(diagrams, flat, theta, estimator="pairing", replicates=4, key=jax.random.key(0))
    for diagram in diagrams:
        np.testing.assert_allclose(ours.replicates(diagram), theirs.replicates(diagram), rtol=1e-12)


def test_float32_is_close_to_float64(values):
    landscape = fd.Landscape(network_loss, data())
    diagrams = [fd.Diagram.parse(text) for text in ("[]", "[a]", "[a[b]]")]
    single = fd.evaluate(diagrams, landscape, start())
    for diagram in diagrams:
        assert single[diagram].value == pytest.approx(values[diagram].value, rel=1e-5)
        assert single[diagram].value != values[diagram].value
