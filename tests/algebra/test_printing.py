import json

import pytest
from hypothesis import given

from lmalgebra.algebra import (
    Constant,
    Mix,
    Scale,
    Term,
    formula_from_json,
    mix,
    parse,
    power,
    probability,
    ramp,
    tilt,
    union,
    within,
)
from lmalgebra.errors import FormulaError

from .strategies import TERMS, a, any_formulas, b, c

base, formal, toxic = Term("base"), Term("formal"), Term("toxic")
r = ramp(0, 1, tokens=20)


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (base + 0.6 * (formal - base), "base + 0.6 * (formal - base)"),
        (base - 0.96 * union(toxic, base), "base - 0.96 * union(toxic, base)"),
        (base - 2 * probability(formal), "base - 2 * probability(formal)"),
        (
            base + tilt(formal) + within(base, top_k=50, min_p=0.1),
            "base + tilt(formal) + within(base, top_k=50, min_p=0.1)",
        ),
        (-a + b, "-a + b"),
        (-(a + b), "-(a + b)"),
        (a - (b + c), "a - (b + c)"),
        (-2 * a, "-2 * a"),
        (Scale(1, a), "1 * a"),
        (a + 1e-7 * b, "a + 1e-07 * b"),
        (a - 1, "a - 1"),
        (r * a - r * b, "ramp(0, 1, tokens=20) * a - ramp(0, 1, tokens=20) * b"),
        ((1 - r) * a + (1 + r), "(1 - ramp(0, 1, tokens=20)) * a + (1 + ramp(0, 1, tokens=20))"),
        (a | b & c, "union(a, intersection(b, c))"),
        (mix(0.3 * a, b, 0 * (a + b)), "mix(0.3 * a, b, 0 * (a + b))"),
        (power(a, 2 * r + 1), "power(a, 1 + 2 * ramp(0, 1, tokens=20))"),
        (Constant(3), "3"),
    ],
)
def test_text(formula, text):
    assert str(formula) == text
    assert parse(text) == formula


def test_repr_names_the_kind_and_shows_the_text():
    assert repr(a + b) == "Sum('a + b')"
    assert repr(a) == "Term('a')"
    assert len(repr(sum([a] * 500, b))) < 120


def test_tree():
    formula = base + 0.6 * (formal - base) + mix(0.3 * a, within(b, top_p=0.9)) + 2
    assert formula.tree() == "\n".join(
        [
            "sum",
            "  base",
            "  scale 0.6",
            "    sum",
            "      formal",
            "      scale -1",
            "        base",
            "  mix 0.3, 1",
            "    a",
            "    within top_p=0.9",
            "      b",
            "  2",
        ]
    )


@given(any_formulas())
def test_text_parses_back(formula):
    assert parse(str(formula), TERMS) == formula


@given(any_formulas())
def test_json_reads_back(formula):
    data = json.loads(json.dumps(formula.to_json()))
    assert formula_from_json(data, TERMS) == formula


def test_json():
    formula = base + r * mix(0.5 * formal, within(base, top_k=3))
    assert formula.to_json() == {
        "kind": "sum",
        "operands": [
            {"kind": "term", "name": "base"},
            {
                "kind": "scale",
                "weight": "ramp(0, 1, tokens=20)",
                "operands": [
                    {
                        "kind": "mix",
                        "weights": [0.5, 1.0],
                        "operands": [
                            {"kind": "term", "name": "formal"},
                            {"kind": "within", "top_k": 3, "operands": [{"kind": "term", "name": "base"}]},
                        ],
                    }
                ],
            },
        ],
    }


def nested(levels):
    data = {"kind": "term", "name": "a"}
    for _ in range(levels):
        data = {"kind": "tilt", "operands": [data]}
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (3, "3 is not a JSON formula."),
        ({"kind": "sun"}, "A JSON formula has the unknown kind 'sun'."),
        (
            {"kind": "tilt", "operands": [{"kind": "term", "name": "a"}], "x": 1},
            "A JSON formula of kind 'tilt' has no key 'x'.",
        ),
        ({"kind": "term"}, "The JSON formula {'kind': 'term'} lacks a part or holds one of a wrong type."),
        (
            {"kind": "union", "operands": 3},
            "The JSON formula {'kind': 'union', 'operands': 3} lacks a part or holds one of a wrong type.",
        ),
        ({"kind": "constant", "weight": "a"}, "`a` is not a term."),
        (nested(10_000), "The JSON formula nests more than 100 levels deep."),
    ],
)
def test_refused_json(data, message):
    with pytest.raises(FormulaError) as caught:
        formula_from_json(data)
    assert caught.value.message.splitlines()[0] == message


def test_json_with_an_unknown_term():
    with pytest.raises(FormulaError, match=r"'x' is not a term of this formula. Known: a."):
        formula_from_json({"kind": "term", "name": "x"}, {"a": a})


def test_mix_keeps_its_weights_as_given():
    assert parse("mix(3 * a, 7 * b)") == Mix((3.0, 7.0), (a, b))
