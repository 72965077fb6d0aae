"""`lmalgebra evaluate`: measure what voices say."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmalgebra.cli.console import INTERRUPTED, error_console, progress_bars, say
from lmalgebra.cli.options import given
from lmalgebra.cli.voices import model_registry, open_voice
from lmalgebra.errors import EvaluationError

if TYPE_CHECKING:
    from lmalgebra.api import Models
    from lmalgebra.evaluation import EvaluationSettings
    from lmalgebra.evaluation.evaluate import Evaluated, Progress, Work

_WHAT, _TASKS, _SAMPLING, _RUNNING = "What", "Tasks, of the suite utility", "Sampling", "Running"


def _option(panel: str, *names: str, text: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=panel, show_default=False)


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
        _option(
            _WHAT,
            "--config",
            text="TOML, with settings named like the options; options given here replace them.",
            metavar="SETTINGS.toml",
        ),
    ] = None,
    suite: Annotated[
        str | None, _option(_WHAT, "--suite", text="What to measure. Default: toxicity.", metavar="NAME")
    ] = None,
    prompts: Annotated[
        str | None,
        _option(
            _WHAT, "--prompts", text="JSON Lines, or hub:OWNER/NAME (extra 'evaluate').", metavar="FILE.jsonl|hub:NAME"
        ),
    ] = None,
    count: Annotated[
        int | None, _option(_WHAT, "--count", text="Draw so many of the prompts. Default: all.", metavar="PROMPTS")
    ] = None,
    draw: Annotated[
        int | None, _option(_WHAT, "--draw", text="Decides which are drawn. Default: 0.", metavar="NUMBER")
    ] = None,
    formula: Annotated[
        list[str] | None,
        _option(
            _WHAT,
            "--formula",
            text="A voice by a formula over the voice file's terms; may be given several times.",
            metavar="NAME=FORMULA",
        ),
    ] = None,
    judge: Annotated[
        list[str] | None,
        _option(
            _WHAT,
            "--judge",
            text="FOLDER#LABEL or hub id of a classifier, 'profanity', or module:function; may be given several "
            "times. Default: s-nlp/roberta_toxicity_classifier#toxic.",
            metavar="JUDGE",
        ),
    ] = None,
    fluency: Annotated[
        str | None,
        _option(
            _WHAT,
            "--fluency",
            text="Model that judges how likely texts are, or none. Default: gemma3-270m.",
            metavar="MODEL",
        ),
    ] = None,
    tasks: Annotated[
        str | None,
        _option(
            _TASKS, "--tasks", text="Names of lm-evaluation-harness, with commas (extra 'utility').", metavar="NAMES"
        ),
    ] = None,
    limit: Annotated[
        int | None,
        _option(_TASKS, "--limit", text="Only so many first documents of each. Default: all.", metavar="DOCUMENTS"),
    ] = None,
    shots: Annotated[
        int | None, _option(_TASKS, "--shots", text="Examples before each. Default: the task's.", metavar="EXAMPLES")
    ] = None,
    tasks_from: Annotated[
        str | None,
        _option(_TASKS, "--tasks-from", text="A folder with the tasks' data. Default: a hub.", metavar="DIR"),
    ] = None,
    samples: Annotated[
        int | None,
        _option(_SAMPLING, "--samples", text="Texts for each prompt. Default: the suite's.", metavar="TEXTS"),
    ] = None,
    max_new_tokens: Annotated[
        int | None, _option(_SAMPLING, "--max-new-tokens", text="Default: the suite's.", metavar="TOKENS")
    ] = None,
    temperature: Annotated[
        float | None, _option(_SAMPLING, "--temperature", text="Default: the suite's.", metavar="NUMBER")
    ] = None,
    top_p: Annotated[
        float | None, _option(_SAMPLING, "--top-p", text="Default: the suite's.", metavar="PROBABILITY")
    ] = None,
    top_k: Annotated[int | None, _option(_SAMPLING, "--top-k", text="Default: all.", metavar="TOKENS")] = None,
    seed: Annotated[
        int | None, _option(_SAMPLING, "--seed", text="Decides every draw. Default: 0.", metavar="NUMBER")
    ] = None,
    output: Annotated[
        str | None, _option(_RUNNING, "--output", text="Result file. Default: evaluation.json.", metavar="FILE.json")
    ] = None,
    cache: Annotated[
        str | None,
        _option(_RUNNING, "--cache", text="Where texts and scores are kept. Default: the user's cache.", metavar="DIR"),
    ] = None,
    batch: Annotated[
        int | None, _option(_RUNNING, "--batch", text="Samples in progress at once. Default: 64.", metavar="SAMPLES")
    ] = None,
    times: Annotated[
        bool | None, _option(_RUNNING, "--times", text="Tell, too, what a token costs, against one model alone.")
    ] = None,
) -> None:
    """Let voices answer the prompts of a suite, and measure what they say; the suite utility asks them the tasks of
    lm-evaluation-harness.

    Texts and scores are kept, so that the same command goes on after a stop and repeats nothing. The table goes to
    standard output, the result with all that it takes to reproduce it to --output.
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
            judges=judge,
            fluency=fluency,
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
    from lmalgebra.evaluation.results import write_json
    from lmalgebra.evaluation.settings import UTILITY
    from lmalgebra.evaluation.table import table

    models = model_registry()
    evaluated = _voices(settings, models)
    with show_progress() as progress:
        if settings.suite == UTILITY:
            result = _utility(settings, evaluated, progress)
        else:
            result = _answers(settings, evaluated, models, progress)
    write_json(result, Path(settings.output))
    print(table(result))
    say(f"Wrote {settings.output}.")


