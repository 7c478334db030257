"""Text for terminals and files that are not UTF-8: a spelling in ASCII for whatever they cannot hold.

`codecs` knows the spelling as the error handler named `SPELLED`, which any stream or `str.encode` can use. Most of it
follows from Unicode's own tables: Greek letters go by their names, superscripts, subscripts, fractions and accented
letters by their decompositions. Symbols without either are listed here; what is left is written as `\\u2660`.
"""

import codecs
import re
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from io import TextIOWrapper
from typing import IO, Any

SPELLED = "feyngd.spelled"  # the name of the error handler

_NAMES = {
    "√": "sqrt",
    "∞": "inf",
    "∂": "d",
    "∇": "grad",
    "∑": "Sum",
    "∏": "Prod",
    "∫": "int",
    "∈": "in",
    "∘": "o",
}
_SYMBOLS = {
    "±": "+/-",
    "∓": "-/+",
    "×": "x",
    "·": "*",
    "⊗": "(x)",
    "⊥": "_|_",
    "‖": "||",
    "−": "-",
    "‐": "-",
    "‑": "-",
    "–": "-",
    "—": "--",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "≈": "~",
    "≡": "==",
    "∝": "~",
    "←": "<-",
    "→": "->",
    "↦": "|->",
    "↔": "<->",
    "⇒": "=>",
    "⟨": "<",
    "⟩": ">",
    "⋯": "...",
    "′": "'",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "•": "*",
    "⁄": "/",
    "█": "#",
    "ø": "o",
    "Ø": "O",
    "ß": "ss",
    "æ": "ae",
    "Æ": "AE",
}
_SCRIPTS = {"<super>": "^", "<sub>": "_"}
_GAP = 2  # spaces that stay between columns when the padding after a longer spelling is taken back


def spelled(text: str) -> str:
    """Return text in ASCII alone, with columns that are set apart by spaces kept where they were if that is possible.

    Examples:
        >>> from feyngd._terminal import spelled
        >>> spelled("κ = 2η² ± 10⁻³")
        'kappa = 2 eta^2 +/- 10^-3'
    """
    return "".join(_line(line) for line in text.splitlines(keepends=True))


def fitting(text: str, stream: IO[str] | None) -> str:
    """Return text as it is to be written to a stream: spelled where the stream's encoding lacks a character."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        return text.encode(encoding, SPELLED).decode(encoding)
    except LookupError:  # an encoding that Python does not know
        return spelled(text)


@contextmanager
def spelling(*streams: IO[str] | None) -> Iterator[None]:
    """Let streams spell what their encodings lack, in place of an error, for as long as the context lasts."""
    with ExitStack() as stack:
        for stream in streams:
            if isinstance(stream, TextIOWrapper):
                stack.callback(_reconfigure, stream, stream.errors)
                _reconfigure(stream, SPELLED)
        yield


def _reconfigure(stream: TextIOWrapper, errors: str | None) -> None:
    with suppress(OSError, ValueError):  # it flushes, which fails on a full disk, a closed pipe or a closed stream
        stream.reconfigure(errors=errors)


def _line(line: str) -> str:
    """Spell one line; padding after a spelling that is longer than its symbol is shortened by as much."""
    if line.isascii():
        return line
    parts: list[str] = []
    excess = 0  # by how much the spelled line is longer so far
    for run in re.findall(" +|[^ ]+", line):
        if run[0] == " ":
            taken = min(excess, max(len(run) - _GAP, 0))
            parts.append(run[taken:] if taken > 0 else run)
            excess -= max(taken, 0)
        else:
            parts.append(_word(run))
            excess += len(parts[-1]) - len(run)
    return "".join(parts)


def _word(word: str) -> str:
    """Spell a word: names stand apart from letters and numbers, and one caret serves a run of superscripts."""
    result = ""
    for char, before, after in zip(word, " " + word, word[1:] + " ", strict=False):
        kind, text = _spelling(char)
        if kind in _SCRIPTS:
            text = text if _kind(before) == kind else _SCRIPTS[kind] + text
        elif kind == "name" and result[-1:].isalnum():
            result += " "
        apart = kind != "text" and text[-1:].isalnum() and _is_letter(after)
        result += text + " " * apart
    return result


@cache
def _spelling(char: str) -> tuple[str, str]:
    """Return the kind of a character and its spelling: a name, a script, a fraction, or text that takes its place."""
    if char.isascii():
        return "text", char
    if char in _NAMES:
        return "name", _NAMES[char]
    if char in _SYMBOLS:
        return "text", _SYMBOLS[char]
    kind, found = _kind(char), re.findall(r"\b[0-9A-F]{4,}\b", unicodedata.decomposition(char))
    codes = [chr(int(code, 16)) for code in found]
    whole = "".join(_spelling(code)[1] for code in codes)
    if whole and "\\" not in whole:
        if kind in _SCRIPTS or kind == "<fraction>":
            return kind, whole
        return ("name" if any(_spelling(code)[0] == "name" for code in codes) else "text"), whole
    name = unicodedata.name(char, "")
    if name.startswith("GREEK") and " LETTER " in name:
        letter = name.partition(" LETTER ")[2].split()[-1].replace("LAMDA", "LAMBDA")
        return "name", letter.capitalize() if " CAPITAL " in name else letter.lower()
    if unicodedata.combining(char):
        return "text", ""
    return "text", char.encode("ascii", "backslashreplace").decode()


def _kind(char: str) -> str:
    """Return what Unicode says of how a character is composed, such as "<super>", or nothing."""
    return "".join(re.findall("<.*>", unicodedata.decomposition(char)))


def _is_letter(char: str) -> bool:
    return char.isascii() and char.isalnum()


def _handle(error: UnicodeError) -> tuple[str | bytes, int]:
    """Spell from the first character that an encoding lacks to the end of its line, so that one line has one style."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text: Any = error.object
    end = text.find("\n", error.end)
    end = len(text) if end < 0 else end
    lead = text[max(error.start - 1, 0) : error.start]
    # The character before is written already; it is the context of the first that is spelled.
    rest = _line(lead + text[error.start : end])
    return rest[len(_line(lead)) :], end


codecs.register_error(SPELLED, _handle)
