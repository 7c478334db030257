"""Spacetimes: which datapoints SGD sees at which step."""

from ._spacetime import SAMPLINGS as SAMPLINGS
from ._spacetime import Spacetime as Spacetime
