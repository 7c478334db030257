"""The quantities that feyngd predicts, by name, and measurements of your own."""

import inspect
from collections.abc import Callable, Collection
from typing import Any

from .errors import ArgumentError

QUANTITIES = ("test_loss", "train_loss", "gap")


SERIES = (*QUANTITIES, "displacement")
"""What can be expanded: the displacement has a series, but no number on a landscape."""


class Measurement(str):
    """What is measured at the end of a run in place of the test loss; made by `measurement`.

    It is its name, a string, and carries what it measures.

    Attributes:
        function: s(params) or s(params, example), as it was given; `None` for symbols alone.
        data: the examples that s is averaged over; `None` for those of the landscape's test loss.
        takes_example: whether s has an example as its second argument.
        loss: s as a function of parameters and example, in the shape of a loss.
    """

    __slots__ = ("data", "function", "loss", "takes_example")

    function: Callable[..., Any] | None
    data: Any
    takes_example: bool
    loss: Callable[[Any, Any], Any] | None

    def __new__(cls, name: str, function: Callable[..., Any] | None = None, data: Any = None) -> "Measurement":
        self = super().__new__(cls, name)
        self.function, self.data = function, data
        self.takes_example = function is not None and _takes_example(name, function)
        # Kept, since programs are kept for as long as the function they come from.
        self.loss = function if self.takes_example or function is None else _without_example(function)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Measurement, (str(self), self.function, self.data)


def measurement(name: str, function: Callable[..., Any] | None = None, data: Any = None) -> Measurement:
    """Return a quantity of your own: the expectation of a smooth function s of the parameters after SGD.

    It is used wherever "test_loss" is: `expand`, `evaluate`, `plan`, `predict` and `simulate` take it as the quantity.
    Its diagrams are those of the test loss, with the same coefficients; a root with k edges is ∇^k s in place of ∇^k l.
    So s is not averaged over training points, and is not tied to any.

    Args:
        name: what it is called, in tables, files and figures.
        function: s(params), or s(params, example), whose mean over `data` is measured: one real number, smooth, in
            JAX. Without it the measurement has a series and no numbers.
        data: the examples of s(params, example), a pytree of arrays that share their leading axis, of any structure. By
            default those over which the landscape averages its test loss; where that is unbiased, give them.

    Raises:
        ArgumentError: the name is empty or that of another quantity, the function is not callable with one or two
            arguments, or there are data without a function of examples.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Theorem 1, for a root that is not the loss.

    Examples:
        >>> import feyngd as fd
        >>> margin = fd.measurement("margin")
        >>> print(fd.expand(margin, order=1, spacetime=fd.Spacetime.gd(N=4, T=10)))
        margin to order η^1, moment basis, full batch, N=4, T=10
          η^0   1     []    s
          η^1   -10   [a]   G_i s_i
    """
    if not isinstance(name, str) or not name.strip() or name in SERIES:
        raise ArgumentError(
            f"A measurement has a name of its own, other than {', '.join(map(repr, SERIES))}; got {name!r}."
        )
    if function is not None and not callable(function):
        raise ArgumentError(f"A measurement is a function s(params) or s(params, example); got {function!r}.")
    made = Measurement(name, function, data)
    if data is not None and not made.takes_example:
        raise ArgumentError(
            f"Data are those of a function of examples, s(params, example); the measurement {name!r} has "
            f"{'no function' if function is None else 'a function of the parameters alone'}. Leave data out."
        )
    return made


def check_quantity(quantity: Any, allowed: Collection[str] = QUANTITIES, *, measured: bool = False) -> None:
    """Raise `ArgumentError` unless the quantity is one of those allowed; the message lists them.

    Args:
        quantity: what was given.
        allowed: names of quantities.
        measured: whether a `measurement` is allowed too.
    """
    if isinstance(quantity, Measurement):
        if not measured:
            raise ArgumentError(
                f"This call has no measurements of your own, such as {str(quantity)!r}: expand, evaluate, plan, "
                f"predict, simulate and near_minimum(…).predict have. Known here: {', '.join(map(repr, allowed))}."
            )
        return
    if quantity not in allowed:
        more = ", or a measurement(name, function)" if measured else ""
        raise ArgumentError(f"Unknown quantity {quantity!r}. Known: {', '.join(map(repr, allowed))}{more}.")


def name_sum(one: str, other: str, sign: int) -> str:
    """Return the name of the sum or difference of two quantities; that of one measurement stays a measurement.

    Raises:
        ArgumentError: one of them is a measurement and the other another quantity: their roots differ.
    """
    name = f"{one} {'+' if sign > 0 else '-'} {other}"
    own = [each for each in (one, other) if isinstance(each, Measurement)]
    if not own:
        return name
    if len(own) < 2 or (own[0].function, id(own[0].data)) != (own[1].function, id(own[1].data)):
        raise ArgumentError(
            f"The roots of {str(one)!r} and {str(other)!r} are different functions: such series have no sum. Add their "
            "numbers."
        )
    return Measurement(name, own[0].function, own[0].data)


def _takes_example(name: str, function: Callable[..., Any]) -> bool:
    """Whether a function is s(params, example) and not s(params)."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"The arguments of {function!r} are not known. Wrap it: measurement({name!r}, lambda params: …)."
        ) from error
    for count in (1, 2):
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        return count == 2
    raise ArgumentError(
        f"A measurement is a function s(params) or s(params, example); the arguments of {name!r} are {signature}."
    )


def _without_example(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    return lambda params, example: function(params)
