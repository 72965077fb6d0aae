"""Phrases that a text may not contain, whatever its tokens are.

A token is forbidden if the text with it contains a phrase, or ends with one. A letter could still follow and make
another word of the phrase, as in "shut upward"; but a model that was about to say the phrase then says no word at all.

Where the description is exact only whole words count: after "shut up" a letter must follow, so there must be room for
one, and for the rest of a character that is cut. What a text may be is then exactly: no phrase in it, also where it is
cut at its longest.
"""

from collections.abc import Sequence
from math import inf

import numpy as np
from torch import Tensor

from lmalgebra.algebra import Forbidden
from lmalgebra.models.base import LanguageModel
from lmalgebra.models.constraints.characters import letters_from
from lmalgebra.models.constraints.following import FollowedText, FollowingScorer, Place

LONGEST_WAY_OUT = 4
"""Tokens: as many as a character has bytes."""


class ForbidScorer(FollowingScorer):
    """Forbids phrases; a text with one of them is not allowed."""

    def __init__(self, description: Forbidden, model: LanguageModel, ends: frozenset[int]) -> None:
        super().__init__([description.phrases], model, ends)
        self._exact = description.exact
        self._ways_out: dict[Place, float] = {}
        self._short = self._one_of_each()
        self._going_on = [self._vocabulary.pieces[token] for token in self._vocabulary.going_on]
        self._spells_all_bytes = all(bytes([byte]) in self._vocabulary.known for byte in range(0x80, 0xC0))

    def _masks_after(self, state: FollowedText, tokens: Sequence[int], first: int) -> list[Tensor]:
        places = state.trail.places(tokens, first, self._after)
        return [self._mask_at(place, state.left(at, LONGEST_WAY_OUT)) for at, place in enumerate(places, first)]

    def _after(self, place: Place | None, token: int) -> Place | None:
        after = None if place is None else self._follower.after(place, token)
        return None if after is None or after.found else after

    def _mask_at(self, place: Place | None, left: float) -> Tensor:
        if place is None:
            return self._all(False)
        may_end = not self._follower.found_at_end(place)
        return self._mask((place, left if self._exact else None), lambda: self._allowed(place, left), may_end)

    def _allowed(self, place: Place, left: float) -> np.ndarray:
        """The tokens that may come at `place` with room for `left` more after them, `[vocabulary]`."""
        leads = self._follower.leads(place)
        allowed = leads.found == 0
        pending = self._automaton.pending[leads.state] != 0
        if not self._exact:
            return allowed & ~pending
        unsure = np.flatnonzero(allowed & pending)
        if len(unsure):
            places, which = self._follower.destinations(leads, unsure)
            allowed[unsure] = np.array([self._way_out(each) <= left for each in places])[which]
        return allowed

    def _way_out(self, place: Place) -> float:
        """A number of tokens within which the text may end, if there is one of at most LONGEST_WAY_OUT, else inf."""
        if not self._follower.found_at_end(place):
            return 0
        if place not in self._ways_out:
            is_cut = bool(place.rest) and self._spells_all_bytes
            self._ways_out[place] = self._by_whole_character(place) if is_cut else self._searched(place)
        return self._ways_out[place]

    def _by_whole_character(self, place: Place) -> float:
        """The bytes that are left of some letter which makes another word of a phrase's last."""
        whole = place._replace(rest=b"")
        for letter in letters_from(place.rest):
            after = self._follower.spelled(whole, letter.encode())
            if after.found == 0 and not self._follower.found_at_end(after):
                return len(letter.encode()) - len(place.rest)
        return inf

    def _searched(self, place: Place) -> float:
        """The fewest tokens, found by trying those that say one character, or go on with the one that is cut."""
        reached, newest = {place}, {place}
        for count in range(1, LONGEST_WAY_OUT + 1):
            found: set[Place] = set()
            for each in newest:
                for piece in self._going_on if each.rest else self._short:
                    after = self._follower.spelled(each, piece)
                    if after.found == 0 and not self._follower.found_at_end(after):
                        return count
                    if after.found == 0:
                        found.add(after)
            newest = found - reached
            reached |= newest
        return inf

    def _one_of_each(self) -> list[bytes]:
        """A token for each symbol that is all it says; where there are none, all tokens that say something."""
        pieces, found = self._vocabulary.pieces, {}
        for token, character in self._vocabulary.single_characters():
            found.setdefault(self._automaton.symbol(character), pieces[token])
        return list(found.values()) or [piece for piece in pieces if piece]
