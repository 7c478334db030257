"""The command line: `feyngd demo`, `series`, `diagrams`, `predict`, `sweep`, `anchor`, `advise` and `reproduce`."""

from ._main import console as console
from ._main import main as main
