"""`lmalgebra run`: generate text with a voice."""

import sys
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmalgebra.cli import options
from lmalgebra.cli.console import INTERRUPTED, say
from lmalgebra.cli.option_groups import PlaceOptions, SamplingOptions, VoiceOptions, grouped
from lmalgebra.cli.options import given
from lmalgebra.cli.prompts import read_prompts
from lmalgebra.cli.recipes import RecipeChoice
from lmalgebra.cli.results import HeadedTexts, PrintedJson, Results, SavedJson, StreamedText, progress_bar
from lmalgebra.cli.voices import chosen_voice, model_registry, open_voice, say_afterwards
from lmalgebra.errors import LmalgebraError

if TYPE_CHECKING:
    from lmalgebra.algebra import GenerationSettings
    from lmalgebra.decoding import ComposedVoice, Request
    from lmalgebra.decoding.composed import Prompt
    from lmalgebra.decoding.samples_file import Finished, SamplesFile

    Opened = Callable[[], ComposedVoice]

_IN, _OUT = "Prompts", "Output"


@grouped
def run(
    *,
    voice: VoiceOptions,
    prompt: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What to answer; - reads it from standard input.", rich_help_panel=_IN),
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.jsonl",
            help="JSON Lines: each a text, or an object with prompt or messages; - reads standard input.",
            rich_help_panel=_IN,
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for each sample.", rich_help_panel=_OUT)
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the JSON objects here, each as it is done.", rich_help_panel=_OUT),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Generate only what --output does not hold yet.", rich_help_panel=_OUT)
    ] = False,
    recipe: RecipeChoice,
    sampling: SamplingOptions,
    samples: options.Samples = None,
    places: PlaceOptions,
    batch: options.Batch = None,
    speculate: options.Speculate = None,
    draft: options.Draft = None,
) -> None:
    """Generate text. Without any argument: one prompt under three formulas, side by side.

    Results go to standard output, everything else to standard error. Samples come in the order in which they are done.
    """
    changes = sampling.given | given(samples=samples)
    if resume and output is None:
        raise LmalgebraError("--resume needs a file to go on with.", "Add --output FILE.")
    asked = (voice.file, voice.formula, recipe.name, prompt, prompts, output, samples, batch, speculate, draft)
    chosen = chosen_voice(voice, recipe, places)
    if not json and all(option is None for option in asked):
        from lmalgebra.cli.showcase import show

        return show(chosen, changes)
    settings = chosen.settings.replace(**changes)
    source = read_prompts(prompt, prompts)
    opened = partial(open_voice, chosen, model_registry(), batch, speculate, draft)
    if output is not None:
        from lmalgebra.decoding.samples_file import SamplesFile

        return _save(opened, settings, source, SamplesFile(output, resume))
    _print(opened, settings, source, json)


def _print(opened: "Opened", settings: "GenerationSettings", prompts: "Iterable[Prompt]", as_json: bool) -> None:
    alone = isinstance(prompts, list) and len(prompts) == 1 and settings.samples == 1
    results = PrintedJson() if as_json else StreamedText() if alone else HeadedTexts(settings.samples > 1)
    work = _Work(prompts, settings)
    try:
        _speak(opened, work, results, bar=_is_piped() and not alone)
    except KeyboardInterrupt:
        line_break = "\n" if isinstance(results, StreamedText) else ""
        say(f"{line_break}Stopped; {_samples(results.finished)} finished.")
        raise typer.Exit(INTERRUPTED) from None
    except LmalgebraError:
        results.break_off()
        raise


def _save(opened: "Opened", settings: "GenerationSettings", prompts: "Iterable[Prompt]", file: "SamplesFile") -> None:
    work = _Work(prompts, settings, file.finished)
    if file.count:
        left = "" if work.total is None else f"; {work.total:,} to go"
        say(f"{file.path} holds {_samples(file.count)}{left}.")
    results = SavedJson(file)
    try:
        _speak(opened, work, results, bar=True)
    except (KeyboardInterrupt, LmalgebraError) as stop:
        say(f"Stopped; {file.path} keeps {_samples(file.count)}. The same command with --resume goes on.")
        if isinstance(stop, LmalgebraError):
            raise
        raise typer.Exit(INTERRUPTED) from None
    finally:
        file.close()
    say(f"Wrote {_samples(results.finished)} to {file.path}.")


class _Work:
    """What is to be generated: requests, how many samples they ask for where that is known, and their prompts."""

    def __init__(
        self, prompts: "Iterable[Prompt]", settings: "GenerationSettings", finished: "Finished | None" = None
    ) -> None:
        from lmalgebra.decoding.samples_file import Finished, missing_requests

        self.asked: list[Prompt] = []
        self.requests: Iterable[Request] = missing_requests(prompts, settings, finished or Finished(), self.asked)
        self.total: int | None = None
        if isinstance(prompts, list):
            self.requests = list(self.requests)
            self.total = sum(request.settings.samples for request in self.requests)


def _speak(opened: "Opened", work: _Work, results: Results, bar: bool) -> None:
    """Generate everything with the voice that `opened` gives."""
    from lmalgebra.decoding import Piece, Refusal, left_out

    requests = iter(work.requests)
    first = next(requests, None)  # before the weights load: there may be nothing to do, or a bad first line
    if first is None:
        return
    composed = opened()
    refusals: list[Refusal] = []
    with progress_bar(work.total, bar) as advance:
        for event in composed.run(chain([first], requests)):
            if isinstance(event, Piece):
                results.piece(event.text)
            elif isinstance(event, Refusal):
                refusals.append(event)
                results.break_off()
            else:
                results.sample(work.asked[event.index], event)
                advance()
    say_afterwards(composed)
    if refusals:
        raise refusals[0].error if len(work.asked) == 1 else left_out(refusals)


def _is_piped() -> bool:
    return not sys.stdout.isatty()


def _samples(count: int) -> str:
    return f"{count:,} sample" if count == 1 else f"{count:,} samples"
