"""Training with the calculus' help: emulating small batches (GDC), and criteria of generalization to select by."""

from ._composition import GDCState as GDCState
from ._criteria import StabilityWarning as StabilityWarning
from ._criteria import aic as aic
from ._criteria import stic as stic
from ._criteria import stic_value as stic_value
from ._criteria import tic as tic
from ._criteria import tic_value as tic_value
from ._gdc import gdc as gdc
from ._gdc import gdc_gradient as gdc_gradient
from ._gdc import gdc_loss as gdc_loss
from ._responses import response as response
