"""What a file of groups says of itself: `.card.json` for programs, `.card.md` for people."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lmalgebra.errors import TrainingError
from lmalgebra.training.paraphrases.candidates import REASONS
from lmalgebra.training.paraphrases.files import Counts, place
from lmalgebra.training.paraphrases.settings import LINES, SIDES, ParaphraseSettings

LIBRARIES = ("lmalgebra", "torch", "transformers")


class Card:
    """The settings, revisions and counts of one output.

    `revision` is the corpus', `writers` and `filters` say what wrote and what measured.
    """

    def __init__(
        self, settings: ParaphraseSettings, revision: str, writers: dict[str, Any], filters: dict[str, Any]
    ) -> None:
        self._settings = settings
        self._asked = {
            "settings": asdict(settings) | {"output": Path(settings.output).name},
            "corpus_revision": revision,
            "writers": writers,
            "filters": filters,
        }

    def check(self) -> None:
        """Raise TrainingError where the card that is there is of other settings, data or weights."""
        try:
            known = json.loads(self._path("json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return  # nothing to compare with: the groups alone were kept
        wanted = json.loads(json.dumps(self._asked | {"settings": self._settings.deciding}))
        for part in wanted:
            if isinstance(wanted[part], dict) and isinstance(known.get(part), dict):
                self._compare(known[part], wanted[part])
            elif known.get(part) != wanted[part]:
                self._compare({part: known.get(part)}, {part: wanted[part]})

    def write(self, counts: Counts) -> None:
        """Write both files. Raises TrainingError."""
        content = {
            "kind": "paraphrases",
            **self._asked,
            "counts": _counted(counts),
            "sha256": {path.name: _sha256(path) for path in self._data() if path.exists()},
            "versions": {name: version(name) for name in LIBRARIES} | {"python": platform.python_version()},
        }
        try:
            text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            self._path("json").write_text(text, encoding="utf-8")
            self._path("md").write_text(self._page(counts, content), encoding="utf-8")
        except OSError as error:
            raise TrainingError(f"The card cannot be written: {error.strerror}.", "Free some room.") from None

    def _compare(self, known: dict[str, Any], wanted: dict[str, Any]) -> None:
        for key in wanted:
            if known.get(key) != wanted[key]:
                raise TrainingError(
                    f"{self._path('json')} has {key} = {_short(known.get(key))}, not {_short(wanted[key])}.",
                    "Go on with the same settings, data and weights, or name another output.",
                )

    def _path(self, ending: str) -> Path:
        return place(self._settings, f".card.{ending}")

    def _data(self) -> tuple[Path, Path]:
        return place(self._settings, LINES), place(self._settings, ".rejected.jsonl")

    def _page(self, counts: Counts, content: dict[str, Any]) -> str:
        settings, (groups, rejected) = self._settings, self._data()
        writers = " and ".join(f"{_writer(settings, side)} for {side}" for side in SIDES)
        return f"""\
# {groups.stem}

{counts.groups:,} groups of a sentence (`anchor`), texts that say the same as is wanted (`positives`) and texts that say
it as is not (`negatives`), from {counts.anchors:,} sentences of `{settings.corpus}`, for the attribute
`{settings.attribute}`, seed {settings.seed}. Written with lmalgebra {content["versions"]["lmalgebra"]} by {writers}.

The texts are a model's, filtered by models: they may offend, and say other things than their sentence.

| | positives | negatives |
|---|---|---|
{_table(counts)}

Judge: `{settings.judge}`. Meaning: `{settings.embedder}`. Likelihood: `{settings.fluency}`. All settings are in
`{self._path("json").name}`, and what was rejected, with its reason, in `{rejected.name}`.
"""


def summary_rows(counts: Counts) -> list[tuple[str, str, str]]:
    """What came of the corpus, as text: a name, and the value of each side."""
    proposed = [counts.proposed(side) for side in SIDES]
    rows = [("proposed", *(f"{each:,}" for each in proposed))]
    rows.append(("accepted", *(_share(counts.accepted[side], of) for side, of in zip(SIDES, proposed, strict=True))))
    rows.append(("in groups", *(f"{counts.taken[side]:,}" for side in SIDES)))
    for reason in REASONS:
        found = [counts.rejected[side, reason] for side in SIDES]
        if any(found):
            shares = (_share(each, of) for each, of in zip(found, proposed, strict=True))
            rows.append((f"rejected: {reason}", *shares))
    return rows  # type: ignore[return-value]  # each has a value of both sides


def _counted(counts: Counts) -> dict[str, Any]:
    sides = {
        side: {
            "proposed": counts.proposed(side),
            "accepted": counts.accepted[side],
            "in_groups": counts.taken[side],
            "rejected": {reason: counts.rejected[side, reason] for reason in REASONS if counts.rejected[side, reason]},
        }
        for side in SIDES
    }
    return {"anchors": counts.anchors, "groups": counts.groups, **sides}


def _table(counts: Counts) -> str:
    return "\n".join(f"| {name} | {one} | {other} |" for name, one, other in summary_rows(counts))


def _writer(settings: ParaphraseSettings, side: str) -> str:
    if settings.endpoint:
        return f"`{settings.served or 'its model'}` at an endpoint"
    what = settings.voice or settings.model or "the built-in voice"
    return f"{what} by `{settings.formula(side)}`" if settings.formula(side) else what


def _share(count: int, of: int) -> str:
    return f"{count:,} ({count / of:.0%})" if of else f"{count:,}"


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
