"""Smoothness: which operations of a loss have kinks within reach."""

from ._find_kinks import find_kinks as find_kinks
from ._suspects import user_line as user_line
from ._warnings import kinks as kinks
from ._warnings import warn_of_kinks as warn_of_kinks
