"""Voices of one or several result files, side by side."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

from lmalgebra.errors import EvaluationError
from lmalgebra.evaluation.results import read_result
from lmalgebra.evaluation.statistics import Quantity

Key = tuple[str, str]
"""A measure, and which of its quantities."""


RESULT_PARTS = ("suite", "measures", "versions", "agreement")
PROMPTS_PARTS = ("source", "revision", "count", "ids")
VOICE_PARTS = ("texts", "left_out")
"""What a result has besides what is read first."""

_HINT = "Name what lmalgebra evaluate wrote."


@dataclass(frozen=True)
class Outcome:
    """What one result says of one voice: `voice` and `result` are as in the file, `name` is its own among others."""

    name: str
    voice: Mapping[str, Any]
    result: Mapping[str, Any]
    quantities: Mapping[Key, Quantity]

    @property
    def ids(self) -> list[str]:
        """The prompts, in the order of what quantities rest on."""
        found: list[str] = self.result["prompts"]["ids"]
        return found

    @property
    def answered(self) -> int:
        """How many prompts got an answer."""
        return len(self.ids) - len(self.voice["left_out"])

    @property
    def curve(self) -> tuple[str, float] | None:
        """The curve that the voice is a point of, and its weight there."""
        found = self.voice.get("curve")
        return None if found is None else (str(found["name"]), float(found["weight"]))

    def on(self, ids: Sequence[str]) -> dict[Key, Quantity]:
        """The quantities over some of the prompts, in the order of `ids`."""
        places = {each: place for place, each in enumerate(self.ids)}
        wanted = [places[each] for each in ids]
        return {key: quantity.of(wanted) for key, quantity in self.quantities.items()}


def read_outcomes(files: Sequence[Path]) -> list[Outcome]:
    """The voices of result files, in order; one that stands in several files as it is counts once.

    Two voices of one name are told apart by their files. Raises EvaluationError.
    """
    found: list[tuple[Path, Outcome]] = []
    for file in files:
        result = read_result(file)
        for voice in result["voices"]:
            one = _outcome(voice, result, file)
            if not any(_is_same(one, other) for _, other in found):
                found.append((file, one))
    if not found:
        raise EvaluationError(f"{files[0]} tells of no voice.", _HINT)
    return _told_apart(found)


def first_is(name: str | None, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes with the one of that name first; as they are for None. Raises EvaluationError."""
    if name is None:
        return list(outcomes)
    names = [one.name for one in outcomes]
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"Did you mean '{close[0]}'?" if close else f"Voices: {', '.join(names)}."
        raise EvaluationError(f"There is no voice '{name}' in these results.", hint)
    return sorted(outcomes, key=lambda one: one.name != name)


def curves_of(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """The voices of each curve, in the order of their weights."""
    found: dict[str, list[tuple[float, int]]] = {}
    for place, one in enumerate(outcomes):
        if one.curve is not None:
            found.setdefault(one.curve[0], []).append((one.curve[1], place))
    return {name: [outcomes[place] for _, place in sorted(points)] for name, points in found.items()}


def _outcome(voice: Mapping[str, Any], result: Mapping[str, Any], file: Path) -> Outcome:
    try:
        quantities = {
            (measure, key): Quantity.from_dict(value)
            for measure, each in voice["metrics"].items()
            for key, value in each.items()
            if isinstance(value, Mapping)
        }
        one = Outcome(voice["name"], voice, result, quantities)
        _check(one)
    except KeyError as error:
        raise EvaluationError(f"'{file}' is damaged: it lacks {error}.", _HINT) from None
    except (TypeError, ValueError, AttributeError) as error:
        raise EvaluationError(f"'{file}' is damaged: {error}.", _HINT) from None
    return one


def _check(one: Outcome) -> None:
    """Raise KeyError for a part that is missing, and ValueError for parts that do not fit each other."""
    wanted = ((one.result, RESULT_PARTS), (one.result["prompts"], PROMPTS_PARTS), (one.voice, VOICE_PARTS))
    for found, parts in wanted:
        missing = next((part for part in parts if part not in found), None)
        if missing is not None:
            raise KeyError(missing)
    if any(len(each.numerators) != len(one.ids) for each in one.quantities.values()):
        raise ValueError("its values are not of its prompts")
    if one.curve is not None and not isfinite(one.curve[1]):
        raise ValueError("the weight of a curve's voice is no number")


def _is_same(one: Outcome, other: Outcome) -> bool:
    return one.voice == other.voice and one.ids == other.ids and one.result["measures"] == other.result["measures"]


def _told_apart(found: Sequence[tuple[Path, Outcome]]) -> list[Outcome]:
    """Each with its file behind its name where others have that name, and a number where they are of like files."""
    names = [one.name for _, one in found]
    within = [one.name if names.count(one.name) == 1 else f"{one.name} ({file.stem})" for file, one in found]
    numbered = [
        name if within.count(name) == 1 else f"{name} {within[: place + 1].count(name)}"
        for place, name in enumerate(within)
    ]
    return [replace(one, name=name) for (_, one), name in zip(found, numbered, strict=True)]
