"""Groups to learn by contrast: an anchor, texts that are wanted in its place, and texts that are not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lmalgebra.errors import MissingExtraError, TrainingError
from lmalgebra.json_lines import file_lines, parsed
from lmalgebra.prompt_sets import HUB, read_rows
from lmalgebra.training.contrast.settings import ContrastSettings

_HINT = 'A line is an object such as {"anchor": "...", "positives": ["..."], "negatives": ["..."]}.'


@dataclass(frozen=True)
class Group:
    """What is said of one `anchor`: `positives` as is wanted, `negatives` as is not; `place` names its first row."""

    anchor: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...]
    place: str

    def joined(self, other: Group) -> Group:
        """Both groups' texts, each once, in order."""
        return replace(
            self,
            positives=tuple(dict.fromkeys([*self.positives, *other.positives])),
            negatives=tuple(dict.fromkeys([*self.negatives, *other.negatives])),
        )

    def apart(self) -> Group:
        """Without the negatives that are positives, too: of these nothing could be told apart."""
        return replace(self, negatives=tuple(text for text in self.negatives if text not in self.positives))


@dataclass(frozen=True)
class Groups:
    """Groups that can be learned from; those of `left_out` lines say the same on both sides, and stand here no more."""

    groups: tuple[Group, ...]
    left_out: int = 0


def read_groups(settings: ContrastSettings, sources: Sequence[str] = ()) -> Groups:
    """The groups of all `sources`, by default the settings' data.

    Raises TrainingError, with file and line, for data that cannot be used.
    """
    sources = sources or settings.data
    found: dict[str, Group] = {}
    for source in sources:
        for place, row in _rows(source):
            group = _group(row, place, settings)
            key = f"anchor {group.anchor}" if group.anchor else f"row {place}"
            found[key] = found[key].joined(group) if key in found else group
    if not found:
        raise TrainingError(f"{', '.join(sources)}: there is no group.", _HINT)
    for group in found.values():
        _check_sides(group, settings)
    distinct = [group.apart() for group in found.values()]
    whole = [
        group
        for group, told_apart in zip(found.values(), distinct, strict=True)
        if told_apart.negatives or not group.negatives
    ]
    return _checked(Groups(tuple(group.apart() for group in whole), len(found) - len(whole)), settings)


def split(groups: Sequence[Group], settings: ContrastSettings) -> tuple[list[Group], list[Group]]:
    """What to train on and what to hold out: a share of the groups, drawn by the seed, or others.

    Groups with both sides are held out, where there are any: so all objectives are measured by the same ones.
    Raises TrainingError when either part would be empty.
    """
    if settings.held_out_data:
        return list(groups), list(read_groups(settings, settings.held_out_data).groups[: settings.held_out_groups])
    whole = [place for place, group in enumerate(groups) if group.positives and group.negatives]
    fit = whole or [place for place, group in enumerate(groups) if _teaches(group, settings)]
    wanted = min(max(1, round(settings.held_out * len(groups))), settings.held_out_groups)
    taken = set(np.random.default_rng(settings.seed).permutation(fit)[:wanted].tolist())
    kept = [group for place, group in enumerate(groups) if place not in taken]
    held = [group for place, group in enumerate(groups) if place in taken]
    if not held or not any(_teaches(group, settings) for group in kept):
        raise TrainingError(
            f"{len(groups):,} groups leave nothing to train on or nothing to hold out.", "Add data, or change held_out."
        )
    return kept, held


def read_texts(source: str, field: str) -> tuple[str, ...]:
    """The texts of a file or `hub:` data set, in that field, each once. Raises TrainingError with file and line."""
    found: list[str] = []
    for place, row in _rows(source):
        if field not in row:
            raise TrainingError(f"{place}: there is no field '{field}'.", _known(row))
        found += _texts(row, field, place)
    if not found:
        raise TrainingError(f"{source} holds no text.", f'A line is an object such as {{"{field}": "..."}}.')
    return tuple(dict.fromkeys(found))


