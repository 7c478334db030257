"""How results keep their optimizer in a file: by its numbers, exact or floating-point."""

from collections import namedtuple
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from .._archive import keep, keep_attributes
from ._average import Average
from ._metric import Metric
from ._optimizer import Optimizer
from ._recurrence import Recurrence, VectorRecurrence


def _parts(tree: Any) -> Any:
    """Return a metric's pytree with the names of its containers, as those of named tuples are not known to readers."""
    if isinstance(tree, Mapping):
        return "dict", [(key, _parts(value)) for key, value in tree.items()]
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return "named", type(tree).__name__, list(tree._fields), [_parts(value) for value in tree]
    if isinstance(tree, (list, tuple)):
        return type(tree).__name__, [_parts(value) for value in tree]
    return "leaf", tree


def _rebuilt(parts: Any) -> Any:
    kind, *inside = parts
    if kind == "named":
        name, fields, values = inside
        return namedtuple(name, fields)(*map(_rebuilt, values))
    if kind == "dict":
        return {key: _rebuilt(value) for key, value in inside[0]}
    return inside[0] if kind == "leaf" else {"list": list, "tuple": tuple}[kind](map(_rebuilt, inside[0]))


keep(Fraction, lambda number: (number.numerator, number.denominator), lambda parts: Fraction(*parts))
keep(Metric, lambda metric: _parts(metric.tree), lambda parts: Metric(_rebuilt(parts)))
for _class in (Average, Recurrence, VectorRecurrence, Optimizer):
    keep_attributes(_class)
