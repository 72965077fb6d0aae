"""What `lmalgebra run` shows without arguments: one prompt under three weights of one formula, side by side."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lmalgebra.cli.voices import model_registry, open_voice, with_formula

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from lmalgebra.algebra import Voice
    from lmalgebra.decoding import Piece

PROMPT = "What is the moon?"
FORMULAS = ("base", "base + 0.6 * (pirate - base)", "base + 1.2 * (pirate - base)")
SETTINGS = {"temperature": 0.0, "repetition_penalty": 1.15, "max_new_tokens": 48}
"""Greedy, so that only the weight differs between the columns."""

NEXT = (
    "Next: lmalgebra new my.toml makes a voice of your own;",
    '      lmalgebra run --formula "base + 0.8 * (poet - base)" --prompt "Why is the sea salty?"',
)
COLUMNS_FROM = 100
"""Narrower terminals get the texts under each other."""


def show(voice: "Voice", changes: dict[str, Any]) -> None:
    """Speak PROMPT under FORMULAS with the terms of `voice`, whose weights load once. `changes` override SETTINGS."""
    from rich.console import Console

    from lmalgebra.decoding.composed import speak_together

    voice = replace(voice, settings=voice.settings.replace(**(SETTINGS | changes)))
    models = model_registry()
    pieces = speak_together([open_voice(with_formula(voice, formula), models) for formula in FORMULAS], PROMPT)
    console = Console(highlight=False)
    if console.is_terminal:
        _show_live(console, pieces)
    else:
        _print_blocks(pieces)
    print("", *NEXT, sep="\n")


def _print_blocks(pieces: "Iterable[Piece]") -> None:
    """One text after another, for a pipe or a file; the first as it comes."""
    texts = [""] * len(FORMULAS)
    print(f"{PROMPT}\n\n── {FORMULAS[0]} ──")
    for piece in pieces:
        texts[piece.index] += piece.text
        if piece.index == 0:
            print(piece.text, end="", flush=True)
    for formula, text in zip(FORMULAS[1:], texts[1:], strict=True):
        print(f"\n\n── {formula} ──\n{text}", end="")
    print(flush=True)


def _show_live(console: "Console", pieces: "Iterable[Piece]") -> None:
    """All texts growing at once."""
    from rich.live import Live

    texts = [""] * len(FORMULAS)
    with Live(console=console, refresh_per_second=12) as live:
        for piece in pieces:
            texts[piece.index] += piece.text
            live.update(_layout(texts, console.width))


def _layout(texts: list[str], width: int) -> "RenderableType":
    from rich import box
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    if width < COLUMNS_FROM:
        panels = [Panel(Text(text), title=Text(f), title_align="left") for f, text in zip(FORMULAS, texts, strict=True)]
        return Group(Text(PROMPT, "bold"), *panels)
    table = Table(title=Text(PROMPT, "bold"), title_justify="left", box=box.ROUNDED, expand=True)
    for formula in FORMULAS:
        table.add_column(Text(formula, "bold cyan"), ratio=1)
    table.add_row(*(Text(text) for text in texts))
    return table
