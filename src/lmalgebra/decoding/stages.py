"""Stages of speculative sampling: which part of a formula drafts, and which parts then judge.

A chain orders stages; the last is always the whole formula. Each stage hands so many drafted tokens to the next, which
judges them all in one pass (Dekoninck et al., ICLR 2024, arXiv 2311.14479, where every term has a factor of
its own: terms of one factor are one stage here).

    off                          no drafts
    auto                         what the planner measures to be fastest
    prompt:8                     copy up to 8 tokens from the context, where it has said the same before
    base:4                       the formula's part over the term `base` drafts 4 tokens
    small:4 > small,medium:8     two drafting stages; the second passes 8 of its tokens on
    draft:4                      the formula given as a draft
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from lmalgebra.algebra import Formula, Term, partial
from lmalgebra.decoding.plan import Plan
from lmalgebra.decoding.planner import LOOKUP, WHOLE
from lmalgebra.errors import DecodingError

OFF, AUTO, DRAFT = "off", "auto", "draft"
DEFAULT_LOOKAHEAD = 4
LARGEST_LOOKAHEAD = 64
_STAGE = re.compile(r"^\s*(?P<names>[^:>]+?)\s*(?::\s*(?P<lookahead>\d+)\s*)?$")
_GRAMMAR = "Write off, auto, or stages such as 'base:4', 'prompt:8' or 'small:4 > small,medium:8'."


@dataclass(frozen=True)
class Stage:
    """A part of a formula that draws tokens; without a plan they are copied from the context."""

    name: str
    plan: Plan | None

    @property
    def leaves(self) -> tuple[Term, ...]:
        """The language models that it reads."""
        return () if self.plan is None else self.plan.speakers


@dataclass(frozen=True)
class Chain:
    """Stages in the order in which they see a token; `lookaheads` says how many tokens each but the last hands on."""

    stages: tuple[Stage, ...]
    lookaheads: tuple[int, ...] = ()

    def __str__(self) -> str:
        drafts = [f"{stage.name}:{count}" for stage, count in zip(self.stages[:-1], self.lookaheads, strict=True)]
        return " > ".join(drafts) or OFF

    @property
    def plain(self) -> "Chain":
        """The whole formula alone."""
        return Chain(self.stages[-1:])

    @property
    def copies(self) -> bool:
        """Whether the first stage copies from the context."""
        return self.stages[0].plan is None


def parse_chain(spec: str, plan: Plan, draft: Plan | None = None) -> Chain:
    """The chain that `spec` describes. Raises DecodingError, repeating the part that cannot be used, a draft that it
    does not name included."""
    stages, lookaheads = [], []
    for part in [] if spec.strip() == OFF else spec.split(">"):
        stage, lookahead = _parse_stage(part, plan, draft)
        if stage.plan is None and stages:
            raise DecodingError(f"In the speculation '{spec}' the stage 'prompt' is not the first.", "Put it first.")
        stages.append(stage)
        lookaheads.append(lookahead)
    if draft is not None and all(stage.plan is not draft for stage in stages):
        raise DecodingError(
            f"The speculation '{spec}' does not use the draft formula `{draft.formula}`.",
            "Name the stage 'draft', as in 'draft:4', or give no draft formula.",
        )
    return Chain((*stages, Stage(WHOLE, plan)), tuple(lookaheads))


def _parse_stage(part: str, plan: Plan, draft: Plan | None) -> tuple[Stage, int]:
    found = _STAGE.match(part)
    if found is None:
        raise DecodingError(f"'{part.strip()}' is not a stage of speculation.", _GRAMMAR)
    lookahead = int(found["lookahead"] or DEFAULT_LOOKAHEAD)
    if not 1 <= lookahead <= LARGEST_LOOKAHEAD:
        raise DecodingError(
            f"The stage '{part.strip()}' drafts {lookahead} tokens at once.", f"Give 1 to {LARGEST_LOOKAHEAD}."
        )
    names = [name.strip() for name in found["names"].split(",")]
    return _stage(names, plan, draft), lookahead


def _stage(names: Sequence[str], plan: Plan, draft: Plan | None) -> Stage:
    terms = {leaf.name: leaf for leaf in plan.leaves}
    if names in ([LOOKUP], [DRAFT]) and names[0] in terms:
        raise DecodingError(
            f"'{names[0]}' is both a stage of speculation and a term of the formula `{plan.formula}`.",
            "Rename the term.",
        )
    if names == [LOOKUP]:
        return Stage(LOOKUP, None)
    if names == [DRAFT]:
        if draft is None:
            raise DecodingError("The speculation names the stage 'draft', but no draft formula is given.", "Give one.")
        return Stage(DRAFT, draft)
    for name in names:
        if name not in terms:
            raise DecodingError(
                f"The speculation names '{name}', which is no term of the formula `{plan.formula}`.",
                f"Its terms are {', '.join(terms)}; 'prompt' copies from the context. {_GRAMMAR}",
            )
    part = partial(plan.simplified, [*(terms[name] for name in names), *plan.constraints])
    if part is None:
        raise DecodingError(
            f"The formula `{plan.formula}` has no distribution over {', '.join(names)} alone, so these cannot draft.",
            "Name other terms.",
        )
    return Stage(_part_name(names), Plan(part))


def _part_name(terms: Iterable[str]) -> str:
    """What the part over `terms` is called: never as one of the stages that are no parts."""
    name = ",".join(terms)
    return f"`{name}`" if name in (LOOKUP, DRAFT, WHOLE) else name


def candidates(plan: Plan, draft: Plan | None, groups: Sequence[Sequence[Term]]) -> list[tuple[Stage, ...]]:
    """The drafting stages that are worth measuring, none first.

    `groups` are the formula's language models by their weights.
    Terms that share weights are computed together, so parts are unions of groups; where all share one set of weights,
    or a group says nothing by itself, single terms are tried, since fewer rows may still cost less.
    """
    found: list[tuple[Stage, ...]] = [(), (Stage(LOOKUP, None),)]
    if draft is not None:
        found.append((Stage(DRAFT, draft),))
    parts = _parts(plan, groups)
    found += [(stage,) for stage in parts]
    if len(groups) > 2:
        found += [(small, large) for small, large in combinations(parts, 2) if set(small.leaves) < set(large.leaves)]
    return found


def _parts(plan: Plan, groups: Sequence[Sequence[Term]]) -> list[Stage]:
    """The parts over one or two units, but never the whole; of equal parts, the one over the fewest.

    Constraints judge in every part; classifiers, which cost much, in none.
    """
    units = [unit for group in groups for unit in _units(plan, group, alone=len(groups) == 1)]
    found: dict[Formula, Stage] = {}
    largest = min(len(units) - (not plan.classifiers), 2)
    for size in range(1, largest + 1):
        for chosen in combinations(units, size):
            known = [leaf for unit in chosen for leaf in unit]
            part = partial(plan.simplified, [*known, *plan.constraints])
            if part is not None and part not in found:
                found[part] = Stage(_part_name(leaf.name for leaf in known), Plan(part))
    return list(found.values())


def _units(plan: Plan, group: Sequence[Term], alone: bool) -> list[list[Term]]:
    """A group whole, or its terms where the group is all there is, or cannot draft."""
    whole = not alone and partial(plan.simplified, group) is not None
    return [list(group)] if whole else [[leaf] for leaf in group]
