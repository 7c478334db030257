"""How often what a series leaves out is larger than its truncation figure: order 4 against the figure of order 3.

`python benchmarks/truncation.py [polynomials] [toys] [logistic] [mlp]` prints, for every problem, spacetime and
quantity, the edge of validity of the series to order 3, what ends it, the figure there, the next term and their ratio.
"""

import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

import feyngd as fd
from feyngd.landscapes import Landscape, cross_entropy, digits, logistic_regression, tanh_mlp, toys

QUANTITIES = ("test_loss", "train_loss", "gap")
SPACETIMES = (
    fd.Spacetime.sgd(10),
    fd.Spacetime.sgd(10, 1, 3),
    fd.Spacetime.sgd(40, 4, 2),
    fd.Spacetime.sgd(20, 5, T=8, sampling="with-replacement"),
    fd.Spacetime.gd(50, 10),
    fd.Spacetime.gd(20, 1),
)
COVERED = 0.9  # of the cases, at least, have a next term below the figure


@dataclass(frozen=True)
class Case:
    """A series to order 3 at the edge of its validity.

    Attributes:
        name: the problem, spacetime and quantity.
        edge: the learning rate.
        limited_by: what ends the range there.
        last: the size of the last term.
        figure: the truncation figure.
        following: the size of the next term.
    """

    name: str
    edge: float
    limited_by: str
    last: float
    figure: float
    following: float

    @property
    def ratio(self) -> float:
        """The next term, in units of the figure."""
        return self.following / self.figure if self.figure else float(self.following > 0)


def polynomials() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return polynomials of two parameters, in exact arithmetic."""
    x, y = sympy.symbols("x y")
    F = Fraction
    families = {
        "cubics": ([x**3 / 2 - x * y + y**2, x**2 * y + x / 2 - y**3 / 3], [F(1, 3), F(2, 3)], (F(1, 2), F(-1, 3))),
        "quartics": ([(x - 1) ** 4 / 4 + y**2, (x + y) ** 4 / 8 + x**2 / 2 - y], [F(1, 2)] * 2, (F(1, 2), F(1, 4))),
        "quadratics": ([x**2 + 2 * y**2 - x, (x - y) ** 2 + y], [F(1, 2)] * 2, (F(1, 1), F(-1, 2))),
    }
    for name, (losses, weights, start) in families.items():
        exact = fd.testing.ExactValues(fd.testing.PolynomialLandscape.from_expressions(losses, (x, y), weights), start)
        wanted = [diagram for order in range(5) for diagram in fd.diagrams(order, root_tied=True)]
        values = fd.Values({diagram: np.array([float(exact.moment(diagram))]) for diagram in wanted}, "moment")
        yield name, {"landscape": Landscape(lambda theta, x: theta * x, np.ones(2)), "params": 1.0, "values": values}


def problems(kinds: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return the problems of some kinds, with the values of their diagrams to order 4."""
    if "polynomials" in kinds:
        yield from polynomials()
    made: dict[str, tuple[Landscape, Any]] = {}
    if "toys" in kinds:
        for name, offset in (("cosh", 0.7), ("gauss_fit", -0.5), ("cubic_valley", 0.3)):
            landscape, start = getattr(toys, name)()
            made[name] = landscape, start + offset
    if "logistic" in kinds:
        made["logistic, breast cancer"] = breast_cancer(lambda w, x: x @ w, 30)
        model = logistic_regression((8, 8), 10)
        made["logistic, digits"] = Landscape(cross_entropy(model), digits(60)), model.init(jax.random.key(0))
    if "mlp" in kinds:
        made["mlp, breast cancer"] = breast_cancer(lambda w, x: jnp.tanh(x @ w[:90].reshape(30, 3)) @ w[90:], 93)
        model = tanh_mlp((8, 8), 10, (6,))
        made["mlp, digits"] = Landscape(cross_entropy(model), digits(60)), model.init(jax.random.key(1))
    wanted = [diagram for order in range(5) for diagram in fd.diagrams(order, root_tied=True)]
    for name, (landscape, params) in made.items():
        values = fd.evaluate(
            wanted, landscape, params, estimator="pairing", replicates=64, check_dtype=False, key=jax.random.key(2)
        )
        yield name, {"landscape": landscape, "params": params, "values": values}


def breast_cancer(logit: Any, count: int) -> tuple[Landscape, Any]:
    """Return the landscape of a classifier on a fifth of the data, and a start of that many parameters."""
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)[::5].astype("float32")

    def loss(w: jax.Array, example: Any) -> jax.Array:
        z = logit(w, example[0])
        return jnp.logaddexp(0, z) - example[1] * z

    return Landscape(loss, (X, y[::5].astype("float32"))), 0.3 * jax.random.normal(jax.random.key(3), (count,))


def cases(name: str, given: Mapping[str, Any]) -> Iterator[Case]:
    """Return the cases of a problem that have a range of validity, and a next term that is known."""
    for spacetime in SPACETIMES:
        for quantity in QUANTITIES:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", fd.TruncationWarning)
                fourth = fd.predict(
                    given["landscape"], given["params"], spacetime, [1.0],
                    order=4, quantity=quantity, values=given["values"],
                )  # fmt: skip
            third = fourth.truncate(3)
            edge = third.valid_up_to
            if not 0 < edge < np.inf:
                continue
            rows = fourth.coefficients[:, 4] * edge**4
            if len(rows) > 1 and abs(rows.mean()) < 2 * rows.std(ddof=1) / len(rows) ** 0.5:
                continue
            at_edge = replace(third, learning_rates=np.array([edge]))
            yield Case(
                f"{name}; {spacetime}; {quantity}",
                edge,
                third.limited_by,
                float(abs(at_edge.terms[3, 0])),
                float(at_edge.truncation[0]),
                float(abs(rows.mean())),
            )


def main(kinds: list[str]) -> None:
    """Print the table."""
    began = time.perf_counter()
    found = [case for problem in problems(kinds) for case in cases(*problem)]
    print("| problem | edge | what ends the range | last term | figure | next term | next/figure |")
    print("|---|---|---|---|---|---|---|")
    for one in found:
        print(
            f"| {one.name} | {one.edge:.3g} | {one.limited_by} | {one.last:.2g} | {one.figure:.2g} | "
            f"{one.following:.2g} | {one.ratio:.2f} |"
        )
    ratios = np.array([one.ratio for one in found])
    print(
        f"\n{len(found)} cases in {time.perf_counter() - began:.0f} s: the next term is above the figure in "
        f"{np.sum(ratios > 1)}; above the last term alone it is in {sum(one.following > one.last for one in found)}"
    )
    inflated = np.array([one.figure / one.last for one in found if one.last > 0])
    print(
        f"figure over last term: median {np.median(inflated):.2f}, nine of ten below {np.quantile(inflated, 0.9):.2f}"
    )
    if np.mean(ratios <= 1) < COVERED:
        raise SystemExit("the figure covers too rarely")


if __name__ == "__main__":
    main(sys.argv[1:] or ["polynomials", "toys", "logistic", "mlp"])
