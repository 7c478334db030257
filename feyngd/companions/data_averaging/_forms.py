"""Short rules of the paper: epochs, conversion between drawings, losses of a mixture of basins, spikes."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..._arguments import check_integer
from ...errors import ArgumentError
from ...estimates import Estimate
from .._numbers import check_choice, check_number, check_symmetric, check_temperature

RULES = ("printed", "equal-time")
_SHORT, _LONG = 7, 25  # records whose trailing means tell a spike


def epochs(
    temperature: float, *, reference: tuple[float, int] = (2e-4, 300), rule: str = "printed", cap: float = 4
) -> int:
    """Return for how many epochs to train at a temperature, by the paper's rule or by the one that it derives.

    With a reference of E₀ epochs at T₀, "printed" is E₀ max(1, min(cap, 1 + ¼(T₀/T − 1))). The paper's argument is that
    runs of equal T × (examples processed) are comparable; that is "equal-time", E₀ T₀/T, without a cap or a floor. They
    differ: at T₀/5 the printed rule doubles the epochs, and equal time is five times as many.

    Args:
        temperature: T = λ/B.
        reference: T₀ and E₀.
        rule: "printed" or "equal-time".
        cap: by how much the printed rule lengthens runs at most, at least 1.

    Returns:
        Whole epochs, rounded up; temperatures are read as the decimal numbers that they are written as.

    Raises:
        ArgumentError: a temperature is not positive, the rule is unknown, or the cap is below 1.

    References:
        "Studying Generalization Through Data Averaging", appendix B.

    Examples:
        >>> epochs(4e-5), epochs(4e-5, rule="equal-time")
        (600, 1500)
    """
    return epochs_of_batch(check_temperature(temperature), 1, reference=reference, rule=rule, cap=cap)


def epochs_of_batch(rate: float, B: int, *, reference: tuple[float, int], rule: str, cap: float) -> int:
    """Return the same at T = λ/B, from a learning rate that is read as it is written."""
    coldest, number = reference
    ratio = _as_written(check_temperature(coldest)) * B / _as_written(rate)
    number = check_integer("The epochs of the reference", number, least=1)
    limit = _as_written(check_number("The cap", cap, least=1))
    if check_choice("rule", rule, RULES) == "equal-time":
        return max(1, math.ceil(number * ratio))
    return math.ceil(number * max(Fraction(1), min(limit, 1 + (ratio - 1) / 4)))


def _as_written(number: float) -> Fraction:
    """Return the fraction that a float's shortest decimal form is, so that 2e-4/4e-5 is 5."""
    return Fraction(repr(number))


def convert_gap(gap: Any, *, N: int, M: int, to: str) -> Estimate:
    """Convert a gap between the two ways of drawing N training points from a pool of M.

    With "split" the test set is what training left over; with "overlap" training and test sets are drawn independently,
    so that a share N/M of the test points was trained on. Run by run in expectation, gap_overlap = (1 − N/M) gap_split.

    Args:
        gap: the gap in the other drawing, an `Estimate` or a number, which may be negative.
        N: the number of training points.
        M: the number of points in the pool, more than N.
        to: "overlap" or "split".

    Raises:
        ArgumentError: N is not below M, the gap is not finite, or `to` is unknown.

    References:
        "Studying Generalization Through Data Averaging", section 3.1 and appendix E; the factor is exact and not in the
        paper.

    Examples:
        >>> convert_gap(0.6, N=50_000, M=60_000, to="overlap").figure
        '0.1'
    """
    points, pool = check_integer("N", N, least=1), check_integer("M", M, least=2)
    if points >= pool:
        raise ArgumentError(f"A split leaves test points only if N < M; got N={points} and M={pool}.")
    given = gap if isinstance(gap, Estimate) else Estimate(check_number("The gap", gap), None, 0, "exact")
    factor = 1 - points / pool
    if check_choice("drawing", to, ("overlap", "split")) == "split":
        factor = 1 / factor
    stderr = None if given.stderr is None else given.stderr * factor
    return Estimate(given.value * factor, stderr, given.num_samples, given.kind)


