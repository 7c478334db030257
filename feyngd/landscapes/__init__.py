"""Loss landscapes: a loss, a population of examples, and models, datasets and toys to make them from."""

from ..kinks import Kink as Kink
from ..kinks import SmoothnessWarning as SmoothnessWarning
from . import toys as toys
from ._datasets import digits as digits
from ._datasets import load_cifar10 as load_cifar10
from ._datasets import load_fashion_mnist as load_fashion_mnist
from ._digit_landscapes import DIGITS_MODELS as DIGITS_MODELS
from ._digit_landscapes import digits_landscape as digits_landscape
from ._entry import check_landscape as check_landscape
from ._entry import enter as enter
from ._entry import kinks_at as kinks_at
from ._landscape import READINGS as READINGS
from ._landscape import Landscape as Landscape
from ._lost_updates import check_updates_kept as check_updates_kept
from ._lost_updates import lost_updates as lost_updates
from ._models import Model as Model
from ._models import convnet as convnet
from ._models import cross_entropy as cross_entropy
from ._models import logistic_regression as logistic_regression
from ._models import tanh_mlp as tanh_mlp
from ._provenance import Origin as Origin
from ._readings import check_reading as check_reading
from .smoothness import find_kinks as find_kinks
from .smoothness import kinks as kinks
from .smoothness import warn_of_kinks as warn_of_kinks
