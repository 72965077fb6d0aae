"""Where the numbers of a formula's text stand."""

import pytest

from lmalgebra.algebra.written_numbers import written_numbers
from lmalgebra.errors import FormulaError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("base", []),
        ("base + 0.6 * (formal - base)", [("0.6", 0.6, "", "(formal - base)")]),
        ("-1.5 * a + b*2/4", [("-1.5", -1.5, "", "a"), ("2", 2, "", "b"), ("4", 4, "", "(b*2)")]),
        ("a - -3*c", [("-3", -3, "", "c")]),
        ("within(base, top_p=0.9, top_k=3)", [("0.9", 0.9, "top_p", "within"), ("3", 3, "top_k", "within")]),
        (
            "é + ramp(-1, 0, tokens=2)",
            [("-1", -1, "start", "ramp"), ("0", 0, "end", "ramp"), ("2", 2, "tokens", "ramp")],
        ),
        ("mix(0.3 * a, b)", [("0.3", 0.3, "", "a")]),
        ("unknown(2) + nobody", [("2", 2, "", "unknown")]),
        ("a + (1)", [("1", 1, "", "")]),
        ("1e999 * a + 2 * b", [("2", 2, "", "b")]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_numbers_are_found_in_their_places(text, expected):
    found = written_numbers(text)
    assert [(text[each.start : each.end], each.value, each.argument, each.of) for each in found] == expected


def test_a_long_chain_is_read():
    assert len(written_numbers(" + ".join(["0.1 * a"] * 500))) == 500


def test_what_cannot_be_read_is_refused_with_its_place():
    with pytest.raises(FormulaError, match="never closed") as error:
        written_numbers("base + 2 * (a")
    assert error.value.place == (11, 12)
    assert error.value.sentence == "This bracket is never closed."