def _answers(
    settings: "EvaluationSettings", evaluated: "list[Evaluated]", models: "Models", progress: "Progress"
) -> dict[str, Any]:
    """What voices say after prompts, measured."""
    from lmalgebra.evaluation.evaluate import evaluate

    return evaluate(evaluated, work_of(settings, models, progress))


def _utility(settings: "EvaluationSettings", evaluated: "list[Evaluated]", progress: "Progress") -> dict[str, Any]:
    """What voices make of tasks."""
    from lmalgebra.evaluation.utility.suite import Tasks, evaluate_utility

    folder = Path(settings.tasks_from).expanduser() if settings.tasks_from else None
    tasks = Tasks(settings.tasks, settings.limit, settings.shots, folder)
    return evaluate_utility(evaluated, tasks, _cache(settings), progress)


def work_of(settings: "EvaluationSettings", models: "Models", progress: "Progress") -> "Work":
    """What the settings ask for. Raises LmalgebraError."""
    from lmalgebra.algebra import Model
    from lmalgebra.evaluation.evaluate import Work
    from lmalgebra.evaluation.prompts import load_prompts
    from lmalgebra.evaluation.suites import Tools, suite_of

    suite = suite_of(settings.suite)
    prompts = load_prompts(settings.prompts, suite.read).sample(settings.count, settings.draw)
    cache = _cache(settings)
    fluency = settings.fluency_source
    judge = None if fluency is None else Model(fluency, engine="torch")  # one engine, so that figures are comparable
    measures = suite.measures(Tools(settings.judges, judge, models, cache))
    return Work(suite, prompts, measures, cache, settings.generation, progress, settings.times)


def _cache(settings: "EvaluationSettings") -> Path:
    from lmalgebra.models.store import cache_folder

    return Path(settings.cache).expanduser() if settings.cache else cache_folder() / "evaluation"


def _voices(settings: "EvaluationSettings", models: "Models") -> "list[Evaluated]":
    """The voices that the settings name, none of which loads before it speaks."""
    from lmalgebra.algebra import load_voice, parse
    from lmalgebra.evaluation.evaluate import Evaluated

    found = []
    for place in map(Path, settings.voices):
        if place.suffix == ".jsonl":
            found.append(Evaluated(place.stem, place))
            continue
        voice = load_voice(place)
        terms = {term.name: term for term in voice.terms}
        formulas = {name: parse(text, terms) for name, text in settings.formulas.items()} or {place.stem: voice.formula}
        for name, formula in formulas.items():
            spoken = replace(voice, formula=formula)
            found.append(Evaluated(name, open_voice(spoken, models, settings.batch)))
    return found


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
