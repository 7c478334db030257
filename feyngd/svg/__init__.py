"""Shapes: trees and grids as SVG. Nothing here knows of SGD."""

from ._curves import Curve as Curve
from ._curves import Point as Point
from ._curves import Surroundings as Surroundings
from ._curves import best_curve as best_curve
from ._curves import line as line
from ._curves import samples as samples
from ._curves import swing as swing
from ._curves import ways as ways
from ._grid_picture import CELL as CELL
from ._grid_picture import Grid as Grid
from ._grid_picture import grid_picture as grid_picture
from ._outlines import outline_curves as outline_curves
from ._tree_picture import OUTLINE as OUTLINE
from ._tree_picture import RADIUS as RADIUS
from ._tree_picture import RING as RING
from ._tree_picture import DrawnTree as DrawnTree
from ._tree_picture import drawn_tree as drawn_tree
from ._tree_picture import part_colours as part_colours
from ._tree_picture import tree_picture as tree_picture
from .elements import INK as INK
from .elements import PALETTE as PALETTE
from .elements import Picture as Picture
from .elements import check_size as check_size
from .elements import document as document
from .elements import element as element
