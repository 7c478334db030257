"""What a traced loss computes, in a form that can be compared: proof that a compiled program is still right.

Two traces with equal fingerprints have the same equations and the same constants, so a program compiled from one of
them computes the other. Derivative rules that users write (`jax.custom_jvp`) are traced as well, since the equations of
the function do not determine its derivative.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jaxtyping import PyTree

from ._equations import bind

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_RULES = (
    "jvp_jaxpr_fun",
    "fwd_jaxpr_thunk",
    "bwd",
    "out_trees",
)  # parameters that hold a rule, which is traced instead


class UnprovableError(Exception):
    """A constant has no value yet, because it is traced itself."""


@dataclasses.dataclass(frozen=True, eq=False)
class Fingerprint:
    """The content of a trace.

    Attributes:
        digest: a hash of equations, constants and rules.
        objects: what has no content that could be hashed, such as the function of a callback; compared by equality.
        is_provable: whether equal fingerprints prove equal computations.
    """

    digest: str
    objects: tuple[Any, ...]
    is_provable: bool

    def proves(self, other: "Fingerprint") -> bool:
        """Return whether both traces certainly compute the same."""
        if not (self.is_provable and other.is_provable and self.digest == other.digest):
            return False
        pairs = zip(self.objects, other.objects, strict=True)
        return len(self.objects) == len(other.objects) and all(_equal(a, b) for a, b in pairs)


def fingerprint(traced: core.ClosedJaxpr) -> Fingerprint:
    """Return the fingerprint of a trace.

    Raises:
        UnprovableError: a constant is a tracer.
    """
    reader = _Reader()
    reader.closed(traced)
    reader.rules()
    return Fingerprint(reader.hash.hexdigest(), tuple(reader.objects), reader.is_provable)


def digest_of_arrays(tree: PyTree) -> str:
    """Return a hash of a pytree of arrays: structure, dtypes, shapes and values.

    Raises:
        UnprovableError: a leaf is a tracer.
    """
    reader = _Reader()
    leaves, structure = jax.tree.flatten(tree)
    reader.write(str(structure))
    for leaf in leaves:
        reader.array(leaf)
    return reader.hash.hexdigest()


class _Reader:
    """Hashes a jaxpr, equation by equation."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.objects: list[Any] = []
        self.is_provable = True
        self._pending: list[core.JaxprEqn] = []
        self._depth = 0

    def write(self, *texts: str) -> None:
        """Add text to the hash, with its length, so that neighbours cannot be confused."""
        for text in texts:
            data = text.encode()
            self.hash.update(len(data).to_bytes(8, "little"))
            self.hash.update(data)

    def closed(self, traced: core.ClosedJaxpr) -> None:
        """Add a jaxpr with its constants."""
        self.write("constants")
        for constant in traced.consts:
            self.array(constant)
        self.jaxpr(traced.jaxpr)

    def jaxpr(self, jaxpr: core.Jaxpr) -> None:
        """Add equations; variables count by the order of their first appearance."""
        numbers: dict[Any, int] = {}

        def number(atom: Any) -> str:
            return str(numbers.setdefault(atom, len(numbers)))

        self.write("jaxpr", *(f"{number(v)}:{v.aval}" for v in (*jaxpr.constvars, *jaxpr.invars)))
        for eqn in jaxpr.eqns:
            self.write(eqn.primitive.name)
            for atom in eqn.invars:
                self._atom(atom, number)
            self.write("gives", *(f"{number(v)}:{v.aval}" for v in eqn.outvars))
            has_rule = any(name in eqn.params for name in _RULES)
            for name in sorted(set(eqn.params) - set(_RULES if has_rule else ())):
                self.write(name)
                self.value(eqn.params[name])
            if has_rule:
                self._pending.append(eqn)
        self.write("returns")
        for atom in jaxpr.outvars:
            self._atom(atom, number)

    def rules(self) -> None:
        """Trace the rules of the functions met so far, and those of the functions met in these rules.

        A function whose trace and rule were met before is not followed again: rules may use the function itself.
        """
        seen: set[str] = set()
        while self._pending:
            eqn = self._pending.pop()
            traced = _trace_rule(eqn)
            if traced is None:
                self.is_provable = False
                continue
            rule = _Reader()
            rule.write(eqn.primitive.name, *(str(atom.aval) for atom in eqn.invars))
            rule.closed(eqn.params["call_jaxpr"])
            rule._pending = []
            rule.closed(traced)
            digest = rule.hash.hexdigest()
            self.write("rule", digest)
            if digest not in seen:
                seen.add(digest)
                self.objects += rule.objects
                self._pending += rule._pending

    def array(self, array: Any) -> None:
        """Add an array: dtype, shape and values."""
        if isinstance(array, jax.core.Tracer):
            raise UnprovableError
        dtype = getattr(array, "dtype", None)
        if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.extended):
            self.write(str(dtype))
            array = jax.random.key_data(array)
        values = np.ascontiguousarray(np.asarray(array))
        if values.dtype.hasobject:
            self.value(array)
            return
        self.write(str(values.dtype), str(values.shape))
        self.hash.update(values.tobytes() if values.ndim == 0 else values.view(np.uint8).data if values.size else b"")

    def value(self, value: Any) -> None:
        """Add a parameter of an equation."""
        if isinstance(value, core.ClosedJaxpr):
            self.closed(value)
        elif isinstance(value, core.Jaxpr):
            self.jaxpr(value)
        elif isinstance(value, _PLAIN):
            self.write(type(value).__name__, repr(value))
        elif isinstance(value, (np.dtype, type)):
            self.write("type", str(value))
        elif isinstance(value, (np.ndarray, np.generic, jax.Array)):
            self.array(value)
        elif isinstance(value, (tuple, list)):
            self.write(type(value).__name__, str(len(value)))
            self._each(value)
        elif isinstance(value, dict):
            self.write("dict", str(len(value)))
            self._each(part for item in sorted(value.items(), key=repr) for part in item)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            self.write(type(value).__qualname__)
            self._each(getattr(value, field.name) for field in dataclasses.fields(value))
        else:
            self.write("object", type(value).__qualname__)
            self.objects.append(value)

    def _each(self, values: Iterable[Any]) -> None:
        for value in values:
            self.value(value)

    def _atom(self, atom: Any, number: Callable[[Any], str]) -> None:
        if isinstance(atom, core.Literal):
            self.write("literal", str(atom.aval))
            self.array(atom.val)
        else:
            self.write(number(atom))


