"""Evaluation: the values of diagrams on a landscape, with their errors."""

from ..estimates import Estimate as Estimate
from ..estimates import PrecisionWarning as PrecisionWarning
from ._evaluate import evaluate as evaluate
from ._evaluate import plan as plan
from ._values import Values as Values
from .planning import Plan as Plan
