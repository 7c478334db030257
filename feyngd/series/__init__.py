"""Series: expected losses as sums over diagrams."""

from ..quantities import QUANTITIES as QUANTITIES
from ..quantities import SERIES as SERIES
from ._curves import expand_curve as expand_curve
from ._double_series import DoubleSeries as DoubleSeries
from ._double_series import DoubleTerm as DoubleTerm
from ._double_series import double_series as double_series
from ._expand import expand as expand
from ._expand import resum as resum
from ._limits import ode as ode
from ._limits import sde as sde
from ._measurements import measurements as measurements
from ._modified_flow import ModifiedFlow as ModifiedFlow
from ._modified_flow import modified_flow as modified_flow
from ._resummed import ResummedSeries as ResummedSeries
from ._series import ETA as ETA
from ._series import Series as Series
