"""Which stages a formula's samples go through, fixed or chosen by measurement, and what became of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmalgebra.algebra import Term
from lmalgebra.decoding.plan import Plan
from lmalgebra.decoding.planner import LOOKUP, WHOLE, Option, Planner
from lmalgebra.decoding.stages import AUTO, Chain, Stage, candidates, parse_chain

if TYPE_CHECKING:
    from lmalgebra.decoding.step import Act, Verdict


@dataclass(frozen=True)
class SpeculationReport:
    """What speculation did: the chain in use with its lookaheads, and means over all tokens said so far.

    `passes` counts how often the whole formula drew or judged; `acceptance` is the share of tested tokens that was
    kept, by who drafted and who judged; `calls` counts the passes of each term per token said.
    """

    chain: str
    tokens: int
    passes: int
    acceptance: dict[str, float]
    calls: dict[str, float]

    def __str__(self) -> str:
        accepted = ", ".join(f"{pair} {rate:.0%}" for pair, rate in self.acceptance.items())
        calls = ", ".join(f"{name} {count:.2f}" for name, count in self.calls.items())
        return (
            f"Speculation: {self.chain}. Accepted: {accepted or 'nothing tried'}. Calls per token: {calls or 'none'}."
        )


class Speculation:
    """Gives each sample its chain, and collects what the report and the planner need.

    `groups` are the formula's leaves by their weights. Raises DecodingError for a `spec` that cannot be used.
    """

    def __init__(self, plan: Plan, draft: Plan | None, spec: str, groups: Sequence[Sequence[Term]]) -> None:
        self._whole = Stage(WHOLE, plan)
        self._chains: dict[str, tuple[Stage, ...]] = {}
        self._planner: Planner | None = None
        if spec.strip() == AUTO:
            self._chains = {_name(stages): stages for stages in candidates(plan, draft, groups)}
            options = [Option(name, tuple(stage.name for stage in stages)) for name, stages in self._chains.items()]
            self._planner = Planner(options)
            self._chain = Chain((self._whole,))
        else:
            self._chain = parse_chain(spec, plan, draft)
        self._tokens, self._passes = 0, 0
        self._calls: Counter[str] = Counter()
        self._kept: Counter[tuple[str, str]] = Counter()
        self._tested: Counter[tuple[str, str]] = Counter()

    @property
    def leaves(self) -> set[Term]:
        """The terms that any stage reads."""
        stages = [*self._chain.stages, *(stage for chain in self._chains.values() for stage in chain)]
        return {leaf for stage in stages for leaf in stage.leaves}

    def chain(self, samples: int) -> Chain:
        """The stages for so many samples in step."""
        if self._planner is not None:
            option, lookaheads = self._planner.choose(samples)
            self._chain = Chain((*self._chains[option.name], self._whole), lookaheads)
        return self._chain

    def measure(self, acts: Sequence["Act"], verdicts: Sequence["Verdict"], seconds: float | None) -> None:
        """Count `acts` of one stage; they took so many `seconds`, or None when other work was done in that time."""
        if self._planner is not None and seconds is not None:
            self._planner.costs[acts[0].name].add(sum(act.rows for act in acts), seconds)
        for verdict in verdicts:
            self._passes += verdict.act.is_last
            if verdict.tested:
                self._count(verdict)

    def _count(self, verdict: "Verdict") -> None:
        pair = verdict.act.drafter, verdict.act.name
        self._kept[pair] += verdict.kept  # type: ignore[assignment]  # a sum of probabilities
        self._tested[pair] += verdict.tested
        if self._planner is not None:
            self._planner.acceptances[pair].add(verdict.kept, verdict.tested)

    def called(self, leaf: Term) -> None:
        """Count a pass of one sample's row of `leaf`."""
        self._calls[leaf.name] += 1

    def copied(self, found: bool) -> None:
        """Count an attempt to copy from the context."""
        if self._planner is not None:
            self._planner.proposals[LOOKUP].add(float(found), 1)

    def said(self, tokens: int) -> None:
        """Count tokens that are final."""
        self._tokens += tokens

    def report(self) -> SpeculationReport:
        """What has been done since the formula was loaded."""
        return SpeculationReport(
            str(self._chain),
            self._tokens,
            self._passes,
            {f"{draft} by {judge}": self._kept[draft, judge] / count for (draft, judge), count in self._tested.items()},
            {name: count / max(1, self._tokens) for name, count in self._calls.items()},
        )


def _name(stages: Sequence[Stage]) -> str:
    return " > ".join([*(stage.name for stage in stages), WHOLE])
