"""Optimizers: what a step does with gradients, as kernels κ(t, s)."""

from . import _in_archives as _in_archives
from ._average import Average as Average
from ._from_optax import from_optax as from_optax
from ._metric import Metric as Metric
from ._optimizer import PLAIN as PLAIN
from ._optimizer import Optimizer as Optimizer
from ._optimizer import averaged as averaged
from ._optimizer import check_optimizer as check_optimizer
from ._optimizer import momentum as momentum
from ._optimizer import preconditioned as preconditioned
from ._optimizer import schedule as schedule
from ._optimizer import sgd as sgd
from ._parameters import Number as Number
from ._recipe import SCHEDULES as SCHEDULES
from ._recipe import Recipe as Recipe
from ._recurrence import Recurrence as Recurrence
from ._recurrence import VectorRecurrence as VectorRecurrence
from ._schedules import cosine as cosine
from ._schedules import linear as linear
from ._schedules import piecewise as piecewise
from ._schedules import warm_restarts as warm_restarts
from ._stability import Companion as Companion
from ._stability import companion as companion
from ._stability import stable_damping as stable_damping
