"""How small a weight becomes over all positions 0, 1, 2, ... and in the limit.

A number needs one look. A schedule is looked at on every position up to its horizon (the last ramp's end, or 64
half-lives, where a decay is 5e-20 of its start) when the horizon is at most DENSE. A longer one is looked at on the
first thousand positions, then on positions 0.5 % apart and on both sides of every ramp's end, and the gap around the
smallest value found is searched by thirds. For sums of ramps the result is exact at any length, since straight
lines are smallest at their ends; a product of long curves that dips between two samples could hide the dip.
"""

from __future__ import annotations

import math

from lmalgebra.algebra.weights import Ramp, Schedule, Weight, at, limit

DENSE = 4096
_FIRST = 1000
_STEP = 1.005
_HALF_LIVES = 64

ROUNDING = 1e-12
"""A value this near to zero is what rounding leaves of zero."""


def minimum(weight: Weight) -> tuple[float, float]:
    """The smallest value over all positions and the limit, and the first position that has it.

    The position is `math.inf` where only the limit is that small. At most a few thousand positions are looked at.
    """
    if not isinstance(weight, Schedule):
        return weight, 0
    positions = _positions(weight)
    index = min(range(len(positions)), key=lambda i: weight.at(positions[i]))
    low, high = positions[max(index - 1, 0)], positions[min(index + 1, len(positions) - 1)]
    found = [positions[index], _lowest_between(weight, low, high)]
    value, position = min((weight.at(p), p) for p in found)
    if weight.limit < value:
        return weight.limit, math.inf
    return value, position


def first_not_positive(weight: Weight) -> float | None:
    """The first position at which a weight is zero or less, `math.inf` for in the limit alone, None for never."""
    if not isinstance(weight, Schedule):
        return None if weight > ROUNDING else 0
    positions = _positions(weight)
    for index, position in enumerate(positions):
        if weight.at(position) <= 0:
            return _first_between(weight, positions[index - 1] if index else position, position)
    value, position_of_minimum = minimum(weight)
    if weight.limit <= ROUNDING:
        return math.inf
    return position_of_minimum if value <= ROUNDING else None


def positive(weight: Weight) -> bool:
    """Whether a weight is above zero at every position and in the limit."""
    return first_not_positive(weight) is None


def agree(one: Weight, two: Weight) -> bool:
    """Whether two weights are equal at every position, up to rounding."""
    difference = one + -1.0 * two
    size = 1.0 + abs(at(one, 0)) + abs(limit(one))
    return minimum(difference)[0] >= -1e-9 * size and minimum(-difference)[0] >= -1e-9 * size


def _positions(schedule: Schedule) -> list[int]:
    ends = [curve.tokens for curve in schedule.curves if isinstance(curve, Ramp)]
    fades = [math.ceil(_HALF_LIVES * curve.half_life) for curve in schedule.curves if not isinstance(curve, Ramp)]
    horizon = max(ends + fades)
    if horizon <= DENSE:
        return list(range(horizon + 1))
    chosen = set(range(_FIRST))
    chosen.update(position for end in ends for position in (end - 1, end, end + 1))
    position = _FIRST
    while position < horizon:
        chosen.add(position)
        position = int(position * _STEP)
    return sorted(chosen | {horizon})


def _lowest_between(schedule: Schedule, low: int, high: int) -> int:
    while high - low > 3:
        third = (high - low) // 3
        if schedule.at(low + third) <= schedule.at(high - third):
            high -= third
        else:
            low += third
    return min(range(low, high + 1), key=schedule.at)


def _first_between(schedule: Schedule, above: int, at_most_zero: int) -> int:
    while at_most_zero - above > 1:
        middle = (above + at_most_zero) // 2
        if schedule.at(middle) <= 0:
            at_most_zero = middle
        else:
            above = middle
    return at_most_zero
