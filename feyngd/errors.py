"""The exceptions of feyngd: what was given, what is allowed, what to do.

Every error that reports bad input is a `ValueError` as well, so callers need not know these names.
"""


class FeynGDError(Exception):
    """Base class of every error that feyngd raises on purpose."""


class ArgumentError(FeynGDError, ValueError):
    """An argument outside what a function allows: an unknown quantity, a negative order, a learning rate of zero."""


class DiagramError(ArgumentError):
    """Text, a tree or a partition that is not a diagram."""


class SpacetimeError(ArgumentError):
    """Sizes, batches or symbols that do not make a spacetime."""


class LandscapeError(ArgumentError):
    """A loss, dataset or parameters that do not make a landscape, or one whose derivatives are not finite."""


class MismatchError(FeynGDError, AssertionError):
    """Two exact results that should agree do not: a wrong closed form or a wrong identity."""
