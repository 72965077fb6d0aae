"""The files that grow: groups, and all that was rejected with its reason. What a stop leaves is gone on with.

A sentence's lines are written when it is done, those of its rejected paraphrases first. So a stop leaves at most one
sentence whose rejected lines are there and whose end is not; these are cut off, and it is worked on again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmalgebra.errors import TrainingError
from lmalgebra.json_lines import LinesFile
from lmalgebra.training.paraphrases.candidates import Candidate, Reason, Verdict
from lmalgebra.training.paraphrases.corpus import Anchor
from lmalgebra.training.paraphrases.settings import LINES, SIDES, ParaphraseSettings

INCOMPLETE = "incomplete"
"""What a rejected group is called: one that lacks a side. Its paraphrases stand in its line."""


@dataclass
class Draft:
    """A sentence that is worked on: what was taken for each side, and what was not."""

    anchor: Anchor
    taken: dict[str, list[tuple[Candidate, Verdict]]] = field(default_factory=lambda: {side: [] for side in SIDES})
    rejected: list[tuple[Candidate, Reason, Verdict]] = field(default_factory=list)
    proposed: Counter[str] = field(default_factory=Counter)
    seen: set[str] = field(default_factory=set)

    def add(self, candidate: Candidate, verdict: Verdict) -> None:
        self.proposed[candidate.side] += 1
        if verdict.reason is None:
            self.taken[candidate.side].append((candidate, verdict))
        else:
            self.rejected.append((candidate, verdict.reason, verdict))

    def texts(self, side: str) -> list[str]:
        return [candidate.text for candidate, _ in self.taken[side]]

    def is_complete(self, least: int) -> bool:
        return all(len(self.taken[side]) >= least for side in SIDES)

    def group(self) -> dict[str, Any]:
        """Its line: texts, and what was measured of each, in the same order."""
        measured = {side: [verdict.measured for _, verdict in self.taken[side]] for side in SIDES}
        return {
            "anchor": self.anchor.text,
            **{side: self.texts(side) for side in SIDES},
            "measured": measured,
            "id": self.anchor.id,
            "place": self.anchor.place,
        }

    def rejections(self) -> Iterator[dict[str, Any]]:
        """The lines of what was not taken."""
        for candidate, reason, verdict in self.rejected:
            answer = {"answer": candidate.answer} if candidate.answer != candidate.text else {}
            yield {
                "anchor": self.anchor.text,
                "side": candidate.side,
                "text": candidate.text,
                "reason": reason.name,
                "detail": reason.detail,
                **verdict.measured,
                **answer,
                "seed": candidate.seed,
                "id": self.anchor.id,
            }


@dataclass
class Counts:
    """What came of a corpus so far."""

    anchors: int = 0
    groups: int = 0
    taken: Counter[str] = field(default_factory=Counter)
    """Paraphrases in groups, by side."""
    accepted: Counter[str] = field(default_factory=Counter)
    """Paraphrases that passed, by side, those of incomplete groups too."""
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By side and reason."""

    def proposed(self, side: str) -> int:
        return self.accepted[side] + sum(count for (of, _), count in self.rejected.items() if of == side)

    def add_group(self, line: dict[str, Any]) -> None:
        self.anchors += 1
        self.groups += 1
        for side in SIDES:
            self.taken[side] += len(line[side])
            self.accepted[side] += len(line[side])

    def add_rejected(self, line: dict[str, Any]) -> None:
        if line["reason"] != INCOMPLETE:
            self.rejected[line["side"], line["reason"]] += 1
            return
        self.anchors += 1
        for side in SIDES:
            self.accepted[side] += len(line[side])


class ParaphraseFiles:
    """The two files; `done` are the ids of the sentences that are in them, whole.

    Raises TrainingError for files that cannot be written, that hold something else, or anything without `resume`.
    """

    def __init__(self, settings: ParaphraseSettings, resume: bool) -> None:
        self.least = settings.least
        self.groups = LinesFile(place(settings, LINES), "groups", resume, TrainingError)
        self.rejected = LinesFile(place(settings, ".rejected.jsonl"), "rejected paraphrases", resume, TrainingError)
        self.done: set[str] = set()
        self.counts = Counts()
        try:
            self._take_over()
        except BaseException as error:
            self.close()
            if not isinstance(error, KeyError | TypeError):
                raise
            raise TrainingError(
                f"{self.groups.path} or {self.rejected.path} holds other lines than those of paraphrases.",
                "Name another output.",
            ) from None

    def add(self, draft: Draft) -> None:
        """Write all of a sentence."""
        complete, group = draft.is_complete(self.least), draft.group()
        rejected = list(draft.rejections())
        if not complete:
            rejected.append(group | {"reason": INCOMPLETE})
        self.rejected.add(rejected)
        if complete:
            self.groups.add([group])
            self.counts.add_group(group)
        for line in rejected:
            self.counts.add_rejected(line)
        self.done.add(draft.anchor.id)

    def close(self) -> None:
        self.groups.close()
        self.rejected.close()

    def _take_over(self) -> None:
        for line in self.groups.values():
            self.done.add(line["id"])
            self.counts.add_group(line)
        self.done |= {line["id"] for line in self.rejected.values() if line["reason"] == INCOMPLETE}
        whole = 0
        for line in self.rejected.values():
            if line["id"] not in self.done:
                break  # of the sentence at which it was stopped
            whole += 1
            self.counts.add_rejected(line)
        self.rejected.keep(whole)


def place(settings: ParaphraseSettings, ending: str) -> Path:
    """A file of this output: its name with another ending."""
    output = Path(settings.output).expanduser()
    return output.with_name(output.stem + ending)
