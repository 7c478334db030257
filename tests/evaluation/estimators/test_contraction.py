"""Contraction of whole tensors: every value, exactly, against sums over all combinations of examples."""

from itertools import product
from math import factorial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.evaluation.engine import Engine
from feyngd.evaluation.estimators import Setting
from feyngd.evaluation.estimators._contraction import Contraction
from feyngd.evaluation.estimators._double_sum import DoubleSum
from feyngd.evaluation.planning import Given, Vector
from feyngd.landscapes import toys

READINGS = ("population", "unbiased", "conditional")
UP_TO_ORDER_3 = [diagram for order in range(4) for diagram in fd.diagrams(order, root_tied=True)]
EXAMPLES, TESTS = 5, 3
PAIR = fd.Diagram.parse("[a a]")


def loss(theta, x):
    """A loss of any number of parameters whose derivatives of all orders differ from example to example."""
    z = jnp.dot(x[: theta.size], theta)
    return jnp.exp(0.5 * z) + x[-1] * jnp.sin(z + jnp.sum(theta)) + jnp.sum(jnp.cos(theta * x[-1]))


def made(size, reading="population", examples=EXAMPLES):
    rng = np.random.default_rng(size)
    data, tests = rng.normal(size=(examples, size + 1)), rng.normal(size=(TESTS, size + 1))
    landscape = fd.Landscape(loss, data, tests if reading == "conditional" else None, reading=reading)
    point = 0.5 * rng.normal(size=size)
    return landscape.frozen(point), point


def contracted(diagrams, landscape, point, basis="moment", estimator=None):
    """The values with all their numbers contracted, those that need no estimator too, unless another one is given."""
    plan = fd.plan(diagrams, landscape, point, basis=basis)
    setting = Setting(landscape.num_examples, landscape.num_test_examples, point.size, plan.ways)
    numbers = plan.all_numbers if estimator is None else plan.paired
    engine = Engine(landscape, point)
    if estimator is not None:
        engine.average(plan.means)
    splits = (estimator or Contraction()).split(numbers, setting, engine, None, lambda: None)
    assert all(split.rest is None for split in splits.values())
    found = {number: np.array([split.fixed]) for number, split in splits.items()}
    if estimator is not None:
        found |= {number: np.array([value]) for number, value in engine.exact(plan.exact).items()}
    return {diagram: float(value[0]) for diagram, value in plan.combine(found).items()}


# --- the oracle: whole tensors, and an index for the example of every part -------------------------------------------


def tensors_of(landscape, point, order):
    """Derivatives up to an order at every example and at every test example, by nested forward differentiation."""

    def tensors(data):
        def losses(at):
            return jax.vmap(lambda x: loss(at, x))(data)

        functions = [losses]
        for _ in range(order):
            functions.append(jax.jacfwd(functions[-1]))
        return [np.asarray(array) for array in jax.jit(lambda at: [f(at) for f in functions])(jnp.asarray(point))]

    return tensors(landscape.data), None if landscape.test_data is None else tensors(landscape.test_data)


def moment(parents, labels, tensors, reading, is_root_tied):
    """An average over the examples of all parts: independent ones, or distinct ones."""
    names = sorted(set(labels))
    on_test = reading == "conditional" and not is_root_tied
    operands, sizes = [], [EXAMPLES] * len(names)
    for node in range(len(parents)):
        slots = [100 + n for n in range(1, len(parents)) if node in (n, parents[n])]
        table = tensors[1 if on_test and node == 0 else 0][len(slots)]
        part = names.index(labels[node])
        sizes[part] = len(table)
        operands += [table, [part, *slots]]
    train = [part for part, name in enumerate(names) if not (on_test and name == labels[0])]
    allowed = np.ones([sizes[part] for part in train])
    if reading != "population":
        allowed = np.array([len(set(c)) == len(c) for c in np.ndindex(*allowed.shape)], float).reshape(allowed.shape)
    operands += [allowed, train]
    index = {name: i for i, name in enumerate(sorted({i for used in operands[1::2] for i in used}))}
    operands[1::2] = [[index[i] for i in used] for used in operands[1::2]]
    tests = TESTS if on_test else 1
    return float(np.einsum(*operands, [], optimize="greedy")) / (allowed.sum() * tests)


