"""A report as one self-contained HTML page: nothing is fetched, and plots take the page's colours, light or dark."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from lmalgebra.cli.pages import filled

if TYPE_CHECKING:
    from lmalgebra.evaluation.reports.blocks import Block, Section, Table


def page(title: str, sections: "Sequence[Section]", drawings: Mapping[str, str]) -> str:
    """The page as text; `drawings` has the SVG of each figure by its name."""
    body = [
        f'<section class="below"><h2>{escape(section.title)}</h2>\n{_blocks(section.blocks, drawings)}</section>'
        for section in sections
    ]
    return filled("report.html", {"TITLE": escape(title), "SECTIONS": "\n".join(body)})


def _blocks(blocks: "Sequence[Block]", drawings: Mapping[str, str]) -> str:
    """Blocks in order; figures that follow each other stand side by side where there is room."""
    from lmalgebra.evaluation.reports.blocks import Figure

    parts = []
    for are_figures, some in groupby(blocks, key=lambda block: isinstance(block, Figure)):
        text = "\n".join(_block(block, drawings) for block in some)
        parts.append(f'<div class="figures">{text}</div>' if are_figures else text)
    return "\n".join(parts)


def _block(block: "Block", drawings: Mapping[str, str]) -> str:
    from lmalgebra.evaluation.reports.blocks import Code, Figure, Listing, Paragraph, Table

    match block:
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Listing(items):
            return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"
        case Table():
            return _table(block)
        case Figure(name, title):
            drawing = drawings[name].replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
            return f"<figure><figcaption>{escape(title)}</figcaption>{drawing}</figure>"
        case Code(text):
            return f"<pre>{escape(text)}</pre>"


def _table(table: "Table") -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in table.head)
    rows = [
        "".join(f"<td>{_cell(cell, (row, column) in table.strong)}</td>" for column, cell in enumerate(cells))
        for row, cells in enumerate(table.rows)
    ]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(text: str, is_strong: bool) -> str:
    """A cell; an interval behind a value is quieter."""
    value, space, interval = text.partition(" (")
    told = f"<b>{escape(value)}</b>" if is_strong else escape(value)
    return f"{told} <i>({escape(interval)}</i>" if space and " to " in interval else told + escape(space + interval)
