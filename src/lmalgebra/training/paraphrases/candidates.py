"""Paraphrases that a writer has proposed, what was measured of each, and why some are not taken."""

from __future__ import annotations

from dataclasses import dataclass, field

REASONS = {
    "unanswered": "the writer gave no answer",
    "empty": "nothing was left of the answer",
    "refusal": "it declines",
    "duplicate": "it says the sentence, or an earlier paraphrase, again",
    "length": "it is too short or too long",
    "attribute": "it has the attribute where it should not, or lacks it",
    "meaning": "it says something else",
    "likelihood": "it is much more or less likely than the sentence",
    "unmeasured": "a judge or model could not read it",
}
"""Why a paraphrase is not taken, in the order in which it is looked for."""


@dataclass(frozen=True)
class Reason:
    """One of `REASONS`, with what it rests on: a number, a phrase."""

    name: str
    detail: float | str = ""


@dataclass(frozen=True)
class Candidate:
    """A text for a `side` of an anchor, that is to say what `source` says.

    `answer` is what the writer gave, `text` what was cleaned of it, `trouble` why there was nothing.
    """

    side: str
    source: str
    text: str
    answer: str
    seed: int
    trouble: str = ""


@dataclass(frozen=True)
class Verdict:
    """Why a candidate is not taken, None for one that is; `measured` are its score, similarity and likelihood gap, as
    far as they were looked for."""

    reason: Reason | None
    measured: dict[str, float] = field(default_factory=dict)
