"""Losses that can be changed behind the back of whoever holds them, each in a way of its own.

Every maker returns a loss with weight decay 0, and a function that makes it the same loss with another weight decay.
"""

import functools
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Changeable = tuple[Callable[..., Any], Callable[[float], None]]

decay = 0.0
_module = types.ModuleType("users_module")


def squared(params, example):
    """Return the squared error, smooth and not quadratic in the parameters."""
    x, y = example
    return 0.5 * (jnp.tanh(x @ params) - y) ** 2


def reference(decay: float) -> Callable[..., Any]:
    """Return the loss that all of them are after a change, written out."""
    return lambda params, example: squared(params, example) + 0.5 * decay * params @ params


def bound_method() -> Changeable:
    class Trainer:
        decay = 0.0

        def loss(self, params, example):
            return squared(params, example) + 0.5 * self.decay * params @ params

    trainer = Trainer()
    return trainer.loss, functools.partial(setattr, trainer, "decay")


def class_attribute() -> Changeable:
    class Trainer:
        decay = 0.0

        @classmethod
        def loss(cls, params, example):
            return squared(params, example) + 0.5 * cls.decay * params @ params

    return Trainer.loss, functools.partial(setattr, Trainer, "decay")


def callable_object() -> Changeable:
    class Loss:
        __hash__ = None  # as objects that compare by value

        def __init__(self):
            self.decay = 0.0

        def __eq__(self, other):
            return True

        def __call__(self, params, example):
            return squared(params, example) + 0.5 * self.decay * params @ params

    loss = Loss()
    return loss, functools.partial(setattr, loss, "decay")


def module_global() -> Changeable:
    globals()["decay"] = 0.0

    def change(value):
        globals()["decay"] = value

    return lambda params, example: squared(params, example) + 0.5 * decay * params @ params, change


def closure() -> Changeable:
    held = 0.0

    def loss(params, example):
        return squared(params, example) + 0.5 * held * params @ params

    def change(value):
        nonlocal held
        held = value

    return loss, change


def default_argument() -> Changeable:
    def loss(params, example, decay=0.0):
        return squared(params, example) + 0.5 * decay * params @ params

    return loss, lambda value: setattr(loss, "__defaults__", (value,))


def code_of_the_function() -> Changeable:
    def loss(params, example):
        return squared(params, example)

    def change(value):
        def other(params, example):
            return squared(params, example) + 0.5 * decay * params @ params

        globals()["decay"] = value
        loss.__code__ = other.__code__

    return loss, change


def partial_keywords() -> Changeable:
    def loss(params, example, decay):
        return squared(params, example) + 0.5 * decay * params @ params

    bound = functools.partial(loss, decay=0.0)

    def change(value):
        bound.keywords["decay"] = value

    return bound, change


def dictionary() -> Changeable:
    settings = {"decay": 0.0}

    def loss(params, example):
        return squared(params, example) + 0.5 * settings["decay"] * params @ params

    return loss, functools.partial(settings.__setitem__, "decay")


def numpy_array() -> Changeable:
    decays = np.zeros(3, np.float32)

    def loss(params, example):
        return squared(params, example) + 0.5 * (decays * params) @ params

    return loss, lambda value: decays.fill(value)


def patched_module() -> Changeable:
    _module.penalty = lambda params: 0.0 * params @ params

    def loss(params, example):
        return squared(params, example) + _module.penalty(params)

    return loss, lambda value: setattr(_module, "penalty", lambda params: 0.5 * value * params @ params)


def rule_of_a_derivative() -> Changeable:
    """The value stays as it is; the derivative, which is written by hand, is the one of a loss with weight decay."""
    settings = {"decay": 0.0}

    @jax.custom_jvp
    def nothing(params):
        return 0.0 * params @ params

    @nothing.defjvp
    def _(primals, tangents):
        return nothing(*primals), settings["decay"] * primals[0] @ tangents[0]

    return lambda params, example: squared(params, example) + nothing(params), functools.partial(
        settings.__setitem__, "decay"
    )


def wrapped_in_jit_parts() -> Changeable:
    """A part is compiled by the user, again after the change, as `jax.jit` itself wants it."""
    settings = {"decay": 0.0}

    def loss(params, example):
        return jax.jit(lambda params: squared(params, example) + 0.5 * settings["decay"] * params @ params)(params)

    return loss, functools.partial(settings.__setitem__, "decay")


MAKERS = (
    bound_method,
    class_attribute,
    callable_object,
    module_global,
    closure,
    default_argument,
    code_of_the_function,
    partial_keywords,
    dictionary,
    numpy_array,
    patched_module,
    rule_of_a_derivative,
    wrapped_in_jit_parts,
)
