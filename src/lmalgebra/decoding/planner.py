"""Which stages draft, and how many tokens each: chosen by measured costs and acceptances.

A chain has stages 1 to K; the last is the whole formula. Stage k < K hands n_k drafted tokens to stage k + 1, which
judges them in one pass and adds a token of its own. K = 1 is plain decoding. With a the chance that a token is
accepted, given that those before it were (taken to be the same for each), and c_k(T) the seconds of a pass of stage k
over T tokens:

1. A judging pass gains j <= n tokens with chance a^(j-1) (1 - a), where token j replaces a rejected one, and n + 1 with
   chance a^n; in the mean E(n, a) = 1 + a + ... + a^n (Leviathan et al., 2023, arXiv 2211.17192, equation 1).
2. Stage 1 hands over n_1 tokens in n_1 passes: C_1 = n_1 c_1(S) for S samples in step. A look-up takes no pass, but has
   a draft only with chance p; where it has none, a judging pass gains one token.
3. A middle stage acts until it has n_k tokens, each act costing C_(k-1) + c_k(S (n_(k-1) + 1)). The number of acts
   that one sample needs is a sum of gains reaching n_k, whose law is computed: about n_k / E, and more for what the
   last act gains beyond n_k. Samples in step act until the slowest is done: P(acts <= i) to the power of S.
4. A cycle of the whole costs C_(K-1) + c_K(S (n_(K-1) + 1)) seconds and emits S E(n_(K-1), a) tokens.

Approximations: in a middle stage, what is gained beyond n_k is lost, and the last act and samples that are done cost as
much as others; a drafter's first pass reads one token, though two after a draft that was accepted whole; costs are
lines; tokens are accepted independently.

The code of model arithmetic (Dekoninck et al., 2024, arXiv 2311.14479) minimises the same ratio for K = 2, ahead of
time and for one sample: eth-sri/language-model-arithmetic, scripts/optimization.py, where a factor x is n + 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from operator import mul
from typing import NamedTuple

from lmalgebra.decoding.measurements import Acceptance, Cost
from lmalgebra.decoding.trials import Trials

LOOKUP, WHOLE = "prompt", "all"
LOOKAHEADS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # choosing among all would gain little: the minimum is flat
FIRST_LOOKAHEAD = 4
SWITCH = 0.95  # another option must cost less than this times the current one
REPLAN = 8  # cycles


@dataclass(frozen=True)
class Option:
    """A chain that could be used: its name in reports, and the keys of its stages before the whole formula."""

    name: str
    stages: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        return (*self.stages, WHOLE)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Each drafting stage with the one that judges it."""
        return tuple(pairwise(self.keys))


class Draft(NamedTuple):
    """What it takes until a stage hands on the last of `lookaheads`: for each emitted token once the chain is whole."""

    seconds: float
    lookaheads: tuple[int, ...]


def gain(lookahead: int, acceptance: float) -> float:
    """Tokens that judging `lookahead` drafted tokens gains in the mean."""
    return sum(acceptance**index for index in range(lookahead + 1))


@lru_cache(maxsize=1024)
def acts(most: int, lookahead: int, acceptance: float, drafted: float = 1.0, samples: int = 1) -> tuple[float, ...]:
    """The mean number of acts of a middle stage until all samples have 1, 2, ..., `most` tokens (step 3 above).

    An act judges `lookahead` tokens with chance `drafted`, otherwise none.
    """
    gains = [drafted * acceptance**index * (1 - acceptance) for index in range(lookahead)]
    gains.append(drafted * acceptance**lookahead)
    gains[0] += 1 - drafted
    means = [0.0] * most
    has = [1.0] + [0.0] * (most - 1)  # after i acts: the chances that a sample has i, i + 1, ... tokens
    for done in range(most):
        for index, lacks in enumerate(accumulate(has), done):  # the chance that it has at most `index` tokens
            means[index] += 1 - (1 - lacks) ** samples
        has = [sum(map(mul, gains, has[index::-1])) for index in range(len(has) - 1)]
    return tuple(means)


