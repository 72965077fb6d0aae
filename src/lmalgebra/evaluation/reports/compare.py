"""What can be concluded of how voices differ, and what cannot.

The first voice is compared with each other, on the prompts that both answered, by the paired bootstrap. Probabilities
are corrected for all that is looked at together (Holm 1979). Two voices whose texts were made or judged differently are
not compared in what that decides, and it is said why.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from math import isfinite
from typing import Any

from lmalgebra.errors import EvaluationError
from lmalgebra.evaluation.reports.outcomes import Key, Outcome
from lmalgebra.evaluation.reports.phrases import flattened, phrase, shown
from lmalgebra.evaluation.statistics import LEVEL, Difference, Quantity, differences, holm, least_p

DECISIVE = ("max_new_tokens", "min_new_tokens", "stop", "samples")
"""Settings that decide how long texts are and how many there are of a prompt: longer texts and more of them are more
toxic at most, whatever voice says them."""

UNIMPORTANT = ("seed",)
"""Settings whose difference is luck, which intervals allow for."""


@dataclass(frozen=True)
class Compared:
    """One quantity of two voices. `p` is corrected for all that were looked at; below 1 - level they differ."""

    key: Key
    first: str
    second: str
    difference: Difference
    p: float
    differs: bool
    is_better: bool | None
    """Whether `second` is better where they differ; None where neither is."""


@dataclass(frozen=True)
class NotCompared:
    """Two voices, or one quantity of theirs (`key`), that cannot be compared, and why."""

    first: str
    second: str
    reason: str
    key: Key | None = None


@dataclass(frozen=True)
class Comparison:
    """All that was looked at, what could not be, and what is to be kept in mind."""

    level: float
    compared: Sequence[Compared]
    not_compared: Sequence[NotCompared]
    notes: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "level": self.level,
            "correction": "Holm",
            "compared": [_flat(one) for one in self.compared],
            "not_compared": [_flat(one) for one in self.not_compared],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class _Pair:
    """Two values of one quantity that can be compared."""

    key: Key
    voices: tuple[str, str]
    quantities: tuple[Quantity, Quantity]


def compare(outcomes: Sequence[Outcome], level: float = LEVEL, keys: Collection[Key] | None = None) -> Comparison:
    """How each other voice differs from the first, in the quantities of `keys` or in all.

    The fewer are looked at, the less probabilities are corrected.
    """
    looked_at: list[_Pair] = []
    refused: list[NotCompared] = []
    notes: list[str] = []
    first, *others = outcomes
    for second in others:
        reason = _why_not(first, second)
        if reason:
            refused.append(NotCompared(first.name, second.name, reason))
            continue
        pairs, without = _pairs(first, second, keys)
        looked_at += pairs
        refused += without
        notes += _notes(first, second)
    found = _concluded(looked_at, level)
    return Comparison(level, found, refused, list(dict.fromkeys([*notes, *_too_few(found, level)])))


def _too_few(found: Sequence[Compared], level: float) -> Iterator[str]:
    """Says so where even differences of one sign on every prompt could not be told from chance."""
    prompts = max((one.difference.prompts for one in found), default=0)
    if found and least_p(prompts) * len(found) >= 1 - level:
        yield (
            f"{prompts} prompts are too few to conclude anything of {len(found)} differences, however large they are: "
            "take more prompts, or look at fewer quantities."
        )


def keys_called(texts: Sequence[str], outcomes: Sequence[Outcome]) -> list[Key]:
    """The quantities whose phrase or name contains one of these texts. Raises EvaluationError for a text of none."""
    keys = list(dict.fromkeys(key for one in outcomes for key in one.quantities))
    found: dict[Key, None] = {}
    for text in texts:
        called = [key for key in keys if text.casefold() in f"{phrase(key)}\n{key[1]}".casefold()]
        if not called:
            raise EvaluationError(f"No quantity is called '{text}'.", f"There are: {', '.join(map(phrase, keys))}.")
        found |= dict.fromkeys(called)
    return list(found)


def _why_not(first: Outcome, second: Outcome) -> str:
    """Why two voices cannot be compared at all; nothing where they can."""
    if not set(first.ids) & set(second.ids):
        return "they answered different prompts, and none of the same"
    ours, theirs = first.voice.get("settings"), second.voice.get("settings")
    if ours is not None and theirs is not None:
        return "; ".join(
            f"{key} is {_told(ours, key)} for {first.name} and {_told(theirs, key)} for {second.name}"
            for key in DECISIVE
            if ours.get(key) != theirs.get(key)
        )
    counts = [_texts_each(one) for one in (first, second)]
    if round(counts[0]) != round(counts[1]):
        return f"{first.name} has {counts[0]:.3g} texts for each prompt, and {second.name} {counts[1]:.3g}"
    return ""


def _texts_each(one: Outcome) -> float:
    return float(one.voice["texts"]) / max(1, one.answered)


def _told(settings: Mapping[str, Any], key: str) -> str:
    return shown(settings.get(key, "not set"))


def _notes(first: Outcome, second: Outcome) -> Iterator[str]:
    """What does not forbid to compare two voices, but is to be known."""
    both = f"{first.name} and {second.name}"
    common = len(set(first.ids) & set(second.ids))
    if common < max(len(first.ids), len(second.ids)):
        yield (
            f"{both} are compared on the {common} prompts that both were asked, of {len(first.ids)} and "
            f"{len(second.ids)}."
        )
    ours, theirs = first.voice.get("settings"), second.voice.get("settings")
    for one, settings in ((first, ours), (second, theirs)):
        if settings is None:
            yield f"How {one.name} was generated is not known: it is a file of samples."
    if ours is None or theirs is None:
        return
    for key in sorted(set(ours) | set(theirs)):
        if key not in (*DECISIVE, *UNIMPORTANT) and ours.get(key) != theirs.get(key):
            yield (
                f"{key} is {_told(ours, key)} for {first.name} and {_told(theirs, key)} for {second.name}: what "
                "differs may be due to that."
            )


def _pairs(first: Outcome, second: Outcome, keys: Collection[Key] | None) -> tuple[list[_Pair], list[NotCompared]]:
    """Each quantity of both over their common prompts, and what cannot be compared of them."""
    known = set(second.ids)
    ids = [each for each in first.ids if each in known]
    ours, theirs = first.on(ids), second.on(ids)
    pairs, refused = [], []
    for key in dict.fromkeys([*ours, *theirs]):
        if keys is not None and key not in keys:
            continue
        reason = _why_not_by(key, first, second) or _why_no_value(key, ours, theirs, first.name, second.name)
        if reason:
            refused.append(NotCompared(first.name, second.name, reason, key))
        else:
            pairs.append(_Pair(key, (first.name, second.name), (ours[key], theirs[key])))
    return pairs, refused


def _why_not_by(key: Key, first: Outcome, second: Outcome) -> str:
    """How a measure of one voice differs from that of the other; nothing where it does not."""
    measure = key[0]
    ours, theirs = (flattened(one.result["measures"].get(measure) or {}) for one in (first, second))
    changed = [name for name in dict.fromkeys([*ours, *theirs]) if ours.get(name) != theirs.get(name)]
    if not changed or not ours or not theirs:
        return ""
    told = [
        f"{name} is {_told(ours, name)} for {first.name} and {_told(theirs, name)} for {second.name}"
        for name in changed
    ]
    return "it was measured differently: " + "; ".join(told)


def _why_no_value(
    key: Key, ours: Mapping[Key, Quantity], theirs: Mapping[Key, Quantity], first: str, second: str
) -> str:
    for name, quantities in ((first, ours), (second, theirs)):
        if key not in quantities:
            return f"it was not measured for {name}"
    if not ((ours[key].denominators > 0) & (theirs[key].denominators > 0)).any():
        return "no prompt was measured for both"
    return ""


def _concluded(pairs: Sequence[_Pair], level: float) -> list[Compared]:
    """The differences of all pairs, with probabilities that are corrected for how many pairs there are."""
    found = [
        difference
        for _, each in groupby(pairs, key=lambda pair: pair.voices)
        for difference in differences([pair.quantities for pair in each], level)
    ]
    corrected = holm([difference.p for difference in found])
    return [_one(pair, difference, p, level) for pair, difference, p in zip(pairs, found, corrected, strict=True)]


def _one(pair: _Pair, difference: Difference, p: float, level: float) -> Compared:
    lower_is_better = pair.quantities[0].lower_is_better
    is_lower = difference.second < difference.first
    differs = p < 1 - level
    is_better = None if lower_is_better is None or not differs else is_lower is lower_is_better
    return Compared(pair.key, *pair.voices, difference, p, differs, is_better)


def _flat(one: Compared | NotCompared) -> dict[str, Any]:
    plain = asdict(one)
    key = plain.pop("key")
    if "difference" in plain:
        plain["difference"] = {name: _or_none(value) for name, value in plain["difference"].items()}
    return ({} if key is None else {"measure": key[0], "quantity": key[1]}) | plain


def _or_none(value: float) -> float | None:
    return value if isfinite(value) else None
