"""A loss as it is at the moment of a call, and the programs compiled from it.

A Python function may compute something else in a later call: it may read a global, an attribute of an object, a default
argument or an array that has been changed. So no program is kept for a function. Every public call traces the loss
again, which takes milliseconds. Programs belong to the trace, and a later call uses them again only where its own trace
has the same equations and the same constants.
"""

import weakref
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jaxtyping import Array, PyTree

from ._fingerprint import Fingerprint, UnprovableError, fingerprint
from ._loss import Loss
from ._strict_modes import own_settings

Made = TypeVar("Made")
Program = TypeVar("Program", bound=Callable[..., Any])

_PROGRAMS = 64  # that a loss keeps
_SIGNATURES = 16  # shapes and dtypes of parameters and examples that are kept for one loss


class FrozenLoss:
    """A loss that was traced and cannot change: `loss(params, example)` for parameters and examples of one shape.

    Args:
        traced: the trace; its inputs are the leaves of the parameters, then those of an example.
        print_: the fingerprint of the trace; `None` where a constant is a tracer itself.
        name: the name of the function that was traced.

    Attributes:
        jaxpr: the trace.
        fingerprint: its content; `None` where a constant is a tracer itself.
        programs: what was compiled from it, by what was asked for.
        notes: results of checks, by name, which need not be repeated.
    """

    def __init__(self, traced: core.ClosedJaxpr, print_: Fingerprint | None, name: str) -> None:
        # NumPy constants are views of the user's arrays, which may be written to later.
        with jax.ensure_compile_time_eval():  # under a user's jit too: what is kept must not be one of its tracers
            consts = [c if isinstance(c, jax.Array) else jnp.array(np.asarray(c)) for c in traced.consts]
        self.jaxpr = core.ClosedJaxpr(traced.jaxpr, consts)
        self.fingerprint = print_
        self.programs: OrderedDict[Any, Any] = OrderedDict()
        self.notes: dict[str, Any] = {}
        self.__name__ = name
        self._run = core.jaxpr_as_fun(self.jaxpr)

    def __call__(self, params: PyTree, example: PyTree) -> Array:
        """Return the loss of one example."""
        (value,) = self._run(*jax.tree.leaves(params), *jax.tree.leaves(example))
        return value

    @property
    def digest(self) -> str:
        """A hash of what is computed; empty where a constant is a tracer itself."""
        return self.fingerprint.digest if self.fingerprint else ""


def frozen_loss(loss: Loss, traced: core.ClosedJaxpr, owner: Any) -> FrozenLoss:
    """Return the frozen form of a trace: an earlier one, with its programs, if it certainly computes the same.

    Programs live as long as the function, or for a method as long as its object. Only the latest trace is kept for each
    kind of arrays, so that arrays which a loss has closed over earlier can be freed.

    Args:
        loss: the function.
        traced: its trace, made in this call.
        owner: an object to keep programs for where the function cannot be referred to weakly.
    """
    name = getattr(loss, "__name__", type(loss).__name__)
    try:
        found = fingerprint(traced)
    except UnprovableError:
        return FrozenLoss(traced, None, name)
    versions = _versions(getattr(loss, "__self__", loss), owner)
    signature = (name, tuple(str(aval) for aval in traced.in_avals))
    kept = versions.pop(signature, None)
    if kept is None or kept.fingerprint is None or not found.proves(kept.fingerprint):
        kept = FrozenLoss(traced, found, name)
    versions[signature] = kept
    while len(versions) > _SIGNATURES:
        versions.popitem(last=False)
    return kept


def per_loss(make: Callable[..., Program]) -> Callable[..., Program]:
    """Decorate a function of a loss and hashable options that compiles a program: it is kept with a frozen loss.

    For a loss that is not frozen nothing is kept. The programs of a frozen one run with JAX's default settings, since
    strict ones were applied when the loss was traced.
    """

    @wraps(make)
    def kept(loss: Any, *options: Any, **named: Any) -> Program:
        if not isinstance(loss, FrozenLoss):
            return make(loss, *options, **named)
        key = make, options, tuple(sorted(named.items()))
        if key not in loss.programs:
            loss.programs[key] = own_settings()(make(loss, *options, **named))
        loss.programs.move_to_end(key)
        while len(loss.programs) > _PROGRAMS:
            loss.programs.popitem(last=False)
        return loss.programs[key]

    return kept


def noted(loss: Any, name: str, find: Callable[[], Made]) -> Made:
    """Return what `find` returns, found once for a frozen loss."""
    if not isinstance(loss, FrozenLoss):
        return find()
    if name not in loss.notes:
        loss.notes[name] = find()
    return loss.notes[name]


_Versions = OrderedDict[Any, FrozenLoss]
_BY_OBJECT: dict[int, _Versions] = {}


def _versions(keeper: Any, owner: Any) -> _Versions:
    """Return the frozen losses that are kept as long as an object lives; the owner's where it cannot be watched."""
    for one in (keeper, owner):
        if id(one) in _BY_OBJECT:
            return _BY_OBJECT[id(one)]
        try:
            weakref.finalize(one, _BY_OBJECT.pop, id(one), None).atexit = False
        except TypeError:
            continue
        return _BY_OBJECT.setdefault(id(one), OrderedDict())
    return OrderedDict()
