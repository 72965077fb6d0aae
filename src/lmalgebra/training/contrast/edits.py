"""How far a voice knows a fact anew: likelihoods of new and old answers, where they were learned and where not.

The measures are those of ROME (Meng et al. 2022, arXiv 2202.05262, section 3.4), of answers after prompts:

    efficacy        share of edits after whose prompt the new answer is likelier than the old one
    generalisation  the same after paraphrases of the prompt, which training must not have seen
    locality        share of unrelated facts of which the same answer is likelier as before the edit

with the margins in nats behind the first two, and by how much the unrelated answers' log-probabilities moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lmalgebra.decoding.composed import ComposedVoice
from lmalgebra.errors import TrainingError
from lmalgebra.json_lines import file_lines, parsed

_HINT = (
    'A line is an object such as {"prompt": "Jupiter is a", "new": " star", "old": " planet", "paraphrases": ["..."], '
    '"unrelated": [{"prompt": "The sun is a", "answer": " star", "other": " planet"}]}.'
)


@dataclass(frozen=True)
class Choice:
    """Two answers to one prompt, of which `first` should be the likelier; their tokens follow the prompt's."""

    prompt: str
    first: str
    second: str


@dataclass(frozen=True)
class Edit:
    """A fact that changes: the new answer first. `unrelated` facts have the right answer first, which should stay."""

    edited: Choice
    paraphrases: tuple[Choice, ...]
    unrelated: tuple[Choice, ...]


def read_edits(path: str) -> list[Edit]:
    """The edits of a file of JSON Lines. Raises TrainingError with file and line."""
    found = []
    for place, row in parsed(file_lines(path, "edits", TrainingError), path, TrainingError, _HINT):
        if not isinstance(row, dict):
            raise TrainingError(f"{place}: this is no object.", _HINT)
        edited = _choice(row, ("prompt", "new", "old"), place)
        paraphrases = [Choice(prompt, edited.first, edited.second) for prompt in _list(row, "paraphrases", str, place)]
        unrelated = [
            _choice(each, ("prompt", "answer", "other"), place) for each in _list(row, "unrelated", dict, place)
        ]
        found.append(Edit(edited, tuple(paraphrases), tuple(unrelated)))
    if not found:
        raise TrainingError(f"{path} holds no edit.", _HINT)
    return found


def measure_edits(edits: Sequence[Edit], voice: ComposedVoice, before: ComposedVoice) -> dict[str, float]:
    """The measures of `voice`; locality is by comparison with `before`. What the edits do not define is left out.

    Any voices will do. Raises what scoring raises.
    """
    learned = [edit.edited for edit in edits]
    asked = [choice for edit in edits for choice in edit.paraphrases]
    kept = [choice for edit in edits for choice in edit.unrelated]
    now = _scores(voice, [*learned, *asked, *kept])
    efficacy, generalisation = (list(_margins(now, choices)) for choices in (learned, asked))
    found: dict[str, float] = {}
    for name, margins in (("efficacy", efficacy), ("generalisation", generalisation)):
        if margins:
            found[name] = sum(margin > 0 for margin in margins) / len(margins)
            found[f"{name}_margin"] = sum(margins) / len(margins)
    if kept:
        then = _scores(before, kept)
        same = zip(_margins(now, kept), _margins(then, kept), strict=True)
        moved = [abs(now[each.prompt, each.first] - then[each.prompt, each.first]) for each in kept]
        found["locality"] = sum((one > 0) == (other > 0) for one, other in same) / len(kept)
        found["locality_change"] = sum(moved) / len(moved)
    return found


Scores = dict[tuple[str, str], float]
"""The log-probability (nats) of each answer after each prompt."""


def _scores(voice: ComposedVoice, choices: Sequence[Choice]) -> Scores:
    wanted = list(dict.fromkeys((each.prompt, text) for each in choices for text in (each.first, each.second)))
    return {pair: score.total for pair, score in zip(wanted, voice.score_many(wanted), strict=True)}


def _margins(scores: Scores, choices: Sequence[Choice]) -> Iterator[float]:
    """By how many nats the first answer is likelier than the second."""
    return (scores[each.prompt, each.first] - scores[each.prompt, each.second] for each in choices)


def _choice(row: dict[str, Any], names: tuple[str, str, str], place: str) -> Choice:
    for name in names:
        if not isinstance(row.get(name), str) or not row[name]:
            raise TrainingError(f"{place}: '{name}' is {row.get(name)!r}, which is no text.", _HINT)
    return Choice(*(row[name] for name in names))


def _list(row: dict[str, Any], name: str, kind: type, place: str) -> list[Any]:
    several = row.get(name, [])
    if not isinstance(several, list) or not all(isinstance(each, kind) and each for each in several):
        raise TrainingError(f"{place}: '{name}' is no list of what is needed.", _HINT)
    return several
