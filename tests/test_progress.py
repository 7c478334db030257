"""Progress of long work: what is taken for it, and bars where the output is not UTF-8."""

import io

import pytest

import feyngd as fd
from feyngd.progress import check_progress


def test_what_shows_progress() -> None:
    bar = fd.Tqdm(disable=True)
    assert check_progress(bar) is bar
    silent = fd.Progress()
    assert check_progress(silent) is silent
    for nothing in (None, False):
        assert type(check_progress(nothing)) is fd.Progress
    assert type(check_progress(True)) is fd.Tqdm

    class Own(fd.Progress):
        pass

    own = Own()
    assert check_progress(own) is own


@pytest.mark.parametrize("given", ["bar", 1, 0, 3.5, [], print, object(), fd.Progress, fd.Tqdm, dict])
def test_what_shows_nothing_is_refused(given: object) -> None:
    with pytest.raises(fd.errors.ArgumentError, match=r"shows nothing: give fd.Tqdm\(\) or True for bars") as refused:
        check_progress(given)
    assert ("call it" in str(refused.value)) == isinstance(given, type)


@pytest.mark.parametrize("given", ["bar", 1])
def test_public_calls_refuse_it_before_they_work(given: object, tmp_path) -> None:
    from feyngd.experiments import reproduce

    with pytest.raises(fd.errors.ArgumentError, match="shows nothing"):
        reproduce("linear-screw", tmp_path, progress=given)
    with pytest.raises(fd.errors.ArgumentError, match="shows nothing"):
        fd.sweep({}, tmp_path, progress=given)
    assert not list(tmp_path.iterdir())


def drawn(encoding: str, label: str = "noise of order η²") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    with fd.Tqdm(file=file, ncols=60, mininterval=0).task(3, label) as task:
        task.advance()
        task.advance(2)
    file.flush()
    return file.buffer.getvalue().decode(encoding)


def test_bars_are_drawn_in_any_encoding() -> None:
    assert "noise of order η²: 100%" in drawn("utf-8")
    assert "█" in drawn("utf-8")
    for encoding in ("ascii", "cp1252", "latin-1", "koi8-r"):
        assert "noise of order eta^2: 100%" in drawn(encoding)
        assert "3/3" in drawn(encoding)


def test_bars_take_what_tqdm_takes_but_for_what_tasks_say() -> None:
    for name in ("total", "desc"):
        with pytest.raises(fd.errors.ArgumentError, match=f"Tqdm takes {name} from the computation"):
            fd.Tqdm(**{name: 3})


def test_silence_does_nothing() -> None:
    with fd.Progress().task(3, "steps") as task:
        task.advance(2)


def noted(**options: object) -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    fd.Tqdm(file=file, **options).note("about 2 s at η = 0.1")
    file.flush()
    return file.buffer.getvalue().decode("ascii")


def test_notes_are_lines_where_bars_are_shown() -> None:
    assert noted().splitlines() == ["about 2 s at eta = 0.1"]
    assert noted(disable=True) == ""
    assert noted(disable=None) == ""  # not a terminal
    fd.Progress().note("nothing")
