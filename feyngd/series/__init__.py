"""Series: expected losses as sums over diagrams."""

from ._limits import ode as ode
from ._limits import sde as sde
from ._quantities import QUANTITIES as QUANTITIES
from ._quantities import SERIES as SERIES
from ._quantities import expand as expand
from ._quantities import measurements as measurements
from ._resummed import ResummedSeries as ResummedSeries
from ._resummed import resum as resum
from ._series import ETA as ETA
from ._series import Series as Series
