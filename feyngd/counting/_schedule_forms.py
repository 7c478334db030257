"""Closed forms of sums over embeddings for SGD with a schedule, where the number of steps is a symbol.

An edge from a child at step s weighs m(s), the multiplier of that step, so a block of simultaneous nodes weighs m to
the number of its nodes, and the sum over the times of the blocks is an iterated one:

    S_D(t) = Σ_{s<t} Σ_{last block b of D} w(b) m(s)^|b| S_{D−b}(s),

over the down-sets D. Where m is a polynomial in the step, piece by piece, so are all S_D, by Faulhaber's formula, with
one sum for every piece, which begins and ends at a whole step within the run. Sines and cosines of the step sum to such
functions too, unless their frequency is a multiple of a whole turn, where sums of them take another form. Otherwise the
sums stay as they are.

References:
    The project's own, checked against sums over steps.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import sympy
from sympy.simplify.fu import TR8

from ..diagrams import Diagram
from ..errors import ArgumentError
from ..optimizers import Optimizer
from ..spacetimes import Spacetime
from ._items import Items
from ._propagator_sums import Labels, coarser, parts_of_nodes
from ._slots import spread_over_slots

_STEP = sympy.Symbol("t", integer=True, nonnegative=True)
Piece = tuple[sympy.Expr, sympy.Expr, sympy.Expr]  # first step, step after the last, multiplier


def schedule_form(diagram: Diagram, spacetime: Spacetime, optimizer: Optimizer, *, basis: str) -> sympy.Expr:
    """Return the expected sum over embeddings of Π_edges κ for SGD with a schedule.

    Args:
        diagram: the diagram; whatever its root is tied to does not matter.
        spacetime: a spacetime with symbols: full batches, draws with replacement, or one epoch.
        optimizer: SGD whose schedule is a function that takes a symbol.
        basis: "moment" or "cumulant".

    Returns:
        A closed form where the multiplier is made of powers, sines and cosines of the step, also piece by piece, as a
        `Piecewise` with conditions such as t < T/2 in order. Where waves of few steps have another form, as those of
        cos(πt/T) up to T = order/2, a `Piecewise` of the form and of sums. Otherwise iterated sums. `doit` of sums with
        numbers is exact.

    Raises:
        ArgumentError: there are several epochs, or momentum or an average; or the function does not take a symbol.
    """
    if optimizer.beta != 0 or optimizer.average is not None:
        raise ArgumentError(f"Schedules with symbolic sizes are those of SGD at its last iterate; got {optimizer}.")
    if spacetime.sampling in ("fixed", "reshuffled") and spacetime.E != 1:
        raise ArgumentError(
            "Schedules with symbolic sizes run over one epoch, full batches or draws with replacement; got "
            f"{spacetime}. Give E=1, or numbers for all sizes."
        )
    pieces = _pieces(optimizer, spacetime.T)
    labels, total = parts_of_nodes(diagram.untie_root()), sympy.Integer(0)
    sums, frequencies = sympy.Integer(0), set[sympy.Expr]()
    for own in coarser(labels) if basis == "cumulant" else [labels]:
        form, met = _of_partition(diagram.untie_root(), own, spacetime, tuple(pieces))
        total, frequencies = total + form, frequencies | met
    total = total if total.has(sympy.Sum) else sympy.factor(total)
    condition = sympy.And(*map(_no_whole_turn, frequencies))
    if condition == sympy.true:
        return total
    for own in coarser(labels) if basis == "cumulant" else [labels]:
        sums += _of_partition(diagram.untie_root(), own, spacetime, tuple(pieces), closed=False)[0]
    return sympy.Piecewise((total, condition), (sums, True))


def _no_whole_turn(frequency: sympy.Expr) -> Any:
    """Return a condition under which a wave of a frequency does not turn by a multiple of 2π at every step."""
    turns = sympy.cancel(frequency / (2 * sympy.pi))
    above, below = turns.as_numer_denom()
    share = sympy.cancel(turns * sympy.Mul(*turns.free_symbols))
    if len(turns.free_symbols) == 1 and share.is_Rational:  # share/T
        (steps,) = turns.free_symbols
        if steps.is_integer and steps.is_positive:
            return sympy.true if abs(share) < 1 else steps > abs(share)
    return sympy.Ne(sympy.sin(sympy.pi * above / below), 0)


def _pieces(optimizer: Optimizer, steps: sympy.Expr) -> list[Piece]:
    """Return the schedule piece by piece."""
    try:
        multiplier = sympy.sympify(optimizer.multipliers(_STEP))  # type: ignore[misc,operator]
    except Exception as error:
        raise ArgumentError(
            "With symbolic sizes a schedule is a function that takes a symbol for the step, such as "
            f"lambda t: 1 - t/T, and gives an exact expression; got {error!r}."
        ) from error
    if not isinstance(multiplier, sympy.Expr) or multiplier.has(sympy.Float):
        raise ArgumentError(f"With symbolic sizes the multipliers of a schedule are exact; got {multiplier}.")
    if not isinstance(multiplier, sympy.Piecewise):
        return [(sympy.Integer(0), steps, multiplier)]
    found: list[Piece] = []
    for value, condition in multiplier.args:
        first = found[-1][1] if found else sympy.Integer(0)
        if condition == sympy.true:
            return [*found, (first, steps, value)]
        if not isinstance(condition, sympy.StrictLessThan) or condition.lhs != _STEP or condition.rhs.has(_STEP):
            break
        found.append((first, _within(condition.rhs, first, steps), value))
    raise ArgumentError(
        f"The pieces of a schedule have conditions t < a, t < b, …, in order, and the last is True; got {multiplier}."
    )


def _within(end: sympy.Expr, first: sympy.Expr, steps: sympy.Expr) -> sympy.Expr:
    """Return the step after the last one below an end, which may be fractional, or lie outside of the run."""
    whole, share = sympy.ceiling(end), sympy.cancel(end / steps)
    if not (share.is_Rational and 0 <= share <= 1):
        whole = sympy.Min(whole, steps)
    return whole if first == 0 and whole.is_nonnegative else sympy.Max(first, whole)


@lru_cache(maxsize=1 << 10)
def _of_partition(
    diagram: Diagram, labels: Labels, spacetime: Spacetime, pieces: tuple[Piece, ...], *, closed: bool = True
) -> tuple[sympy.Expr, frozenset[sympy.Expr]]:
    """Return the sum for one partition of the nodes: of nodes by step, or in an epoch of parts by batch.

    With it come the frequencies of the waves in it.
    """
    parts = max(labels, default=-1) + 1
    points, batch = spacetime.N, spacetime.B
    if spacetime.sampling in ("fixed", "reshuffled"):  # a part has one step
        before = [0] * parts
        for node in range(1, diagram.order + 1):
            if parent := diagram.parents[node]:
                if labels[node - 1] == labels[parent - 1]:
                    return sympy.Integer(0), frozenset()
                before[labels[parent - 1]] |= 1 << labels[node - 1]
        sizes = Counter(labels)
        weights = {
            block: (sympy.ff(batch, block.bit_count()), sum(sizes[part] for part in range(parts) if block >> part & 1))
            for block in range(1, 1 << parts)
        }
        return _iterated(before, weights, pieces, closed)
    before, weights = list(Items.of(diagram).before), {}
    for block in range(1, 1 << diagram.order):
        weight = sympy.Integer(1)
        if spacetime.sampling == "with-replacement":
            groups = Counter(labels[node] for node in range(diagram.order) if block >> node & 1)
            ways = spread_over_slots(groups.values())
            weight = sympy.Add(*(count * sympy.ff(batch, slots) / points**slots for slots, count in ways.items()))
        weights[block] = (sympy.expand(sympy.expand_func(weight)), block.bit_count())
    form, frequencies = _iterated(before, weights, pieces, closed)
    return sympy.expand_func(sympy.ff(points, parts)) * form, frequencies


def _iterated(
    before: Sequence[int], weights: dict[int, tuple[sympy.Expr, int]], pieces: tuple[Piece, ...], closed: bool
) -> tuple[sympy.Expr, frozenset[sympy.Expr]]:
    """Return the iterated sum over strict weak orders, piece by piece, and the frequencies of the waves in it.

    Args:
        before: for every item the mask of those that come before it.
        weights: for every block its weight, and the power of the multiplier.
        pieces: the schedule.
        closed: whether to sum where there is a form.
    """
    frequencies = set[sympy.Expr]()
    items = len(before)
    full = (1 << items) - 1
    down_sets = [
        chosen for chosen in range(full + 1) if not any(chosen >> i & 1 and before[i] & ~chosen for i in range(items))
    ]
    at_start: dict[int, Any] = {chosen: sympy.Integer(chosen == 0) for chosen in down_sets}
    for first, after, multiplier in pieces:
        sums: dict[int, sympy.Expr] = {0: sympy.Integer(1)}  # functions of the step
        for chosen in down_sets[1:]:
            summand = sympy.Integer(0)
            block = chosen
            while block:
                rest = chosen & ~block
                if rest in sums and not any(before[i] & block for i in range(items) if block >> i & 1):
                    weight, power = weights[block]
                    summand += weight * multiplier**power * sums[rest]
                block = (block - 1) & chosen
            sums[chosen] = at_start[chosen] + (
                _summed(summand, first, frequencies) if closed else _unevaluated(summand, first)
            )
        at_start = {chosen: sums[chosen].subs(_STEP, after).replace(_is_wave, _reduced) for chosen in down_sets}
    return sympy.expand_func(at_start[full]), frozenset(frequencies)


def _summed(summand: sympy.Expr, first: sympy.Expr, frequencies: set[sympy.Expr]) -> sympy.Expr:
    """Return Σ_{first ≤ s < t} of a function of the step, as one of t, and add the frequencies of waves in it."""
    if summand.has(sympy.Sum):
        return _unevaluated(summand, first)
    total, by_dependent = sympy.Integer(0), dict[sympy.Expr, sympy.Expr]()
    for term in sympy.Add.make_args(sympy.expand(summand)):
        coefficient, dependent = term.as_independent(_STEP)
        for part in sympy.Add.make_args(_as_waves(dependent)):
            number, left = part.as_independent(_STEP)
            by_dependent[left] = by_dependent.get(left, sympy.Integer(0)) + coefficient * number
    for dependent, coefficient in by_dependent.items():
        power, wave = sympy.Integer(0), sympy.Integer(1)
        for factor in sympy.Mul.make_args(dependent):
            base, exponent = factor.as_base_exp()
            if base == _STEP:
                power += exponent
            else:
                wave *= factor
        summed = _antidifference(power, wave)
        if summed is None:
            return _unevaluated(summand, first)
        if wave != 1:
            frequencies.add(sympy.Poly(wave.args[0], _STEP).LC())
        total += coefficient * (summed - summed.subs(_STEP, first).replace(_is_wave, _reduced))
    return sympy.expand(total)


def _unevaluated(summand: sympy.Expr, first: sympy.Expr) -> sympy.Expr:
    index = sympy.Dummy("s", integer=True, nonnegative=True)
    return sympy.Sum(summand.subs(_STEP, index), (index, first, _STEP - 1))


def _antidifference(power: sympy.Expr, wave: sympy.Expr) -> sympy.Expr | None:
    """Return F with F(t + 1) − F(t) = t^power · wave, where the wave is 1 or the sine or cosine of αt + φ."""
    if not (power.is_Integer and power >= 0):
        return None
    if wave == 1:
        return sympy.bernoulli(power + 1, _STEP) / (power + 1)
    if not isinstance(wave, (sympy.sin, sympy.cos)) or not wave.args[0].is_polynomial(_STEP):
        return None
    phase = sympy.Poly(wave.args[0], _STEP)
    if phase.degree() != 1:
        return None
    # Σ cos(αs + φ) = sin(α(t − ½) + φ) / (2 sin(α/2)), with the sine a quarter of a period later; powers of s come
    # from derivatives by α, a quarter of a period each.
    frequency, start = phase.all_coeffs()
    alpha = sympy.Dummy("alpha")
    quarter = start - (power + (1 if isinstance(wave, sympy.sin) else 0)) * sympy.pi / 2
    found = sympy.sin(alpha * (_STEP - sympy.Rational(1, 2)) + quarter) / (2 * sympy.sin(alpha / 2))
    value = sympy.diff(found, alpha, int(power)).subs(alpha, frequency)
    return value.replace(_is_wave, _reduced)


@lru_cache(maxsize=1 << 10)
def _as_waves(dependent: sympy.Expr) -> sympy.Expr:
    """Return products of sines and cosines as sums of them."""
    return dependent if dependent.is_polynomial(_STEP) else sympy.expand(TR8(dependent).replace(_is_wave, _reduced))


def _is_wave(one: sympy.Basic) -> bool:
    return isinstance(one, (sympy.sin, sympy.cos))


def _reduced(wave: sympy.Expr) -> sympy.Expr:
    """Return a sine or cosine without quarter turns in its phase, which SymPy keeps in sin(π − π/T)."""
    constant, rest = sympy.expand(wave.args[0] / sympy.pi).as_coeff_Add()
    if not (2 * constant).is_Integer:
        return wave.func(sympy.expand(wave.args[0]))
    turns = (int(2 * constant) + (1 if isinstance(wave, sympy.cos) else 0)) % 4
    return (-1) ** (turns // 2) * (sympy.cos if turns % 2 else sympy.sin)(sympy.expand(rest * sympy.pi))
