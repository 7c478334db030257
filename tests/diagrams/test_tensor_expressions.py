"""Diagrams written as tensors: one text for each value."""

import pytest

import feyngd as fd
from feyngd import Diagram, tensor_expression
from feyngd.diagrams import reroot, value_representative


@pytest.mark.parametrize("basis", ["moment", "cumulant"])
@pytest.mark.parametrize("latex", [False, True])
def test_texts_differ_exactly_where_values_do(basis, latex):
    for order in range(5):
        by_text = {}
        for diagram in fd.diagrams(order, root_tied=True):
            text = tensor_expression(diagram, basis=basis, latex=latex)
            by_text.setdefault(text, set()).add(value_representative(diagram))
        assert all(len(values) == 1 for values in by_text.values()), order
        assert len(by_text) == len({value_representative(D) for D in fd.diagrams(order, root_tied=True)})


def test_texts_do_not_depend_on_the_root():
    for diagram in fd.diagrams(4):
        assert len({tensor_expression(reroot(diagram, node)) for node in range(diagram.order + 1)}) == 1


@pytest.mark.parametrize(
    ("diagram", "cumulant", "moment"),
    [
        ("[]", "l", "l"),
        ("[a]", "GG", "GG"),
        ("a[a]", "tr(C)", "E[g_i g_i]"),
        ("[a b]", "GHG", "GHG"),
        ("[a[b]]", "GHG", "GHG"),
        ("[a a]", "tr(HC)", None),
        ("[a[b[c]]]", "GHHG", "GHHG"),
        ("[a a[b]]", None, None),
        ("[a a b]", "C_ij G_k J_ijk", None),
        ("[a a a]", "J_ijk S_ijk", None),
    ],
)
def test_known_tensors(diagram, cumulant, moment):
    diagram = Diagram.parse(diagram)
    if cumulant is not None:
        written = tensor_expression(diagram, basis="cumulant")
        if "_" in cumulant:
            assert sorted(part.split("_")[0] for part in written.split()) == sorted(
                part.split("_")[0] for part in cumulant.split()
            )
        else:
            assert written == cumulant
    if moment is not None:
        assert tensor_expression(diagram, basis="moment") == moment
    assert tensor_expression(diagram, basis="moment").startswith("E[") == any(len(p) > 1 for p in diagram.parts)


def test_every_index_comes_up_twice():
    for diagram in fd.diagrams(3, root_tied=True):
        for basis in ("moment", "cumulant"):
            text = tensor_expression(diagram, basis=basis)
            indices = [letter for piece in text.split("_")[1:] for letter in piece.strip("[],").split()[0].strip("],")]
            assert all(indices.count(index) == 2 for index in indices), text


def test_latex_has_balanced_braces_and_no_dollars():
    for diagram in fd.diagrams(4):
        text = tensor_expression(diagram, latex=True)
        assert "$" not in text
        assert text.count("{") == text.count("}")


def test_an_unknown_basis_is_refused():
    with pytest.raises(fd.ArgumentError, match=r"'moments'.*'moment', 'cumulant'"):
        tensor_expression(Diagram.parse("[a a]"), basis="moments")
