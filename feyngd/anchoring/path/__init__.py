"""The noiseless path, and noise along it."""

from ._control_variates import ControlVariates as ControlVariates
from ._control_variates import controlled as controlled
from ._memory import plan_memory as plan_memory
from ._noise_directions import PILOTS as PILOTS
from ._noiseless_path import DrawsAlongPath as DrawsAlongPath
from ._noiseless_path import NoiselessPath as NoiselessPath
from ._noiseless_path import columns as columns
from ._second_order import Draws as Draws
