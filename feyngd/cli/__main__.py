"""`python -m feyngd.cli`."""

from ._main import console

console()