def groupings(items):
    """All ways to split items into groups."""
    if not items:
        yield []
        return
    first, *rest = items
    for groups in groupings(rest):
        yield [[first], *groups]
        for i, group in enumerate(groups):
            yield [*groups[:i], [first, *group], *groups[i + 1 :]]


def oracle(diagram, tensors, reading, basis):
    """The value by its definition; the joint cumulant over each part is an alternating sum of products of moments."""
    parts = [sorted(part) for part in diagram.parts]
    total = 0.0
    for chosen in product(*(groupings(part) if basis == "cumulant" else [[part]] for part in parts)):
        weight, labels = 1, {}
        for groups in chosen:
            weight *= (-1) ** (len(groups) - 1) * factorial(len(groups) - 1)
            labels |= {node: tuple(group) for group in groups for node in group}
        names = [labels[node] for node in range(diagram.order + 1)]
        total += weight * moment(diagram.parents, names, tensors, reading, diagram.is_root_tied)
    return total


def assert_all_equal(diagrams, size, reading, basis):
    with jax.enable_x64(True):
        landscape, point = made(size, reading)
        found = contracted(diagrams, landscape, point, basis)
        tensors = tensors_of(landscape, point, max(diagram.order for diagram in diagrams))
        exact = {diagram: oracle(diagram, tensors, reading, basis) for diagram in diagrams}
    scale = max(map(abs, exact.values()))
    assert len({f"{value:.6e}" for value in exact.values()}) > len(diagrams) // 3
    for diagram in diagrams:
        assert found[diagram] == pytest.approx(exact[diagram], rel=1e-9, abs=1e-11 * scale), diagram


@pytest.mark.parametrize(
    ("size", "reading", "basis"),
    [(1, "unbiased", "moment"), (2, "conditional", "cumulant"), (3, "population", "cumulant")],
)
def test_values_up_to_order_3(size, reading, basis):
    assert_all_equal(UP_TO_ORDER_3[::3], size, reading, basis)


@pytest.mark.slow
@pytest.mark.parametrize("basis", ["moment", "cumulant"])
@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_all_values_up_to_order_3(size, reading, basis):
    assert_all_equal(UP_TO_ORDER_3, size, reading, basis)


@pytest.mark.slow
@pytest.mark.parametrize("basis", ["moment", "cumulant"])
@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_all_values_of_order_4(size, reading, basis):
    assert_all_equal(fd.diagrams(4), size, reading, basis)


def test_values_of_order_4():
    assert_all_equal(fd.diagrams(4)[::11], 2, "conditional", "cumulant")


def test_values_of_order_5():
    assert_all_equal(fd.diagrams(5)[::41], 1, "population", "moment")


# --- against the double sum, and in evaluate -------------------------------------------------------------------------


def test_it_agrees_with_the_double_sum():
    diagrams = list(map(fd.Diagram.parse, ("[a a]", "[a[b[a] b]]")))
    with jax.enable_x64(True):
        ours, theirs = (contracted(diagrams, *made(2, "conditional"), estimator=e()) for e in (Contraction, DoubleSum))
    assert ours == pytest.approx(theirs, rel=1e-10)


def test_the_issues_example_is_exact():
    """One parameter, thirty examples, order 4: without a key, and without an error."""
    landscape, point = toys.gauss_fit()
    assert (landscape.num_examples, point.size) == (30, 1)
    diagrams = list(map(fd.Diagram.parse, ("[a[b[a] b]]", "[a a b b]", "[a a a b]", "[a b[a b]]")))
    values = fd.evaluate(diagrams, landscape, point, check_dtype=False)
    assert {value.kind for value in values.values()} == {"contraction"}
    assert all(value.stderr is None for value in values.values())
    # The k-th derivative of ½(h + x² e^{−h}) at 0 is ½(1 − x²) for k = 1, and ±½x² for k > 1.
    gradient, curvature = (1 - landscape.data**2) / 2, landscape.data**2 / 2
    exact = jnp.mean(gradient**2) ** 2 * jnp.mean(curvature)
    assert values[diagrams[1]].value == pytest.approx(float(exact), rel=1e-5)


