"""From settings to a result: what measures are made of, which prompts are asked, where everything is kept."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lmalgebra.algebra import Model
from lmalgebra.evaluation.evaluate import Evaluated, Progress, Work, evaluate, unheard
from lmalgebra.evaluation.settings import UTILITY, EvaluationSettings
from lmalgebra.evaluation.suites import Tools, suite_of
from lmalgebra.judges import Question, judges_of
from lmalgebra.models.base import LanguageModel
from lmalgebra.models.engines import is_toy
from lmalgebra.models.store import cache_folder
from lmalgebra.prompt_sets.reading import PromptSet, load_prompts

OpenModel = Callable[[Model], LanguageModel]


def run(
    settings: EvaluationSettings,
    voices: Sequence[Evaluated],
    open_model: OpenModel,
    progress: Progress = unheard,
    prompts: PromptSet | None = None,
) -> dict[str, Any]:
    """The result of what the settings ask for, for `voices`; `open_model` loads what judges fluency.

    `prompts` are those at hand, such as a training has held out, where they are not to be read. Raises LmalgebraError.
    """
    if settings.suite == UTILITY:
        from lmalgebra.evaluation.utility.suite import Tasks, evaluate_utility

        folder = Path(settings.tasks_from).expanduser() if settings.tasks_from else None
        tasks = Tasks(settings.tasks, settings.limit, settings.shots, folder)
        return evaluate_utility(voices, tasks, cache_of(settings), progress)
    return evaluate(voices, work_of(settings, open_model, progress, prompts))


def work_of(
    settings: EvaluationSettings,
    open_model: OpenModel,
    progress: Progress = unheard,
    prompts: PromptSet | None = None,
) -> Work:
    """The prompts and measures of a suite that lets voices answer. Raises LmalgebraError."""
    suite = suite_of(settings.suite)
    if prompts is None:
        prompts = load_prompts(settings.prompts, suite.read, settings.template or suite.template)
    prompts = prompts.sample(settings.count, settings.draw)
    cache = cache_of(settings)
    measures = suite.measures(_tools(settings, open_model, cache))
    return Work(suite, prompts, measures, cache, settings.generation, progress, settings.times)


def cache_of(settings: EvaluationSettings) -> Path:
    """The folder in which texts and scores are kept."""
    return Path(settings.cache).expanduser() if settings.cache else cache_folder() / "evaluation"


def _tools(settings: EvaluationSettings, open_model: OpenModel, cache: Path) -> Tools:
    fluency = settings.source("fluency")
    # One way to compute, so that figures of several machines are comparable.
    engine, dtype = ("auto", "auto") if is_toy(fluency or "") else ("torch", "float32")
    question = Question(
        settings.judge_template or Question.template, scale=settings.judge_scale, key_env=settings.judge_key_env
    )
    return Tools(
        judges=judges_of(settings.judges, question),
        fluency=None if fluency is None else Model(fluency, engine=engine, dtype=dtype),
        open_model=open_model,
        cache=cache,
        embedder=settings.source("embedder"),
        mauve=settings.source("mauve"),
    )
