"""From settings to a policy whose formula is the student alone, and whose reference is the teacher."""

from __future__ import annotations

from lmalgebra.algebra import Model, ModelTerm, Voice, parse
from lmalgebra.decoding.loaded import OpenScorer
from lmalgebra.errors import TrainingError
from lmalgebra.models.store import Report
from lmalgebra.training.policies.controls import learning_term
from lmalgebra.training.policies.distillation.settings import TEACHER, DistillSettings
from lmalgebra.training.policies.opening import drawn_by, given_voice, open_trainee, trained_by
from lmalgebra.training.policies.policy import FormulaPolicy, OpenModel


def teacher_of(settings: DistillSettings) -> Voice:
    """Whom the student is to speak like. Raises LmalgebraError."""
    if settings.voice:
        return given_voice(settings)
    return Voice(parse(settings.formula or TEACHER, {TEACHER: Model(settings.model).term(name=TEACHER, prefix="")}))


def student_of(settings: DistillSettings) -> Voice:
    """The student alone. Raises LmalgebraError for a voice that has no such term, unless a model is named."""
    name, teacher = settings.train, teacher_of(settings)
    found = next((term for term in teacher.terms if term.name == name), None)
    if settings.student_model:
        if found is not None:
            raise TrainingError(
                f"The voice has a term `{name}`, so student_model means nothing.", "Leave one out, or train another."
            )
        found = Model(settings.student_model).term(name=name, prefix="")
    if found is None and not settings.voice:
        found = Model(settings.model).term(name=name, prefix="")
    if found is None:
        names = ", ".join(f"`{term.name}`" for term in teacher.terms if isinstance(term.description, ModelTerm))
        raise TrainingError(
            f"'{settings.voice}' has no term `{name}` to train.", f"Name a student_model, or train one of {names}."
        )
    return Voice(parse(name, {name: found}))


def open_student(
    settings: DistillSettings, open_model: OpenModel, open_scorer: OpenScorer | None, report: Report
) -> FormulaPolicy:
    """The policy, with what learns in it. Raises LmalgebraError."""
    teacher, student = (trained_by(each, settings) for each in (teacher_of(settings), student_of(settings)))
    trainee = open_trainee(learning_term(student.formula, settings.train), settings, open_model, report)
    voice = Voice(student.formula, drawn_by(settings))
    return FormulaPolicy(voice, settings.train, trainee, open_model, open_scorer, reference=teacher.formula)
