"""The two ways to write a diagram as text.

*Bracket notation*: a node is its part's letter followed by its children in brackets; the root is the outer bracket.
`[a a[b]]` is a root with two children in part a, the second of which has a child in part b. A letter before the outer
bracket ties the root to that part: `a[a b]`.

*Edge notation*, the literature's: `(01-02-13)(0-12-3)` lists the edges parent–child, then the parts. Nodes are single
characters 0–9, a–z, and the root is node 0.
"""

import re
from collections.abc import Sequence

from ..errors import DiagramError
from ._canonical import children_of

_NODES = "0123456789abcdefghijklmnopqrstuvwxyz"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SHOWN = 120
_CELL_HINT = "Write brackets with the numbers of cells, such as '[a.1 a.2[b]]'."
_FOREST_HINT = "Write two trees in brackets, such as '[a] [a b]'."
_HINT = "Write brackets such as '[a a[b]]' or edges and parts such as '(01-02-13)(0-12-3)'."


def parse(text: str) -> tuple[list[int], list[int]]:
    """Read either notation as `(parents, labels)`, nodes numbered with the root as 0.

    Raises:
        DiagramError: the text is not in either notation, or it is and does not describe a diagram.
    """
    if not isinstance(text, str):
        raise DiagramError(f"A diagram is parsed from text, got {type(text).__name__}. {_HINT}")
    stripped = text.strip()
    return parse_edges(stripped) if stripped.startswith("(") else parse_brackets(stripped)


def parse_cells(text: str) -> tuple[list[int], list[int], list[int]]:
    """Read bracket notation with cells, `[a.1 a.2]`, as `(parents, labels, cells)`; without a number it is cell 1.

    Raises:
        DiagramError: the text is not in this notation.
    """
    if not isinstance(text, str):
        raise DiagramError(f"A diagram is parsed from text, got {type(text).__name__}. {_CELL_HINT}")
    numbers: list[str] = []

    def without_number(match: re.Match[str]) -> str:
        numbers.append(match[2] or "1")
        return match[1]

    plain = re.sub(r"([A-Za-z][0-9]*)(?:\.([0-9]+))?", without_number, text.strip())
    if "." in plain or plain.startswith("("):
        raise DiagramError(f"Cannot read the diagram {_shown(text)}. {_CELL_HINT}")
    parents, labels = parse_brackets(plain)
    own = numbers[len(numbers) - len(parents) + 1 :]  # a tied root has a letter too, and a cell of its own
    names: dict[tuple[int, str], int] = {}
    pairs = zip(labels[1:], own, strict=True)
    return parents, labels, [0, *(names.setdefault(pair, len(names) + 1) for pair in pairs)]


