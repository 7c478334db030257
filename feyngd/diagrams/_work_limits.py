"""Limits on work that could grow without bound, checked before it starts.

A call that makes everything at once knows how many things it will make. If these are more than its `limit`, it raises
an `ArgumentError` with their number before it starts. `limit=None` lifts the limit. Iterators have no limit: they yield
the first thing at once and can be stopped at any time.
"""

import operator

from ..errors import ArgumentError

LISTED = 100_000  # things in a list
EXPANDED = 10_000  # coefficients of a series, which take longer
STEPS = 20_000_000  # steps of an exact sum, some microseconds each


def check_cost(what: str, count: int, limit: int | None, *, instead: str, at_least: bool = False) -> None:
    """Raise `ArgumentError` if a call would make more things than its limit.

    Args:
        what: the things to count, as in "diagrams of order 9".
        count: their number.
        limit: the largest number allowed; `None` for any number.
        instead: what the user can do instead, as in "lower the order".
        at_least: whether there may be more than `count`.

    Raises:
        ArgumentError: `count` exceeds `limit`, or the limit is neither an integer ≥ 0 nor `None`.

    Examples:
        >>> check_cost("diagrams of order 9", 7_075_470, None, instead="lower the order")
    """
    if limit is None:
        return
    try:
        most = -1 if isinstance(limit, bool) else operator.index(limit)
    except TypeError:
        most = -1
    if most < 0:
        raise ArgumentError(f"limit is an integer ≥ 0, or None for no limit; got {limit!r}.")
    if count > most:
        number = f"{count:,}" if count < 10**15 else f"about 10^{len(str(count)) - 1}"
        raise ArgumentError(
            f"There are {'at least ' if at_least else ''}{number} {what}, more than limit={most:,}: {instead}, or give "
            "a larger limit=, limit=None for none."
        )
