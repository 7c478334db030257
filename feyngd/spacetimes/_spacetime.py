"""The spacetime: which datapoints SGD sees at which step."""

import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import sympy

from ..errors import ArgumentError, SpacetimeError
from ..svg import Grid, document, grid_picture
from . import _batches
from ._sizes import by_name, check_drop_last, check_size, steps_of_epoch

SAMPLINGS = ("reshuffled", "fixed", "with-replacement")
Size: TypeAlias = int | sympy.Expr


@dataclass(frozen=True, repr=False)
class Spacetime:
    """The cells (datapoint n, step t) that SGD visits, and how the batches are drawn.

    Make one with `Spacetime.sgd`, `Spacetime.gd` or `Spacetime.from_batches`. Sizes are exact: positive integers, or
    SymPy expressions that are known to be positive integers. Steps and datapoints are numbered from 0.

    Attributes:
        N: the number of training points.
        B: the batch size; N for full batch; the size of the largest batch for explicit batches.
        E: the number of epochs; `None` where it is not T·B/N by construction, or not whole.
        T: the number of steps, E·N/B where B divides N.
        sampling: "reshuffled", "fixed", "with-replacement", "full-batch" or "explicit".
        explicit: the batches of an explicit spacetime, else `None`.
        drop_last: where B does not divide N, whether the smaller batch at the end of every epoch is left out; `None`
            where there is none.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", section 2 (T = E·N/B; the text prints E = T·N/B).
    """

    N: sympy.Expr
    B: sympy.Expr
    E: sympy.Expr | None
    T: sympy.Expr
    sampling: str
    explicit: tuple[tuple[int, ...], ...] | None = None
    drop_last: bool | None = None

    def __post_init__(self) -> None:
        if self.E is not None and sympy.cancel(self.E * self.epoch_steps - self.T) != 0:
            raise SpacetimeError(
                f"E={self.E} epochs of N={self.N} points in batches of B={self.B} are not T={self.T} steps: "
                "T = E·N/B. Make a spacetime with Spacetime.sgd, .gd or .from_batches."
            )

    @classmethod
    def sgd(
        cls,
        N: Size,
        B: Size = 1,
        E: Size | None = None,
        *,
        T: Size | None = None,
        sampling: str = "reshuffled",
        drop_last: bool | None = None,
    ) -> "Spacetime":
        """Make the spacetime of SGD on N points in batches of B.

        Args:
            N: the number of training points.
            B: the batch size. Where it does not divide N, say what happens to the rest with `drop_last`; sampling with
                replacement leaves no rest.
            E: the number of epochs, 1 unless T is given.
            T: the number of steps, in place of E; it may end inside an epoch where all sizes are numbers.
            sampling: "reshuffled", a new random order every epoch; "fixed", one order kept for all epochs;
                "with-replacement", every slot of every batch an independent uniform draw.
            drop_last: what an epoch does with the N mod B points that are left after its full batches: `True` leaves
                them out, `False` makes a smaller batch of them, over which the last step averages.

        Raises:
            SpacetimeError: the sampling is unknown, a size is not a positive integer or a symbol known to be one, B
                does not divide N and `drop_last` is not given, or B exceeds N.

        Examples:
            >>> import feyngd as fd
            >>> fd.Spacetime.sgd(N=10, B=2, E=3).T
            15
            >>> fd.Spacetime.sgd(N=10, B=4, E=2, drop_last=False).batch_sizes()
            (4, 4, 2, 4, 4, 2)
        """
        if sampling not in SAMPLINGS:
            known = ", ".join(repr(name) for name in SAMPLINGS)
            raise SpacetimeError(
                f"Unknown sampling {sampling!r}. Known: {known}; for full batch use Spacetime.gd, for a list of "
                "batches Spacetime.from_batches."
            )
        points, batch = check_size("N", N), check_size("B", B)
        if E is not None and T is not None:
            raise SpacetimeError(f"Give the number of epochs E or the number of steps T, not both; got E={E}, T={T}.")
        drop_last = check_drop_last(drop_last, points, batch, sampling)
        length = steps_of_epoch(points, batch, drop_last)
        if T is None:
            epochs = check_size("E", 1 if E is None else E, least=0)
            steps = sympy.cancel(epochs * length)
            if steps.is_Number and not steps.is_Integer:
                raise SpacetimeError(f"E·N/B = {steps} is not a whole number of steps: give T instead of E.")
            return cls(points, batch, epochs, steps, sampling, None, drop_last)
        steps = check_size("T", T, least=0)
        epochs = sympy.cancel(steps / length)
        if sampling == "with-replacement":
            return cls(points, batch, None, steps, sampling)
        if epochs.is_Rational and not epochs.is_Integer and length.is_Integer:
            return cls(points, batch, None, steps, sampling, None, drop_last)
        if not (epochs.is_Integer or epochs.is_integer):
            raise SpacetimeError(
                f"T={steps} is T·B/N = {epochs} epochs, not known to be whole: give E instead, or numbers."
            )
        return cls(points, batch, epochs, steps, sampling, None, drop_last)

    @classmethod
    def gd(cls, N: Size, T: Size) -> "Spacetime":
        """Make the spacetime of full-batch gradient descent: N points, T steps, every point in every step.

        T may be the number of steps of another run, E·N/B with symbols; it is assumed to be whole.

        Raises:
            SpacetimeError: a size is not a positive integer or a symbol known to be one.

        Examples:
            >>> import feyngd as fd
            >>> fd.Spacetime.gd(N=5, T=3).B
            5
        """
        points, steps = check_size("N", N), check_size("T", T, least=0)
        return cls(points, points, steps, steps, "full-batch")

    @classmethod
    def from_batches(cls, batches: Iterable[Sequence[int]], N: int) -> "Spacetime":
        """Make a spacetime from the list of batches, one for each step.

        A batch may repeat a point, which then counts once for every time it is listed. Batches may differ in size: each
        step averages over its own batch.

        Args:
            batches: the datapoints of every step, numbers 0 to N − 1.
            N: the number of training points.

        Raises:
            SpacetimeError: a batch is empty or names a point outside 0 … N − 1, or N is not a positive integer.

        Examples:
            >>> import feyngd as fd
            >>> fd.Spacetime.from_batches([[0, 1], [2, 3], [0, 1]], N=4).T
            3
        """
        points = check_size("N", N)
        if not points.is_Integer:
            raise SpacetimeError(f"Explicit batches need a concrete N, got {N!r}.")
        explicit = []
        for step, batch in enumerate(batches):
            try:
                members = [_datapoint(n) for n in batch]
            except TypeError as error:
                raise SpacetimeError(f"Batch {step} is {batch!r}: a batch is a list of numbers 0 to N − 1.") from error
            if not members:
                raise SpacetimeError(f"Batch {step} is empty: every step needs at least one datapoint.")
            if bad := [n for n in members if not 0 <= n < points]:
                raise SpacetimeError(f"Batch {step} names point(s) {bad}, but with N={N} points are 0 to {points - 1}.")
            explicit.append(tuple(members))
        size = max((len(batch) for batch in explicit), default=1)
        return cls(points, sympy.Integer(size), None, sympy.Integer(len(explicit)), "explicit", tuple(explicit))

    @property
    def epoch_steps(self) -> sympy.Expr:
        """The number of steps in an epoch, N/B where B divides N; 1 for full batch."""
        return steps_of_epoch(self.N, self.B, self.drop_last)

    @property
    def last_batch(self) -> int:
        """The size of the smaller batch at the end of every epoch; 0 where there is none."""
        return int(self.N % self.B) if self.drop_last is False else 0

    @property
    def is_even(self) -> bool:
        """Whether every epoch is whole and goes once through all points, in batches of B."""
        return self.drop_last is None and not self.is_cut

    @property
    def is_cut(self) -> bool:
        """Whether the last step is inside an epoch, before its end."""
        return self.E is None and self.sampling in ("reshuffled", "fixed")

    def batch_sizes(self) -> tuple[int, ...]:
        """Return the size of the batch of every step.

        Raises:
            SpacetimeError: the sizes are symbols.
        """
        self.require_concrete("Batches have sizes")
        if self.explicit is not None:
            return tuple(len(batch) for batch in self.explicit)
        sizes = [int(self.B)] * int(self.T)
        if self.last_batch:
            length = int(self.epoch_steps)
            sizes[length - 1 :: length] = [self.last_batch] * len(sizes[length - 1 :: length])
        return tuple(sizes)

    @property
    def is_concrete(self) -> bool:
        """Whether all sizes are numbers."""
        return all(size.is_Integer for size in (self.N, self.B, self.T))

    @property
    def is_random(self) -> bool:
        """Whether embedding counts depend on the batches drawn, so that a count is an expectation."""
        return self._has_choice and (self.sampling == "with-replacement" or not self._is_one_epoch)

    @property
    def _is_one_epoch(self) -> bool:
        return bool(self.E == 1 or (self.is_cut and self.epoch_steps > self.T))

    @property
    def _has_choice(self) -> bool:
        if self.N == 1 or self.T == 0:
            return False
        return self.sampling == "with-replacement" or (self.sampling == "reshuffled" and self.B != self.N)

    @property
    def symbols(self) -> set[sympy.Symbol]:
        """The symbols in the sizes."""
        return self.N.free_symbols | self.B.free_symbols | self.T.free_symbols | (self.E or self.T).free_symbols

    def subs(self, values: Mapping[sympy.Symbol | str, Size]) -> "Spacetime":
        """Return the spacetime with symbols replaced, all at once; the new sizes are checked.

        Args:
            values: what to put in place of the symbols. They are found by name: "N", or any symbol named N, is the
                spacetime's own N. A list of batches has no symbols and stays as it is.

        Raises:
            ArgumentError: a key is not a symbol of the spacetime, or two keys are the same symbol.
            SpacetimeError: the new sizes do not make a spacetime.
        """
        if self.sampling == "explicit":
            return self
        named = by_name(values, self.symbols, "spacetime")
        new = {symbol: check_size(str(symbol), value, least=0) for symbol, value in named.items()}
        N, B, T = (size.subs(new, simultaneous=True) for size in (self.N, self.B, self.T))
        if self.sampling == "full-batch":
            return Spacetime.gd(N, T)
        drop_last = self.drop_last
        if self.E is None:
            return Spacetime.sgd(N, B, T=T, sampling=self.sampling, drop_last=drop_last)
        epochs = self.E.subs(new, simultaneous=True)
        return Spacetime.sgd(N, B, epochs, sampling=self.sampling, drop_last=drop_last)

    def batches(self, rng: np.random.Generator | None = None) -> list[list[int]]:
        """Draw one concrete run: the datapoints of every step.

        Args:
            rng: the source of randomness; needed only for random sampling.

        Raises:
            SpacetimeError: the sizes are symbols, or a random sampling got no `rng`.
        """
        if self.explicit is not None:
            return [list(batch) for batch in self.explicit]
        (run,) = self.sample(rng, 1, fill=True).tolist()
        return [batch[:size] for batch, size in zip(run, self.batch_sizes(), strict=True)]

    def sample(self, rng: np.random.Generator | None, runs: int, *, fill: bool = False) -> np.ndarray:
        """Draw independent runs at once: datapoints as an integer array of shape (runs, T, B).

        Args:
            rng: the source of randomness; needed only for random sampling.
            runs: the number of runs.
            fill: fill batches with fewer than B points up with their first one; `batch_sizes` says how many count.

        Raises:
            SpacetimeError: the sizes are symbols, a random sampling got no `rng`, or batches differ in size and are not
                to be filled up.
        """
        self.require_concrete("A run can be drawn")
        if not fill and len(set(self.batch_sizes())) > 1:
            raise SpacetimeError(
                "Runs with batches of different sizes have no array shape: use batches(), or fill=True with "
                "batch_sizes()."
            )
        if self.explicit is not None:
            filled = [[*batch, *batch[:1] * (int(self.B) - len(batch))] for batch in self.explicit]
            array = np.array(filled, dtype=int).reshape(int(self.T), int(self.B))
            return np.broadcast_to(array, (runs, *array.shape))
        if rng is None:
            if self._has_choice:
                raise SpacetimeError(f"{self.sampling} batches are random: give rng=numpy.random.default_rng(seed).")
            rng = np.random.default_rng(0)  # there is only one outcome
        sizes = int(self.N), int(self.B), int(self.T), int(self.epoch_steps)
        return _batches.sample_runs(self.sampling, *sizes, rng, runs)

    def outcomes(self) -> Iterator[tuple[Fraction, tuple[tuple[int, ...], ...]]]:
        """Iterate over every possible run with its probability; exponentially many for random sampling.

        Raises:
            SpacetimeError: the sizes are symbols.
        """
        self.require_concrete("Runs can be listed")
        if self.explicit is not None:
            return iter([(Fraction(1), self.explicit)])
        return _batches.outcomes(self.sampling, int(self.N), self.batch_sizes(), int(self.epoch_steps))

    def require_concrete(self, what: str) -> None:
        """Raise `SpacetimeError` unless all sizes are numbers; the message begins with `what`."""
        if not self.is_concrete:
            names = ", ".join(sorted(str(symbol) for symbol in self.symbols))
            raise SpacetimeError(f"{what} only on a concrete spacetime; replace {names} with numbers by subs({{…}}).")

    def __repr__(self) -> str:
        if self.explicit is not None:
            return f"<Spacetime of {self}>"
        if self.sampling == "full-batch":
            return f"Spacetime.gd(N={self.N}, T={self.T})"
        length = f"T={self.T}" if self.E is None else f"E={self.E}"
        rest = "" if self.drop_last is None else f", drop_last={self.drop_last}"
        return f"Spacetime.sgd(N={self.N}, B={self.B}, {length}, sampling={self.sampling!r}{rest})"

    def __str__(self) -> str:
        def show(**sizes: sympy.Expr) -> str:
            return ", ".join(name if str(size) == name else f"{name}={size}" for name, size in sizes.items())

        if self.sampling == "explicit":
            return f"{self.T} explicit batches of {show(N=self.N)} points"
        if self.sampling == "full-batch":
            return f"full batch, {show(N=self.N, T=self.T)}"
        length = {"T": self.T} if self.E is None else {"E": self.E}
        rest = {None: "", True: ", last batch dropped", False: f", last batch of {self.last_batch}"}[self.drop_last]
        return f"{self.sampling}, {show(N=self.N, B=self.B, **length)}{rest}"

    def _repr_svg_(self) -> str | None:
        small = self.is_concrete and not self.is_random and self.N <= 40 and self.T <= 60
        return document(grid_picture(visited_grid(self)), str(self)) if small else None


