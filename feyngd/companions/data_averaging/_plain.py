"""Results as plain values for JSON."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from ...estimates import Estimate
from .._assumptions import Assumptions


class Plain:
    """A dataclass of numbers, arrays and estimates that turns into plain values."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, numbers and strings for JSON; what is not finite is `None`."""
        assert is_dataclass(self)
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}


def plain(value: Any) -> Any:
    """Return a value as plain lists, dictionaries, numbers and strings; what is not finite is `None`."""
    if isinstance(value, Estimate):
        ends = None if value.stderr is None else [plain(end) for end in value.interval()]
        return {"value": plain(value.value), "stderr": plain(value.stderr), "interval": ends, "kind": value.kind}
    if isinstance(value, Plain | Assumptions):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool | type(None)) else str(value)
