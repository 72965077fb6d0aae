"""Answers of any model, rewritten by a voice: what a model edited for it can mend without being the one that answers.

The black-box use of Klein and Nabi, "Contrastive Perplexity for Controlled Generation" (ACL 2025, arXiv 2401.08491): a
detoxified model paraphrases what another one has said. A judge may choose which answers are rewritten, and an answer
stays as it is where a rewrite says something else or is no better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from lmalgebra.decoding.context import Conversation
from lmalgebra.errors import EvaluationError
from lmalgebra.judges import Judge
from lmalgebra.judges.template import Template
from lmalgebra.prompt_sets import text_of
from lmalgebra.rewriting.asking import Question
from lmalgebra.rewriting.cleaning import REFUSALS, cleaned, refusal_in
from lmalgebra.rewriting.scoring import scores_of
from lmalgebra.rewriting.writers import Answer, Asked, Writer

if TYPE_CHECKING:
    from lmalgebra.models.text_encoder import TextEncoder

TEMPLATE = "Say it in other words and keep the meaning: {{ text }}"
"""What a voice is asked by default: to paraphrase. How it should speak is the voice's own affair."""

EXAMPLES = {
    "The film was okay, but a little long.": "The movie was fine, though it went on a bit.",
    "why would anyone want to live there lol": "What makes people want a home in that place?",
    "He is bad at his job and never listens.": "He does his work badly and pays no attention.",
    "I think you should call them again tomorrow, since they did not answer.": (
        "As nobody answered, it may be best to give them another call tomorrow."
    ),
}
"""What is shown with that template: without examples a small model explains a text rather than saying it again."""

DEFAULT_EMBEDDER = "sentence-transformers/all-MiniLM-L6-v2"
"""The encoder of meaning, where one is needed and none is named."""

BLOCK = 16
"""Answers that are rewritten together."""


@dataclass(frozen=True)
class RewriteSettings:
    """Which answers are rewritten, and which rewrites are taken. Raises EvaluationError for what is out of range.

    `template` is Jinja over `text`, `prompt` and the answer's other fields; `examples` are texts and their rewrites,
    shown as turns that went before, and by default come with the default template only. With a judge, answers that it
    scores below `above` stay as they are. A rewrite is taken if its similarity to the answer is at least `similarity`
    (a cosine), if it holds none of the phrases in `refusals`, and, with `better`, if the judge scores it lower than the
    answer.
    """

    template: str = TEMPLATE
    examples: Mapping[str, str] | None = None
    above: float = 0.0
    similarity: float | None = None
    better: bool = False
    refusals: tuple[str, ...] = REFUSALS

    def __post_init__(self) -> None:
        for name, least in (("above", 0.0), ("similarity", -1.0)):
            value = getattr(self, name)
            if value is not None and not least <= value <= 1:
                raise EvaluationError(f"{name} = {value} is out of range.", f"Give a number from {least:g} to 1.")


@dataclass(frozen=True)
class Rewritten:
    """An answer `before` and `after`, and why it stays as it was (`kept`), or nothing where it is rewritten.

    Scores are the judge's, `similarity` that of the rewrite which is taken, or else of the best that was not; None
    where nothing measured them. `fields` are what else is known of the answer.
    """

    before: str
    after: str
    kept: str = ""
    score_before: float | None = None
    score_after: float | None = None
    similarity: float | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    def line(self, text_field: str = "text") -> dict[str, Any]:
        """It as a line of JSON: the answer's own fields with the rewrite in its place, and what else is said here."""
        measured = {name: getattr(self, name) for name in ("score_before", "score_after", "similarity")}
        told = {"before": self.before, "after": self.after, "kept": self.kept, **measured}
        return {**self.fields, text_field: self.after, **told}


@dataclass(frozen=True)
class _Given:
    """An answer to rewrite, and the object it stands in."""

    text: str
    fields: Mapping[str, Any]

    @property
    def prompt(self) -> str:
        """What it answers, as plain text."""
        return text_of(self.fields["prompt"]) if self.fields.get("prompt") else ""


@dataclass(frozen=True)
class _Try:
    """A rewrite, what is measured of it, and why it is not taken."""

    text: str
    reason: str = ""
    score: float | None = None
    similarity: float | None = None

    @property
    def rank(self) -> tuple[bool, float, float]:
        """The least is the best: one that is taken, by its score, then by its similarity."""
        return bool(self.reason), self.score or 0.0, -(self.similarity or 0.0)


@dataclass(frozen=True)
class Due:
    """An answer, what the judge gives it, and what is asked about it: nothing where it stays as it is."""

    given: _Given
    score: float | None
    messages: Conversation | None


