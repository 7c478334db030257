"""The examples in the docstrings of the numeric half run and print what they say."""

import doctest
import pkgutil
from importlib import import_module

import pytest

PACKAGES = ("feyngd.evaluation", "feyngd.landscapes", "feyngd.prediction", "feyngd.training")


def modules():
    yield "feyngd.progress"
    for package in PACKAGES:
        yield package
        for found in pkgutil.iter_modules(import_module(package).__path__):
            yield f"{package}.{found.name}"


@pytest.mark.parametrize("name", list(modules()))
def test_examples_in(name):
    result = doctest.testmod(import_module(name))
    assert result.failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    count = sum(len(test.examples) for name in modules() for test in finder.find(import_module(name)))
    assert count >= 10
