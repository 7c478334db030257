"""The engine: passes over rows of examples, which differentiate the loss."""

from ..._mesh import check_mesh as check_mesh
from ._engine import Engine as Engine
from ._not_finite import NotFiniteError as NotFiniteError
from ._row import Rows as Rows
from ._rows_at_once import cost_model as cost_model
