"""Evaluation: the values of diagrams on a landscape, with their errors."""

from ._checks import check_key as check_key
from ._checks import check_landscape as check_landscape
from ._estimate import Estimate as Estimate
from ._estimate import Values as Values
from ._evaluate import evaluate as evaluate
from ._evaluate import plan as plan
from ._plan import Plan as Plan
from ._sampling import PrecisionWarning as PrecisionWarning
