"""`python -m feyngd.cli`."""

from ._main import console

if __name__ == "__main__":
    console()
