"""Whose turn it is: which samples act in a step, and at which stage."""

from collections.abc import Sequence

from lmalgebra.decoding.loaded import LoadedFormula
from lmalgebra.decoding.sample import GrowingSample
from lmalgebra.decoding.step import Act
from lmalgebra.models.base import Session


def acts_of_a_step(samples: Sequence[GrowingSample]) -> list[Act]:
    """Which samples act now, and at which stage.

    Drafting comes first: while some samples draft, others that need a further session wait if the drafts will need it
    too, so that an expensive model judges the drafts of all in one pass.
    """
    by_formula: dict[LoadedFormula, list[GrowingSample]] = {}
    for sample in samples:
        by_formula.setdefault(sample.loaded, []).append(sample)
    for loaded, mine in by_formula.items():
        if any(sample.between for sample in mine):
            chain = loaded.speculation.chain(len(mine))
            for sample in mine:
                if sample.between:
                    sample.begin(chain)
    due = [Act(sample, sample.next_stage()) for sample in samples]
    drafting = [act for act in due if not act.is_last]
    if not drafting:
        return due
    first = min(act.stage for act in drafting)
    chosen = {act for act in drafting if act.stage == first}
    running = set[Session]().union(*(act.sessions for act in chosen))
    coming = set[Session]().union(*(_later(act) for act in drafting)) - running
    return [act for act in due if act in chosen or not act.sessions & coming]


def _later(act: Act) -> set[Session]:
    """What the stages after this one speak by."""
    sample = act.sample
    return {sample.loaded.sessions[leaf] for stage in sample.chain.stages[act.stage + 1 :] for leaf in stage.leaves}
