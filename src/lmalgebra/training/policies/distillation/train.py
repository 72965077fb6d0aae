"""Distilling: from settings to a folder that a term of a formula can name, with its card and a voice that speaks."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lmalgebra.algebra import Formula, ModelTerm, save_voice
from lmalgebra.decoding.loaded import OpenScorer
from lmalgebra.models.store import Report, silent
from lmalgebra.training.checkpoints import Stop, Workplace
from lmalgebra.training.policies.card import Learned, write_card
from lmalgebra.training.policies.distillation.loop import Distillation
from lmalgebra.training.policies.distillation.opening import open_student, student_of, teacher_of
from lmalgebra.training.policies.distillation.settings import DistillSettings
from lmalgebra.training.policies.distillation.texts import Texts
from lmalgebra.training.policies.learning import Learning, Updates, updates_of
from lmalgebra.training.policies.opening import digest_of
from lmalgebra.training.policies.policy import FormulaPolicy, OpenModel
from lmalgebra.training.policies.prompts import read_prompts
from lmalgebra.training.policies.result import VOICE, with_learned
from lmalgebra.training.policies.rollouts import Rollouts
from lmalgebra.training.policies.state import STEPS, write_lines
from lmalgebra.training.policies.stepping import Advance, prompts_per_step
from lmalgebra.training.policies.trackers import accelerator_of, end_trackers
from lmalgebra.training.processes import Processes


@dataclass(frozen=True)
class Distilled:
    """What came of it: its `folder`, why it `ended` early (or ""), what was measured on held-out prompts (see
    `divergence.Likeness`), and the formula of the teacher."""

    folder: Path
    ended: str
    validation: list[dict[str, Any]]
    teacher: Formula


def train_student(
    settings: DistillSettings,
    open_model: OpenModel,
    open_scorer: OpenScorer | None = None,
    *,
    resume: bool = False,
    report: Report = silent,
    advance: Advance = lambda measured, steps: None,
    stop: Stop = lambda: False,
) -> Distilled:
    """Let a student learn, and put it into `settings.output`; `resume` goes on with a training that was stopped.

    `open_model` and `open_scorer` load what the teacher needs, as for a ComposedVoice. Raises TrainingError for data or
    settings from which nothing can be learned and a disk that is full, VocabularyError for a student of another
    vocabulary, Stopped when `stop` said so, and what loading raises.
    """
    processes = Processes.launched(settings.device)
    prompts = processes.first_then_others(lambda: read_prompts(settings))
    report(f"{len(prompts.train.items):,} prompts to train on, {len(prompts.held_out.items):,} held out.")
    decisive = settings.decisive | {"examples": digest_of(prompts)}
    with Workplace(settings.output, decisive, resume, processes) as place:
        policy = processes.first_then_others(lambda: open_student(settings, open_model, open_scorer, report))
        with closing(policy), place.disk_errors():
            accelerator = accelerator_of(settings, place, report)
            updates = settings.steps * updates_of(settings, prompts_per_step(settings, prompts) * settings.samples)
            work = Learning(settings, policy, accelerator, Updates(policy.trainee.parameters(), settings, updates))
            steps: dict[str, Any] = {
                "settings": settings,
                "prompts": prompts,
                "place": place,
                "advance": advance,
                "stop": stop,
            }
            distillation = Distillation(**steps, work=work, texts=Texts(settings, Rollouts(policy), processes))
            ended = distillation.run()
            end_trackers(accelerator)
            place.finish(lambda folder: _build(folder, distillation, policy, ended))
    return Distilled(place.output, ended, distillation.progress.validation, policy.reference)


def _build(folder: Path, distillation: Distillation, policy: FormulaPolicy, ended: str) -> None:
    """Fill the folder of a distillation that is over. Raises OSError."""
    settings = distillation.settings
    policy.trainee.save(folder)
    save_voice(with_learned(student_of(settings), settings, "", policy.tokenizer), folder / VOICE)
    write_lines(folder / STEPS, distillation.progress.steps)
    write_card(folder, Path(settings.output).name, _learned(distillation, ended))


def _learned(distillation: Distillation, ended: str) -> Learned:
    settings, validation = distillation.settings, distillation.progress.validation
    teacher, student = teacher_of(settings), student_of(settings)
    (own,) = (term.description for term in student.terms)
    assert isinstance(own, ModelTerm)
    told = [each for each in teacher.formula.leaves() if isinstance(each.description, ModelTerm)]
    rows = likeness_rows(validation)
    metrics = {f"{name}, before": before for name, before, _, _ in rows} | {name: after for name, _, after, _ in rows}
    return Learned(
        formula=str(student.formula),
        term=settings.train,
        base={each.name: each.description.model.source for each in told} | {settings.train: own.model.source},
        objective="distillation",
        reward="",
        data=settings.prompts,
        metrics=metrics,
        prefix=own.prefix,
        teacher=str(teacher.formula),
        settings=asdict(settings) | {"output": Path(settings.output).name, "ended": ended, "validation": validation},
    )


def likeness_rows(validation: list[dict[str, Any]]) -> list[tuple[str, float, float, float]]:
    """Of each quantity, for people: its name, the student's before and after, and the teacher's."""
    first, last = validation[0], validation[-1]
    return [
        ("nats per token from the teacher", first["kl"], last["kl"], 0.0),
        ("likeliest token the same", first["agreement"], last["agreement"], 1.0),
        ("nats per token of the texts", first["student"], last["student"], last["teacher"]),
    ]
