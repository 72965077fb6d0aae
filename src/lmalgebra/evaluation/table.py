"""A result as one table of text: a row for each voice, a column for each quantity."""

from collections.abc import Mapping
from typing import Any

from lmalgebra.evaluation.blocks import Table, markdown_block


def table(result: Mapping[str, Any]) -> str:
    """The values with their intervals, as Markdown."""
    columns = columns_of(result)
    rows = [
        [voice["name"], *(cell(voice["metrics"].get(measure, {}).get(key)) for measure, key in columns)]
        for voice in result["voices"]
    ]
    return markdown_block(Table(["voice", *(f"{key} ({measure})" for measure, key in columns)], rows))


def columns_of(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every measure and quantity that any voice has, in order."""
    found = {(name, key): None for voice in result["voices"] for name, each in voice["metrics"].items() for key in each}
    return list(found)


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
