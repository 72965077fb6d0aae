"""Examples to train on: texts with labels or scores, from JSON Lines, and which of them are held out."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmalgebra.errors import TrainingError
from lmalgebra.json_lines import file_lines, parsed
from lmalgebra.models.sequence_classifier import Text
from lmalgebra.training.classifiers.settings import ClassifierSettings


@dataclass(frozen=True)
class Examples:
    """Texts, or pairs of them, and what is to be learned of each, in order.

    `targets` are scores from 0 to 1 where there is one label, else places in `labels`. Examples of one line of a file,
    `lines`, belong together: they are held out or not as one. `unknown` texts had null as target, and are left out.
    """

    texts: tuple[Text, ...]
    targets: tuple[float, ...]
    lines: tuple[int, ...]
    labels: tuple[str, ...]
    unknown: int = 0

    @property
    def has_scores(self) -> bool:
        return len(self.labels) == 1

    def __len__(self) -> int:
        return len(self.texts)

    def only(self, places: Sequence[int]) -> "Examples":
        """The examples at these places."""
        texts, targets, lines = (
            tuple(each[place] for place in places) for each in (self.texts, self.targets, self.lines)
        )
        return Examples(texts, targets, lines, self.labels)


def read_examples(settings: ClassifierSettings) -> Examples:
    """The examples of all files. Raises TrainingError, with file and line, for data that cannot be used."""
    texts: list[Text] = []
    found, lines, places, unknown = [], [], [], 0
    for number, (place, row) in enumerate(_rows(settings.data)):
        for text, target in zip(settings.text, settings.target_fields, strict=True):
            if _field(row, target, place) is None:
                unknown += 1
                continue
            told = _text(row, text, place)
            texts.append((_text(row, settings.pair, place), told) if settings.pair else told)
            found.append((_score if settings.score else _label)(row, target, place))
            lines.append(number)
            places.append(place)
    if not texts:
        raise TrainingError(f"{', '.join(settings.data)}: there is no example.", _LINE_HINT)
    if settings.score:
        targets, labels = [float(each) for each in found], (settings.name,)
    else:
        labels = _checked_labels([str(each) for each in found], places)
        targets = [float(labels.index(str(each))) for each in found]
    return Examples(tuple(texts), tuple(targets), tuple(lines), labels, unknown)


def split(examples: Examples, held_out: float, seed: int) -> tuple[Examples, Examples]:
    """What to train on and what to hold out: a share of the lines, drawn by `seed`.

    The last example of a label is never held out. Raises TrainingError when either part would be empty.
    """
    lines = np.random.default_rng(seed).permutation(sorted(set(examples.lines)))
    wanted = round(held_out * len(lines))
    by_line: dict[int, list[int]] = {}
    for place, line in enumerate(examples.lines):
        by_line.setdefault(line, []).append(place)
    left = Counter(examples.targets)
    taken: set[int] = set()
    for line in lines.tolist():
        own = Counter(examples.targets[place] for place in by_line[line])
        if len(taken) < wanted and (examples.has_scores or all(left[each] > own[each] for each in own)):
            taken.add(line)
            left -= own
    kept, judged = (
        [place for place, line in enumerate(examples.lines) if (line in taken) is is_taken]
        for is_taken in (False, True)
    )
    if not kept or not judged:
        raise TrainingError(
            f"{len(examples):,} examples on {len(lines):,} lines leave nothing to train on or nothing to hold out.",
            "Add data, or change held_out.",
        )
    return examples.only(kept), examples.only(judged)


_LINE_HINT = 'A line is an object such as {"text": "...", "label": "..."}.'


def _rows(files: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line's object, and its place in words; blank lines are skipped."""
    for file in files:
        for place, row in parsed(file_lines(file, "examples", TrainingError), file, TrainingError, _LINE_HINT):
            if not isinstance(row, dict):
                raise TrainingError(f"{place}: this is no object.", _LINE_HINT)
            yield place, row


def _field(row: dict[str, Any], field: str, place: str) -> Any:
    if field not in row:
        raise TrainingError(f"{place}: there is no field '{field}'.", f"Its fields are: {', '.join(row) or 'none'}.")
    return row[field]


def _text(row: dict[str, Any], field: str, place: str) -> str:
    text = _field(row, field, place)
    if not isinstance(text, str) or not text.strip():
        raise TrainingError(f"{place}: '{field}' is {_shown(text)}, which is no text.", "Mend or remove the line.")
    return text


def _score(row: dict[str, Any], field: str, place: str) -> float:
    score = _field(row, field, place)
    is_number = isinstance(score, int | float) and not isinstance(score, bool)
    if not is_number or not math.isfinite(score) or not 0 <= score <= 1:
        raise TrainingError(
            f"{place}: '{field}' is {_shown(score)}, which is no score from 0 to 1.", "Mend or remove the line."
        )
    return float(score)


def _label(row: dict[str, Any], field: str, place: str) -> str:
    label = _field(row, field, place)
    if isinstance(label, bool):
        return str(label).lower()
    if not isinstance(label, str | int) or label == "":
        raise TrainingError(
            f"{place}: '{field}' is {_shown(label)}, which is no label.",
            "A label is text, a whole number, true or false; for other numbers use score.",
        )
    return str(label)


def _checked_labels(found: Sequence[str], places: Sequence[str]) -> tuple[str, ...]:
    """The labels in order; each must occur twice, to be learned and judged."""
    counts = Counter(found)
    for label, count in counts.items():
        if count == 1:
            raise TrainingError(
                f"{places[found.index(label)]}: the label '{label}' occurs nowhere else.",
                "Each label needs two examples or more: mend it, or add data.",
            )
    if len(counts) == 1:
        raise TrainingError(f"All examples have the label '{found[0]}'.", "Add examples of another.")
    return tuple(sorted(counts, key=_by_number))


def _by_number(label: str) -> tuple[int, int | str]:
    """Whole numbers in their order, before text in its."""
    try:
        return (0, int(label))
    except ValueError:
        return (1, label)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:39] + "…"
