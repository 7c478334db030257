"""Numbers that are estimated in the same way, and splitting them together."""

from collections.abc import Callable, Mapping, Sequence

import jax

from ..engine import Engine
from ..planning import Number
from ._estimator import Estimator, Setting, Split


def by_estimator(chosen: Mapping[Number, Estimator]) -> dict[Estimator, tuple[Number, ...]]:
    """Group numbers by their estimators."""
    groups: dict[Estimator, tuple[Number, ...]] = {}
    for number, estimator in chosen.items():
        groups[estimator] = (*groups.get(estimator, ()), number)
    return groups


def split_all(
    groups: Mapping[Estimator, Sequence[Number]],
    setting: Setting,
    engine: Engine,
    key: jax.Array | None,
    advance: Callable[[], None],
) -> dict[Number, Split]:
    """Split numbers, those of each estimator together."""
    splits: dict[Number, Split] = {}
    for estimator, numbers in groups.items():
        splits |= estimator.split(numbers, setting, engine, key, advance)
    return splits


def do_nothing() -> None:
    """Show no progress."""
