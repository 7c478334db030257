"""Prediction: series times values, simulation, and the comparison of the two."""

from ._compare import Comparison as Comparison
from ._compare import compare as compare
from ._files import check_writable as check_writable
from ._predict import Prediction as Prediction
from ._predict import TruncationWarning as TruncationWarning
from ._predict import predict as predict
from ._simulate import Simulation as Simulation
from ._simulate import simulate as simulate
from ._simulate_sde import SDESimulation as SDESimulation
from ._simulate_sde import simulate_sde as simulate_sde
from ._study import study as study
from ._sweep import sweep as sweep
