"""The sentences that paraphrases are written of, with what else their rows hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lmalgebra.errors import TrainingError
from lmalgebra.json_lines import file_lines, parsed
from lmalgebra.models.fingerprint import digest
from lmalgebra.prompt_sets import HUB, read_rows
from lmalgebra.training.paraphrases.settings import SIDES, ParaphraseSettings

_JSON = (".jsonl", ".json", ".ndjson")


@dataclass(frozen=True)
class Anchor:
    """A sentence, what each side paraphrases (`sources`), and its row's `fields`; `place` names the row."""

    text: str
    sources: dict[str, str]
    fields: dict[str, Any]
    place: str

    @property
    def id(self) -> str:
        """The same for what is the same to paraphrase, wherever it stands."""
        return digest([self.text, self.sources])


@dataclass(frozen=True)
class Corpus:
    """Each anchor once; `revision` is the digest of the file, or a hub's commit."""

    revision: str
    anchors: tuple[Anchor, ...]


def read_corpus(settings: ParaphraseSettings) -> Corpus:
    """The sentences that `settings` name. Raises LmalgebraError, with file and line, for what cannot be used."""
    revision, rows = _rows(settings.corpus, settings.field)
    found: dict[str, Anchor] = {}
    for place, row in rows:
        if (anchor := _anchor(row, place, settings)) is not None:
            found.setdefault(anchor.id, anchor)
    anchors = tuple(found.values())
    if not anchors:
        raise TrainingError(
            f"{settings.corpus} holds no sentence.", f'A line is an object such as {{"{settings.field}": "..."}}.'
        )
    if settings.count is not None and settings.count < len(anchors):
        drawn = np.random.default_rng(settings.draw).permutation(len(anchors))[: settings.count]
        anchors = tuple(anchors[place] for place in sorted(drawn))
    return Corpus(revision, anchors)


def _rows(corpus: str, field: str) -> tuple[str, Iterator[tuple[str, dict[str, Any]]]]:
    """The corpus' revision, and each row after its place in words."""
    if corpus.startswith(HUB):
        revision, found = read_rows(corpus)
        return revision, iter(found)
    lines = file_lines(corpus, "sentences", TrainingError)
    revision = hashlib.sha256(b"\n".join(lines)).hexdigest()
    read = _json_rows if Path(corpus).suffix in _JSON else _text_rows
    return revision, read(lines, corpus, field)


def _json_rows(lines: list[bytes], corpus: str, field: str) -> Iterator[tuple[str, dict[str, Any]]]:
    hint = f'A line is an object such as {{"{field}": "..."}}.'
    for place, value in parsed(lines, corpus, TrainingError, hint):
        row = {field: value} if isinstance(value, str) else value
        if not isinstance(row, dict):
            raise TrainingError(f"{place}: this is neither a text nor an object.", hint)
        yield place, row


def _text_rows(lines: list[bytes], corpus: str, field: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        place = f"{corpus}, line {number}"
        try:
            yield place, {field: line.decode("utf-8-sig" if number == 1 else "utf-8").strip()}
        except UnicodeDecodeError:
            raise TrainingError(f"{place}: this is not UTF-8 text.", "Save it as UTF-8.") from None


def _anchor(row: dict[str, Any], place: str, settings: ParaphraseSettings) -> Anchor | None:
    """None for a row without a sentence on one of its sides."""
    text = _text(row, settings.field, place)
    sources = {side: _text(row, settings.source_field(side), place) for side in SIDES}
    return Anchor(text, sources, row, place) if text and all(sources.values()) else None


def _text(row: dict[str, Any], field: str, place: str) -> str:
    """The field's text in one line; of several, as some data sets have them, the first."""
    if field not in row:
        raise TrainingError(
            f"{place}: there is no field '{field}'.",
            f"Its fields are: {', '.join(row) or 'none'}. Name the one with the sentence: field.",
        )
    value = row[field]
    first = value[0] if isinstance(value, list) and value else value or ""
    if not isinstance(first, str):
        raise TrainingError(f"{place}: '{field}' holds what is no text.", "Give a text, or a list of texts.")
    return " ".join(first.split())
