"""What keeps a paraphrase from being taken: one function for each reason, and `Filters`, which measures what they need.

Cheap ones come first, and what one refuses the next ones do not see.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from lmalgebra.decoding import ComposedVoice
from lmalgebra.errors import LmalgebraError, PromptError
from lmalgebra.judges import Judge
from lmalgebra.models.fingerprint import weights_of
from lmalgebra.models.text_encoder import TextEncoder, similarities
from lmalgebra.rewriting.cleaning import refusal_in
from lmalgebra.rewriting.scoring import scores_of
from lmalgebra.training.paraphrases.candidates import Candidate, Reason, Verdict
from lmalgebra.training.paraphrases.settings import POSITIVE, UNWANTED, ParaphraseSettings

BEFORE = "\n"
"""What every text follows when its likelihood is measured: a model needs something to begin after."""


def unanswered(candidate: Candidate) -> Reason | None:
    """The writer's own trouble: a prompt that is too long, a server that filters."""
    return Reason("unanswered", candidate.trouble) if candidate.trouble else None


def empty(candidate: Candidate) -> Reason | None:
    return None if candidate.text else Reason("empty")


def refusal(candidate: Candidate, phrases: Sequence[str]) -> Reason | None:
    """A phrase that the source has, too, declines nothing."""
    phrase = refusal_in(candidate.text, [each for each in phrases if not refusal_in(candidate.source, [each])])
    return Reason("refusal", phrase) if phrase else None


def duplicate(candidate: Candidate, seen: Collection[str]) -> Reason | None:
    """`seen` are the plain forms of the sentence and of all that was proposed for it before, on either side."""
    return Reason("duplicate") if plain(candidate.text) in seen else None


def length(candidate: Candidate, shortest: float, longest: float) -> Reason | None:
    """Words, as a ratio to the source's."""
    ratio = len(candidate.text.split()) / len(candidate.source.split())
    return None if shortest <= ratio <= longest else Reason("length", round(ratio, 3))


def attribute(score: float, should_have: bool, below: float, above: float) -> Reason | None:
    """A text that should have what the judge scores needs at least `above`, another less than `below`."""
    return None if (score >= above if should_have else score < below) else Reason("attribute", score)


def meaning(similarity: float, least: float) -> Reason | None:
    return None if similarity >= least else Reason("meaning", similarity)


def likelihood(gap: float, most: float) -> Reason | None:
    """`gap`: mean token losses (nats), the candidate's less its source's."""
    return None if abs(gap) <= most else Reason("likelihood", gap)


def plain(text: str) -> str:
    """A text's letters and digits: what two copies share."""
    return " ".join("".join(letter if letter.isalnum() else " " for letter in text.casefold()).split())


@dataclass(frozen=True)
class Filters:
    """All of them, with a `judge`, an `encoder` and a voice of `fluency` where the settings ask for one."""

    settings: ParaphraseSettings
    judge: Judge | None = None
    encoder: TextEncoder | None = None
    fluency: ComposedVoice | None = None

    def about(self) -> dict[str, Any]:
        """The revisions of what measures."""
        return {
            "judge": None if self.judge is None else self.judge.about(),
            "embedder": None if self.encoder is None else weights_of(self.settings.embedder),
            "fluency": None if self.fluency is None else weights_of(self.settings.fluency),
        }

    def __call__(self, candidates: Sequence[Candidate], seen: Sequence[set[str]]) -> list[Verdict]:
        """A verdict on each candidate; each one's set of what was `seen` grows by it."""
        verdicts = [Verdict(self._at_once(candidate, known)) for candidate, known in zip(candidates, seen, strict=True)]
        for name, measure, judged in self._measures():
            left = [place for place, verdict in enumerate(verdicts) if verdict.reason is None]
            if not left:
                break
            values = measure([candidates[place] for place in left])
            for place, value in zip(left, values, strict=True):
                verdicts[place] = _after(verdicts[place], name, value, partial(judged, candidates[place]))
        return verdicts

    def _at_once(self, candidate: Candidate, seen: set[str]) -> Reason | None:
        settings = self.settings
        reason = (
            unanswered(candidate)
            or empty(candidate)
            or refusal(candidate, settings.refusals)
            or duplicate(candidate, seen)
            or length(candidate, settings.shortest, settings.longest)
        )
        seen.add(plain(candidate.text))
        return reason

    def _measures(self) -> Iterator[tuple[str, _Measure, _Judged]]:
        settings = self.settings
        if self.judge is not None:
            yield "score", self._scores, self._attribute
        if self.encoder is not None:
            yield "similarity", self._similarities, lambda _, found: meaning(found, settings.similarity)
        if self.fluency is not None:
            yield "likelihood_gap", self._gaps, lambda _, found: likelihood(found, settings.likelihood_gap)

    def _attribute(self, candidate: Candidate, score: float) -> Reason | None:
        should_have = (candidate.side == POSITIVE) != (self.settings.judged == UNWANTED)
        return attribute(score, should_have, self.settings.below, self.settings.above)

    def _scores(self, candidates: Sequence[Candidate]) -> list[_Value]:
        assert self.judge is not None
        return list(scores_of(self.judge, [(each.source, each.text) for each in candidates]))

    def _similarities(self, candidates: Sequence[Candidate]) -> list[_Value]:
        assert self.encoder is not None
        return list(similarities(self.encoder, [(each.source, each.text) for each in candidates]))

    def _gaps(self, candidates: Sequence[Candidate]) -> list[_Value]:
        texts = list(dict.fromkeys(text for each in candidates for text in (each.source, each.text)))
        losses = dict(zip(texts, self._losses(texts), strict=True))
        return [_difference(losses[each.text], losses[each.source]) for each in candidates]

    def _losses(self, texts: Sequence[str]) -> list[_Value]:
        """Mean token losses in nats; where one text is too long to be read, halves are."""
        assert self.fluency is not None
        if not texts:
            return []
        try:
            scores = self.fluency.score_many([(BEFORE, text) for text in texts])
        except PromptError as error:
            if len(texts) == 1:
                return [error]
            middle = len(texts) // 2
            return [*self._losses(texts[:middle]), *self._losses(texts[middle:])]
        return [-each.total / len(each.tokens) for each in scores]


_Value = float | LmalgebraError
_Measure = Callable[[Sequence[Candidate]], list[_Value]]
_Judged = Callable[[Candidate, float], Reason | None]


def _difference(one: _Value, other: _Value) -> _Value:
    failed = next((each for each in (one, other) if isinstance(each, LmalgebraError)), None)
    return failed if failed is not None else round(float(one) - float(other), 4)  # type: ignore[arg-type]


def _after(verdict: Verdict, name: str, value: _Value, judged: Callable[[float], Reason | None]) -> Verdict:
    """The verdict after one more measure."""
    if isinstance(value, LmalgebraError):
        return replace(verdict, reason=Reason("unmeasured", value.message))
    return Verdict(judged(value), verdict.measured | {name: value})
