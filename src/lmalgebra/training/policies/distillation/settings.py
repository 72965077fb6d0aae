"""What decides how a student learns; from Python, a TOML file, or the command line, all under the same names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmalgebra.errors import TrainingError
from lmalgebra.settings_file import load
from lmalgebra.training.policies.learning_settings import LearningSettings, require_known
from lmalgebra.training.policies.tasks import require_text

TEACHER, STUDENT, GIVEN = "teacher", "student", "given"
TEXTS = (TEACHER, STUDENT, GIVEN)


@dataclass(frozen=True, kw_only=True)
class DistillSettings(LearningSettings):
    """How a student learns to speak like a teacher (see LearningSettings). Raises TrainingError for a value of the
    wrong kind or out of range.

    The teacher is the formula of the file `voice`, or `formula` over its terms; without a voice `model`, which
    continues texts. The student is the term `train` of that file, or where it has none `student_model`, which continues
    texts (empty: the teacher's model, to make a new one like it of `layers` or `hidden_size`).

    It learns on `texts` that the teacher says, that the student says itself, or that the field `answer` of each
    prompt's line gives.
    """

    train: str = STUDENT
    student_model: str = ""
    kind: str = "model"
    samples: int = 1
    texts: str = TEACHER
    answer: str = "continuation"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_known(self, "texts", TEXTS)
        require_text(self, "answer")
        if self.texts == GIVEN and self.samples != 1:
            raise TrainingError("samples are drawn, and texts are given.", "Leave samples out.")
        if self.model and not (self.student_model or self.layers or self.hidden_size):
            raise TrainingError(
                f"The student would be its teacher, '{self.model}'.",
                "Name a student_model, or give layers or hidden_size of a new one.",
            )


def load_settings(config: str | None, given: Mapping[str, Any]) -> DistillSettings:
    """The settings of a TOML file, if there is one, with those `given` in their place; see `settings_file.load`."""
    return load(DistillSettings, None if config is None else Path(config), given, TrainingError)
