"""What can be counted of a text: words that it uses, how many of them in their order, and how much it repeats.

Words to use are in their base form and count in any inflection, as the constraint `require` has them, and only as whole
words (CommonGen: Lin et al., Findings of EMNLP 2020, arXiv 1911.03705).
"""

import re
from collections.abc import Sequence
from functools import cache

from lmalgebra.models.constraints.inflections import forms


def used(concepts: Sequence[str], text: str) -> int:
    """How many of the concepts a text uses, wherever."""
    return sum(bool(_pattern(concept).search(text)) for concept in concepts)


def used_in_order(concepts: Sequence[str], text: str) -> int:
    """The most concepts that a text uses one after another in the order in which they are given.

    One pass over the concepts: `ends[n]` is where the earliest chain of n of those seen so far ends.
    """
    ends = [0]
    for concept in concepts:
        pattern = _pattern(concept)
        longer = [pattern.search(text, end) for end in ends]
        for length, match in enumerate(longer, 1):
            if match is None:
                continue
            if length == len(ends):
                ends.append(match.end())
            else:
                ends[length] = min(ends[length], match.end())
    return len(ends) - 1


def repeats(words: Sequence[str], length: int) -> tuple[int, int]:
    """How many n-grams of `length` words a text had before, of how many."""
    found = grams(words, length)
    return len(found) - len(set(found)), len(found)


def grams(words: Sequence[str], length: int) -> list[tuple[str, ...]]:
    """The n-grams of `length` words, in order."""
    return [tuple(words[start : start + length]) for start in range(len(words) - length + 1)]


@cache
def _pattern(concept: str) -> re.Pattern[str]:
    ways = "|".join(map(re.escape, dict.fromkeys((concept, *forms(concept)))))
    return re.compile(rf"(?<!\w)(?:{ways})(?!\w)", re.IGNORECASE)
