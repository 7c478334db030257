"""A folder that several processes write to."""

from feyngd._store import Store, UnsoundError, beside


def test_files_that_are_left_alone_are_passed_by_in_order(tmp_path):
    """Two spoilt files under one name: the third gets the suffix -3, and each is reported once."""
    lines, tried = [], []
    store = Store(tmp_path, lines.append)

    def read(path):
        file = beside(path, "json")
        tried.append(path)
        assert len(tried) <= 1 + 2 + 3, "no path is tried twice"
        if not file.exists():
            return None
        raise UnsoundError(file, "is spoilt")

    for number, name in enumerate(("one", "one-2", "one-3"), start=1):
        found, path = store.find("one", read)
        assert (found, path.name) == (None, name)
        assert len(lines) == len(store.left_alone) == number - 1
        beside(path, "json").write_text("")
