"""What averages over training sets leave uncertain: cross-evaluation, and delete-one-dataset jackknives."""

from collections.abc import Callable

import numpy as np

from ...estimates import Estimate


def cross_gap(cross: np.ndarray) -> Estimate:
    """Return the gap from losses of every dataset's parameters on every dataset, without test data.

    With A_ij the loss of the parameters from dataset i on dataset j, that is the mean over i ≠ j less the mean over
    i = j: R/(R − 1) (mean A − mean diag A). Its error is a jackknife over datasets, as one dataset is in 2R − 1 of the
    entries.

    Args:
        cross: A, shape (R, R) with R ≥ 3.

    References:
        "Studying Generalization Through Data Averaging", equations (5) and (6).
    """
    count = len(cross)
    value = count / (count - 1) * (cross.mean() - np.diag(cross).mean())
    return from_left_out(float(value), cross_gaps_without_one(cross))


def cross_gaps_without_one(cross: np.ndarray) -> np.ndarray:
    """Return the same without each dataset, shape (R,)."""
    own, rest = np.diag(cross), len(cross) - 1
    without = own.sum() - own
    totals = cross.sum() - cross.sum(axis=0) - cross.sum(axis=1) + own
    return (totals - without) / (rest * (rest - 1)) - without / rest


def from_left_out(value: float, left_out: np.ndarray) -> Estimate:
    """Return a statistic of datasets with its error, from its values without each."""
    count = len(left_out)
    stderr = np.sqrt((count - 1) / count * np.sum((left_out - left_out.mean()) ** 2))
    return Estimate(float(value), float(stderr), count, "jackknife")


def jackknife(statistic: Callable[[np.ndarray], float], count: int) -> Estimate:
    """Return a statistic of equally weighted datasets with its error, less its bias to first order.

    Args:
        statistic: from the weights of the datasets, shape (count,), of sum 1.
        count: the number of datasets.
    """
    whole = statistic(np.full(count, 1 / count))
    left_out = np.empty(count)
    for place in range(count):
        weights = np.full(count, 1 / (count - 1))
        weights[place] = 0
        left_out[place] = statistic(weights)
    return from_left_out(count * whole - (count - 1) * left_out.mean(), left_out)
