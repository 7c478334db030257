"""Polynomial landscapes held twice: in rational arithmetic, and as a JAX loss over a population of examples."""

from fractions import Fraction
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import sympy

import feyngd as fd

X, Y = sympy.symbols("x y")


def quartic(theta, numbers):
    """A quartic in two parameters made from two linear forms; works on SymPy symbols and on JAX arrays alike."""
    z = numbers[0] * theta[0] + numbers[1] * theta[1]
    w = numbers[2] * theta[0] + numbers[3] * theta[1]
    return z**4 + z**2 * w + numbers[4] * w


def make_twin(seed, multiplicities):
    """Draw one kind of example for each multiplicity; the population repeats every kind that often."""
    quarters = np.random.default_rng(seed).integers(-4, 5, (len(multiplicities), 5))
    expressions = [quartic((X, Y), [sympy.Rational(int(q), 4) for q in row]) for row in quarters]
    weights = [Fraction(times, sum(multiplicities)) for times in multiplicities]
    polynomials = fd.testing.PolynomialLandscape.from_expressions(expressions, (X, Y), weights)
    point = (Fraction(1, 2), Fraction(-3, 4))
    with jax.enable_x64(True):
        landscape = fd.Landscape(quartic, np.repeat(quarters / 4, multiplicities, axis=0))
    return SimpleNamespace(
        exact=fd.testing.ExactValues(polynomials, point),
        landscape=landscape,
        params=np.array([float(x) for x in point]),
    )


@pytest.fixture(scope="session")
def twin():
    """Twelve examples of four kinds; `exact` has the values in fractions, `landscape` evaluates them."""
    return make_twin(20, [4, 3, 3, 2])


@pytest.fixture(scope="session")
def three_examples():
    """Three examples, few enough to go through all permutations."""
    return make_twin(21, [1, 1, 1])