def _shown(text: str) -> str:
    """Return a text for a message, without the middle of a long one."""
    return repr(text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]} … {text[-_SHOWN // 2 :]}")


def parse_brackets(text: str) -> tuple[list[int], list[int]]:
    """Read bracket notation."""
    tokens = re.findall(r"\w+|\[|\]|\S", text)
    for token in tokens:
        if token not in "[]" and not re.fullmatch("[A-Za-z][0-9]*", token):
            raise DiagramError(
                f"Unexpected {token!r} in diagram {_shown(text)}: a part is named by a letter, which may be followed "
                f"by digits, and nodes are separated by spaces. {_HINT}"
            )
    parents, names = [-1], [""]
    if tokens and tokens[0] not in "[]":
        names[0] = tokens.pop(0)
    if not tokens or tokens[0] != "[":
        raise DiagramError(f"Diagram {_shown(text)} has no outer bracket: the root is the outer bracket. {_HINT}")
    open_nodes, last = [0], None
    for position, token in enumerate(tokens[1:], start=1):
        if token == "[":
            if last is None:
                raise DiagramError(
                    f"A bracket in {_shown(text)} follows no node: write a letter before every inner '['."
                )
            open_nodes.append(last)
            last = None
        elif token == "]":
            open_nodes.pop()
            last = None
            if not open_nodes and position < len(tokens) - 1:
                raise DiagramError(f"Diagram {_shown(text)} goes on after the outer bracket closed. {_HINT}")
        else:
            last = len(parents)
            parents.append(open_nodes[-1])
            names.append(token)
    if open_nodes:
        raise DiagramError(f"Diagram {_shown(text)} lacks {len(open_nodes)} closing bracket(s).")
    parts = {name: index for index, name in enumerate(dict.fromkeys(names))}
    return parents, [parts[name] for name in names]


def parse_forest(text: str) -> tuple[list[int], list[int]]:
    """Read two trees in bracket notation, `[a] [a b]`, as `(parents, labels)` below a node 0 that joins them.

    Raises:
        DiagramError: the text is not in this notation, or has not two trees.
    """
    if not isinstance(text, str):
        raise DiagramError(f"A forest is parsed from text, got {type(text).__name__}. {_FOREST_HINT}")
    trees, start, depth = [], 0, 0
    for position, character in enumerate(text):
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "]" and not depth:
            trees.append(text[start : position + 1])
            start = position + 1
    if len(trees) != 2 or text[start:].strip():
        raise DiagramError(f"The forest {_shown(text)} has not two trees. {_FOREST_HINT}")
    parents, names = [-1], ["joins"]
    for number, tree in enumerate(trees):
        above, labels = parse_brackets(tree)
        words = re.findall("[A-Za-z][0-9]*", tree)
        shift = len(parents)
        parents += [0, *(parent + shift for parent in above[1:])]
        # An untied root has no letter, and gets a name that no letter is.
        names += words if len(words) == len(labels) else [f"root {number}", *words]
    return parents, [names.index(name) for name in names]


def parse_edges(text: str) -> tuple[list[int], list[int]]:
    """Read edge notation."""
    match = re.fullmatch(r"\(([^()]*)\)\s*\(([^()]*)\)", text)
    if match is None:
        raise DiagramError(f"Cannot read the diagram {_shown(text)}. {_HINT}")
    edges = [edge.strip() for edge in match[1].split("-")] if match[1].strip() else []
    groups = [group.strip() for group in match[2].split("-")]
    for edge in edges:
        if len(edge) != 2 or any(node not in _NODES for node in edge):
            raise DiagramError(
                f"Edge {edge!r} in {_shown(text)} is not a pair of nodes parent–child such as '01'. {_HINT}"
            )
    size = len(edges) + 1
    if size > len(_NODES):
        raise DiagramError(f"Edge notation names at most {len(_NODES)} nodes, {_shown(text)} has {size}: use brackets.")
    parents: list[int | None] = [-1] + [None] * (size - 1)
    for edge in edges:
        parent, child = (_NODES.index(node) for node in edge)
        if max(parent, child) >= size:
            raise DiagramError(
                f"{_shown(text)} has {size - 1} edges, so its nodes are 0 to {_NODES[size - 1]}; edge {edge!r}."
            )
        if child == 0:
            raise DiagramError(
                f"Edge {edge!r} in {_shown(text)} points into node 0, which is the root. Edges go parent–child."
            )
        if parents[child] is not None:
            raise DiagramError(f"Node {_NODES[child]} in {_shown(text)} has two parents: the edges contain a cycle.")
        parents[child] = parent
    labels: list[int | None] = [None] * size
    for label, group in enumerate(groups):
        if not group:
            raise DiagramError(f"{_shown(text)} has an empty part: write the parts as '(0-12-3)'.")
        for name in group:
            node = _NODES.find(name)
            if not 0 <= node < size:
                raise DiagramError(f"Part {group!r} in {_shown(text)} names {name!r}, which is no node of the tree.")
            if labels[node] is not None:
                raise DiagramError(
                    f"The parts of {_shown(text)} repeat node {name}: every node is in exactly one part."
                )
            labels[node] = label
    missing = [_NODES[node] for node, label in enumerate(labels) if label is None]
    if missing:
        raise DiagramError(
            f"The parts of {_shown(text)} miss node(s) {', '.join(missing)}: every node is in exactly one part."
        )
    return [parent for parent in parents if parent is not None], [label for label in labels if label is not None]


def format_forest(parents: Sequence[int], labels: Sequence[int]) -> str:
    """Write both trees below node 0, nodes in preorder, one after the other with the same letters."""
    second = max(node for node, parent in enumerate(parents) if parent == 0)
    tied = [labels.count(labels[root]) > 1 for root in (1, second)]
    inner = [label for node, label in enumerate(labels) if node and (node not in (1, second) or tied[node > 1])]
    names = {label: _part_name(number) for number, label in enumerate(dict.fromkeys(inner))}
    children = children_of(parents)

    def write(node: int) -> str:
        below = " ".join(map(write, children[node]))
        is_root = parents[node] == 0
        letter = "" if is_root and not tied[node > 1] else names[labels[node]]
        return f"{letter}[{below}]" if below or is_root else letter

    return f"{write(1)} {write(second)}"


def format_brackets(parents: Sequence[int], labels: Sequence[int], cells: Sequence[int] | None = None) -> str:
    """Write bracket notation of nodes in preorder, parts lettered a, b, c, … in the order in which they are met.

    With cells, those of parts that have several are numbered likewise.
    """
    numbers = _numbers_of_cells(labels, cells)
    children = children_of(parents)
    is_root_tied = labels.count(labels[0]) > 1
    names: dict[int, str] = {} if is_root_tied else {labels[0]: ""}

    def name(label: int) -> str:
        if label not in names:
            names[label] = _part_name(len(names) - (0 if is_root_tied else 1))
        return names[label]

    words: list[str] = []
    open_brackets = 0
    depth = [0] * len(parents)
    for node, parent in enumerate(parents):
        if node:
            depth[node] = depth[parent] + 1
            words.append("]" * (open_brackets - depth[node]))
            words.append("" if children[parent][0] == node else " ")
        open_brackets = depth[node]
        words.append(name(labels[node]) + numbers[node])
        if children[node] or not node:
            words.append("[")
            open_brackets += 1
    return "".join(words) + "]" * open_brackets


def _part_name(number: int) -> str:
    """Return the letter of the part with this number, from 0; beyond z with a digit."""
    round_, letter = divmod(number, len(_LETTERS))
    return _LETTERS[letter] + (str(round_) if round_ else "")


def _numbers_of_cells(labels: Sequence[int], cells: Sequence[int] | None) -> list[str]:
    """Return what follows the letter of every node; nothing for the root and in parts with one cell beside it."""
    if cells is None:
        return [""] * len(labels)
    within: dict[int, dict[int, int]] = {}
    for label, cell in zip(labels[1:], cells[1:], strict=True):
        known = within.setdefault(label, {})
        known.setdefault(cell, len(known) + 1)
    inner = zip(labels[1:], cells[1:], strict=True)
    return ["", *(f".{within[label][cell]}" if len(within[label]) > 1 else "" for label, cell in inner)]


def format_node(node: int) -> str:
    """Return the character that edge notation has for a node."""
    return _NODES[node]


def format_edges(parents: Sequence[int], labels: Sequence[int]) -> str:
    """Write edge notation."""
    if len(parents) > len(_NODES):
        raise DiagramError(f"Edge notation names at most {len(_NODES)} nodes, got {len(parents)}: use str(diagram).")
    edges = "-".join(_NODES[parent] + _NODES[node] for node, parent in enumerate(parents) if node)
    groups: dict[int, str] = {}
    for node, label in enumerate(labels):
        groups[label] = groups.get(label, "") + _NODES[node]
    return f"({edges})({'-'.join(groups.values())})"
