"""An explanation in the terminal: the text with its moved tokens in colour, and a table of the most moved."""

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lmalgebra.cli.explain_view import (
    HOW_SHARED,
    MOVED,
    alternatives,
    drawn_with,
    most_moved,
    mover,
    nats,
    share,
    visible,
)

if TYPE_CHECKING:
    from lmalgebra.decoding import ExplainedToken, Explanation

COLOURS = ("blue", "magenta", "green", "red", "cyan", "yellow")

WIDE = 110
"""A narrower terminal gets only the likeliest token of the reference, and not the token's rank."""

MOST_COLUMNS = 10_000
"""More than any terminal has, to measure a table by."""


def show(explanation: "Explanation", console: Console | None = None) -> None:
    """Print an explanation; without colours, the table says what they say."""
    console = console or Console(highlight=False)
    colours = {term: COLOURS[index % len(COLOURS)] for index, term in enumerate(explanation.terms)}
    console.print(Text(explanation.formula, "bold"), soft_wrap=True)
    console.print(_legend(explanation, colours), soft_wrap=True)
    console.print()
    console.print(_coloured(explanation, colours))
    console.print()
    if most_moved(explanation):
        console.print(_fitting_table(explanation, colours, console))
    else:
        console.print(f"No token was moved by {MOVED} nats or more.")
    console.print(Text(f"{HOW_SHARED[explanation.method]} {drawn_with(explanation)}", "dim"))


def _legend(explanation: "Explanation", colours: dict[str, str]) -> Text:
    """Each term in its colour with what it did to the whole text."""
    line = Text(f"Against {explanation.reference}, in nats over {len(explanation.tokens)} tokens:")
    totals = explanation.totals()
    for term in explanation.terms:
        line.append(f"  {term} {nats(totals[term])}", f"bold {colours[term]}")
    if not explanation.terms:
        line.append(" no other term")
    return line


def _coloured(explanation: "Explanation", colours: dict[str, str]) -> Text:
    """The text; a moved token has the colour of the term that moved it most, underlined where that was downwards."""
    line = Text()
    for token in explanation.tokens:
        text = token.text.lstrip(" ")
        line.append(" " * (len(token.text) - len(text))).append(text, _style(token, colours))
    return line


def _style(token: "ExplainedToken", colours: dict[str, str]) -> str:
    term = mover(token)
    if term is None:
        return ""
    return f"bold {colours[term]}{'' if token.change > 0 else ' underline'}"


def _fitting_table(explanation: "Explanation", colours: dict[str, str], console: Console) -> Table:
    """With a column for each term, or where these do not fit, one for all parts, a line for each."""
    is_wide = console.width >= WIDE
    table = _table(explanation, colours, is_wide)
    needed = console.measure(table, options=console.options.update_width(MOST_COLUMNS)).minimum
    return table if needed <= console.width else _table(explanation, colours, is_wide, parts_joined=True)


def _table(explanation: "Explanation", colours: dict[str, str], is_wide: bool, parts_joined: bool = False) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.title = Text(f"The most moved tokens (by {MOVED} nats or more; underlined: downwards)", "bold")
    table.add_column("at", justify="right", no_wrap=True)
    table.add_column("token", no_wrap=True)
    for heading in ("formula", explanation.reference, *(["rank"] if is_wide else []), "change"):
        table.add_column(heading, justify="right", no_wrap=True)
    for term in () if parts_joined else explanation.terms:
        table.add_column(Text(term, colours[term]), justify="right", no_wrap=True)
    if parts_joined:
        table.add_column("parts", justify="right", no_wrap=True)
    table.add_column(f"{explanation.reference} would say", no_wrap=is_wide, overflow="fold")
    for position, token in most_moved(explanation):
        table.add_row(
            str(position + 1),
            Text.assemble((visible(token.name), _style(token, colours))),  # so that what fills the cell is plain
            share(token.logprob),
            share(token.reference_logprob),
            *([str(token.reference_rank)] if is_wide else []),
            nats(token.change),
            *_parts(token, colours, parts_joined),
            Text(alternatives(token, 3 if is_wide else 1)),
        )
    return table


def _parts(token: "ExplainedToken", colours: dict[str, str], joined: bool) -> list[Text]:
    """The terms' parts of a token: a cell for each, or one for all."""
    if not joined:
        return [Text(nats(part)) for part in token.parts.values()]
    named = [Text(f"{term} {nats(part)}", colours[term]) for term, part in token.parts.items()]
    return [Text("\n").join(named)]
