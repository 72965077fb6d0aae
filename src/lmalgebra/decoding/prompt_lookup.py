"""Drafts copied from the context: what followed when the last few tokens were said before.

Saxena, "Prompt Lookup Decoding", 2023; LLMA (Yang et al., 2023, arXiv 2304.04487) copies from references likewise.
Summaries, edits, quotations and tables repeat their context, and a copied draft needs no model. Unlike Saxena's code,
this takes the most recent occurrence and not the first, and a copy may run on into itself, so that a rule of dashes
gives a draft of any length.

Suffixes of 4 down to 2 tokens are compared. In this project's own documents (7,600 tokens) and sources (91,000) under
SmolLM2's tokenizer, a stand-in for what models say, the next token was right after a longest match of 1 token in 15 %
(documents) and 20 % (sources) of cases, of 2 in 32 and 39 %, of 3 in 49 and 49 %, of 4 in 48 and 58 %. One token alone
matches at every third position and would mostly draft to be rejected.
"""

from collections.abc import Sequence
from itertools import cycle, islice

LONGEST, SHORTEST = 4, 2


class PromptLookup:
    """The tokens of one sample, its context and what it said, with the place where each short run was last followed.

    A token costs three dictionary entries to remember and a draft at most three look-ups, however long the context is.
    """

    def __init__(self, context: Sequence[int]) -> None:
        self._tokens: list[int] = []
        self._followed: dict[tuple[int, ...], int] = {}  # a run of tokens -> the place after its last occurrence
        self.extend(context)

    def extend(self, tokens: Sequence[int]) -> None:
        """Remember tokens that were said. They cannot be taken back."""
        for token in tokens:
            place = len(self._tokens)
            for length in range(SHORTEST, min(LONGEST, place) + 1):
                self._followed[tuple(self._tokens[-length:])] = place
            self._tokens.append(token)

    def propose(self, count: int, pending: Sequence[int] = ()) -> list[int]:
        """`count` tokens that may follow what was said and the `pending` ones; empty when nothing matches.

        `pending` are drafted tokens that are not said yet: they end the suffix and are not remembered.
        """
        suffix = (*self._tokens[-LONGEST:], *pending)[-LONGEST:]
        for length in range(len(suffix), SHORTEST - 1, -1):
            place = self._followed.get(suffix[-length:])
            if place is not None:
                period = [*self._tokens[place : place + count], *pending]
                return list(islice(cycle(period), count))
        return []
