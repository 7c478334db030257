"""Planning: which numbers the values of diagrams need, and in which order of passes."""

from ._costs import ARITHMETIC_BOUND as ARITHMETIC_BOUND
from ._costs import MEMORY_BOUND as MEMORY_BOUND
from ._costs import CostModel as CostModel
from ._expressions import TEST as TEST
from ._expressions import Dot as Dot
from ._expressions import Given as Given
from ._expressions import Input as Input
from ._expressions import Mean as Mean
from ._expressions import Number as Number
from ._expressions import Product as Product
from ._expressions import Vector as Vector
from ._expressions import constants_in as constants_in
from ._expressions import means_below as means_below
from ._expressions import part_of as part_of
from ._expressions import positions_of as positions_of
from ._expressions import vectors_in as vectors_in
from ._plan import Plan as Plan
from ._plan import make_plan as make_plan
from ._terms import JOINED as JOINED
from ._terms import terms_of_value as terms_of_value
