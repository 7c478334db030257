"""Evaluation: the values of diagrams on a landscape, with their errors."""

from ._checks import check_key as check_key
from ._curvature import CHUNK as CHUNK
from ._curvature import Loss as Loss
from ._curvature import covariance_and_hessian as covariance_and_hessian
from ._curvature import flat_loss as flat_loss
from ._curvature import num_examples as num_examples
from ._curvature import num_params as num_params
from ._curvature import sum_over as sum_over
from ._estimate import Estimate as Estimate
from ._estimate import Values as Values
from ._evaluate import evaluate as evaluate
from ._evaluate import plan as plan
from ._lanczos import Response as Response
from ._plan import Plan as Plan
from ._point import Point as Point
from ._sampling import PrecisionWarning as PrecisionWarning
from ._trace import DENSE as DENSE
from ._trace import Trace as Trace
from ._trace import check_num_examples as check_num_examples
from ._tracing import with_products as with_products
