"""The suite of utility: what voices still can, by tasks of lm-evaluation-harness, in the form of every result.

The harness makes the prompts, asks for likelihoods or texts, and gives each document its score; here these become
quantities over documents, with intervals and comparisons like all others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from lmalgebra.decoding import ComposedVoice
from lmalgebra.errors import EvaluationError, MissingExtraError
from lmalgebra.evaluation.evaluate import (
    PACKAGES,
    Evaluated,
    Progress,
    about_voice,
    require_names,
    told,
    unheard,
    versions,
)
from lmalgebra.evaluation.measures.base import Measured
from lmalgebra.evaluation.results import FORMAT
from lmalgebra.evaluation.settings import UTILITY
from lmalgebra.evaluation.statistics import Quantity, mean_of
from lmalgebra.models.fingerprint import digest
from lmalgebra.models.identity import identity_of


@dataclass(frozen=True)
class Tasks:
    """Which tasks of the harness, over how many first documents of each (None: all) and after how many shots (None: as
    the task has it). Data are read from `folder`, or from a hub where there is none."""

    names: Sequence[str]
    limit: int | None = None
    shots: int | None = None
    folder: Path | None = None


def evaluate_utility(
    voices: Sequence[Evaluated], tasks: Tasks, cache: Path, progress: Progress = unheard
) -> dict[str, Any]:
    """The result of `tasks` for each voice, as plain data; what `cache` holds is not asked again.

    Raises EvaluationError for tasks that are not known or have no data, MissingExtraError without the harness.
    """
    harness = _harness()
    require_names(voices)
    speakers = [(each, _speaker(each)) for each in voices]  # refuses before anything is asked
    manager = harness.tasks.TaskManager()
    found = [_evaluated(each, speaker, tasks, manager, cache, progress) for each, speaker in speakers]
    return _head(tasks, found[0][1]) | {"voices": [about for about, _ in found], "agreement": {}}


def _harness() -> Any:
    try:
        import lm_eval
        import lm_eval.tasks
    except ImportError:
        raise MissingExtraError(
            "The suite 'utility' needs the package 'lm-eval'.", "Install it: pip install 'lmalgebra[utility]'."
        ) from None
    return lm_eval


def _speaker(evaluated: Evaluated) -> ComposedVoice:
    if isinstance(evaluated.voice, Path):
        raise EvaluationError(
            f"'{evaluated.voice}' holds what was said, and the suite '{UTILITY}' asks a voice.", "Name a voice file."
        )
    return evaluated.voice


def _evaluated(
    voice: Evaluated, speaker: ComposedVoice, tasks: Tasks, manager: Any, cache: Path, progress: Progress
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """What the result says of a voice, and what the harness found."""
    from lmalgebra.evaluation.utility.voice_model import VoiceLM

    model = VoiceLM(speaker, cache, lambda what, total: progress(f"{voice.name}: {what}", total))
    found = _run(model, tasks, manager)
    documents = _documents(found)
    measured = {task: _measured(task, documents, found) for task in found["samples"]}
    about = about_voice(voice, identity_of(speaker.voice, speaker.settings))
    about |= {"texts": len(documents), "left_out": {}, "strata": {}} | told(measured)
    if model.notes:
        about["notes"][UTILITY] = model.notes
    return about, found


def _run(model: Any, tasks: Tasks, manager: Any) -> dict[str, Any]:
    """What the harness finds. Raises EvaluationError where it cannot read the data."""
    from lmalgebra.evaluation.utility.tasks import find_tasks

    chosen = find_tasks(tasks.names, tasks.folder, manager)
    try:
        loaded = list(manager.load(chosen)["tasks"].values())
    except Exception as error:  # of many libraries beneath
        reason = " ".join(str(error).split())[:200]
        raise EvaluationError(
            f"The data of {', '.join(tasks.names)} cannot be had: {reason}.",
            "Check the network, or name a folder that holds them with --tasks-from.",
        ) from error
    found: dict[str, Any] = _harness().simple_evaluate(
        model=model,
        tasks=loaded,
        task_manager=manager,
        num_fewshot=tasks.shots,
        limit=tasks.limit,
        bootstrap_iters=0,  # intervals are ours
    )
    return found


def _documents(found: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """The documents of all tasks in order: the task, the document's number, and the digest of what it holds."""
    each = {
        (task, sample["doc_id"]): sample["doc_hash"] for task, samples in found["samples"].items() for sample in samples
    }
    return [(task, number, known) for (task, number), known in each.items()]


def _measured(task: str, documents: Sequence[tuple[str, int, str]], found: Mapping[str, Any]) -> Measured:
    """A task's metrics: where the harness takes the mean of documents, quantities over those of all tasks, of which the
    others' count as not measured; else its number alone."""
    better = found["higher_is_better"].get(task, {})
    quantities, numbers = {}, {}
    for key, whole in found["results"][task].items():
        metric, _, filtered = key.partition(",")
        scores = {
            sample["doc_id"]: sample[metric]
            for sample in found["samples"][task]
            if sample["filter"] == filtered and metric in sample["metrics"]
        }
        if not scores or not isinstance(whole, Real):
            continue  # what the harness adds of its own, such as standard errors
        name = metric if filtered == "none" else f"{metric}, {filtered}"
        values = [scores[number] if each == task else None for each, number, _ in documents]
        quantity = _mean(values, better.get(metric))
        if quantity is not None and abs(quantity.value - float(whole)) < 1e-9:
            quantities[name] = quantity
        else:
            numbers[name] = float(whole)
    return Measured(quantities, numbers)


def _mean(values: Sequence[Any], higher_is_better: bool | None) -> Quantity | None:
    if not all(value is None or isinstance(value, Real) for value in values):
        return None
    known = [None if value is None else float(value) for value in values]
    return mean_of(known, None if higher_is_better is None else not higher_is_better)


def _head(tasks: Tasks, found: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that it takes to reproduce the result, but for the voices."""
    ids = [f"{task}/{known[:16]}" for task, _, known in _documents(found)]
    measures = {
        task: {"kind": UTILITY, "version": found["versions"].get(task), "shots": found["n-shot"].get(task)}
        for task in found["samples"]
    }
    return {
        "format": FORMAT,
        "suite": UTILITY,
        "prompts": {
            "source": "hub" if tasks.folder is None else tasks.folder.name,
            "revision": digest(ids, 64),
            "count": len(ids),
            "ids": ids,
        },
        "options": {key: value for key, value in _options(tasks).items() if value is not None},
        "measures": measures,
        "versions": versions((*PACKAGES, "lm-eval", "datasets")),
    }


def _options(tasks: Tasks) -> dict[str, Any]:
    """What asks for these tasks on the command line."""
    folder = None if tasks.folder is None else tasks.folder.name
    return {"tasks": ",".join(tasks.names), "limit": tasks.limit, "shots": tasks.shots, "tasks-from": folder}
