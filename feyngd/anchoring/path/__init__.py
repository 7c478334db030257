"""The noiseless path, and noise along it."""

from ._control_variates import Reduced as Reduced
from ._control_variates import controlled as controlled
from ._memory import room_for as room_for
from ._noise_directions import PILOTS as PILOTS
from ._noiseless_path import Runs as Runs
from ._noiseless_path import SecondOrder as SecondOrder
from ._noiseless_path import columns as columns
from ._second_order import Draws as Draws
