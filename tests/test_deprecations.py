"""Old names go on working, name the user's own line and what to write instead, and go when they are due."""

import pickle
import re
import subprocess
import sys
import warnings
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import feyngd as fd
from feyngd import _deprecations
from feyngd._deprecations import DEPRECATIONS, Deprecation, moved, renamed

RELEASES = {"since": "0.2", "until": "0.4"}


@pytest.fixture
def old_home(monkeypatch):
    """A module and a package that hold nothing but old names."""
    names = {"Half": "fractions.Fraction", "tools": "collections.abc", "join": "os.path.join", "system": "os"}
    for name in ("old_module", "old_package"):
        module = ModuleType(name)
        module.__getattr__ = moved(name, names, **RELEASES)
        monkeypatch.setitem(sys.modules, name, module)
    module.__path__ = []
    return module


def warned(code, path, **names):
    """Run a user's script; the lines that were warned, each with its message."""
    path.write_text(code)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(compile(code, path, "exec"), names)
    assert all(each.category is DeprecationWarning and each.filename == str(path) for each in caught)
    return [(code.splitlines()[each.lineno - 1], str(each.message)) for each in caught]


@pytest.mark.parametrize(
    "line",
    [
        "{home}.Half(1, 2)",
        "from {home} import Half",
        "from {home} import Half as H; H(1)",
        "getattr({home}, 'Half')",
        "half = [{home}.Half(n, 2) for n in range(1)]",
    ],
)
@pytest.mark.parametrize("home", ["old_module", "old_package"])
def test_a_moved_name_warns_the_line_that_uses_it_once(old_home, home, line, tmp_path):
    line = line.format(home=home)
    message = f"{home}.Half is deprecated since feyngd 0.2 and will be removed in 0.4; use fractions.Fraction instead."
    code = f"import {home}\ndef use():\n    {line}\nuse()\n"
    assert warned(code, tmp_path / "script.py") == [(f"    {line}", message)]


def test_every_line_is_warned(old_home, tmp_path):
    code = "import old_package\nold_package.Half\nold_package.Half\nfrom old_package import Half, join\n"
    lines = [line for line, _ in warned(code, tmp_path / "script.py")]
    assert lines == ["old_package.Half"] * 2 + ["from old_package import Half, join"] * 2


@pytest.mark.parametrize("nested", [1, 2, 3])
def test_several_releases_in_one_module(nested, tmp_path, monkeypatch):
    """The user's line is named however many tables are asked in turn."""
    names, lookup = ["first", "second", "third"], None
    for level, name in enumerate(names[:nested]):
        lookup = moved("home", {name: "os.sep"}, since=f"0.{level}", until=f"0.{level + 2}", otherwise=lookup)

    def __getattr__(name):
        return lookup(name)

    home = ModuleType("home")
    home.__getattr__ = __getattr__
    monkeypatch.setitem(sys.modules, "home", home)
    for level, name in enumerate(names[:nested]):
        ((line, message),) = warned(f"\n\nhome.{name}", tmp_path / "script.py", home=home)
        assert line == f"home.{name}"
        assert f"since feyngd 0.{level} " in message
    with pytest.raises(AttributeError, match="module 'home' has no attribute 'other'"):
        assert home.other
    with pytest.raises(ImportError, match="cannot import name 'other' from 'home'"):
        from home import other  # noqa: F401


def test_other_names_stay(old_home):
    module = ModuleType("module")
    module.__getattr__ = moved("module", {"old": "os.sep"}, otherwise={"other": 3}.__getitem__, **RELEASES)
    assert module.other == 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_old_name_gives_the_same_object(old_home):
    import collections.abc
    import os

    assert old_home.Half is Fraction
    assert isinstance(Fraction(1, 2), old_home.Half)
    assert old_home.join is os.path.join
    assert old_home.tools is collections.abc
    assert old_home.system is os
    assert pickle.loads(b"cold_package\nHalf\n(I1\nI2\ntR.") == Fraction(1, 2)


def test_nothing_is_imported_before_it_is_used():
    code = (
        "import sys, types; from feyngd._deprecations import moved\n"
        "home = types.ModuleType('home')\n"
        "home.__getattr__ = moved('home', {'tools': 'wsgiref.util', 'gone': 'no.module'}, since='0.2', until='0.4')\n"
        "heavy = {'wsgiref', 'jax', 'sympy', 'numpy'}\n"
        "assert not heavy & {*sys.modules}, heavy & {*sys.modules}\n"
        "assert home.tools is sys.modules['wsgiref.util']\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    # Shown without any option, since the line is the user's own.
    assert "<string>:6: DeprecationWarning: home.tools is deprecated since feyngd 0.2" in shown


def test_old_names_are_not_offered(old_home):
    assert not {"Half", "tools", "join", "system"} & {*dir(old_home)}


def test_warnings_made_errors_name_the_line_too(old_home):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DeprecationWarning, match=r"use fractions\.Fraction instead"):
            from old_package import Half  # noqa: F401


