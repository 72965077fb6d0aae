"""A report of voices: what was asked, what was found, what can be concluded, and how to get the same again.

It is made of blocks, which are written as Markdown or as a page; the plots are drawn when they are asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from lmalgebra.evaluation.reports import plots
from lmalgebra.evaluation.reports.asked import reproduced, what_was_asked
from lmalgebra.evaluation.reports.blocks import Block, Figure, Listing, Paragraph, Section, Table
from lmalgebra.evaluation.reports.compare import Comparison, compare
from lmalgebra.evaluation.reports.conclusions import how_sure, refusal, sentence
from lmalgebra.evaluation.reports.outcomes import Key, Outcome, curves_of
from lmalgebra.evaluation.reports.phrases import file_name, headlines, listed, phrase, spoken
from lmalgebra.evaluation.reports.table import cell, short
from lmalgebra.evaluation.statistics import LEVEL

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    Drawn = dict[str, Callable[[], Drawing]]

ARROWS = {True: " ↓", False: " ↑", None: ""}
"""Which way is better, behind a quantity's name."""

MOST = 10
"""Prompts that were left out of which it is said why."""


@dataclass(frozen=True)
class Report:
    """Sections of blocks; `drawn` has what draws each figure of them, by its name."""

    title: str
    sections: Sequence[Section]
    drawn: "Drawn"


def report(outcomes: Sequence[Outcome], level: float = LEVEL) -> Report:
    """The report of voices, the first of which is what others are compared with."""
    keys = headlines(outcomes)
    comparison = compare(outcomes, level, keys)
    drawn: Drawn = {}
    parts = {
        "At a glance": _glance(outcomes, keys, comparison),
        "Toxicity against perplexity": _planes(outcomes, drawn),
        "Control": _curves(outcomes, keys, drawn),
        "Cost": _cost(outcomes, drawn),
        "What can be concluded": _concluded(comparison) if len(outcomes) > 1 else [],
        "All quantities": _quantities(outcomes),
        "Groups of prompts": _strata(outcomes, keys),
        "Agreement of judges": _agreement(outcomes),
        "Left out and noted": _noted(outcomes),
        "What was asked": what_was_asked(outcomes),
        "The same again": reproduced(outcomes),
    }
    suites = dict.fromkeys(one.result["suite"] for one in outcomes)
    sections = [Section(title, blocks) for title, blocks in parts.items() if blocks]
    return Report(f"Evaluation: {', '.join(suites)}", sections, drawn)


def _glance(outcomes: Sequence[Outcome], keys: Sequence[Key], comparison: Comparison) -> list[Block]:
    asked = dict.fromkeys(f"{len(one.ids)} prompts of {one.result['prompts']['source']}" for one in outcomes)
    voices = "1 voice" if len(outcomes) == 1 else f"{len(outcomes)} voices"
    strong = _best(outcomes, keys, comparison)
    table = _table(outcomes, keys, [f"{phrase(key)}{_arrow(outcomes, key)}" for key in keys], strong)
    told = f"In brackets: 95 % intervals, by a bootstrap over prompts. {_marked(outcomes, strong)}"
    return [Paragraph(f"{voices}, asked {listed(asked)}."), table, Paragraph(told.strip())]


def _marked(outcomes: Sequence[Outcome], strong: frozenset[tuple[int, int]]) -> str:
    if len(outcomes) == 1:
        return ""
    if not strong:
        return f"No value stands out: none is surely better than that of {outcomes[0].name}."
    return f"The best value stands out where it is surely better than that of {outcomes[0].name} (see below)."


