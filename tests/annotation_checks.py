"""How annotations are checked at run time, for the import hook that conftest.py installs."""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

_CONF = BeartypeConf(is_pep484_tower=True)  # an integer is taken where a float is
_DOORS = {"simulate", "simulate_sde"}  # public functions, which check their own arguments


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check arguments and results of a function against its annotations in every call.

    Public functions and checks of arguments are left out: what users give them may be anything, and they say what is
    wrong with it.
    """
    takes_anything = function.__name__ in _DOORS or function.__name__.lstrip("_").startswith("check_")
    return function if takes_anything else beartype(function, conf=_CONF)