def _trace_rule(eqn: core.JaxprEqn) -> core.ClosedJaxpr | None:
    """Trace what differentiation makes of a function with a rule of its own; `None` where one trace is not enough."""
    if eqn.params.get("symbolic_zeros"):  # such rules may depend on which arguments are differentiated
        return None
    shapes = [jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype) for atom in eqn.invars]  # type: ignore[attr-defined]
    moving = [i for i, shape in enumerate(shapes) if jnp.issubdtype(shape.dtype, np.inexact)]

    def along(arguments: list[Any]) -> Callable[..., Any]:
        def moved(*parts: Any) -> Any:
            filled = list(arguments)
            for index, part in zip(moving, parts, strict=True):
                filled[index] = part
            return bind(eqn, filled)

        return moved

    def derivative(arguments: list[Any], others: list[Any]) -> Any:
        primals = tuple(arguments[i] for i in moving)
        if "jvp_jaxpr_fun" in eqn.params:
            return jax.jvp(along(arguments), primals, tuple(others))
        values, pull = jax.vjp(along(arguments), *primals)
        return values, pull(jax.tree.map(lambda value: jnp.ones(value.shape, value.dtype), values))

    try:
        return jax.make_jaxpr(derivative)(shapes, [shapes[i] for i in moving])
    except Exception:  # a rule that fails is reported where it is used
        return None


def _equal(a: Any, b: Any) -> bool:
    if a is b:
        return True
    try:
        return type(a) is type(b) and bool(a == b)
    except Exception:  # whatever cannot be compared is not known to be the same
        return False