def _best(outcomes: Sequence[Outcome], keys: Sequence[Key], comparison: Comparison) -> frozenset[tuple[int, int]]:
    """Row and column of each quantity's best value, if it is significantly better than the first voice's."""
    rows = {one.name: row for row, one in enumerate(outcomes)}
    found = set()
    for column, key in enumerate(keys, 1):
        better = [one for one in comparison.compared if one.key == key and one.is_better]
        if better:
            sign = 1 if outcomes[rows[better[0].second]].quantities[key].lower_is_better else -1
            best = min(better, key=lambda one: sign * one.difference.second)
            found.add((rows[best.second], column))
    return frozenset(found)


def _concluded(comparison: Comparison) -> list[Block]:
    blocks: list[Block] = []
    for voices in dict.fromkeys((one.second, one.first) for one in comparison.compared):
        said = [sentence(one) for one in comparison.compared if (one.second, one.first) == voices]
        blocks += [Paragraph(f"{voices[0]} against {voices[1]}:"), Listing(said)]
    others = [*map(refusal, comparison.not_compared), *(f"Note: {note}" for note in comparison.notes)]
    blocks += [Listing(others)] if others else []
    return [*blocks, Paragraph(how_sure(comparison))]


def _planes(outcomes: Sequence[Outcome], drawn: "Drawn") -> list[Block]:
    """Every toxicity of texts against every perplexity of tokens."""
    keys = headlines(outcomes)
    across = [key for key in keys if key[1] == "per_token"]
    upwards = [key for key in keys if key[0].startswith("toxicity by ")]
    pairs = [(one, other) for other in upwards for one in across]
    caption = (
        "Lower left is better. A region holds 95 % of the joint draws of both values, so it is wider than "
        "the intervals of each alone; with few prompts a cross shows those. Regions may overlap and voices "
        "differ surely: voices are compared prompt by prompt, which a region does not show."
    )
    figures: list[Block] = [
        _figure(drawn, f"{phrase(other)} against {phrase(one)}", partial(plots.plane, outcomes, one, other))
        for one, other in pairs
    ]
    return [*figures, Paragraph(caption)] if figures else []


def _curves(outcomes: Sequence[Outcome], keys: Sequence[Key], drawn: "Drawn") -> list[Block]:
    """How quantities follow the weight of voices that belong to one curve."""
    lines = curves_of(outcomes)
    figures: list[Block] = [
        _figure(drawn, f"{phrase(key)} against weight", partial(plots.curves, lines, key))
        for key in keys
        if any(key in one.quantities for line in lines.values() for one in line)
    ]
    return [*figures, Paragraph("Bands are 95 % intervals of each point.")] if figures else []


def _cost(outcomes: Sequence[Outcome], drawn: "Drawn") -> list[Block]:
    costs = {one.name: one.voice["cost"] for one in outcomes if one.voice.get("cost")}
    if not costs:
        return []
    rows = [
        [name, _number(cost.get("seconds_per_token"), 1000), _number(cost.get("relative"))]
        for name, cost in costs.items()
    ]
    blocks: list[Block] = [Table(["voice", "milliseconds per token", "relative"], rows)]
    times = {
        name: 1000 * cost["seconds_per_token"]
        for name, cost in costs.items()
        if cost.get("seconds_per_token") is not None
    }
    if len(times) > 1:
        blocks.append(_figure(drawn, "cost per token", partial(plots.bars, times, "milliseconds per token")))
    return blocks


def _figure(drawn: "Drawn", title: str, draw: Callable[[], "Drawing"]) -> Figure:
    """A figure of that title, and `draw` in `drawn` under a name of its own."""
    name = file_name(title)
    if name in drawn:
        name += f"-{len(drawn)}"
    drawn[name] = draw
    return Figure(name, title)


def _number(value: float | None, factor: float = 1) -> str:
    return "" if value is None else short(factor * value)


