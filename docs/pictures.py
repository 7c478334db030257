"""Draw the SVG pictures of the documentation into docs/images. Run with `make pictures`; a test keeps them current."""

from pathlib import Path

import feyngd as fd
from feyngd.drawing import diagrams_svg, spacetime_svg


def pictures() -> dict[str, str]:
    """Return the SVG text of every picture by file name."""
    spacetime = fd.Spacetime.sgd(N=4, B=1, E=2, sampling="fixed")
    diagram = fd.Diagram.parse("[a b[a]]")
    embedding = {1: (1, 5), 2: (2, 6), 3: (1, 1)}
    batches = fd.Spacetime.sgd(N=6, B=2, E=2, sampling="fixed")
    tied = fd.Diagram.parse("a[a b[c]]")
    placed = {1: (2, 4), 2: (4, 2), 3: (1, 0)}
    return {
        "diagrams-order-2.svg": diagrams_svg(fd.diagrams(2), columns=4, tensors=True),
        "diagrams-order-3.svg": diagrams_svg(fd.diagrams(3), columns=6),
        "embedding.svg": spacetime_svg(spacetime, diagram, embedding),
        "embedding-root-tied.svg": spacetime_svg(batches, tied, placed),
    }


if __name__ == "__main__":
    for name, text in pictures().items():
        (Path(__file__).parent / "images" / name).write_text(text, encoding="utf-8")
