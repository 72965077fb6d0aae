"""What a text has shown so far of who said it, which `posterior` weighs.

The next token's part is known with its scores; the parts of the tokens before it are added up here as the text grows.
"""

from collections.abc import Sequence
from math import isinf

from torch import Tensor

from lmalgebra.alike import common_length


class Evidence:
    """The log-ratios (nats) of one text's tokens, added up; drafts come and go.

    `tokens` is the text as it was last told, drafts included; `sums` has the sum before each position, from 0 on, and
    `ratios` those of all possible tokens at the positions that were told last, `[vocabulary]`.
    """

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.sums = [0.0]
        self.ratios: dict[int, Tensor] = {}

    def sums_before(self, tokens: Sequence[int], first: int, ratios: Tensor) -> list[float]:
        """The sum before each position from `first` on, one for each token of the text from there on and one after.

        `tokens` is the whole text now, and `ratios` has the log-ratios at these positions, `[positions, vocabulary]`.
        """
        self._forget_after(list(tokens))
        self.ratios |= enumerate(ratios, first)
        del self.sums[first + 1 :]
        while len(self.sums) <= len(tokens):
            self.sums.append(_added(self.sums[-1], self._ratio(len(self.sums) - 1)))
        self.ratios = {position: ratio for position, ratio in self.ratios.items() if position >= first}
        return self.sums[first:]

    def _forget_after(self, tokens: list[int]) -> None:
        """Keep only what is true of a text that begins with `tokens`."""
        alike = common_length(self.tokens, tokens)
        del self.sums[alike + 1 :]
        self.ratios = {position: ratio for position, ratio in self.ratios.items() if position <= alike}
        self.tokens = tokens

    def _ratio(self, position: int) -> float:
        """The log-ratio of the token at `position`; 0 where it was never told.

        That can only be where a formula that drafts has a posterior and what judges does not, or lacks the token. The
        whole formula is told of every position that is said, and a draft may be drawn from any law.
        """
        known, token = self.ratios.get(position), self.tokens[position]
        return 0.0 if known is None or token >= len(known) else known[token].item()


def _added(total: float, ratio: float) -> float:
    """The sum; 0 where one is infinite and the other its opposite: impossible to both, and evidence for neither."""
    return 0.0 if isinf(total) and total == -ratio else total + ratio
