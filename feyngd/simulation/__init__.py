"""Simulation: ensembles of real runs of SGD, and of its stochastic differential equation."""

from ._ensemble import Ensemble as Ensemble
from ._sde import SDESimulation as SDESimulation
from ._sde import simulate_sde as simulate_sde
from ._sgd import simulate as simulate
from ._simulated_curves import SimulatedCurves as SimulatedCurves
from ._simulation import SimulatedCurve as SimulatedCurve
from ._simulation import Simulation as Simulation
