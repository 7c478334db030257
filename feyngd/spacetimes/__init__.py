"""Spacetimes: which datapoints SGD sees at which step."""

from . import _in_archives as _in_archives
from ._sizes import as_expression as as_expression
from ._sizes import by_name as by_name
from ._spacetime import SAMPLINGS as SAMPLINGS
from ._spacetime import Spacetime as Spacetime
from ._spacetime import check_spacetime as check_spacetime
from ._spacetime import one_run as one_run
from ._spacetime import visited_grid as visited_grid
