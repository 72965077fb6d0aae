"""`lmalgebra explain`: how far each term moved each token."""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmalgebra.cli.console import say
from lmalgebra.cli.option_groups import PlaceOptions, SamplingOptions, VoiceOptions, grouped
from lmalgebra.cli.prompts import read_prompts
from lmalgebra.cli.recipes import RecipeChoice
from lmalgebra.cli.voices import chosen_voice, model_registry, open_voice, say_afterwards
from lmalgebra.errors import LmalgebraError

if TYPE_CHECKING:
    from lmalgebra.decoding import Explanation

_WHAT, _OUT = "What to explain", "Output"


@grouped
def explain(
    *,
    voice: VoiceOptions,
    prompt: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What to answer; - reads it from standard input.", rich_help_panel=_WHAT),
    ] = None,
    continuation: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Explain this answer instead of generating one.", rich_help_panel=_WHAT),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="TERM",
            help="The language model that changes are counted from. Default: the formula's first.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.", rich_help_panel=_OUT)] = False,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write a page that any browser shows.", rich_help_panel=_OUT),
    ] = None,
    recipe: RecipeChoice,
    sampling: SamplingOptions,
    places: PlaceOptions,
) -> None:
    """Say something and show how far each term moved each token, in nats, and what would have been said instead."""
    chosen = chosen_voice(voice, recipe, places)
    (asked,) = read_prompts(prompt, None)
    if html is not None and not html.absolute().parent.is_dir():  # before anything is computed for it
        raise _unwritable(html, "there is no such folder")
    composed = open_voice(chosen, model_registry())
    found = composed.explain(asked, continuation, reference=reference, **sampling.given)
    say_afterwards(composed)
    if html is not None:
        _write(found, html)
    if json:
        print(json_format.dumps(found.to_json(), ensure_ascii=False, allow_nan=False))
    elif html is None:
        from lmalgebra.cli.explain_text import show

        show(found)


def _write(explanation: "Explanation", path: Path) -> None:
    from lmalgebra.cli.explain_page import page

    try:
        path.write_text(page(explanation), encoding="utf-8", newline="\n")
    except OSError as error:
        raise _unwritable(path, (error.strerror or str(error)).lower()) from None
    say(f"Wrote {path}.")


def _unwritable(path: Path, reason: str) -> LmalgebraError:
    return LmalgebraError(
        f"The page '{path}' cannot be written: {reason}.", "Name a file in a folder you can write to."
    )
