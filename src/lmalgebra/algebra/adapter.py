"""What is laid over a term's model: one adapter, or a weighted sum of several, as a value. Nothing loads here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from lmalgebra.algebra.weights import as_number, number_text, shown
from lmalgebra.errors import FormulaError, VoiceError

AdapterSum: TypeAlias = tuple[tuple[str, float], ...]
"""Places of adapters (folders, hub ids, files) and the weight of each, in the order of the places."""

Adapter: TypeAlias = str | AdapterSum
"""A place, whose weight is 1, or a weighted sum."""


def as_adapter(given: object) -> Adapter | None:
    """The one form of an adapter, given as a place, a mapping of places to weights, or pairs of these.

    Equal sums are equal values however they were given; one place of weight 1 is that place. Raises VoiceError for
    anything else, for a place that is empty or named twice, and for a weight that is not finite.
    """
    if given is None or isinstance(given, str):
        return None if given is None else _place(given)
    sums: dict[str, float] = {}
    for named, weight in _pairs(given):
        place = _place(named)
        if place in sums:
            raise VoiceError(f"The adapter '{place}' of a term is named twice.", "Give it one weight.")
        sums[place] = _weight(place, weight)
    if not sums:
        raise VoiceError("The adapter of a term is empty.", "Leave the key out.")
    found = tuple(sorted(sums.items()))
    return found[0][0] if len(found) == 1 and found[0][1] == 1 else found


def summands(adapter: Adapter | None) -> AdapterSum:
    """The places of an adapter with their weights; none where there is no adapter."""
    if adapter is None:
        return ()
    return ((adapter, 1.0),) if isinstance(adapter, str) else adapter


def relocated(adapter: Adapter, move: Callable[[str], str]) -> Adapter | None:
    """The same sum of adapters, with each place as `move` gives it."""
    return as_adapter(tuple((move(place), weight) for place, weight in summands(adapter)))


def adapter_text(adapter: Adapter) -> str:
    """An adapter in an error or a listing: `'./formal'`, or `0.7 * './formal' + 0.3 * './short'`."""
    if isinstance(adapter, str):
        return f"'{adapter}'"
    return " + ".join(f"{number_text(weight)} * '{place}'" for place, weight in adapter)


def _pairs(given: object) -> Iterable[tuple[object, object]]:
    if isinstance(given, Mapping):
        return given.items()
    if isinstance(given, tuple) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in given):
        return given
    raise VoiceError(
        f"adapter={shown(given)} of a term is neither text nor a table of weights.",
        'Write "./formal", or {"./formal": 0.7, "./short": 0.3}.',
    )


def _place(given: object) -> str:
    if not isinstance(given, str):
        raise VoiceError(f"adapter={shown(given)} of a term is not text.", "Put it in quotes.")
    if not given.strip():
        raise VoiceError("The adapter of a term is empty.", "Leave the key out.")
    return given


def _weight(place: str, weight: object) -> float:
    try:
        return as_number(weight, f"weight of the adapter '{place}'")
    except FormulaError as error:
        raise VoiceError(error.message, error.hint) from None