def local_losses(
    weights: ArrayLike,
    *,
    depths: ArrayLike,
    curvatures: ArrayLike,
    covariances: ArrayLike,
    biases: ArrayLike,
    shifts: ArrayLike,
    train_depths: ArrayLike | None = None,
    train_curvatures: ArrayLike | None = None,
) -> tuple[float, float]:
    """Return the test and the train loss of a mixture of K Gaussians in quadratic basins, in the unit of the loss.

    The test loss is Σ w_k (U_k + ½ tr Σ_k C_k + ½ (b_k + s_k)ᵀ C_k (b_k + s_k)) from the test loss's minima and their
    curvatures; the train loss is the same without s_k from the train loss's.

    Args:
        weights: w_k, shape (K,), not negative, of sum 1.
        depths: U_k, the test loss at its minima, shape (K,).
        curvatures: C_k, of the test loss there, shape (K, p, p); shape (K,) for one parameter, also below.
        covariances: Σ_k, of the parameters in each basin, shape (K, p, p).
        biases: b_k, from the train loss's minimum to the mean of the parameters, shape (K, p).
        shifts: s_k, from the test loss's minimum to the train loss's, shape (K, p).
        train_depths: as `depths`, of the train loss; by default the same.
        train_curvatures: as `curvatures`, of the train loss; by default the same.

    Returns:
        `(test, train)`.

    Raises:
        ArgumentError: the weights do not sum to 1 or are negative, shapes differ, or a matrix is not symmetric.

    References:
        "Studying Generalization Through Data Averaging", equations (54) and (55).

    Examples:
        >>> test, train = local_losses([1.0], depths=[0.5], curvatures=[2.0], covariances=[0.1], biases=[0], shifts=[1])
        >>> print(f"{test:.4f} {train:.4f}")
        1.6000 0.6000
    """
    shares = np.asarray(weights, dtype=float)
    if shares.ndim != 1 or not np.all(shares >= 0) or not np.isclose(shares.sum(), 1, rtol=0, atol=1e-9):
        raise ArgumentError(
            f"Weights of basins are not negative and sum to 1; got {shares.tolist()}, of sum {shares.sum():g}. Divide "
            "them by their sum."
        )
    count = len(shares)
    spreads = _matrices("covariance", covariances, count)
    size = spreads.shape[1]
    b, s = _vectors("biases", biases, count, size), _vectors("shifts", shifts, count, size)

    def mixed(deep: Any, curved: Any, away: np.ndarray) -> float:
        bottoms, bends = np.asarray(deep, dtype=float), _matrices("curvature", curved, count)
        if bottoms.shape != (count,) or bends.shape != spreads.shape:
            raise ArgumentError(
                f"There are {count} basins of {size} parameters; got depths of shape {bottoms.shape} and curvatures of "
                f"shape {bends.shape}."
            )
        quadratic = np.einsum("kij,kji->k", spreads, bends) + np.einsum("ki,kij,kj->k", away, bends, away)
        return float(shares @ (bottoms + quadratic / 2))

    of_train = depths if train_depths is None else train_depths
    bend_of_train = curvatures if train_curvatures is None else train_curvatures
    return mixed(depths, curvatures, b + s), mixed(of_train, bend_of_train, b)


def _matrices(name: str, given: Any, count: int) -> np.ndarray:
    array = np.asarray(given, dtype=float)
    if array.ndim not in (1, 3) or len(array) != count:
        raise ArgumentError(
            f"There are {count} basins, so {name}s are of shape ({count}, p, p), or ({count},) for one parameter; got "
            f"{array.shape}."
        )
    return np.stack([check_symmetric(f"The {name} of basin {k}", one) for k, one in enumerate(array)])


def _vectors(name: str, given: Any, count: int, size: int) -> np.ndarray:
    array = np.asarray(given, dtype=float)
    if array.shape == (count,):
        array = array[:, None]
    if array.shape != (count, size):
        raise ArgumentError(f"There are {count} basins of {size} parameters; got {name} of shape {np.shape(given)}.")
    return array


def sampling_shift(value: float, curvature: Any, covariance: Any) -> float:
    """Return the mean loss h + ½ tr(∇²h Cov s) of a loss h(θ − s) whose minimum is shifted by sampling.

    Args:
        value: h, in the unit of the loss.
        curvature: ∇²h, shape (p, p), or a number.
        covariance: of the shift s between datasets, of mean 0, shape (p, p), or a number.

    Raises:
        ArgumentError: a matrix is not symmetric or shapes differ.

    References:
        "Studying Generalization Through Data Averaging", appendix D.

    Examples:
        >>> sampling_shift(0.5, 2.0, 0.25)
        0.75
    """
    bend, spread = check_symmetric("The curvature", curvature), check_symmetric("The covariance", covariance)
    if bend.shape != spread.shape:
        raise ArgumentError(
            f"Curvature and covariance belong to the same p parameters; got {bend.shape} and {spread.shape}."
        )
    return check_number("The loss", value) + float(np.sum(bend * spread)) / 2


def records_before_spike(trace: ArrayLike, *, short: int = _SHORT, long: int = _LONG) -> int:
    """Return how many records of a run come before the loss spikes at its end; all of them if it does not.

    A run spikes where the mean of its last `short` records exceeds that of its last `long`. It is cut at the first
    record from which trailing means keep that order up to the end; the longer one is over fewer records near the start.

    Args:
        trace: a loss at every record, finite, at least `long` of them.
        short: the records of the first mean.
        long: the records of the second, more than `short`.

    Raises:
        ArgumentError: the trace is not a list of finite numbers or too short, or `short` is not below `long`.

    References:
        "Studying Generalization Through Data Averaging", figure 8; where the order "began" is made precise here.

    Examples:
        >>> records_before_spike([1.0] * 40 + [1.5] * 5)
        40
    """
    values = np.asarray(trace, dtype=float)
    few, many = check_integer("short", short, least=1), check_integer("long", long, least=2)
    if few >= many:
        raise ArgumentError(f"The shorter mean is over fewer records than the longer; got {few} and {many}.")
    if values.ndim != 1 or len(values) < many or not np.all(np.isfinite(values)):
        raise ArgumentError(
            f"A trace is a list of at least {many} finite losses; got shape {values.shape}. Record more often, or give "
            "a smaller `long`."
        )
    ends = np.arange(few + 1, len(values) + 1)
    sums = np.concatenate([[0.0], np.cumsum(values - values.mean())])
    window = np.minimum(ends, many)
    recent, earlier = (sums[ends] - sums[ends - few]) / few, (sums[ends] - sums[ends - window]) / window
    is_higher = recent > earlier + 1e-12 * np.ptp(values)  # more than rounding
    if not is_higher[-1]:
        return len(values)
    calm = np.flatnonzero(~is_higher)
    first = 0 if not calm.size else int(calm[-1]) + 1
    return int(ends[first]) - 1
