"""Every notebook runs from top to bottom, and is stored with the outputs of such a run."""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def printed(notebook: nbformat.NotebookNode) -> str:
    outputs = (output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs)
    return "".join(output.get("text", "") for output in outputs)


def shapes(notebook: nbformat.NotebookNode) -> list[list[tuple[str, list[str]]]]:
    """What kinds of output each cell has."""
    code = (cell for cell in notebook.cells if cell.cell_type == "code")
    return [[(output.output_type, sorted(output.get("data", ()))) for output in cell.outputs] for cell in code]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_stored_outputs_hold_nothing_of_a_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert code[-1].outputs
    for cell in notebook.cells:
        assert cell.metadata == {}
        for output in cell.get("outputs", ()):
            assert output.output_type != "error"
            assert output.get("name") != "stderr"
    assert not re.search(r"0x[0-9a-f]{6,}|/home/|/tmp/|/root/", path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_runs_and_gives_what_is_stored(path: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("run", path.parent / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stored, fresh = nbformat.read(path, as_version=4), module.run(path, tmp_path)
    for notebook in (stored, fresh):
        assert "agrees" in printed(notebook)
        assert "DIFFERS" not in printed(notebook)
    assert shapes(stored) == shapes(fresh)
    # The last digits of numbers depend on the processor, words do not.
    number = r"[-−]?\d+(\.\d+)?(e[-+]\d+)?"
    assert re.sub(number, "#", printed(stored)).split() == re.sub(number, "#", printed(fresh)).split()
