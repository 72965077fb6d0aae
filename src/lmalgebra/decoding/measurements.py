"""What is measured while decoding: the seconds of a pass, and the share of drafted tokens that are accepted.

Both forget, since text and machine change.
"""

from collections import deque
from statistics import median_low

PASSES_KEPT = 9  # of each doubling of tokens
STALE, LEAST = 0.97, 1e-6  # what a doubling's weight is multiplied by for each pass of another one, and at the least
MEMORY = 64.0  # tested tokens after which a measurement counts 1/e
PRIOR, PRIOR_TOKENS = 0.8, 4.0
_SHORTEST = 1e-9  # seconds


class Cost:
    """Seconds of a pass over some new tokens of all rows together: `intercept + slope * tokens`, neither negative.

    1. Passes are sorted by doubling of tokens (1, 2 to 3, 4 to 7, ...), and the last 9 of each are kept.
    2. The typical pass of a doubling is the one of median time (the lower of two): a pause of the machine, which only
       ever adds time, does not count, nor does a slow first pass once there are two; a lasting change does after five.
    3. A line is fitted to the typical passes by least squares of the relative errors, so that passes over few tokens,
       which are the ones to choose among, are not drowned by long ones. A doubling that is not seen loses weight.

    With passes of one doubling only, the cost is taken to be flat: a pass over few tokens spends its time reading the
    weights. If that is too hopeful for more tokens, drafting is tried and the next passes say so.
    """

    def __init__(self) -> None:
        self._passes: dict[int, deque[tuple[float, int]]] = {}
        self._age: dict[int, int] = {}  # passes since the last one of a doubling
        self._line: tuple[float, float] | None = None  # intercept and slope; None when there is something new

    def add(self, tokens: int, seconds: float) -> None:
        """Count a pass over `tokens` new tokens."""
        doubling = tokens.bit_length()
        self._passes.setdefault(doubling, deque(maxlen=PASSES_KEPT)).append((max(seconds, _SHORTEST), tokens))
        self._age = {each: age + 1 for each, age in self._age.items()} | {doubling: 0}
        self._line = None

    def seconds(self, tokens: float) -> float | None:
        """The seconds that a pass over `tokens` new tokens takes, or None before there is a measurement."""
        if not self._passes:
            return None
        if self._line is None:
            self._line = _line([self._typical(doubling) for doubling in self._passes])
        intercept, slope = self._line
        return intercept + slope * tokens

    def _typical(self, doubling: int) -> tuple[float, float, float]:
        """The weight, tokens and seconds of a doubling's typical pass."""
        passes = self._passes[doubling]
        seconds, tokens = median_low(passes)
        return len(passes) / seconds**2 * max(STALE ** self._age[doubling], LEAST), tokens, seconds


def _line(points: list[tuple[float, float, float]]) -> tuple[float, float]:
    """Intercept and slope of least weighted squares through points (weight, x, y), neither of them negative.

    Where one comes out negative, the best line that is allowed has it at 0, since the squares are convex.
    """
    total = sum(weight for weight, _, _ in points)
    x_mean = sum(weight * x for weight, x, _ in points) / total
    y_mean = sum(weight * y for weight, _, y in points) / total
    spread = sum(weight * (x - x_mean) ** 2 for weight, x, _ in points)
    slope = sum(weight * (x - x_mean) * (y - y_mean) for weight, x, y in points) / spread if spread else 0.0
    if slope <= 0:
        return y_mean, 0.0
    if slope * x_mean > y_mean:
        return 0.0, sum(weight * x * y for weight, x, y in points) / sum(weight * x * x for weight, x, _ in points)
    return y_mean - slope * x_mean, slope


class Acceptance:
    """A share of successes, mostly of drafted tokens that are accepted: a mean that forgets.

    It starts at 0.8 as if 4 tokens had been tested, which is hopeful enough to be tried and soon outweighed.
    """

    def __init__(self) -> None:
        self._accepted, self._tested = PRIOR * PRIOR_TOKENS, PRIOR_TOKENS

    @property
    def rate(self) -> float:
        """From 0 to 1."""
        return self._accepted / self._tested

    def add(self, accepted: float, tested: int) -> None:
        """Count tokens: `tested` up to and with the first rejected one, for an estimate of each token's acceptance.

        `accepted` may be a sum of probabilities, which scatters less than a count.
        """
        if not tested:
            return
        kept = (1 - 1 / MEMORY) ** tested
        counted = MEMORY * (1 - kept)  # these tokens fade too, as if they came one by one
        self._accepted = kept * self._accepted + counted * accepted / tested
        self._tested = kept * self._tested + counted

    def fade(self) -> None:
        """Let what is known count for no more than the prior did: it is from a while ago."""
        kept = min(1.0, PRIOR_TOKENS / self._tested)
        self._accepted, self._tested = kept * self._accepted, kept * self._tested