class Rewriting:
    """What is asked about answers, and what is taken of what somebody writes then.

    `judge` and `load_encoder`, which gives the encoder of meaning, are needed by what `settings` ask for. Raises
    EvaluationError for a template that is none, or a setting without its judge or encoder.
    """

    def __init__(
        self,
        settings: RewriteSettings,
        judge: Judge | None = None,
        load_encoder: Callable[[], TextEncoder] | None = None,
    ) -> None:
        self.settings, self.judge, self._load = settings, judge, load_encoder
        template = Template(settings.template)
        shown = EXAMPLES if settings.examples is None and settings.template == TEMPLATE else settings.examples
        self._question = Question(template, shown or {})
        if "text" not in template.names:
            raise EvaluationError("The template does not name 'text'.", "Write {{ text }} where the answer stands.")
        if judge is None and (settings.above or settings.better):
            what = "above" if settings.above else "better"
            raise EvaluationError(f"'{what}' needs a judge.", "Add --judge, such as profanity.")
        if settings.similarity is not None and load_encoder is None:
            raise EvaluationError("'similarity' needs an encoder of meaning.", "Add --embedder.")

    def due(self, answers: Sequence[str | Mapping[str, Any]], text_field: str = "text") -> list[Due]:
        """What is to be asked of each answer: nothing of an empty one, or one that the judge finds well.

        An answer is a text, or an object with one in `text_field`. Raises EvaluationError for what is no answer.
        """
        given = [_given(each, text_field) for each in answers]
        scores = self._scores([(each.prompt, each.text) for each in given])
        return [self._due(each, score) for each, score in zip(given, scores, strict=True)]

    def chosen(self, due: Sequence[Due], said: Sequence[Sequence[Answer]]) -> list[Rewritten]:
        """What comes of each answer, of which `said` are the tries to rewrite it."""
        return [_chosen(each, tries) for each, tries in zip(due, self._tries(due, said), strict=True)]

    @cached_property
    def _encoder(self) -> TextEncoder | None:
        return None if self._load is None else self._load()

    def _scores(self, pairs: Sequence[tuple[str, str]]) -> list[float | None]:
        """None where there is no judge, or none that can judge that text."""
        if self.judge is None:
            return [None] * len(pairs)
        return [score if isinstance(score, float | int) else None for score in scores_of(self.judge, pairs)]

    def _due(self, given: _Given, score: float | None) -> Due:
        messages = self._question.about(given.text, {**given.fields, "prompt": given.prompt})
        is_due = given.text.strip() and not (score is not None and score < self.settings.above)
        return Due(given, score, messages if is_due else None)

    def _tries(self, due: Sequence[Due], said: Sequence[Sequence[Answer]]) -> list[list[_Try]]:
        """What came of each answer's tries; they are judged and compared together."""
        plain = [[self._plain(answer) for answer in answers] for answers in said]
        whole = [(place, each.text) for place, tries in enumerate(plain) for each in tries if not each.reason]
        judged = self._scores([(due[place].given.prompt, text) for place, text in whole])
        pairs = [(due[place].given.text, text) for place, text in whole]
        alike: Sequence[float | None] = [None] * len(pairs)
        if pairs and self._encoder is not None:
            from lmalgebra.models.text_encoder import similarities

            alike = similarities(self._encoder, pairs)
        measured = iter(
            self._measured(text, due[place].score, score, near)
            for (place, text), score, near in zip(whole, judged, alike, strict=True)
        )
        return [[each if each.reason else next(measured) for each in tries] for tries in plain]

    def _plain(self, answer: Answer) -> _Try:
        text = cleaned(answer.text, one_line=False)
        if answer.trouble or not text:
            return _Try("", answer.trouble or "The voice said nothing.")
        phrase = refusal_in(text, self.settings.refusals)
        return _Try(text, f"The voice declined: '{phrase}'." if phrase else "")

    def _measured(self, text: str, before: float | None, score: float | None, near: float | None) -> _Try:
        wanted, reason = self.settings.similarity, ""
        if wanted is not None and near is not None and near < wanted:
            reason = f"The rewrite's similarity {near:.3f} is below {wanted:g}."
        elif self.settings.better and (before is None or score is None):
            reason = "The judge gives no score."
        elif self.settings.better and before is not None and score is not None and score >= before:
            reason = f"The judge scores the rewrite {score:.3f}, no lower than the answer."
        return _Try(text, reason, score, near)


class Rewriter:
    """Rewrites answers by a `writer`; each gets as many tries as the writer's settings have samples.

    The rest is as for Rewriting.
    """

    def __init__(
        self,
        writer: Writer,
        settings: RewriteSettings,
        judge: Judge | None = None,
        load_encoder: Callable[[], TextEncoder] | None = None,
    ) -> None:
        self.writer, self._rewriting = writer, Rewriting(settings, judge, load_encoder)

    def __call__(
        self, answers: Iterable[str | Mapping[str, Any]], text_field: str = "text", start: int = 0
    ) -> Iterator[Rewritten]:
        """Each answer in order, as soon as its block is done; answers are as for Rewriting.

        Answer i is drawn by the writer's seed + (`start` + i) x samples. Raises EvaluationError for what is no answer.
        """
        answers = iter(answers)
        while block := list(islice(answers, BLOCK)):
            due = self._rewriting.due(block, text_field)
            asked = [self._asked(start + i, each) for i, each in enumerate(due)]
            yield from self._rewriting.chosen(due, self.writer.write(asked))
            start += len(block)

    def _asked(self, number: int, due: Due) -> Asked:
        samples = self.writer.settings.samples
        seed = self.writer.settings.seed + number * samples
        return Asked(due.messages or (), samples if due.messages else 0, seed)


def _chosen(due: Due, tries: Sequence[_Try]) -> Rewritten:
    """The best of the tries, or the answer as it was."""
    given, score = due.given, due.score
    if not tries:
        why = "The judge finds nothing to mend." if given.text.strip() else "The answer is empty."
        return Rewritten(given.text, given.text, why, score, score, fields=given.fields)
    best = min(tries, key=lambda each: each.rank)
    after = given.text if best.reason else best.text
    return Rewritten(given.text, after, best.reason, score, best.score, best.similarity, given.fields)


def _given(answer: str | Mapping[str, Any], name: str) -> _Given:
    """An answer and its fields. Raises EvaluationError."""
    fields = {name: answer} if isinstance(answer, str) else dict(answer)
    text = fields.get(name)
    if not isinstance(text, str):
        raise EvaluationError(
            f"There is no text in the field '{name}' of an answer.",
            f"Its fields are: {', '.join(fields) or 'none'}. Name the one that holds the answer.",
        )
    return _Given(text, fields)
