"""Studies: many configurations, predicted and simulated, in files that can be resumed."""

from ._curve_study import Curve as Curve
from ._curve_study import anchor_study as anchor_study
from ._study import study as study
from ._sweep import sweep as sweep
