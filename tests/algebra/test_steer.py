"""`follow` and `hold` as nodes: text, JSON, mass, and what they refuse."""

import pickle

import pytest

from lmalgebra.algebra import (
    Hold,
    Model,
    Term,
    Voice,
    check,
    classifier,
    dump_voice,
    follow,
    formula_from_json,
    hold,
    parse,
    parse_voice,
    partial,
    simplify,
    tilt,
)
from lmalgebra.errors import FormulaError

small = Model("small")
base, formal = small.term(name="base"), small.term(name="formal")
gauge = classifier("my/gauge", "formal", name="gauge")
TERMS = {term.name: term for term in (base, formal, gauge)}


@pytest.mark.parametrize(
    "text",
    [
        "base + follow(formal - base, gauge)",
        "base + 0.5 * hold(formal - base, gauge, target=0.8)",
        "base - hold(tilt(formal), gauge, target=0, least=-1, most=3, gain=0.25)",
        "power(base + hold(formal - base, gauge, target=0.8), 2)",
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
    assert (formula.mass(), formula.leaves(), formula.gauges()) == (1, (base, formal), (gauge,))


def test_what_has_a_distribution_counts_as_its_tilt():
    assert hold(formal, gauge, target=0.8) == Hold(tilt(formal), gauge, 0.8)
    assert parse("follow(2 * formal, gauge)", TERMS) == follow(tilt(2 * formal), gauge)


def test_other_settings_are_other_formulas():
    assert hold(formal, gauge, target=0.8) != hold(formal, gauge, target=0.7)
    assert hold(formal, gauge, target=0.8) != hold(formal, classifier("other", name="gauge"), target=0.8)
    assert follow(formal, gauge) != hold(formal, gauge, target=0.5)


def test_the_operand_is_simplified_inside():
    assert str(parse("base + follow(formal + formal - 2 * base, gauge)", TERMS).simplify()) == (
        "base + follow(2 * formal - 2 * base, gauge)"
    )


def test_a_part_is_dropped_with_what_it_steers():
    formula = parse("base + hold(formal - base, gauge, target=0.8)", TERMS)
    assert partial(formula, [base]) == base
    assert partial(formula, [base, formal]) == formula


def test_a_voice_file_holds_its_classifier():
    voice = Voice(parse("base + hold(formal - base, gauge, target=0.8)", TERMS))
    assert [term.name for term in voice.terms] == ["base", "formal", "gauge"]
    assert parse_voice(dump_voice(voice)).formula == voice.formula


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("base + hold(formal - base, base, target=0.8)", "`base` is no classifier, which hold needs to read the text."),
        ("base + follow(formal - base, 2)", "2 is no classifier, which follow needs to read the text."),
        ("base + hold(formal - base, gauge, target=1.5)", "target=1.5 of hold is not from 0 to 1."),
        ("base + hold(formal - base, gauge, target=0.5, gain=0)", "gain=0 of hold is not above 0."),
        ("base + hold(formal - base, gauge, target=0.5, most=0)", "most=0 of hold is not above 0 and least=0."),
        ("base + hold(formal - base, gauge)", "`hold` lacks an argument."),
        ("base + hold(within(base, top_k=2), gauge, target=0.5)", "forbids tokens, so hold cannot steer its weight"),
        ("base + follow(-1 * formal, gauge)", "`-formal` has the mass -1, and follow steers what has mass 0."),
    ],
)
def test_what_cannot_be_steered(text, sentence):
    with pytest.raises(FormulaError) as caught:
        check(parse(text, TERMS))
    assert sentence in caught.value.message


def test_a_gauge_shares_no_name_with_another_term():
    with pytest.raises(FormulaError, match="Two different terms are both named 'base'"):
        check(base + follow(formal - base, classifier("my/gauge", name="base")))


def test_a_formula_without_terms_known():
    assert parse("base + follow(formal - base, gauge)").gauges() == (Term("gauge"),)
