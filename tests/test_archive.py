"""The format of kept results: strict JSON, whole files with ordinary rights, and nothing half right."""

import json
import stat
from dataclasses import dataclass, replace

import numpy as np
import pytest

import feyngd as fd
from feyngd._archive import keep_attributes, read, write


@keep_attributes
@dataclass(frozen=True)
class Sample:
    number: float
    parts: tuple
    table: dict


SAMPLE = Sample(0.1, (1, [2.5, "three"], None, True), {1: (np.arange(3), "x"), "two": {"deep": [np.float32(1.5)]}})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "kept"


def description(path):
    with np.load(path, allow_pickle=False) as archive:
        return str(archive["description"])


def changed(path, change):
    """Write the file again with another description."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    content = json.loads(str(arrays["description"]))
    change(content)
    with open(path, "wb") as file:
        np.savez(file, **{**arrays, "description": np.array(json.dumps(content))})


def test_kinds_come_back_as_they_were(path):
    write(path, SAMPLE)
    back = read(path, Sample)
    assert back.number == 0.1
    assert back.parts == SAMPLE.parts
    assert [type(part) for part in back.parts] == [int, list, type(None), bool]
    assert list(back.table) == [1, "two"]
    array, text = back.table[1]
    np.testing.assert_array_equal(array, np.arange(3))
    assert (array.dtype, text) == (np.arange(3).dtype, "x")
    assert isinstance(back.table[1], tuple)
    assert back.table["two"]["deep"][0].dtype == np.float32


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan])
def test_numbers_that_json_does_not_have_come_back_through_strict_json(number, path):
    write(path, replace(SAMPLE, number=number))
    np.testing.assert_equal(read(path, Sample).number, number)

    def refuse(name):
        pytest.fail(f"{name} is not JSON")

    json.loads(description(path), parse_constant=refuse)


def lacks_an_attribute(content):
    del content["value"]["state"]["dict"][0]


def has_one_more(content):
    content["value"]["state"]["dict"].append(["extra", 1])


def has_another_format(content):
    content["format"] = "feyngd result 2"


@pytest.mark.parametrize("change", [lacks_an_attribute, has_one_more, has_another_format])
def test_files_of_other_versions_are_refused(change, path):
    write(path, SAMPLE)
    changed(path, lambda content: None)
    assert read(path, Sample).number == 0.1
    changed(path, change)
    with pytest.raises(fd.ArgumentError, match="is no file that save of this version has written"):
        read(path, Sample)


def test_others_may_read_what_is_kept(path):
    write(path, SAMPLE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_failure_leaves_nothing_behind(path):
    path.mkdir()
    with pytest.raises(fd.ArgumentError, match="Cannot write"):
        write(path, SAMPLE)
    assert [one.name for one in path.parent.iterdir()] == ["kept"]


def test_what_cannot_be_kept_is_refused_before_anything_is_written(path):
    with pytest.raises(fd.ArgumentError, match="A object cannot be kept"):
        write(path, replace(SAMPLE, parts=(object(),)))
    assert not path.exists()
