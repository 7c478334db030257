"""How annotations are checked at run time, for the import hook that conftest.py installs."""

from collections.abc import Callable
from threading import Lock
from typing import Any

from beartype import BeartypeConf, beartype

_CONF = BeartypeConf(is_pep484_tower=True)  # an integer is taken where a float is
# Decorating changes the filters of warnings for a moment, and inner functions are decorated in every thread that calls
# what defines them: two at once could leave changed filters behind.
_ONE_AT_A_TIME = Lock()
_DOORS = {"simulate", "simulate_sde"}  # public functions, which check their own arguments


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check arguments and results of a function against its annotations in every call.

    Public functions and checks of arguments are left out: what users give them may be anything, and they say what is
    wrong with it.
    """
    takes_anything = function.__name__ in _DOORS or function.__name__.lstrip("_").startswith("check_")
    if takes_anything:
        return function
    with _ONE_AT_A_TIME:
        return beartype(function, conf=_CONF)
