"""The estimators, a line for each: the module and its class.

The order is from the most exact to the least. A number that several estimators suit goes to the first of them, and a
value that is made of several numbers has the kind of the last of theirs.
"""

from importlib import import_module

from ._estimator import Estimator

_CLASSES = {
    "_double_sum": "DoubleSum",
    "_contraction": "Contraction",
    "_deflation": "Deflation",
    "_strata": "Strata",
    "_pairing": "Pairing",
}

ESTIMATORS: tuple[Estimator, ...] = tuple(
    getattr(import_module(f"{__package__}.{module}"), name)() for module, name in _CLASSES.items()
)
NAMES = ("auto", *(estimator.name for estimator in ESTIMATORS))  # as in `evaluate(estimator=...)`
EXACT = "exact"  # the kind of what needs no estimator
FRESH_NOISE = "fresh noise"  # the kind of what draws noise anew in every replicate
KINDS = (EXACT, *(estimator.kind for estimator in ESTIMATORS), FRESH_NOISE)  # from the most exact to the least
