"""Writes what benchmarks found into the documentation, between markers that name the command.

A page has `<!-- python benchmarks/SCRIPT SECTION -->` and `<!-- end -->`, each on a line of its own. What stands
between them is written by that command and replaced whenever it runs; the text around them is written by hand.
"""

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"


def write(command: str, text: str) -> None:
    """Print what a command found, and write it into every page of the documentation that has markers for it.

    Args:
        command: the script and its arguments, such as "anchoring.py cost mlp".
        text: Markdown.
    """
    print(f"\n{text}\n", flush=True)
    for path in sorted(DOCS.glob("*.md")):
        old = path.read_text(encoding="utf-8")
        if (new := replaced(old, command, text)) != old:
            path.write_text(new, encoding="utf-8")


def replaced(page: str, command: str, text: str) -> str:
    """Return a page with the text between the markers of a command replaced."""
    begin = f"<!-- python benchmarks/{command} -->\n"
    return re.sub(rf"(?ms)^{re.escape(begin)}.*?^<!-- end -->$", lambda _: f"{begin}\n{text}\n\n<!-- end -->", page)


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table; numbers are shown with three digits."""
    lines = ["| " + " | ".join(map(shown, row)) + " |" for row in (header, *rows)]
    lines.insert(1, "|" + "---|" * len(header))
    return "\n".join(lines)


def paragraph(text: str) -> str:
    """Return text in lines as long as those of the documentation."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def shown(cell: Any) -> str:
    """Return a cell as text."""
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
