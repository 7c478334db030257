"""Series: expected losses as sums over diagrams."""

from ._quantities import QUANTITIES as QUANTITIES
from ._quantities import expand as expand
from ._series import ETA as ETA
from ._series import Series as Series
