"""Diagrams: rooted trees with a partition of their nodes."""

from ._burnside import count_diagrams as count_diagrams
from ._cell_diagram import CellDiagram as CellDiagram
from ._cell_enumeration import cell_diagrams as cell_diagrams
from ._cell_enumeration import check_cell_number as check_cell_number
from ._cell_enumeration import count_cell_diagrams as count_cell_diagrams
from ._cell_enumeration import each_cell_diagram as each_cell_diagram
from ._diagram import Diagram as Diagram
from ._enumeration import check_number as check_number
from ._enumeration import diagrams as diagrams
from ._enumeration import each_diagram as each_diagram
from ._forest import Forest as Forest
from ._forest import splits as splits
from ._orderings import count_orderings as count_orderings
from ._outline import Outline as Outline
from ._outline import outline as outline
from ._partitions import count_partitions as count_partitions
from ._partitions import growth_strings as growth_strings
from ._partitions import set_partitions as set_partitions
from ._tensors import edge_index as edge_index
from ._tensors import reroot as reroot
from ._tensors import tensor_expression as tensor_expression
from ._tensors import value_representative as value_representative
from ._work_limits import EXPANDED as EXPANDED
from ._work_limits import LISTED as LISTED
from ._work_limits import STEPS as STEPS
from ._work_limits import check_cost as check_cost