class Counter:
    def count(self, step: int, *, scale: int = 1) -> int:
        """Count."""
        return step * scale

    number = renamed("counters.Counter.number", count, **RELEASES)

    @classmethod
    def made(cls):
        return cls()

    create = classmethod(renamed("counters.Counter.create", made.__func__, **RELEASES))


@given(step=st.integers(), scale=st.integers())
def test_a_renamed_method_does_the_same(step, scale):
    with pytest.warns(DeprecationWarning, match=re.escape("use counters.Counter.count instead")):
        assert Counter().number(step, scale=scale) == Counter().count(step, scale=scale)


def test_a_renamed_method_warns_the_line_that_calls_it(tmp_path):
    code = "counter = Counter\ncounter().count(1)\nsum(\n    [counter().number(2)],\n)\ncounter.create()\n"
    assert warned(code, tmp_path / "script.py", Counter=Counter) == [
        (
            "    [counter().number(2)],",
            "counters.Counter.number is deprecated since feyngd 0.2 and will be removed in 0.4; "
            "use counters.Counter.count instead.",
        ),
        (
            "counter.create()",
            "counters.Counter.create is deprecated since feyngd 0.2 and will be removed in 0.4; "
            "use counters.Counter.made instead.",
        ),
    ]


def test_a_renamed_method_describes_itself():
    assert Counter.number.__name__ == "number"
    assert Counter.number.__qualname__ == "Counter.number"
    assert Counter.number.__doc__.startswith("counters.Counter.number is deprecated")


def test_a_class_is_not_renamed_by_a_function():
    with pytest.raises(TypeError, match=r"isinstance would fail.*moved\(\)"):
        renamed("feyngd.Half", Fraction, **RELEASES)


RELEASE = st.tuples(st.integers(0, 30), st.integers(0, 30))


def version(release):
    return ".".join(map(str, release))


@given(since=RELEASE, until=RELEASE)
def test_an_old_name_stays_for_two_minor_releases(since, until):
    def deprecate():
        return Deprecation("feyngd.old", "feyngd.new", version(since), version(until))

    between = [(since[0], minor) for minor in range(since[1], until[1])] if since[0] == until[0] else None
    if until > since and (between is None or len(between) >= 2):
        deprecation = deprecate()
        assert not deprecation.is_overdue(version(since))
        assert deprecation.is_overdue(version(until))
        assert {"feyngd.old", "feyngd.new"} <= {*deprecation.message.replace(";", "").split()}
    else:
        with pytest.raises(ValueError, match="at least 2 minor releases") as error:
            deprecate()
        proposed = re.search(r"until='([^']+)'", str(error.value))[1]
        assert Deprecation("feyngd.old", "feyngd.new", version(since), proposed)


@given(until=RELEASE, now=RELEASE, patch=st.sampled_from(["", ".0", ".3", ".0rc1", ".1.dev0"]))
def test_overdue_from_the_release_that_was_named(until, now, patch):
    until = until[0] + 1, until[1]
    deprecation = Deprecation("feyngd.old", "feyngd.new", "0.0", version(until))
    assert deprecation.is_overdue(version(now) + patch) == (now >= until)


@pytest.mark.parametrize("release", ["", "1", "a.b", "1.", ".2", "-1.2", "1.x"])
def test_releases_have_two_numbers(release):
    with pytest.raises(ValueError, match=r"is not a release such as '0\.2'"):
        Deprecation("feyngd.old", "feyngd.new", release, "9.9")


def test_no_old_name_is_overdue_or_leads_nowhere():
    for module in walk_packages(fd.__path__, "feyngd."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    own = [each for each in DEPRECATIONS if each.old.startswith("feyngd.")]
    assert not [each.old for each in own if each.is_overdue(fd.__version__)]
    for each in own:
        home, _, last = each.new.rpartition(".")
        owner = _deprecations._named(home)
        assert hasattr(owner, last) or import_module(each.new), each


def test_the_policy_names_what_the_helper_keeps():
    policy = (Path(__file__).parents[1] / "docs" / "policy.md").read_text()
    assert "at least two minor releases" in policy
    assert "`feyngd/_deprecations.py`" in policy