def test_single_precision_is_summed_in_double():
    """The derivatives are rounded, but 20,000 of them add no further error."""
    landscape, point = made(1, examples=20_000)
    assert landscape.data.dtype == point.astype(np.float32).dtype
    (value,) = contracted([PAIR], landscape, point.astype(np.float32)).values()
    _, gradients, curvatures = tensors_of(landscape, point.astype(np.float32), 2)[0]
    exact = np.mean(gradients.astype(float) ** 2) * np.mean(curvatures.astype(float))
    assert value == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("chunk_size", [1, 3, None])
def test_chunks_and_blocks_do_not_matter(chunk_size, monkeypatch):
    with jax.enable_x64(True):
        landscape, point = made(2)
        plan = fd.plan(UP_TO_ORDER_3[-4:], landscape, point)
        setting = Setting(EXAMPLES, 0, 2, plan.ways)
        whole = Contraction().split(plan.paired, setting, Engine(landscape, point), None, lambda: None)
        monkeypatch.setattr("feyngd.evaluation.estimators._contraction._BLOCK", 16)
        engine = Engine(landscape, point, chunk_size=chunk_size)
        parts = Contraction().split(plan.paired, setting, engine, None, lambda: None)
    assert len(whole) > 2
    for number, split in whole.items():
        assert parts[number].fixed == pytest.approx(split.fixed, rel=1e-12)


def test_a_second_call_compiles_nothing():
    landscape, point = made(2)
    landscape.loss.programs.clear()
    contracted([PAIR], landscape, point)
    (program,) = [made for made in landscape.loss.programs.values()]
    contracted([PAIR], landscape, point + 0.1)
    assert list(landscape.loss.programs.values()) == [program]
    assert program.__wrapped__._cache_size() == 1


# --- what it takes, and what it says ---------------------------------------------------------------------------------


def setting_of(plan, size, examples=30):
    return Setting(examples, 0, size, plan.ways)


def test_it_takes_what_fits_in_memory():
    plan = fd.plan(fd.diagrams(3))
    for number in plan.paired:
        assert Contraction().takes(number, setting_of(plan, 1, examples=10**6))
        assert not Contraction().takes(number, setting_of(plan, 10_000))
    (pair,) = fd.plan(PAIR).paired
    assert Contraction().takes(pair, setting_of(plan, 100, examples=1_000))
    assert not Contraction().takes(pair, setting_of(plan, 100, examples=2_000))


def test_it_leaves_projected_and_given_vectors_to_others():
    plan = fd.plan(PAIR)
    (number,) = plan.paired
    basis = Given("Q")
    assert not Contraction().takes(number.with_inputs([Vector(1).outside(basis)] * 2), setting_of(plan, 1))
    assert not Contraction().takes(number.with_inputs([Vector(1, [basis]), Vector(1)]), setting_of(plan, 1))


def test_the_cost_is_one_sweep_for_one_parameter_and_grows_with_their_number():
    plan = fd.plan(fd.diagrams(3))
    costs = [Contraction().cost(plan.paired, setting_of(plan, size)).once for size in (1, 2, 3, 10)]
    assert costs[0] == 1
    assert costs == sorted(set(costs))
    assert Contraction().cost(plan.paired, setting_of(plan, 1, examples=10_000)).is_exact


def test_a_derivative_that_is_infinite_is_named():
    """Loss and gradient of (θ − x)^{3/2} are finite at θ = x; its curvature is not."""
    landscape = fd.Landscape(lambda theta, x: (theta - x) ** 1.5, np.array([-1.0, -2.0, 0.5, -4.0]))
    with pytest.raises(fd.LandscapeError, match=r"\[a a\] is not finite at example 2: .*of order up to 2"):
        fd.evaluate(PAIR, landscape, 0.5, estimator="contraction", check_dtype=False)
