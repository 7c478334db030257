"""Exact oracles and hypothesis strategies, for the project's tests and for testing your own derivations."""

from ._anchored_oracle import exact_anchored_series as exact_anchored_series
from ._identity import Statistics as Statistics
from ._identity import check_identity as check_identity
from ._limit_oracle import exact_limit_series as exact_limit_series
from ._oracle import exact_displacement as exact_displacement
from ._oracle import exact_series as exact_series
from ._polynomials import NoisyLandscape as NoisyLandscape
from ._polynomials import PolynomialLandscape as PolynomialLandscape
from ._spread_oracle import exact_covariance as exact_covariance
from ._spread_oracle import exact_variance as exact_variance
from ._strategies import cell_diagrams as cell_diagrams
from ._strategies import diagrams as diagrams
from ._strategies import landscapes as landscapes
from ._strategies import measurements as measurements
from ._strategies import noisy_landscapes as noisy_landscapes
from ._strategies import optimizers as optimizers
from ._strategies import points as points
from ._strategies import spacetimes as spacetimes
from ._values import ExactValues as ExactValues
