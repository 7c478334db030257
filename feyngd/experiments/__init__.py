"""The papers' experiments, each a prediction set against a simulation: `feyngd reproduce NAME`."""

from ._experiment import Experiment as Experiment
from ._experiment import Finding as Finding
from ._experiment import Outcome as Outcome
from ._experiment import Setting as Setting
from ._reproduce import EXPERIMENTS as EXPERIMENTS
from ._reproduce import reproduce as reproduce
