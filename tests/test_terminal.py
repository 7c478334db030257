"""Text where the output is not UTF-8: every symbol that feyngd has in its code is spelled in ASCII, and reads well."""

import io
from pathlib import Path

import pytest

import feyngd
from feyngd._terminal import SPELLED, fitting, spelled, spelling

SOURCES = sorted(Path(feyngd.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("η θ κ λ Σ", "eta theta kappa lambda Sigma"),
        ("0.1 ± 2", "0.1 +/- 2"),
        ("x ≥ 1, y ≤ 2 − 3", "x >= 1, y <= 2 - 3"),
        ("⟨g⟩ → ‖∇l‖²", "<g> -> ||grad l||^2"),
        ("T·B/N, 28×28 … –", "T*B/N, 28x28 ... -"),
        ("10⁻³, ηxᵀy, E₀x, θᵢⱼ", "10^-3, eta x^T y, E_0 x, theta_ij"),
        ("dη, 2η, ηλ, 1−η, η^2", "d eta, 2 eta, eta lambda, 1-eta, eta^2"),
        ("√N, √(2n), 2√n, ½x, ½η, ∇²l", "sqrt N, sqrt(2n), 2 sqrt n, 1/2 x, 1/2 eta, grad^2 l"),
        ("Itô, Schrödinger, x̄, Ĉ, ά", "Ito, Schrodinger, x, C, alpha"),
        ("E[g]² and 2² κ[h]", "E[g]^2 and 2^2 kappa[h]"),
        ("♠ 한 \udcff", "\\u2660 \\ud55c \\udcff"),
        ("plain", "plain"),
    ],
)
def test_spellings_read_well(text: str, right: str) -> None:
    assert spelled(text) == right
    assert text.encode("ascii", SPELLED).decode() == right


def test_every_symbol_in_the_code_has_a_spelling() -> None:
    symbols = {char for path in SOURCES for char in path.read_text(encoding="utf-8") if not char.isascii()}
    assert {"η", "κ", "≥", "⟨", "₂", "⁻"} <= symbols  # what was read is the code
    assert [char for char in sorted(symbols) if "\\" in spelled(char) or not spelled(char).isascii()] == []
    assert [char for char in sorted(symbols) if not spelled(char)] == ["\u0304"]  # a combining macron


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "cp932", "gbk", "koi8-r"])
def test_all_code_can_be_written_in_any_encoding(encoding: str) -> None:
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        written = text.encode(encoding, SPELLED).decode(encoding)
        assert len(written.splitlines()) == len(text.splitlines())
        assert written.count("\\u") == text.count("\\u")  # those that are written so in the code


def test_what_an_encoding_holds_is_left() -> None:
    assert "η² ± ½".encode("utf-8", SPELLED).decode() == "η² ± ½"
    assert "± ½ ² é".encode("latin-1", SPELLED).decode("latin-1") == "± ½ ² é"
    assert "± η ±\n±".encode("cp1252", SPELLED).decode("cp1252") == "± eta +/-\n±"  # one style to the end of the line
    assert "2η ²⁻³".encode("cp1252", SPELLED).decode("cp1252") == "2 eta ^2-3"
    assert "a²⁻³".encode("cp1252", SPELLED).decode("cp1252") == "a²-3"


def test_columns_stay_where_they_were() -> None:
    rows = ["   η   mean ± s.e.     sum", "0.1   2.00 ± 0.1     3.00", "κ[g]  1             2.00"]
    assert [spelled(row) for row in rows] == [
        "   eta  mean +/- s.e.  sum",
        "0.1   2.00 +/- 0.1   3.00",
        "kappa[g]  1         2.00",
    ]
    assert spelled("a\nη  b\r\n") == "a\neta  b\r\n"
    assert spelled("x̄ y") == "x y"


def test_streams_spell_for_as_long_as_asked() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    with spelling(stream, None, io.StringIO()):
        stream.write("η")
    assert stream.errors == "strict"
    with pytest.raises(UnicodeEncodeError):
        stream.write("η")
    assert stream.buffer.getvalue() == b"eta"
    stream.close()
    with spelling(stream):
        pass


def test_text_fits_its_stream() -> None:
    assert fitting("η", io.StringIO()) == "η"
    assert fitting("η", None) == "η"
    assert fitting("η", io.TextIOWrapper(io.BytesIO(), encoding="latin-1")) == "eta"

    class Odd(io.StringIO):
        encoding = "no-such-encoding"

    assert fitting("η", Odd()) == "eta"