class Planner:
    """Chooses an option and its lookaheads for each cycle, from what the caller measures and adds.

    `costs` are by stage, `acceptances` by (drafting stage, judging stage); `proposals` is the share of cycles in which
    a look-up had a draft. Add to them after each cycle. A look-up without a cost counts as free.
    """

    def __init__(self, options: Sequence[Option], largest: int = 16) -> None:
        """At least one option; the first goes on while nothing is measured. Lookaheads are at most `largest`."""
        self.options = tuple(options)
        self._lookaheads = [lookahead for lookahead in LOOKAHEADS if lookahead <= largest]
        self.costs = {key: Cost() for option in options for key in option.keys}
        self.acceptances = {pair: Acceptance() for option in options for pair in option.pairs}
        self.proposals = {LOOKUP: Acceptance()}
        self._trials = Trials(len(self.options))
        self._plans: dict[int, Draft] = {}  # by place in `options`, of those that are measured
        self._current = 0
        self._samples, self._replan_in = 0, 0
        self._tried: tuple[int, ...] = ()

    def choose(self, samples: int) -> tuple[Option, tuple[int, ...]]:
        """The option and lookaheads for the next cycle of that many samples in step; a call counts as a cycle.

        1. An option whose trial is due is tried, with lookaheads of 4 or those that seem best for it, if less.
        2. Otherwise the current option goes on, with the lookaheads of least seconds for a token by `expected`; another
           takes its place when it costs over 5 % less. This is computed anew every 8 cycles, and after each trial.
        """
        ended = self._trials.advance()
        self._replan_in -= 1
        if ended is not None or samples != self._samples or self._replan_in <= 0:
            self._replan(samples)
        if ended is not None:
            self._trials.judge(ended, self._relative_cost(ended))
        trial = self._trials.option(self._current)
        if trial is None:
            return self.options[self._current], self._planned(self._current)
        index, begins = trial
        if begins:
            self._forget(index)
            self._tried = tuple(min(FIRST_LOOKAHEAD, lookahead) for lookahead in self._planned(index))
        return self.options[index], self._tried

    def expected(self, option: Option, lookaheads: Sequence[int], samples: int) -> float | None:
        """Seconds for an emitted token, counting those of all samples; None when a stage's cost is not measured."""
        best = self._best(option, [(lookahead,) for lookahead in lookaheads], samples)
        return None if best is None else best.seconds

    def _replan(self, samples: int) -> None:
        self._samples, self._replan_in = samples, REPLAN
        found = [self._best(option, [self._lookaheads] * len(option.stages), samples) for option in self.options]
        self._plans = {index: plan for index, plan in enumerate(found) if plan is not None}
        if not self._plans:
            return
        cheapest = min(self._plans, key=lambda index: self._plans[index].seconds)
        if self._plans[cheapest].seconds < SWITCH * self._seconds(self._current):
            self._current = cheapest

    def _seconds(self, index: int) -> float:
        return self._plans[index].seconds if index in self._plans else float("inf")

    def _relative_cost(self, index: int) -> float:
        return self._seconds(index) / self._seconds(self._current) if self._plans else 1.0

    def _planned(self, index: int) -> tuple[int, ...]:
        if index in self._plans:
            return self._plans[index].lookaheads
        return (min(FIRST_LOOKAHEAD, self._lookaheads[-1]),) * len(self.options[index].stages)

    def _forget(self, index: int) -> None:
        """Let old acceptances of an option weigh less, save those that the current option keeps fresh."""
        fresh = self.options[self._current].pairs
        for pair in self.options[index].pairs:
            if pair not in fresh:
                self.acceptances[pair].fade()

    def _best(self, option: Option, choices: Sequence[Sequence[int]], samples: int) -> Draft | None:
        """The cheapest lookaheads, of stage k among `choices[k]`: found stage by stage, since what a stage costs
        depends on the stages before it only by what it takes them to hand over."""
        if any(self.costs[key].seconds(1) is None for key in option.keys if key not in self.proposals):
            return None
        if not option.stages:
            return Draft(self.costs[WHOLE].seconds(samples) / samples, ())
        handed = [Draft(self._drafting(option.stages[0], count, samples), (count,)) for count in choices[0]]
        for pair, wanted in zip(option.pairs, choices[1:], strict=False):
            handed = self._middle(handed, pair, wanted, samples)
        return min(self._whole(draft, option.pairs[-1], samples) for draft in handed)

    def _drafting(self, key: str, count: int, samples: int) -> float:
        """Seconds until stage 1 has `count` tokens for each sample (step 2)."""
        if key in self.proposals:
            return self.costs[key].seconds(samples * count) or 0.0
        return count * self.costs[key].seconds(samples)

    def _middle(
        self, drafts: Sequence[Draft], pair: tuple[str, str], wanted: Sequence[int], samples: int
    ) -> list[Draft]:
        """The cheapest way for a middle stage to hand on each number of tokens in `wanted` (step 3)."""
        best: dict[int, Draft] = {}
        acceptance, drafted = round(self.acceptances[pair].rate, 2), round(self._drafted(pair), 2)  # for the cache
        for draft in drafts:
            seconds = self._act(draft, pair, samples)
            numbers = acts(max(wanted), draft.lookaheads[-1], acceptance, drafted, samples)
            for count in wanted:
                handed = Draft(seconds * numbers[count - 1], (*draft.lookaheads, count))
                best[count] = min(best.get(count, handed), handed)
        return list(best.values())

    def _whole(self, draft: Draft, pair: tuple[str, str], samples: int) -> Draft:
        """A cycle's seconds for each token it emits (step 4)."""
        drafted = self._drafted(pair)
        tokens = 1 - drafted + drafted * gain(draft.lookaheads[-1], self.acceptances[pair].rate)
        return Draft(self._act(draft, pair, samples) / (samples * tokens), draft.lookaheads)

    def _act(self, draft: Draft, pair: tuple[str, str], samples: int) -> float:
        """Seconds to draft and to judge the draft in one pass."""
        tokens = samples * (1 + self._drafted(pair) * draft.lookaheads[-1])
        return draft.seconds + self.costs[pair[1]].seconds(tokens)

    def _drafted(self, pair: tuple[str, str]) -> float:
        """The chance that there is a draft."""
        return self.proposals[pair[0]].rate if pair[0] in self.proposals else 1.0
