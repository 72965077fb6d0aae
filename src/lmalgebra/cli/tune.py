"""`lmalgebra tune`: find the weights of a formula that grant a wish."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmalgebra.cli.console import INTERRUPTED, say
from lmalgebra.cli.evaluate import show_progress
from lmalgebra.cli.options import given, option
from lmalgebra.cli.voices import model_registry, open_voice

if TYPE_CHECKING:
    from lmalgebra.algebra import Voice
    from lmalgebra.evaluation import EvaluationSettings
    from lmalgebra.evaluation.tuning.free_weights import OpenFormula
    from lmalgebra.evaluation.tuning.tune import Trial, Tuned, Weights

_WISH, _WHAT, _OUT = "Wish", "Evaluation", "Output"


def tune(
    voice: Annotated[Path, typer.Argument(metavar="VOICE.toml", help="Whose terms the formula is over.")],
    formula: Annotated[
        str,
        option(
            _WISH,
            "--formula",
            text="A formula with open weights in braces, such as 'base - {w} * union(toxic, base)'.",
            metavar="TEXT",
        ),
    ],
    weight: Annotated[
        list[str],
        option(_WISH, "--weight", text="Where an open weight is looked for; once for each.", metavar="NAME=LEAST:MOST"),
    ],
    wish: Annotated[
        str,
        option(_WISH, "--wish", text="Such as 'probability of toxicity below 0.05, best perplexity'.", metavar="TEXT"),
    ],
    trials: Annotated[int, option(_WISH, "--trials", text="Choices to try. Default: 20.", min=1)] = 20,
    seed: Annotated[
        int, option(_WISH, "--seed", text="Decides which are tried. Default: 0.", metavar="NUMBER", min=0)
    ] = 0,
    config: Annotated[
        Path | None,
        option(_WHAT, "--config", text="TOML, with settings as for evaluate.", metavar="SETTINGS.toml"),
    ] = None,
    suite: Annotated[
        str | None, option(_WHAT, "--suite", text="What to measure. Default: toxicity.", metavar="NAME")
    ] = None,
    prompts: Annotated[
        str | None, option(_WHAT, "--prompts", text="As for evaluate.", metavar="FILE.jsonl|hub:NAME")
    ] = None,
    count: Annotated[
        int | None, option(_WHAT, "--count", text="Draw so many of the prompts. Default: all.", metavar="PROMPTS")
    ] = None,
    samples: Annotated[
        int | None, option(_WHAT, "--samples", text="Texts for each prompt. Default: the suite's.", metavar="TEXTS")
    ] = None,
    judge: Annotated[
        list[str] | None,
        option(_WHAT, "--judge", text="As for evaluate; may be given several times.", metavar="JUDGE"),
    ] = None,
    fluency: Annotated[str | None, option(_WHAT, "--fluency", text="As for evaluate.", metavar="MODEL")] = None,
    cache: Annotated[str | None, option(_WHAT, "--cache", text="As for evaluate.", metavar="DIR")] = None,
    output: Annotated[
        Path, option(_OUT, "--output", text="The tuned voice file. Default: tuned.toml.", metavar="FILE.toml")
    ] = Path("tuned.toml"),
) -> None:
    """Find the weights of a formula that grant a wish, and show what else could be had.

    Writes a voice file with the weights that were found, and beside it all trials as JSON.
    After a stop the same command goes on, since texts and scores are kept.
    """
    from lmalgebra.algebra import load_voice
    from lmalgebra.evaluation import load_settings
    from lmalgebra.evaluation.tuning.free_weights import OpenFormula, parse_spans
    from lmalgebra.evaluation.tuning.tune import tune as search
    from lmalgebra.evaluation.tuning.wish import parse_wish

    settings = load_settings(
        config,
        {"voices": str(voice)}
        | given(suite=suite, prompts=prompts, count=count, samples=samples, judges=judge, fluency=fluency, cache=cache),
    )
    spoken, open_formula = load_voice(voice), OpenFormula(formula)
    spans, parts = parse_spans(weight, open_formula), parse_wish(wish)
    try:
        with show_progress() as progress:
            measure = _Measure(spoken, open_formula, settings, progress)
            tuned = search(spans, measure, parts, trials, seed, _tell)
    except KeyboardInterrupt:
        say("Stopped; what was said and judged is kept. The same command goes on.")
        raise typer.Exit(INTERRUPTED) from None
    _show(tuned)
    _write(tuned, measure.voice(tuned.chosen.weights), output)


class _Measure:
    """Evaluates the formula at given weights; models load once."""

    def __init__(self, voice: "Voice", formula: "OpenFormula", settings: "EvaluationSettings", progress: Any) -> None:
        self._voice, self._formula, self._settings = voice, formula, settings
        self._models = model_registry()
        from lmalgebra.evaluation.run import work_of

        self._work = work_of(settings, self._models, progress)

    def voice(self, weights: "Weights") -> "Voice":
        terms = {term.name: term for term in self._voice.terms}
        return replace(self._voice, formula=self._formula.formula(weights, terms))

    def __call__(self, weights: "Weights") -> Any:
        from lmalgebra.evaluation.evaluate import Evaluated, evaluate
        from lmalgebra.evaluation.tuning.tune import weights_text

        spoken = open_voice(self.voice(weights), self._models, self._settings.batch)
        result = evaluate([Evaluated(weights_text(weights), spoken)], self._work)
        return result["voices"][0]["metrics"]


def _tell(trial: "Trial") -> None:
    from lmalgebra.evaluation.tuning.tune import weights_text

    say(f"{weights_text(trial.weights)}: {trial.reason}" if trial.reason else weights_text(trial.weights))


def _show(tuned: "Tuned") -> None:
    """The front as a table, and what was chosen, in words."""
    from lmalgebra.evaluation.reports.table import cell
    from lmalgebra.evaluation.tuning.tune import weights_text

    aims = tuned.wish.aims
    print("| weights | " + " | ".join(map(str, aims)) + " |")
    print("|---" * (len(aims) + 1) + "|")
    for trial in tuned.front:
        mark = " (chosen)" if trial is tuned.chosen else ""
        print(
            f"| {weights_text(trial.weights)}{mark} | " + " | ".join(cell(aim.of(trial.metrics)) for aim in aims) + " |"
        )
    print()
    print(tuned.verdict())


def _write(tuned: "Tuned", voice: "Voice", output: Path) -> None:
    from lmalgebra.algebra import save_voice
    from lmalgebra.evaluation.results import write_json

    save_voice(voice, output)
    trials = output.with_suffix(".json")
    write_json(tuned.to_dict(), trials)
    say(f"Wrote {output} and {trials}.")
