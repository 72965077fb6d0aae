"""How far two texts agree."""

from collections.abc import Sequence


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences of one type begin with alike."""
    alike, limit = 0, min(len(first), len(second))
    while alike < limit:
        middle = (alike + limit + 1) // 2
        if first[alike:middle] == second[alike:middle]:
            alike = middle
        else:
            limit = middle - 1
    return alike
