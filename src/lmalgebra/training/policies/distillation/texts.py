"""The texts on which a student learns: what its teacher says, what it says itself, or what is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lmalgebra.errors import TrainingError
from lmalgebra.training.policies.distillation.settings import GIVEN, STUDENT, DistillSettings
from lmalgebra.training.policies.rollouts import Rollout, Rollouts
from lmalgebra.training.policies.seeds import seed_of
from lmalgebra.training.processes import Processes, flat

if TYPE_CHECKING:
    from lmalgebra.prompt_sets import Item

VALIDATION = "validation"


class Texts:
    """Texts after prompts, at most `max_new_tokens` long, as the settings say whose. Of several `processes` each draws
    its share."""

    def __init__(self, settings: DistillSettings, rollouts: Rollouts, processes: Processes) -> None:
        self._settings, self._rollouts, self._processes = settings, rollouts, processes

    def of(self, items: Sequence[Item], step: int) -> list[Rollout]:
        """What is learned from at a step, which decides the draws. Raises LmalgebraError."""
        if self._settings.texts == GIVEN:
            return [self._given(item) for item in items]
        by_student = self._settings.texts == STUDENT
        sample = self._rollouts.sample if by_student else self._rollouts.sample_reference
        return [each for each in self._drawn(sample, items, "rollouts", step) if each.tokens]

    def held_out(self, items: Sequence[Item]) -> list[Rollout]:
        """What is judged, the same each time: what is given, or else what the teacher says, for the student's own texts
        change with it. Raises LmalgebraError."""
        if self._settings.texts == GIVEN:
            return [self._given(item) for item in items]
        return self._drawn(self._rollouts.sample_reference, items, VALIDATION)

    def _drawn(self, sample: Callable[..., list[Rollout]], items: Sequence[Item], *purpose: str | int) -> list[Rollout]:
        drawn = {"samples": self._settings.samples, "seed": seed_of(self._settings.seed, *purpose)}
        prompts, share = [item.prompt for item in items], self._processes.share(len(items))
        return flat(self._processes.gathered(lambda: sample(prompts, share=share, **drawn)))

    def _given(self, item: Item) -> Rollout:
        """Its first tokens; whether the text ends after them nobody has said, so no end token follows."""
        field = self._settings.answer
        text = item.fields.get(field)
        if not isinstance(text, str) or not text:
            raise TrainingError(
                f"{self._settings.prompts}: the prompt {item.prompt!r} has no text in '{field}'.",
                "Name the field that has it by answer, or let the teacher speak.",
            )
        tokens = self._rollouts.policy.tokenizer.encode([text], start=False)[: self._settings.max_new_tokens]
        return Rollout(item.prompt, tuple(tokens), text)
