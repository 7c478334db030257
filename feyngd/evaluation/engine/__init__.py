"""The engine: passes of differentiation over rows of examples."""

from ._engine import Engine as Engine
from ._engine import NotFiniteError as NotFiniteError
from ._engine import check_mesh as check_mesh
from ._engine import cost_model as cost_model
from ._row import Rows as Rows
