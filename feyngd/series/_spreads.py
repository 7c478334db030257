"""How far runs spread: second moments, variances and covariances, as sums over diagrams with two roots.

A measurement of the last iterate, squared, is a measurement too, and the derivative of a product shares out its slots
among the factors. So E[s²] has the coefficients of E[s], every diagram split into two trees. Of a variance E[s]² is
subtracted, the products of two diagrams: they are pairs of trees without ties between them, of which little is left.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import product

import sympy

from ..diagrams import Diagram, Forest, splits
from ..spacetimes import Spacetime

Terms = dict[Diagram, sympy.Expr]
LINEAR = ("covariance", "covariance_trace")  # whose roots are loose ends


def spread_terms(
    quantity: str, order: int, spacetime: Spacetime, mean_terms: Callable[[str], Mapping[Diagram, sympy.Expr]]
) -> Terms:
    """Return the coefficient of every diagram with two roots.

    Args:
        quantity: one of `SPREADS`, or a `Variance`.
        order: the highest power of η.
        spacetime: N, B, E, T and the sampling.
        mean_terms: gives the coefficients of the mean, of "test_loss" or "train_loss". Where the roots are tied to
            training points they are in moments.
    """
    on_training = quantity == "train_loss_variance"
    terms: dict[Diagram, list[sympy.Expr]] = defaultdict(list)
    for diagram, weight in mean_terms("test_loss").items():
        ways: Counter[Forest] = Counter(splits(diagram))
        for forest, count in ways.items():
            if quantity in LINEAR and not _is_linear(forest):
                continue
            if not on_training:
                terms[forest].append(count * weight)
                continue
            for joined, share in _on_training_points(forest, spacetime.N):
                terms[joined].append(count * share * weight)
    if quantity != "test_loss_second_moment":
        mean = mean_terms("train_loss" if on_training else "test_loss")
        alone = [
            (diagram, weight)
            for diagram, weight in mean.items()
            if quantity not in LINEAR or len(diagram.children[0]) == 1
        ]
        for (one, first), (other, second) in product(alone, repeat=2):
            if one.order + other.order <= order:
                terms[Forest.of(one, other)].append(-first * second)
    return {forest: sympy.cancel(sympy.Add(*weights)) for forest, weights in terms.items()}


def _is_linear(forest: Forest) -> bool:
    return all(len(forest.children[root]) == 1 for root in forest.roots)


def _on_training_points(forest: Forest, N: sympy.Expr) -> Iterator[tuple[Forest, sympy.Expr]]:
    """Iterate over a forest with its roots on any two of the N training points, and the share of such pairs of points.

    P of the points have the steps of the trees; a root may be on one of these, or on one of the N − P others.
    """
    first, second = forest.roots
    known = sorted({*forest.labels[1:]} - {forest.labels[first], forest.labels[second]})
    others = N - len(known)
    for one, other in product([*known, -1], [*known, -1, -2]):
        if (one, other) == (-1, -2):
            share = others * (others - 1)
        elif one == -1 or other < 0:
            share = others
        else:
            share = sympy.Integer(1)
        if other == -2 and one != -1:
            continue  # one name is enough for a point of its own
        tied = {first: one, second: other}
        yield forest.relabel(tied.get(node, label) for node, label in enumerate(forest.labels)), share / N**2