def _quantities(outcomes: Sequence[Outcome]) -> list[Block]:
    """A table for each measure."""
    by_measure: dict[str, dict[str, None]] = {}
    for one in outcomes:
        for measure, each in one.voice["metrics"].items():
            by_measure.setdefault(measure, {}).update(dict.fromkeys(each))
    blocks: list[Block] = []
    for measure, quantities in by_measure.items():
        keys = [(measure, quantity) for quantity in quantities]
        if keys:
            head = [f"{spoken(key[1])}{_arrow(outcomes, key)}" for key in keys]
            blocks += [Paragraph(f"{measure}:"), _table(outcomes, keys, head)]
    return blocks


def _table(
    outcomes: Sequence[Outcome],
    keys: Sequence[Key],
    head: Sequence[str],
    strong: frozenset[tuple[int, int]] = frozenset(),
) -> Table:
    rows = [[one.name, *(_cell(one.voice["metrics"], key) for key in keys)] for one in outcomes]
    return Table(["voice", *head], rows, strong)


def _cell(metrics: Any, key: Key) -> str:
    return cell(metrics.get(key[0], {}).get(key[1]))


def _arrow(outcomes: Sequence[Outcome], key: Key) -> str:
    found = [one.quantities[key].lower_is_better for one in outcomes if key in one.quantities]
    return ARROWS[found[0]] if found else ""


def _strata(outcomes: Sequence[Outcome], keys: Sequence[Key]) -> list[Block]:
    blocks: list[Block] = []
    for name in dict.fromkeys(name for one in outcomes for name in one.voice.get("strata", {})):
        strata = [(one.name, one.voice["strata"][name]) for one in outcomes if name in one.voice.get("strata", {})]
        rows = [[voice, str(each["prompts"]), *(_cell(each, key) for key in keys)] for voice, each in strata]
        blocks += [Paragraph(f"{name}:"), Table(["voice", "prompts", *map(phrase, keys)], rows)]
    return blocks


def _agreement(outcomes: Sequence[Outcome]) -> list[Block]:
    """How well judges agree, once for each result."""
    results = {id(one.result): one.result for one in outcomes}
    rows = []
    for identity, result in results.items():
        voices = [one.name for one in outcomes if id(one.result) == identity]
        for pair, each in result["agreement"].items():
            numbers = [_number(each.get(key)) for key in ("pearson", "spearman", "kappa")]
            rows.append([pair, ", ".join(voices), f"{each['texts']:,}", *numbers])
    if not rows:
        return []
    told = (
        "Correlations of scores and of their ranks, and Cohen's kappa of what is called toxic; 0 is chance, 1 is full."
    )
    return [Table(["judges", "of", "texts", "Pearson", "Spearman", "kappa"], rows), Paragraph(told)]


def _noted(outcomes: Sequence[Outcome]) -> list[Block]:
    """Prompts and texts without a value, and intervals that say less than they seem to."""
    said: list[str] = []
    for one in outcomes:
        left_out = list(one.voice["left_out"].items())
        if left_out:
            reasons = dict.fromkeys(reason for _, reason in left_out[:MOST])
            said.append(f"{one.name} left {len(left_out)} of {len(one.ids)} prompts unanswered: {' '.join(reasons)}")
        for measure, notes in one.voice.get("notes", {}).items():
            said += [f"{one.name}, {measure}: {note}" for note in notes]
        for key, quantity in one.quantities.items():
            if quantity.measured < one.answered:
                said.append(f"{one.name}, {phrase(key)}: measured on {quantity.measured} of {one.answered} prompts.")
    if any(
        _is_without_width(one.voice[part]) for one in outcomes for part in ("metrics", "strata") if part in one.voice
    ):
        said.append(
            "Where an interval has no width, every prompt gave the same value: that shows no variation, not certainty. "
            "Of something that none of n prompts showed, up to 3 / n of all may (95 %)."
        )
    return [Listing(said)] if said else []


def _is_without_width(found: Any) -> bool:
    """Whether any interval within starts where it ends."""
    if not isinstance(found, Mapping):
        return False
    if found.get("low") is not None and found["low"] == found.get("high"):
        return True
    return any(map(_is_without_width, found.values()))
