"""Follows phrases through texts that grow by tokens: where every token of a vocabulary leads, from any place."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lmalgebra.models.base import LanguageModel, Message
from lmalgebra.models.constraints.masks import MaskScorer, Remembered, Trail
from lmalgebra.models.constraints.phrases import PhraseAutomaton
from lmalgebra.models.constraints.vocabulary_text import VocabularyText, read, vocabulary_text

Count = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""What has been found, and what occurs now, to what has been found then; elementwise."""

BYTES_A_TOKEN = 16
"""Of `Leads`."""


class Place(NamedTuple):
    """Where a text is: the automaton's state, the bytes of a character that is not whole, and what has been found."""

    state: int = 0
    rest: bytes = b""
    found: int = 0


class Leads(NamedTuple):
    """Where each token leads to from one place, `[vocabulary]` each; `rest` numbers the vocabulary's rests."""

    state: np.ndarray
    rest: np.ndarray
    found: np.ndarray


class Follower:
    """Texts over `vocabulary` that are searched by `automaton`; `count` adds up what occurs."""

    def __init__(self, automaton: PhraseAutomaton, vocabulary: VocabularyText, count: Count) -> None:
        self.automaton, self.vocabulary, self._count = automaton, vocabulary, count
        self._columns = vocabulary.columns(automaton.symbols)
        self._steps, self._found = automaton.step.ravel(), automaton.found.ravel()
        self._width = automaton.step.shape[1]
        self._rests = list(vocabulary.rests)
        self._known: Remembered[Leads] = Remembered(BYTES_A_TOKEN * len(vocabulary.pieces))

    def leads(self, place: Place) -> Leads:
        """Where every token leads to from `place`; remembered."""
        return self._known.get(place, lambda: self._inside(place) if place.rest else self._from_whole(place))

    def after(self, place: Place, token: int) -> Place:
        """Where one token leads to."""
        return self.spelled(place, self.vocabulary.pieces[token])

    def destinations(self, leads: Leads, tokens: np.ndarray) -> tuple[list[Place], np.ndarray]:
        """The different places that `tokens` lead to, and for each of them which it is, `[tokens]`."""
        counts, count = np.unique(leads.found[tokens], return_inverse=True)
        code = (leads.state[tokens].astype(np.int64) * len(self._rests) + leads.rest[tokens]) * len(counts) + count
        _, first, which = np.unique(code, return_index=True, return_inverse=True)
        parts = (leads.state[tokens][first], leads.rest[tokens][first], leads.found[tokens][first])
        places = zip(*(part.tolist() for part in parts), strict=True)
        return [Place(state, self._rests[rest], found) for state, rest, found in places], which

    def cut(self, place: Place) -> Place:
        """The place if what is not whole is given up: it becomes one character that is no letter."""
        return self._read(place, "\ufffd")._replace(rest=b"") if place.rest else place

    def found_at_end(self, place: Place) -> int:
        """What has been found if the text ends here."""
        state, _, found = self.cut(place)
        return int(self._count(np.int64(found), self.automaton.pending[state]))

    def spelled(self, place: Place, piece: bytes) -> Place:
        """Where some bytes lead to, whether or not they are a token."""
        text, rest = read(place.rest + piece)
        return self._read(place, text)._replace(rest=rest)

    def _from_whole(self, place: Place) -> Leads:
        size = len(self.vocabulary.pieces)
        state = np.full(size, place.state, np.int32)
        found = np.full(size, place.found, np.int64)
        for symbols in self._columns:
            count = len(symbols)
            looked_up = state[:count] * self._width + symbols
            found[:count] = self._count(found[:count], self._found[looked_up])
            state[:count] = self._steps[looked_up]
        leads = Leads(np.empty_like(state), self.vocabulary.rest.copy(), np.empty_like(found))
        leads.state[self.vocabulary.order] = state
        leads.found[self.vocabulary.order] = found
        return leads

    def _inside(self, place: Place) -> Leads:
        """From within a character: most tokens break it off, some may go on with it, and those that are silent leave
        it as it is."""
        leads = Leads(*map(np.copy, self.leads(self.cut(place))))
        for token in self.vocabulary.going_on:
            self._set(leads, token, self.spelled(place, self.vocabulary.pieces[token]))
        for token in self.vocabulary.silent:
            self._set(leads, token, place)
        return leads

    def _set(self, leads: Leads, token: int, place: Place) -> None:
        if place.rest not in self._rests:
            self._rests.append(place.rest)
        leads.state[token], leads.found[token] = place.state, place.found
        leads.rest[token] = self._rests.index(place.rest)

    def _read(self, place: Place, text: str) -> Place:
        state, found = place.state, np.int64(place.found)
        for character in text:
            symbol = self.automaton.symbol(character)
            found = self._count(found, self.automaton.found[state, symbol])
            state = int(self.automaton.step[state, symbol])
        return Place(state, place.rest, int(found))


class FollowedText:
    """A text in progress, of at most `most` tokens; its place is None once it is not allowed."""

    def __init__(self, most: int | None) -> None:
        self.most = most
        self.trail: Trail[Place | None] = Trail(Place())

    def left(self, position: int, enough: float) -> float:
        """The tokens that there is room for after the one at `position`, as far as they matter: at most `enough`."""
        return enough if self.most is None else min(max(self.most - position - 1, 0), enough)


class FollowingScorer(MaskScorer):
    """A constraint that depends on where phrases occur: see PhraseAutomaton for `phrases`."""

    def __init__(
        self, phrases: Sequence[Sequence[str]], model: LanguageModel, ends: frozenset[int], count: Count = np.bitwise_or
    ) -> None:
        size = model.session.vocabulary_size
        super().__init__(size, ends)
        self._vocabulary = vocabulary_text(model.tokenizer, size, ends)
        self._automaton = PhraseAutomaton(phrases)
        self._follower = Follower(self._automaton, self._vocabulary, count)

    def begin(self, messages: Sequence[Message], most: int | None = None) -> FollowedText:
        """A text in which nothing was said."""
        return FollowedText(most)