def _rows(source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row after its place in words."""
    if source.startswith(HUB):
        yield from read_rows(source)[1]
        return
    if source.endswith(".parquet"):
        yield from _table_rows(source)
        return
    for place, row in parsed(file_lines(source, "groups", TrainingError), source, TrainingError, _HINT):
        if not isinstance(row, dict):
            raise TrainingError(f"{place}: this is no object.", _HINT)
        yield place, row


def _table_rows(source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row of a Parquet file after its place in words."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError(
            f"{source} needs the package 'pyarrow'.", "Install it: pip install pyarrow, or use JSON Lines."
        ) from None
    try:
        rows = parquet.read_table(Path(source).expanduser()).to_pylist()
    except FileNotFoundError:
        raise TrainingError(f"There is no file of groups '{source}'.", "Check the path.") from None
    except (OSError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise TrainingError(
            f"{source} is no table of Parquet: {reason}", "Write it again, or use JSON Lines."
        ) from error
    yield from ((f"{source}, row {number}", row) for number, row in enumerate(rows, 1))


def _group(row: dict[str, Any], place: str, settings: ContrastSettings) -> Group:
    positives = [text for field in settings.positives for text in _texts(row, field, place)]
    negatives = [text for field in settings.negatives for text in _texts(row, field, place)]
    for fields, needed in (
        (settings.positives, settings.needs_positives),
        (settings.negatives, settings.needs_negatives),
    ):
        if needed and not settings.random_negatives and not any(field in row for field in fields):
            raise TrainingError(f"{place}: there is no field '{fields[0]}'.", _known(row))
    anchors = _texts(row, settings.anchor, place)
    if len(anchors) > 1:
        raise TrainingError(f"{place}: '{settings.anchor}' has {len(anchors)} texts.", "An anchor is one text.")
    if settings.prompt and not anchors:
        raise TrainingError(f"{place}: there is no anchor in '{settings.anchor}' for the prompt.", _known(row))
    return Group(*anchors or ("",), tuple(positives), tuple(negatives), place).joined(Group("", (), (), place))


def _texts(row: dict[str, Any], field: str, place: str) -> list[str]:
    """The texts of a field: one, several, or none."""
    value = row.get(field)
    several = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) and text.strip() for text in several):
        raise TrainingError(f"{place}: '{field}' holds what is no text.", "Give a text or a list of texts.")
    return several


def _known(row: dict[str, Any]) -> str:
    return f"Its fields are: {', '.join(row) or 'none'}. Name those with the texts: positives, negatives, anchor."


def _check_sides(group: Group, settings: ContrastSettings) -> None:
    """Raise TrainingError for a group that lacks what it needs; others' negatives may stand in for its own."""
    can_give = settings.random_negatives > 0 and group.negatives
    if settings.needs_positives and not group.positives and not can_give:
        raise TrainingError(f"{group.place}: the group has no positives.", "Mend or remove the line.")
    if settings.needs_negatives and not group.negatives:
        more = ", or take other anchors' with random_negatives" if settings.objective == "contrast" else ""
        raise TrainingError(f"{group.place}: the group has no negatives.", f"Mend or remove the line{more}.")


def _checked(groups: Groups, settings: ContrastSettings) -> Groups:
    """Raise TrainingError where no group has what all of them need."""
    if not groups.groups:
        raise TrainingError(
            f"All {groups.left_out:,} groups say the same as positive and as negative.",
            "Check the names of the fields.",
        )
    needs_negatives = settings.needs_negatives or settings.random_negatives
    for side, needed in (("positives", settings.needs_positives), ("negatives", needs_negatives)):
        if needed and not any(getattr(group, side) for group in groups.groups):
            raise TrainingError(f"No group has {side}.", "Check the names of the fields.")
    return groups


def _teaches(group: Group, settings: ContrastSettings) -> bool:
    """Whether something is learned of the group itself; others only give negatives."""
    return bool(group.positives) if settings.needs_positives else bool(group.negatives)
