"""`lmalgebra data`: make what is trained on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmalgebra.cli.console import INTERRUPTED, error_console, progress_bars, say
from lmalgebra.cli.options import given
from lmalgebra.cli.settings_options import Setting, take_options
from lmalgebra.errors import LmalgebraError

if TYPE_CHECKING:
    from lmalgebra.training.paraphrases.files import Counts
    from lmalgebra.training.paraphrases.settings import ParaphraseSettings
    from lmalgebra.training.paraphrases.write import Progress

app = typer.Typer(no_args_is_help=True, help="Make data to train on.")

SIDES = ("positives", "negatives")
_CORPUS, _WRITER, _HOW_MANY, _FILTERS, _RUNNING = "Sentences", "Writer", "How many", "Filters", "Running"


SETTINGS = (
    Setting(
        _CORPUS,
        "corpus",
        str,
        "FILE|hub:NAME",
        "",
        "JSON Lines, plain text line by line, or hub:OWNER/NAME@REVISION:SPLIT (extra 'evaluate').",
    ),
    Setting(_CORPUS, "field", str, "FIELD", "text", "Field of the sentence."),
    Setting(_CORPUS, "positive_field", str, "FIELD", "that of --field", "What positives paraphrase."),
    Setting(_CORPUS, "negative_field", str, "FIELD", "", "The same for negatives."),
    Setting(_CORPUS, "count", int, "SENTENCES", "all", "Draw so many sentences."),
    Setting(_CORPUS, "draw", int, "NUMBER", "0", "Decides which are drawn."),
    Setting(
        _WRITER,
        "attribute",
        str,
        "NAME",
        "toxicity",
        "Templates, examples and judge: toxicity, sentiment, or plain (none).",
    ),
    Setting(_WRITER, "voice", str, "VOICE.toml", "the model alone", "A voice file."),
    Setting(_WRITER, "model", str, "NAME", "smollm2-135m", "The model, without a voice file."),
    Setting(
        _WRITER, "positive_formula", str, "TEXT", "its own formula", "What writes positives, over the voice's terms."
    ),
    Setting(_WRITER, "negative_formula", str, "TEXT", "", "The same for negatives."),
    Setting(
        _WRITER, "endpoint", str, "http://HOST/v1", "", "In place of a voice: an address of OpenAI's chat protocol."
    ),
    Setting(_WRITER, "served", str, "NAME", "", "The model's name there."),
    Setting(_WRITER, "key_env", str, "NAME", "", "Environment variable with its key."),
    Setting(
        _WRITER,
        "positive_template",
        str,
        "TEXT",
        "the attribute's",
        "What is asked for positives: Jinja over `text` and the row's fields.",
    ),
    Setting(_WRITER, "negative_template", str, "TEXT", "", "The same for negatives."),
    Setting(_WRITER, "max_new_tokens", int, "TOKENS", "64", "Stop after so many tokens."),
    Setting(_WRITER, "temperature", float, "NUMBER", "0.6", "Of sampling."),
    Setting(_WRITER, "top_p", float, "PROBABILITY", "0.95", "Of sampling."),
    Setting(_WRITER, "stop", list, "TEXT", "", "Stop before this text; may be given several times."),
    Setting(_WRITER, "seed", int, "NUMBER", "0", "Decides every draw."),
    Setting(_HOW_MANY, "positives", int, "TEXTS", "3", "Wanted of a sentence."),
    Setting(_HOW_MANY, "negatives", int, "TEXTS", "3", "The same."),
    Setting(_HOW_MANY, "least", int, "TEXTS", "1", "Groups with less on a side are left out."),
    Setting(_HOW_MANY, "tries", int, "TIMES", "4", "Ask so often for what lacks."),
    Setting(
        _FILTERS, "judge", str, "JUDGE", "the attribute's", "Scores the attribute, written as for evaluate, or none."
    ),
    Setting(_FILTERS, "judge_template", str, "TEXT", "", "What a language model is asked as judge."),
    Setting(_FILTERS, "judge_scale", float, "NUMBER", "10", "The most it may answer."),
    Setting(_FILTERS, "judge_key_env", str, "NAME", "", "Environment variable with its server's key."),
    Setting(_FILTERS, "judged", str, "unwanted|wanted", "", "Whether it scores what is unwanted, or wanted."),
    Setting(_FILTERS, "below", float, "SCORE", "0.5", "The side with less of it scores below this."),
    Setting(_FILTERS, "above", float, "SCORE", "0.5", "The other scores at least this."),
    Setting(
        _FILTERS,
        "embedder",
        str,
        "NAME",
        "sentence-transformers/all-MiniLM-L6-v2",
        "Encoder that judges meaning, or none.",
    ),
    Setting(_FILTERS, "similarity", float, "COSINE", "0.5", "Least similarity to the sentence."),
    Setting(_FILTERS, "shortest", float, "RATIO", "0.4", "Least words, over the sentence's."),
    Setting(_FILTERS, "longest", float, "RATIO", "2.5", "Most words likewise."),
    Setting(_FILTERS, "fluency", str, "NAME", "smollm2-135m", "Model that measures likelihood, or none."),
    Setting(
        _FILTERS, "likelihood_gap", float, "NATS", "4", "Most difference of mean token losses from the sentence's."
    ),
    Setting(
        _FILTERS,
        "refusals",
        list,
        "PHRASE",
        "",
        "A phrase with which models decline, in place of the known ones; may be given several times.",
    ),
    Setting(_RUNNING, "output", str, "FILE", "", "Groups; beside it what was rejected, and a card."),
    Setting(
        _RUNNING,
        "patience",
        int,
        "SENTENCES",
        "25",
        "End after so many sentences in a row of which nothing is accepted.",
    ),
    Setting(_RUNNING, "block", int, "SENTENCES", "8", "Sentences worked on at once."),
)
"""All settings of paraphrases, in the order of the help text."""


def paraphrase(config: str | None = None, resume: bool = False, **options: Any) -> None:
    """Write groups for training by contrast: paraphrases of each sentence that have an attribute, and that lack it.

    FILE is .jsonl or .parquet. Ctrl-C leaves what is done, and --resume goes on.
    What came of each filter goes to standard output.
    """
    from lmalgebra.training.paraphrases.settings import load_settings

    _write(load_settings(None if config is None else Path(config), given(**options)), resume)


take_options(paraphrase, SETTINGS)
app.command()(paraphrase)


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
