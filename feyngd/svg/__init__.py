"""Shapes: trees and grids as SVG. Nothing here knows of SGD."""

from ._curves import Curve as Curve
from ._curves import Point as Point
from ._curves import Surroundings as Surroundings
from ._curves import best_curve as best_curve
from ._curves import line as line
from ._curves import samples as samples
from ._curves import swing as swing
from ._curves import ways as ways
from ._outlines import outline_curves as outline_curves
from ._tree_layout import tree_layout as tree_layout
from .elements import INK as INK
from .elements import PALETTE as PALETTE
from .elements import Picture as Picture
from .elements import check_size as check_size
from .elements import document as document
from .elements import element as element
