"""`lmalgebra explain`: how far each term moved each token."""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmalgebra.cli import options
from lmalgebra.cli.console import say
from lmalgebra.cli.options import given
from lmalgebra.cli.prompts import read_prompts
from lmalgebra.cli.recipes import RecipeChoice
from lmalgebra.cli.voices import chosen_voice, model_registry, open_voice, say_afterwards
from lmalgebra.errors import LmalgebraError

if TYPE_CHECKING:
    from lmalgebra.decoding import Explanation

_WHAT, _OUT = "What to explain", "Output"


def explain(
    voice: options.VoiceFile = None,
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
    formula: options.FormulaText = None,
    model: options.ModelSource = None,
    recipe: options.RecipeName = None,
    values: options.RecipeValues = None,
    systems: options.RecipeSystems = None,
    classifier: options.RecipeClassifier = None,
    label: options.RecipeLabel = None,
    unwanted: options.RecipeUnwanted = None,
    max_new_tokens: options.MaxNewTokens = None,
    min_new_tokens: options.MinNewTokens = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    min_p: options.MinP = None,
    repetition_penalty: options.RepetitionPenalty = None,
    stop: options.Stop = None,
    seed: options.Seed = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    engine: options.Engine = None,
    quantization: options.Quantization = None,
) -> None:
    """Say something and show how far each term moved each token, in nats, and what would have been said instead."""
    changes = given(
        max_new_tokens=max_new_tokens,
        min_new_tokens=min_new_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        stop=stop,
        seed=seed,
    )
    by = RecipeChoice(recipe, values, systems, classifier, label, unwanted)
    places = {"dtype": dtype, "device": device, "engine": engine, "quantization": quantization}
    chosen = chosen_voice(voice, formula, model, by, **places)
    (asked,) = read_prompts(prompt, None)
    if html is not None and not html.absolute().parent.is_dir():  # before anything is computed for it
        raise _unwritable(html, "there is no such folder")
    composed = open_voice(chosen, model_registry())
    found = composed.explain(asked, continuation, reference=reference, **changes)
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