def check_spacetime(spacetime: Any, *, concrete: str | None = None) -> None:
    """Raise an error unless the argument is a `Spacetime`, and a concrete one where that is asked for.

    Args:
        spacetime: the argument.
        concrete: what needs sizes that are numbers, the beginning of the message, such as "SGD is simulated"; `None`
            where symbols are allowed.

    Raises:
        ArgumentError: the argument is not a `Spacetime`.
        SpacetimeError: the sizes are symbols, and `concrete` is given.
    """
    if not isinstance(spacetime, Spacetime):
        raise ArgumentError(f"spacetime is made by Spacetime.sgd, .gd or .from_batches; got {spacetime!r}.")
    if concrete is not None:
        spacetime.require_concrete(concrete)


def visited_grid(spacetime: Spacetime) -> Grid:
    """Return the grid of the cells that SGD visits, datapoints as rows and steps as columns, with lines between epochs.

    One reshuffled epoch is shown in the order 0, 1, 2, …, which stands for all orders.

    Raises:
        SpacetimeError: the spacetime has symbols or random batches.
    """
    spacetime.require_concrete("A grid is drawn")
    if spacetime.is_random:
        raise SpacetimeError(
            f"The batches are random ({spacetime}), so there is no single grid. Draw one run with "
            "Spacetime.from_batches(spacetime.batches(rng), N), where rng=numpy.random.default_rng(seed)."
        )
    visits = Counter((n, t) for t, batch in enumerate(one_run(spacetime)) for n in batch)
    steps, length = int(spacetime.T), int(spacetime.epoch_steps)
    separators: Sequence[int] = ()
    if spacetime.sampling in ("fixed", "reshuffled") and 1 < length < steps:
        separators = range(length, steps, length)
    return Grid(int(spacetime.N), steps, visits, "datapoint n", "step t", separators, "epoch")


def one_run(spacetime: Spacetime) -> list[list[int]]:
    """Return the batches of a spacetime that is not random; reshuffled points come in the order 0, 1, 2, …."""
    if spacetime.sampling == "reshuffled":
        spacetime = replace(spacetime, sampling="fixed")
    return spacetime.batches()


def _datapoint(n: Any) -> int:
    if isinstance(n, bool) or getattr(getattr(n, "dtype", None), "kind", "") == "b":
        raise TypeError("a truth value is not a datapoint")
    return operator.index(n)
