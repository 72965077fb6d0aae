"""`lmalgebra evaluate`: measure what voices say."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmalgebra.cli.console import INTERRUPTED, error_console, progress_bars, say
from lmalgebra.cli.options import given, option
from lmalgebra.cli.voices import model_registry, open_voice, with_formula
from lmalgebra.errors import EvaluationError

if TYPE_CHECKING:
    from lmalgebra.api import Models
    from lmalgebra.evaluation import EvaluationSettings
    from lmalgebra.evaluation.evaluate import Evaluated, Progress

_WHAT, _TASKS, _SAMPLING, _RUNNING = "What", "Tasks, of the suite utility", "Sampling", "Running"


def evaluate(
    voices: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VOICE...",
            show_default=False,
            help="Voice files (.toml), or files of samples (.jsonl) that anything has said.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        option(
            _WHAT,
            "--config",
            text="TOML, with settings named like the options; options given here replace them.",
            metavar="SETTINGS.toml",
        ),
    ] = None,
    suite: Annotated[
        str | None, option(_WHAT, "--suite", text="What to measure. Default: toxicity.", metavar="NAME")
    ] = None,
    prompts: Annotated[
        str | None,
        option(
            _WHAT, "--prompts", text="JSON Lines, or hub:OWNER/NAME (extra 'evaluate').", metavar="FILE.jsonl|hub:NAME"
        ),
    ] = None,
    count: Annotated[
        int | None, option(_WHAT, "--count", text="Draw so many of the prompts. Default: all.", metavar="PROMPTS")
    ] = None,
    draw: Annotated[
        int | None, option(_WHAT, "--draw", text="Decides which are drawn. Default: 0.", metavar="NUMBER")
    ] = None,
    formula: Annotated[
        list[str] | None,
        option(
            _WHAT,
            "--formula",
            text="A voice by a formula over the voice file's terms; may be given several times.",
            metavar="NAME=FORMULA",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        option(
            _WHAT,
            "--weights",
            text="Each makes a voice of a --formula with {weight} in it; together they are a curve.",
            metavar="NUMBER,...",
        ),
    ] = None,
    template: Annotated[
        str | None,
        option(
            _WHAT,
            "--template",
            text="What is asked: Jinja over `prompt` and the fields of a line. Default: the suite's.",
            metavar="TEXT",
        ),
    ] = None,
    judge: Annotated[
        list[str] | None,
        option(
            _WHAT,
            "--judge",
            text="FOLDER#LABEL or OWNER/NAME@REVISION#LABEL of a classifier, detoxify, profanity, vader, "
            "http://HOST/v1#MODEL, or module:function; may be given several times. "
            "Default: s-nlp/roberta_toxicity_classifier#toxic.",
            metavar="JUDGE",
        ),
    ] = None,
    judge_template: Annotated[
        str | None,
        option(
            _WHAT,
            "--judge-template",
            text="What a language model is asked as judge: Jinja over `text` and, if it is to see it, `prompt`.",
            metavar="TEXT",
        ),
    ] = None,
    judge_scale: Annotated[
        float | None,
        option(_WHAT, "--judge-scale", text="The most that it may answer. Default: 10.", metavar="NUMBER"),
    ] = None,
    judge_key_env: Annotated[
        str | None,
        option(_WHAT, "--judge-key-env", text="Environment variable with its server's key.", metavar="NAME"),
    ] = None,
    fluency: Annotated[
        str | None,
        option(
            _WHAT,
            "--fluency",
            text="Model that judges how likely texts are, or none. Default: gemma3-270m.",
            metavar="MODEL",
        ),
    ] = None,
    embedder: Annotated[
        str | None,
        option(
            _WHAT,
            "--embedder",
            text="Encoder that judges meaning, or none. Default: sentence-transformers/all-MiniLM-L6-v2.",
            metavar="MODEL",
        ),
    ] = None,
    mauve: Annotated[
        str | None,
        option(_WHAT, "--mauve", text="Model of MAUVE's features, or none. Default: none.", metavar="MODEL"),
    ] = None,
    tasks: Annotated[
        str | None,
        option(
            _TASKS, "--tasks", text="Names of lm-evaluation-harness, with commas (extra 'utility').", metavar="NAMES"
        ),
    ] = None,
    limit: Annotated[
        int | None,
        option(_TASKS, "--limit", text="Only so many first documents of each. Default: all.", metavar="DOCUMENTS"),
    ] = None,
    shots: Annotated[
        int | None, option(_TASKS, "--shots", text="Examples before each. Default: the task's.", metavar="EXAMPLES")
    ] = None,
    tasks_from: Annotated[
        str | None,
        option(_TASKS, "--tasks-from", text="A folder with the tasks' data. Default: a hub.", metavar="DIR"),
    ] = None,
    samples: Annotated[
        int | None,
        option(_SAMPLING, "--samples", text="Texts for each prompt. Default: the suite's.", metavar="TEXTS"),
    ] = None,
    max_new_tokens: Annotated[
        int | None, option(_SAMPLING, "--max-new-tokens", text="Default: the suite's.", metavar="TOKENS")
    ] = None,
    temperature: Annotated[
        float | None, option(_SAMPLING, "--temperature", text="Default: the suite's.", metavar="NUMBER")
    ] = None,
    top_p: Annotated[
        float | None, option(_SAMPLING, "--top-p", text="Default: the suite's.", metavar="PROBABILITY")
    ] = None,
    top_k: Annotated[int | None, option(_SAMPLING, "--top-k", text="Default: all.", metavar="TOKENS")] = None,
    seed: Annotated[
        int | None, option(_SAMPLING, "--seed", text="Decides every draw. Default: 0.", metavar="NUMBER")
    ] = None,
    output: Annotated[
        str | None, option(_RUNNING, "--output", text="Result file. Default: evaluation.json.", metavar="FILE.json")
    ] = None,
    cache: Annotated[
        str | None,
        option(_RUNNING, "--cache", text="Where texts and scores are kept. Default: the user's cache.", metavar="DIR"),
    ] = None,
    batch: Annotated[
        int | None, option(_RUNNING, "--batch", text="Samples in progress at once. Default: 64.", metavar="SAMPLES")
    ] = None,
    times: Annotated[
        bool | None, option(_RUNNING, "--times", text="Tell, too, what a token costs, against one model alone.")
    ] = None,
) -> None:
    """Let voices answer the prompts of a suite, and measure what they say; the suite utility asks them the tasks of
    lm-evaluation-harness.

    Texts and scores are kept, so that the same command goes on after a stop and repeats nothing.
    The table goes to standard output, the result with all that it takes to reproduce it to --output.
    """
    from lmalgebra.evaluation import load_settings

    settings = load_settings(
        config,
        given(
            voices=voices,
            suite=suite,
            prompts=prompts,
            count=count,
            draw=draw,
            formulas=dict(map(_named, formula)) if formula else None,
            weights=_numbers(weights) if weights is not None else None,
            template=template,
            judges=judge,
            judge_template=judge_template,
            judge_scale=judge_scale,
            judge_key_env=judge_key_env,
            fluency=fluency,
            embedder=embedder,
            mauve=mauve,
            tasks=tasks.split(",") if tasks else None,
            limit=limit,
            shots=shots,
            tasks_from=tasks_from,
            samples=samples,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            seed=seed,
            output=output,
            cache=cache,
            batch=batch,
            times=times,
        ),
    )
    try:
        _run(settings)
    except KeyboardInterrupt:
        say("Stopped; what was said and judged is kept. The same command goes on.")
        raise typer.Exit(INTERRUPTED) from None


def _run(settings: "EvaluationSettings") -> None:
    from lmalgebra.evaluation.reports.table import tables
    from lmalgebra.evaluation.results import write_json
    from lmalgebra.evaluation.run import run

    models = model_registry()
    evaluated = _voices(settings, models)
    with show_progress() as progress:
        result = run(settings, evaluated, models, progress)
    write_json(result, Path(settings.output))
    print(tables(result))
    for sentence in _notes(result):
        say(f"note: {sentence}", "yellow")
    say(f"Wrote {settings.output}.")


def _notes(result: Mapping[str, Any]) -> Iterator[str]:
    """What could not be said or measured; of prompts without an answer the first reason."""
    for voice in result["voices"]:
        if reasons := list(voice["left_out"].values()):
            yield f"{voice['name']}: prompts without an answer: {len(reasons):,}. {reasons[0]}"
        for measure, notes in voice["notes"].items():
            yield from (f"{voice['name']}, {measure}: {note}" for note in notes)


def _voices(settings: "EvaluationSettings", models: "Models") -> "list[Evaluated]":
    """The voices that the settings name, none of which loads before it speaks."""
    from lmalgebra.algebra import load_voice
    from lmalgebra.evaluation.evaluate import Evaluated

    found = []
    for place in map(Path, settings.voices):
        if place.suffix == ".jsonl":
            found.append(Evaluated(place.stem, place))
            continue
        voice = load_voice(place)
        if not settings.formulas:
            found.append(Evaluated(place.stem, open_voice(voice, models, settings.batch)))
        for name, formula, curve, weight in _formulas(settings):
            spoken = open_voice(with_formula(voice, formula), models, settings.batch)
            found.append(Evaluated(name, spoken, curve, weight))
    return found


def _formulas(settings: "EvaluationSettings") -> Iterator[tuple[str, str, str, float]]:
    """Each formula after its name; where it has a place for weights one for each, with its point of the curve."""
    from lmalgebra.evaluation.settings import WEIGHT
    from lmalgebra.evaluation.tuning.free_weights import OpenFormula

    for name, text in settings.formulas.items():
        formula = OpenFormula(text)
        if not formula.names:
            yield name, text, "", 0.0
            continue
        for weight in settings.weights:
            yield f"{name} at {weight:g}", formula.at({WEIGHT: weight}), name, weight


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise EvaluationError(f"--weights '{text}' is no list of numbers.", "Write --weights 0,0.5,1.") from None


def _named(text: str) -> tuple[str, str]:
    name, _, formula = text.partition("=")
    if not name.strip() or not formula.strip():
        raise EvaluationError(f"--formula '{text}' has no name.", "Write --formula 'name = base + formal - base'.")
    return name.strip(), formula.strip()


@contextmanager
def show_progress() -> "Iterator[Progress]":
    """A bar for each voice and measure on a terminal; elsewhere a line when one begins and at each quarter of it."""
    if not error_console().is_terminal:
        yield _told
        return
    with progress_bars("{task.description}") as bar:

        def begun(what: str, total: int) -> Callable[[int], None]:
            task = bar.add_task(what, total=total)
            return lambda done: bar.advance(task, done)

        yield begun


def _told(what: str, total: int) -> Callable[[int], None]:
    so_far = 0

    def advance(done: int) -> None:
        nonlocal so_far
        before, so_far = 4 * so_far // total, so_far + done
        if 4 * so_far // total > before:
            say(f"{what}, {so_far:,} of {total:,}")

    return advance
