"""`lmalgebra data`: make what is trained on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmalgebra.cli.console import INTERRUPTED, error_console, progress_bars, say
from lmalgebra.cli.options import given, option
from lmalgebra.errors import LmalgebraError

if TYPE_CHECKING:
    from lmalgebra.training.paraphrases.files import Counts
    from lmalgebra.training.paraphrases.settings import ParaphraseSettings
    from lmalgebra.training.paraphrases.write import Progress

app = typer.Typer(no_args_is_help=True, help="Make data to train on.")

SIDES = ("positives", "negatives")
_CORPUS, _WRITER, _HOW_MANY, _FILTERS, _RUNNING = "Sentences", "Writer", "How many", "Filters", "Running"


@app.command()
def paraphrase(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="SETTINGS.toml",
            show_default=False,
            help="TOML, with settings named like the options; options given here replace them.",
        ),
    ] = None,
    corpus: Annotated[
        str | None,
        option(
            _CORPUS,
            "--corpus",
            text="JSON Lines, plain text line by line, or hub:OWNER/NAME@REVISION:SPLIT (extra 'evaluate').",
            metavar="FILE|hub:NAME",
        ),
    ] = None,
    field: Annotated[
        str | None, option(_CORPUS, "--field", text="Field of the sentence. Default: text.", metavar="FIELD")
    ] = None,
    positive_field: Annotated[
        str | None,
        option(
            _CORPUS, "--positive-field", text="What positives paraphrase. Default: that of --field.", metavar="FIELD"
        ),
    ] = None,
    negative_field: Annotated[
        str | None, option(_CORPUS, "--negative-field", text="The same for negatives.", metavar="FIELD")
    ] = None,
    count: Annotated[
        int | None, option(_CORPUS, "--count", text="Draw so many sentences. Default: all.", metavar="SENTENCES")
    ] = None,
    draw: Annotated[
        int | None, option(_CORPUS, "--draw", text="Decides which are drawn. Default: 0.", metavar="NUMBER")
    ] = None,
    attribute: Annotated[
        str | None,
        option(
            _WRITER,
            "--attribute",
            text="Templates, examples and judge: toxicity, sentiment, or plain (none). Default: toxicity.",
            metavar="NAME",
        ),
    ] = None,
    voice: Annotated[
        str | None, option(_WRITER, "--voice", text="A voice file. Default: the model alone.", metavar="VOICE.toml")
    ] = None,
    model: Annotated[
        str | None,
        option(_WRITER, "--model", text="The model, without a voice file. Default: smollm2-135m.", metavar="NAME"),
    ] = None,
    positive_formula: Annotated[
        str | None,
        option(
            _WRITER,
            "--positive-formula",
            text="What writes positives, over the voice's terms. Default: its own formula.",
            metavar="TEXT",
        ),
    ] = None,
    negative_formula: Annotated[
        str | None, option(_WRITER, "--negative-formula", text="The same for negatives.", metavar="TEXT")
    ] = None,
    endpoint: Annotated[
        str | None,
        option(
            _WRITER,
            "--endpoint",
            text="In place of a voice: an address of OpenAI's chat protocol.",
            metavar="http://HOST/v1",
        ),
    ] = None,
    served: Annotated[str | None, option(_WRITER, "--served", text="The model's name there.", metavar="NAME")] = None,
    key_env: Annotated[
        str | None, option(_WRITER, "--key-env", text="Environment variable with its key.", metavar="NAME")
    ] = None,
    positive_template: Annotated[
        str | None,
        option(
            _WRITER,
            "--positive-template",
            text="What is asked for positives: Jinja over `text` and the row's fields. Default: the attribute's.",
            metavar="TEXT",
        ),
    ] = None,
    negative_template: Annotated[
        str | None, option(_WRITER, "--negative-template", text="The same for negatives.", metavar="TEXT")
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        option(_WRITER, "--max-new-tokens", text="Stop after so many tokens. Default: 64.", metavar="TOKENS"),
    ] = None,
    temperature: Annotated[
        float | None, option(_WRITER, "--temperature", text="Of sampling. Default: 0.6.", metavar="NUMBER")
    ] = None,
    top_p: Annotated[
        float | None, option(_WRITER, "--top-p", text="Of sampling. Default: 0.95.", metavar="PROBABILITY")
    ] = None,
    stop: Annotated[
        list[str] | None,
        option(_WRITER, "--stop", text="Stop before this text; may be given several times.", metavar="TEXT"),
    ] = None,
    seed: Annotated[
        int | None, option(_WRITER, "--seed", text="Decides every draw. Default: 0.", metavar="NUMBER")
    ] = None,
    positives: Annotated[
        int | None, option(_HOW_MANY, "--positives", text="Wanted of a sentence. Default: 3.", metavar="TEXTS")
    ] = None,
    negatives: Annotated[
        int | None, option(_HOW_MANY, "--negatives", text="The same. Default: 3.", metavar="TEXTS")
    ] = None,
    least: Annotated[
        int | None,
        option(_HOW_MANY, "--least", text="Groups with less on a side are left out. Default: 1.", metavar="TEXTS"),
    ] = None,
    tries: Annotated[
        int | None, option(_HOW_MANY, "--tries", text="Ask so often for what lacks. Default: 4.", metavar="TIMES")
    ] = None,
    judge: Annotated[
        str | None,
        option(
            _FILTERS,
            "--judge",
            text="Scores the attribute, written as for evaluate, or none. Default: the attribute's.",
            metavar="JUDGE",
        ),
    ] = None,
    judge_template: Annotated[
        str | None,
        option(_FILTERS, "--judge-template", text="What a language model is asked as judge.", metavar="TEXT"),
    ] = None,
    judge_scale: Annotated[
        float | None, option(_FILTERS, "--judge-scale", text="The most it may answer. Default: 10.", metavar="NUMBER")
    ] = None,
    judge_key_env: Annotated[
        str | None,
        option(_FILTERS, "--judge-key-env", text="Environment variable with its server's key.", metavar="NAME"),
    ] = None,
    judged: Annotated[
        str | None,
        option(_FILTERS, "--judged", text="Whether it scores what is unwanted, or wanted.", metavar="unwanted|wanted"),
    ] = None,
    below: Annotated[
        float | None,
        option(_FILTERS, "--below", text="The side with less of it scores below this. Default: 0.5.", metavar="SCORE"),
    ] = None,
    above: Annotated[
        float | None,
        option(_FILTERS, "--above", text="The other scores at least this. Default: 0.5.", metavar="SCORE"),
    ] = None,
    embedder: Annotated[
        str | None,
        option(
            _FILTERS,
            "--embedder",
            text="Encoder that judges meaning, or none. Default: sentence-transformers/all-MiniLM-L6-v2.",
            metavar="NAME",
        ),
    ] = None,
    similarity: Annotated[
        float | None,
        option(_FILTERS, "--similarity", text="Least similarity to the sentence. Default: 0.5.", metavar="COSINE"),
    ] = None,
    shortest: Annotated[
        float | None,
        option(_FILTERS, "--shortest", text="Least words, over the sentence's. Default: 0.4.", metavar="RATIO"),
    ] = None,
    longest: Annotated[
        float | None, option(_FILTERS, "--longest", text="Most words likewise. Default: 2.5.", metavar="RATIO")
    ] = None,
    fluency: Annotated[
        str | None,
        option(
            _FILTERS,
            "--fluency",
            text="Model that measures likelihood, or none. Default: smollm2-135m.",
            metavar="NAME",
        ),
    ] = None,
    likelihood_gap: Annotated[
        float | None,
        option(
            _FILTERS,
            "--likelihood-gap",
            text="Most difference of mean token losses from the sentence's. Default: 4.",
            metavar="NATS",
        ),
    ] = None,
    refusals: Annotated[
        list[str] | None,
        option(
            _FILTERS,
            "--refusals",
            text="A phrase with which models decline, in place of the known ones; may be given several times.",
            metavar="PHRASE",
        ),
    ] = None,
    output: Annotated[
        str | None,
        option(_RUNNING, "--output", text="Groups; beside it what was rejected, and a card.", metavar="FILE"),
    ] = None,
    patience: Annotated[
        int | None,
        option(
            _RUNNING,
            "--patience",
            text="End after so many sentences in a row of which nothing is accepted. Default: 25.",
            metavar="SENTENCES",
        ),
    ] = None,
    block: Annotated[
        int | None, option(_RUNNING, "--block", text="Sentences worked on at once. Default: 8.", metavar="SENTENCES")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after a stop.", rich_help_panel=_RUNNING)] = False,
) -> None:
    """Write groups for training by contrast: paraphrases of each sentence that have an attribute, and that lack it.

    FILE is .jsonl or .parquet. Ctrl-C leaves what is done, and --resume goes on. What came of each filter goes to
    standard output.
    """
    from lmalgebra.training.paraphrases.settings import load_settings

    options = {name: value for name, value in context.params.items() if name not in ("config", "resume")}
    _write(load_settings(config, given(**options)), resume)


@app.command()
def attribute(
    name: Annotated[str, typer.Argument(metavar="NAME", help="toxicity, sentiment or plain.")] = "toxicity",
) -> None:
    """Print an attribute's settings, to be edited and given to `lmalgebra data paraphrase`."""
    from lmalgebra.training.paraphrases.attributes import attribute_text

    print(attribute_text(name), end="")


