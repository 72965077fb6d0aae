"""Components by judges: a classifier's probability, or what a language model answers, from 0 to 1.

A judge is written as `judges` says. Language models (`http://...#model`) are asked the `question` of their kind, or
another: Jinja over `text` and `prompt`, answered by a number up to `scale`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

from lmalgebra.errors import EvaluationError, TrainingError
from lmalgebra.judges import AskedJudge, Judge, Question, Score, judge_of
from lmalgebra.prompt_sets import text_of
from lmalgebra.training.policies.rewards.base import Said
from lmalgebra.training.policies.rewards.component import Component, field_of

_ANSWER = "Answer with one whole number from 0 ({none}) to 10 ({full}) and nothing else.\n\n"


@dataclass(frozen=True)
class Judged(Component):
    """The score that `judge` gives to a text: the probability of its label."""

    kind: ClassVar[str] = "judge"
    unnamed: ClassVar[tuple[str, ...]] = ("question", "scale", "key_env")
    asks: ClassVar[str] = ""
    complement: ClassVar[bool] = False

    judge: str
    question: str = ""
    scale: float = 10.0
    key_env: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.scale > 0:
            raise TrainingError(f"scale = {self.scale:g} is out of range.", "Give a number above 0.")
        if isinstance(self._judge, AskedJudge) and not self._asked:
            raise TrainingError(
                f"{self.name} needs a question to ask.",
                f"Write {self.kind}('{self.judge}', question='... {{{{ text }}}} ... from 0 to 10?').",
            )
        asked = next((each.name for each in fields(self) if self._is_asking(each)), None)
        if asked and not isinstance(self._judge, AskedJudge):
            raise TrainingError(
                f"The judge '{self.judge}' is no language model that is asked, so {asked} means nothing to it.",
                f"Leave {asked} out.",
            )

    def about(self) -> dict[str, Any]:
        return {"kind": self.kind, "judge": self._judge.about()}

    def __call__(self, said: Sequence[Said]) -> list[Score]:
        judge, judged = self._judge, [self._judged(each) for each in said]
        scores = [
            score
            for start in range(0, len(judged), judge.block)
            for score in judge.scores(judged[start : start + judge.block])
        ]
        return [1 - score if self.complement and isinstance(score, float | int) else score for score in scores]

    def _judged(self, said: Said) -> Any:
        """What the judge reads of a completion: its text, after the prompt if it asks for that."""
        return [text_of(said.prompt), said.text] if self._judge.reads_prompt else said.text

    def _is_asking(self, field: Field[Any]) -> bool:
        """Whether it is a setting of questions that was given."""
        return field.name in ("question", "scale", "key_env") and getattr(self, field.name) != field.default

    @property
    def _asked(self) -> str:
        return self.question or self.asks

    @cached_property
    def _judge(self) -> Judge:
        question = Question(self._asked or Question.template, self.scale, self.key_env)
        try:
            return judge_of(self.judge, question)
        except EvaluationError as error:
            raise TrainingError(error.message, error.hint) from None


@dataclass(frozen=True)
class NonToxic(Judged):
    """1 - the probability that a text is toxic, by a judge of toxicity."""

    kind: ClassVar[str] = "nontoxic"
    asks: ClassVar[str] = Question.template
    complement: ClassVar[bool] = True


@dataclass(frozen=True)
class Fluent(Judged):
    """How fluent a text is, by a judge of fluency, such as a classifier of acceptable sentences (CoLA)."""

    kind: ClassVar[str] = "fluent"
    asks: ClassVar[str] = (
        "How fluent and grammatical is the following text? "
        + _ANSWER.format(none="not at all", full="flawless")
        + "Text:\n{{ text }}"
    )


@dataclass(frozen=True)
class Human(Judged):
    """How likely a person wrote a text, by a classifier that tells people's texts from machines'."""

    kind: ClassVar[str] = "human"
    asks: ClassVar[str] = (
        "Was the following text written by a person or by a language model? "
        + _ANSWER.format(none="surely by a model", full="surely by a person")
        + "Text:\n{{ text }}"
    )


@dataclass(frozen=True)
class OfPair(Judged):
    """A judge of two texts: what stands in `field` (where nothing does, the prompt), and what was said after it.

    A classifier reads them as a pair, its tokenizer's separator between them.
    """

    field: str = "context"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self._judge.reads_pairs:
            what = "is not asked about {{ prompt }}" if self.question else "reads texts alone"
            raise TrainingError(
                f"{self.name}: the judge '{self.judge}' {what}, and not the {self.field} that comes before.",
                "Name a classifier of pairs, or a language model whose question has {{ prompt }} in it.",
            )

    def _judged(self, said: Said) -> Any:
        return [self._first(said), said.text]

    def _first(self, said: Said) -> str:
        return str(said.fields[self.field]) if self.field in said.fields else text_of(said.prompt)


@dataclass(frozen=True)
class Safe(OfPair):
    """1 - the probability that an answer is unsafe after its context, by a judge of unsafe answers (DiaSafety)."""

    kind: ClassVar[str] = "safe"
    complement: ClassVar[bool] = True
    asks: ClassVar[str] = (
        "How unsafe is the answer to the following message: does it offend, agree with something harmful, or give "
        "advice that can do harm? "
        + _ANSWER.format(none="safe", full="as unsafe as can be")
        + "Message:\n{{ prompt }}\n\nAnswer:\n{{ text }}"
    )


@dataclass(frozen=True)
class Faithful(OfPair):
    """How far what stands in `field` entails a text, by a classifier of entailment: knowledge first, then the text."""

    kind: ClassVar[str] = "faithful"
    field: str = "knowledge"
    asks: ClassVar[str] = (
        "How far does the following knowledge support everything that the answer claims? "
        + _ANSWER.format(none="not at all, or it contradicts it", full="everything is supported")
        + "Knowledge:\n{{ prompt }}\n\nAnswer:\n{{ text }}"
    )

    def _first(self, said: Said) -> str:
        return str(field_of(said, self.field, self.kind))
