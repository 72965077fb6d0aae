"""Texts as tokens of which phi is taken, and what of each group is drawn in an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lmalgebra.errors import TrainingError
from lmalgebra.judges.template import Template
from lmalgebra.training.contrast.groups import Group
from lmalgebra.training.contrast.settings import ContrastSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Encoded(NamedTuple):
    """A text as the model reads it; phi is of the tokens from `first` on, which have at least one before them."""

    tokens: tuple[int, ...]
    first: int


@dataclass(frozen=True)
class Drawn:
    """The sequences of one anchor in a step: its own, and negatives of other anchors."""

    positives: tuple[Encoded, ...]
    negatives: tuple[Encoded, ...]
    random: tuple[Encoded, ...] = ()


class Encoder:
    """From a text, after its anchor's prompt, to tokens. Control tokens that a text spells are plain text."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, settings: ContrastSettings) -> None:
        self._tokenizer, self._most = tokenizer, settings.max_tokens
        start = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        self._start = tuple(tokenizer("").input_ids) or (start,)
        self._end = (tokenizer.eos_token_id,) if settings.end_token else ()
        self._template = Template(settings.prompt) if settings.prompt else None
        if self._template is not None and self._template.names - {"anchor"}:
            unknown = min(self._template.names - {"anchor"})
            raise TrainingError(f"The prompt asks for '{unknown}'.", "It is a template over {{ anchor }}.")
        self._plain = lru_cache(maxsize=1 << 16)(self._read)

    def __call__(self, text: str, anchor: str = "") -> Encoded:
        """The tokens of `text`; of those the first `max_tokens` count, with the end token where that is asked for."""
        before = self._start
        if self._template is not None:
            before += self._plain(self._template.fill({"anchor": anchor}))
        return Encoded(before + self._plain(text)[: self._most - len(self._end)] + self._end, len(before))

    def several(self, texts: Sequence[str], anchor: str = "") -> tuple[Encoded, ...]:
        return tuple(self(text, anchor) for text in texts)

    def plain(self, texts: Sequence[str]) -> tuple[Encoded, ...]:
        """Texts that follow no prompt, as utility texts do not, without an end token."""
        return tuple(Encoded(self._start + self._plain(text)[: self._most], len(self._start)) for text in texts)

    def whole(self, group: Group) -> Drawn:
        """All of a group."""
        return Drawn(self.several(group.positives, group.anchor), self.several(group.negatives, group.anchor))

    def _read(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids)


class GroupSet:
    """The groups as a data set of Transformers' Trainer.

    What is drawn of a group depends on the seed, the epoch and the group alone, so that a training that was stopped
    goes on with the same draws.
    """

    def __init__(self, groups: Sequence[Group], encoder: Encoder, settings: ContrastSettings) -> None:
        own = "positives" if settings.needs_positives else "negatives"
        self._groups = [group for group in groups if getattr(group, own)]
        self._pool = [(group.anchor, group.place, text) for group in groups for text in group.negatives]
        self._encoder, self._settings = encoder, settings
        self._epoch = 0

    def begin_epoch(self, epoch: int) -> None:
        """From now on draw as in that epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, place: int) -> Drawn:
        group, chosen = self._groups[place], self._settings
        draw = np.random.default_rng((chosen.seed, self._epoch, place))
        positives = _some(group.positives, chosen.most_positives, draw) if chosen.needs_positives else ()
        negatives = _some(group.negatives, chosen.most_negatives, draw) if chosen.objective != "positives" else ()
        encode = self._encoder
        return Drawn(
            encode.several(positives, group.anchor),
            encode.several(negatives, group.anchor),
            encode.several(self._others(group, draw), group.anchor),
        )

    def _others(self, group: Group, draw: np.random.Generator) -> list[str]:
        """Negatives of other anchors, at most as many as there are. They are read after this group's prompt."""
        wanted = self._settings.random_negatives
        foreign = len(self._pool) - len(group.negatives)
        if not wanted or not foreign:
            return []
        found: dict[int, str] = {}
        while len(found) < min(wanted, foreign):
            place = int(draw.integers(len(self._pool)))
            _, where, text = self._pool[place]
            if where != group.place:
                found[place] = text
        return list(found.values())


def _some(texts: Sequence[str], most: int, draw: np.random.Generator) -> Sequence[str]:
    """At most so many of the texts, or all for 0, in their own order."""
    if not most or len(texts) <= most:
        return texts
    return [texts[place] for place in sorted(draw.permutation(len(texts))[:most].tolist())]