def _write(settings: "ParaphraseSettings", resume: bool) -> None:
    from lmalgebra.api import voice
    from lmalgebra.cli.voices import model_registry
    from lmalgebra.training.paraphrases.card import summary_rows
    from lmalgebra.training.paraphrases.write import write_paraphrases

    opened, began = partial(voice, models=model_registry()), False
    try:
        with _progress() as show:

            def advance(progress: "Progress") -> None:
                nonlocal began
                began = True
                show(progress)

            result = write_paraphrases(settings, opened, resume=resume, report=say, advance=advance)
    except (KeyboardInterrupt, LmalgebraError) as stop:
        if isinstance(stop, KeyboardInterrupt) or began:
            say("Stopped; what is done is kept. The same command with --resume goes on.")
        if isinstance(stop, LmalgebraError):
            raise
        raise typer.Exit(INTERRUPTED) from None
    rows = [("", *SIDES), *summary_rows(result.counts)]
    width = max(len(name) for name, *_ in rows)
    print("\n".join(f"{name:<{width}}  {one:>14}  {other:>14}" for name, one, other in rows))
    say(f"Wrote {result.counts.groups:,} groups of {result.counts.anchors:,} sentences to {result.path}.")


@contextmanager
def _progress() -> "Iterator[Callable[[Progress], None]]":
    """A bar on a terminal; elsewhere a line at each tenth of the sentences."""
    if not error_console().is_terminal:
        told = -1

        def tell(progress: "Progress") -> None:
            nonlocal told
            tenth = 10 * progress.done // progress.total
            if tenth > told:
                say(f"{progress.done:,} of {progress.total:,} sentences: {_found(progress.counts)}")
                told = tenth

        yield tell
        return
    with progress_bars("sentences", "{task.fields[found]}") as bar:
        task = bar.add_task("sentences", total=None, found="")

        def advance(progress: "Progress") -> None:
            bar.update(task, completed=progress.done, total=progress.total, found=_found(progress.counts))

        yield advance


def _found(counts: "Counts") -> str:
    """What came so far, and the share of what was proposed that passed."""
    shares = [f"{counts.accepted[side] / max(1, counts.proposed(side)):.0%} of {side}" for side in SIDES]
    return f"{counts.groups:,} groups, accepted {' and '.join(shares)}"
