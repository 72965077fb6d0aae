"""A comparison in words: what can be concluded of it, and what cannot."""

from math import isnan

from lmalgebra.evaluation.reports.blocks import Table
from lmalgebra.evaluation.reports.compare import Compared, Comparison, NotCompared
from lmalgebra.evaluation.reports.phrases import p_value, percent, phrase
from lmalgebra.evaluation.reports.table import short
from lmalgebra.evaluation.statistics import Difference


def sentence(one: Compared) -> str:
    """What can be concluded of one quantity of two voices."""
    difference, what = one.difference, phrase(one.key)
    p = p_value(one.p)
    if one.differs:
        way = "higher" if difference.second > difference.first else "lower"
        return f"{one.second} has a {way} {what} than {one.first}: {_by_how_much(difference)}, {p}."
    if difference.low == difference.high == (1 if difference.is_factor else 0):
        return f"{one.second} and {one.first} have the same {what} on every prompt that was measured."
    pair = f"{one.second} and {one.first}"
    return f"No difference in {what} between {pair} can be concluded ({p}): {_what_fits(difference)}."


def refusal(one: NotCompared) -> str:
    """What could not be compared, and why."""
    about = "" if one.key is None else f" in {phrase(one.key)}"
    return f"{one.second} cannot be compared with {one.first}{about}: {one.reason}."


def how_sure(comparison: Comparison) -> str:
    """What intervals and probabilities of a comparison mean."""
    count = len(comparison.compared)
    return (
        f"Paired bootstrap over prompts. In brackets {percent(comparison.level)} intervals, each for itself; p is "
        f"corrected for all {count} differences that were looked at (Holm), and a difference is concluded where it is "
        f"below {1 - comparison.level:.3g}."
    )


def differences_table(comparison: Comparison) -> Table:
    """Every difference that was looked at."""
    rows = []
    for one in comparison.compared:
        difference = one.difference
        values = [short(difference.first), short(difference.second), _signed(difference), p_value(one.p)]
        rows.append([f"{one.second} against {one.first}", phrase(one.key), *values, _verdict(one)])
    return Table(["voices", "quantity", "first", "second", "difference", "p", "concluded"], rows)


def _verdict(one: Compared) -> str:
    if not one.differs:
        return "nothing"
    return {True: "better", False: "worse", None: "different"}[one.is_better]


def _signed(difference: Difference) -> str:
    """The difference with its interval; of exponents as a factor."""
    sign = "times " if difference.is_factor else ""
    value = short(difference.difference) if sign else f"{difference.difference:+.3g}"
    ends = "" if isnan(difference.low) else f" ({short(difference.low)} to {short(difference.high)})"
    return f"{sign}{value}{ends}"


def _by_how_much(difference: Difference) -> str:
    size, low, high = difference.difference, difference.low, difference.high
    if difference.is_factor:
        return f"{short(size)} times ({short(low)} to {short(high)})"
    if size < 0:
        size, low, high = -size, -high, -low
    return f"by {short(size)} ({short(low)} to {short(high)})"


def _what_fits(difference: Difference) -> str:
    """The values of a difference that fit what was measured."""
    low, high = difference.low, difference.high
    neutral = 1 if difference.is_factor else 0
    if isnan(low):
        return "one prompt says nothing of others"
    alone = "taken alone, " if low > neutral or high < neutral else ""
    if difference.is_factor:
        return f"{alone}anything from {short(low)} to {short(high)} times fits what was measured"
    ends = [_way(low), _way(high)]
    return f"{alone}anything from {ends[0]} to {ends[1]} fits what was measured"


def _way(end: float) -> str:
    return "no difference" if end == 0 else f"{short(abs(end))} {'lower' if end < 0 else 'higher'}"
