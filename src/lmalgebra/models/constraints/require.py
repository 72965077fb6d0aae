"""Words that a text must contain: it may not end before, and is led to them when the room for them gets short.

A token is allowed if, after it, the words that are still missing fit into what is left of the text's longest length.
What they need is counted so: a word that was begun takes the tokens of what is left of it, each other word those of a
space and the word. So while there is room the constraint forbids nothing but the end.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import inf

import numpy as np
from torch import Tensor

from lmalgebra.algebra import Required
from lmalgebra.errors import DecodingError, ModelError
from lmalgebra.models.base import LanguageModel
from lmalgebra.models.constraints.following import FollowedText, FollowingScorer, Place
from lmalgebra.models.constraints.inflections import forms
from lmalgebra.models.constraints.phrases import Node, PhraseAutomaton
from lmalgebra.models.constraints.vocabulary_text import VocabularyText, read

Spelling = Mapping[tuple[Node, bytes], float]
"""The fewest tokens that what is left of a word takes, at a place in the tree and within a character."""


class RequireScorer(FollowingScorer):
    """Requires words, in their order if the description says so. Raises ModelError for one that cannot be spelled."""

    def __init__(self, description: Required, model: LanguageModel, ends: frozenset[int]) -> None:
        self._words, self._ordered = [word.strip() for word in description.words], description.ordered
        kinds = [_ways_to_write(word, description.inflections) for word in self._words]
        super().__init__(kinds, model, ends, _next_found if self._ordered else np.bitwise_or)
        self._spelled = [_spelling(self._automaton, each, self._vocabulary) for each in kinds]
        self._alone = [min(self._tokens(form) for form in each) for each in kinds]
        self._spaced = [min(self._tokens(f" {form}") for form in each) for each in kinds]
        self._enough = sum(self._spaced)
        self._bounds: dict[Place, float] = {}
        self._refuse_unspelled(model.source)

    def _tokens(self, text: str) -> float:
        return _tokens(text.encode(), self._vocabulary)[0]

    def _refuse_unspelled(self, source: str) -> None:
        costs = self._spaced if len(self._words) > 1 else map(min, self._alone, self._spaced)
        for word, tokens in zip(self._words, costs, strict=True):
            if tokens == inf:
                raise ModelError(
                    f"The required word '{word}' cannot be spelled with the tokens of '{source}'.",
                    "Require another word.",
                )

    def _masks_after(self, state: FollowedText, tokens: Sequence[int], first: int) -> list[Tensor]:
        if state.most is not None and self._needed(Place()) > state.most:
            raise DecodingError(
                f"The required words {', '.join(map(repr, self._words))} need {self._needed(Place())} tokens, but the "
                f"text may have only {state.most}.",
                "Raise max_new_tokens, or require fewer words.",
            )
        places = state.trail.places(tokens, first, self._follower.after)
        return [self._mask_at(place, state.left(at, self._enough)) for at, place in enumerate(places, first)]

    def _mask_at(self, place: Place, left: float) -> Tensor:
        may_end = not self._missing_at_end(place)
        if left == self._enough:
            return self._mask(may_end, lambda: np.ones(self._size, np.bool_), may_end)
        return self._mask((place, left), lambda: self._allowed(place, left), may_end)

    def _allowed(self, place: Place, left: float) -> np.ndarray:
        """The tokens that may come at `place` with room for `left` more after them, `[vocabulary]`."""
        leads = self._follower.leads(place)
        places, which = self._follower.destinations(leads, np.arange(self._size))
        return np.array([self._needed(each) <= left for each in places])[which]

    def _needed(self, place: Place) -> float:
        """Tokens within which the missing words can be said from `place`."""
        if place not in self._bounds:
            self._bounds[place] = min([self._by_new_words(place), *self._by_going_on(place)])
        return self._bounds[place]

    def _by_new_words(self, place: Place) -> float:
        """The same where each missing word is begun anew; where none has just begun the first may do without space."""
        missing = self._missing_at_end(place)
        if not missing:
            return 0
        begins = self._automaton.states[place.state][1] and not place.rest
        firsts = [
            (min(self._alone[word], self._spaced[word]) if begins else self._spaced[word])
            + sum(self._spaced[other] for other in missing if other != word)
            for word in missing
        ]
        return firsts[0] if self._ordered else min(firsts)

    def _by_going_on(self, place: Place) -> Iterable[float]:
        """The same where a word that was begun is ended first."""
        nodes, begins = self._automaton.states[place.state]
        if begins:
            nodes |= {self._automaton.root}
        missing = self._missing(place.found)
        for word in missing[:1] if self._ordered else missing:
            others = sum(self._spaced[other] for other in missing if other != word)
            yield min((self._spelled[word].get((node, place.rest), inf) for node in nodes), default=inf) + others

    def _missing_at_end(self, place: Place) -> list[int]:
        """The words that are missing if the text ends here."""
        return self._missing(self._follower.found_at_end(place))

    def _missing(self, found: int) -> list[int]:
        return [word for word in range(len(self._words)) if not found >> word & 1]


def _ways_to_write(word: str, inflections: bool) -> list[str]:
    """A word as it is given and in lower case, and its inflections."""
    return list(dict.fromkeys((word, word.lower(), *(forms(word) if inflections else ()))))


def _next_found(found: np.ndarray, now: np.ndarray) -> np.ndarray:
    """What has been found in order: of what occurs now only the first word that is missing counts."""
    return found | (now & (found + 1))


def _tokens(spelled: bytes, vocabulary: VocabularyText) -> list[float]:
    """The fewest tokens that make up each end of `spelled`, the whole first; infinite where none do."""
    longest = vocabulary.longest
    counts: list[float] = [inf] * len(spelled) + [0]
    for start in range(len(spelled) - 1, -1, -1):
        for end in range(start + 1, min(start + longest, len(spelled)) + 1):
            if spelled[start:end] in vocabulary.known:
                counts[start] = min(counts[start], 1 + counts[end])
    return counts


def _spelling(automaton: PhraseAutomaton, forms: Sequence[str], vocabulary: VocabularyText) -> Spelling:
    """The tokens that are left of a word at each place within one of its forms."""
    found: dict[tuple[Node, bytes], float] = {}
    for form in forms:
        nodes, spelled = automaton.path(form), form.encode()
        for at, count in enumerate(_tokens(spelled, vocabulary)[1:], 1):
            text, rest = read(spelled[:at])
            place = nodes[len(text)], rest
            found[place] = min(found.get(place, inf), count)
    return found
