"""`posterior` as a node: text, JSON, tree, and what it refuses."""

import pickle

import pytest

from lmalgebra.algebra import check, formula_from_json, parse, posterior, simplify
from lmalgebra.errors import FormulaError

from .strategies import TERMS, a, b, c


@pytest.mark.parametrize(
    "text",
    [
        "a + 30 * posterior(b, c)",
        "a + posterior(b, mix(b, c), scale=2.5)",
        "a - posterior(tilt(b) + c, a, prior=0.25, length_power=0)",
        "power(a + posterior(b + rule, posterior(a, b) + c, scale=0.5, prior=0.1, length_power=0.5), 2)",
    ],
)
def test_text_and_json_read_back(text):
    formula = parse(text, TERMS)
    check(formula)
    assert str(formula) == text
    assert parse(str(formula), TERMS) == formula
    assert formula_from_json(formula.to_json(), TERMS) == formula
    assert pickle.loads(pickle.dumps(formula)) == formula
    assert simplify(simplify(formula)) == simplify(formula)
    assert formula.mass() == 1


def test_its_tree_and_json_show_what_differs_from_the_defaults():
    formula = posterior(b, c, scale=2, prior=0.5)
    assert formula.tree() == "posterior scale=2\n  b\n  c"
    terms = [{"kind": "term", "name": name} for name in "bc"]
    assert formula.to_json() == {"kind": "posterior", "scale": 2, "operands": terms}


def test_other_settings_are_other_formulas_of_one_evidence():
    others = [posterior(b, c, scale=2), posterior(b, c, prior=0.4), posterior(b, c, length_power=0)]
    assert len({posterior(b, c), *others}) == 4
    assert {other.evidence for other in others} == {posterior(b, c)}
    assert posterior(c, b).evidence != posterior(b, c)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a + posterior(b, c, scale=0)", "scale=0 of posterior is not above 0."),
        (
            "a + posterior(b, c, scale=ramp(0, 1, tokens=9))",
            "The schedule `ramp(0, 1, tokens=9)` cannot be the scale of posterior.",
        ),
        ("a + posterior(b, c, prior=1)", "prior=1 of posterior is not between 0 and 1."),
        ("a + posterior(b, c, length_power=2)", "length_power=2 of posterior is not from 0 to 1."),
        ("a + posterior(b, c, 2)", "`posterior` takes no argument here."),
        ("a + posterior(b - a, c)", "The operand `b - a` of posterior has mass 0 and so no distribution."),
        ("a + posterior(b, 3)", "The operand `3` of posterior has mass 0 and so no distribution."),
        ("posterior(b, c)", "`posterior(b, c)` has mass 0 and so no distribution."),
        (
            "a - posterior(b + rule, c)",
            "`posterior(b + rule, c)` forbids tokens, so its weight must stay above 0; it is -1.",
        ),
    ],
)
def test_what_is_refused(text, sentence):
    with pytest.raises(FormulaError) as caught:
        check(parse(text, TERMS))
    assert sentence in caught.value.message


def test_python_refuses_what_is_no_formula():
    with pytest.raises(FormulaError, match="'warm' is not a number"):
        a + posterior(b, "warm")
