"""A result as tables of text, one for each measure: a row for each voice, a column for each quantity."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lmalgebra.evaluation.reports.blocks import Table, markdown_block


def tables(result: Mapping[str, Any]) -> str:
    """The values with their intervals, as Markdown whose columns are aligned."""
    return "\n\n".join(markdown_block(Table(head, rows)) for head, *rows in _tables(result["voices"]))


def _tables(voices: Sequence[Mapping[str, Any]]) -> Iterator[list[list[str]]]:
    """The rows of each table, its head first."""
    for measure in dict.fromkeys(name for voice in voices for name in voice["metrics"]):
        found = [voice["metrics"].get(measure, {}) for voice in voices]
        keys = list(dict.fromkeys(key for each in found for key in each))
        rows = [
            [voice["name"], *(cell(each.get(key)) for key in keys)] for voice, each in zip(voices, found, strict=True)
        ]
        yield [[measure, *(key.replace("_", " ") for key in keys)], *rows]
    costs = [[voice["name"], *map(short, _cost(voice["cost"]))] for voice in voices if "cost" in voice]
    if costs:
        yield [["cost", "milliseconds per token", "times one model's"], *costs]


def _cost(cost: Mapping[str, float]) -> tuple[float, float]:
    return 1000 * cost["seconds_per_token"], cost["relative"]


def cell(value: Any) -> str:
    """A quantity with its interval, if it has one, or a number."""
    if value is None:
        return ""
    if not isinstance(value, Mapping):
        return short(value)
    if value["value"] is None:
        return "none"
    if value["low"] is None:
        return short(value["value"])
    return f"{short(value['value'])} ({short(value['low'])} to {short(value['high'])})"


def short(value: float) -> str:
    """Three significant digits, and no more than are needed before the point."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
