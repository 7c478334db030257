"""What this theory takes for granted, as rows with their limits: predictions and `assumptions` judge alike."""

import numpy as np

from ...estimates import Estimate
from .._assumptions import Assumption

COMMUTE = 0.05  # |CD − DC|/(√2|CD|): below, the density has next to no current
SMALL_STEP = 0.2  # ηh: below, continuous time is within about a tenth
SMALL_MOVE = 0.2  # |b|/√tr Σ: below, third derivatives are a small correction
SMALL_CORRECTION = 0.2  # the next order of Laplace's method


def commuting(measured: Estimate) -> Assumption:
    """Judge whether noise and curvature commute."""
    meaning = "|CD − DC|/(√2|CD|): else the density has a current; covariance and expected losses hold all the same"
    return _judged("noise and curvature commute", measured, most=COMMUTE, meaning=meaning)


def strict_minimum(measured: Estimate, flat: float) -> Assumption:
    """Judge whether the lowest curvature over the highest is above rounding."""
    meaning = "the lowest curvature over the highest: along flat directions nothing holds the parameters"
    return _judged("strict minimum", measured, least=flat, meaning=meaning)


def noise_in_all_directions(measured: Estimate, flat: float) -> Assumption:
    """Judge whether the smallest eigenvalue of D over the largest is above rounding."""
    meaning = "the smallest eigenvalue of D over the largest: a density needs noise in every direction"
    return _judged("noise in all directions", measured, least=flat, meaning=meaning)


def small_steps(measured: Estimate) -> Assumption:
    """Judge the largest ηh."""
    meaning = "the largest ηh: else continuous time does not stand for steps; use time='discrete'"
    return _judged("small steps", measured, most=SMALL_STEP, meaning=meaning)


def small_fluctuations(measured: Estimate) -> Assumption:
    """Judge how far the mean moves, over how far the parameters spread."""
    meaning = "|b|/√tr Σ: else terms beyond the first order in T matter; lower the temperature"
    return _judged("small fluctuations", measured, most=SMALL_MOVE, meaning=meaning)


def small_correction(corrections: np.ndarray) -> Assumption:
    """Judge the next order of Laplace's weights."""
    meaning = "the largest next order of a basin's integral: else laplace_weights are no guide; weights are exact"
    return Assumption.judged("Laplace", float(np.abs(corrections).max()), most=SMALL_CORRECTION, meaning=meaning)


def exact(value: float) -> Estimate:
    """Return a number without error as an estimate."""
    return Estimate(float(value), None, 0, "exact")


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """Return an estimate times an exact number."""
    stderr = None if estimate.stderr is None else abs(factor) * estimate.stderr
    return Estimate(factor * estimate.value, stderr, estimate.num_samples, estimate.kind)


def _judged(
    name: str, measured: Estimate, *, most: float | None = None, least: float | None = None, meaning: str
) -> Assumption:
    return Assumption.judged(name, measured.value, most=most, least=least, stderr=measured.stderr, meaning=meaning)
