"""Evaluation: the values of diagrams on a landscape, with their errors."""

from ..estimates import Estimate as Estimate
from ..estimates import PrecisionWarning as PrecisionWarning
from ._evaluate import MEASURED as MEASURED
from ._evaluate import evaluate as evaluate
from ._evaluate import evaluate_for as evaluate_for
from ._evaluate import plan as plan
from ._kinds_of_diagrams import check_forests as check_forests
from ._values import Values as Values
from .estimators import MOST_TWINS as MOST_TWINS
from .estimators import Aim as Aim
from .estimators import Effort as Effort
from .estimators import Goal as Goal
from .planning import JOINED as JOINED
from .planning import Plan as Plan
