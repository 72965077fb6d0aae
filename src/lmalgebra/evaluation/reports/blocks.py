"""What a report is made of, whatever it is written as; and its form as Markdown."""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Paragraph:
    """A sentence or several."""

    text: str


@dataclass(frozen=True)
class Listing:
    """Sentences that stand below each other."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Rows of text; those of `strong`, by row and column, stand out."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    strong: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True)
class Figure:
    """A plot: the name of its file without ending, and what it is of."""

    name: str
    title: str


@dataclass(frozen=True)
class Code:
    """Text that stands as it is, such as a command."""

    text: str


Block = Paragraph | Listing | Table | Figure | Code


@dataclass(frozen=True)
class Section:
    """Blocks under a title."""

    title: str
    blocks: Sequence[Block]


def markdown(title: str, sections: Sequence[Section]) -> str:
    """A report as Markdown; figures are PNG files beside it."""
    parts = [f"# {_escaped(title)}"]
    for section in sections:
        parts += [f"## {_escaped(section.title)}", *map(markdown_block, section.blocks)]
    return "\n\n".join(parts) + "\n"


def markdown_block(block: Block) -> str:
    """One block as Markdown."""
    match block:
        case Paragraph(text):
            return _escaped(text)
        case Listing(items):
            return "\n".join(f"- {_escaped(item)}" for item in items)
        case Table():
            return _markdown_table(block)
        case Figure(name, title):
            return f"![{_escaped(title)}]({name}.png)"
        case Code(text):
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
            return f"{fence}text\n{text}\n{fence}"


def _markdown_table(table: Table) -> str:
    rows = [
        [
            f"**{_escaped(cell)}**" if (row, column) in table.strong else _escaped(cell)
            for column, cell in enumerate(cells)
        ]
        for row, cells in enumerate(table.rows)
    ]
    lines = [[*map(_escaped, table.head)], *rows]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    padded = [[cell.ljust(width) for cell, width in zip(cells, widths, strict=True)] for cells in lines]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in padded)


def _escaped(text: str) -> str:
    """Text as Markdown that shows it: on one line, with what would be markup behind a backslash."""
    return re.sub(r"([\\`*<>|\[\]])", r"\\\1", " ".join(text.split()))
