import pytest
from hypothesis import given

from lmalgebra.algebra import Constant, Scale, Sum, Term, decay, mix, parse, power, ramp, union, within
from lmalgebra.errors import FormulaError

from .strategies import TERMS, a, any_formulas, b, c


def shown(text, terms=None):
    with pytest.raises(FormulaError) as caught:
        parse(text, terms)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("a", a),
        ("  a\n  +\tb\r\n", a + b),
        ("a + 0.6 * (b - a)", a + 0.6 * (b - a)),
        ("a - b - c", a - b - c),
        ("a * 2 / 4", a * 2 / 4),
        ("power(a, 1/0.7)", power(a, 1 / 0.7)),
        ("power(a, exponent=2)", power(a, 2)),
        ("1 + 2 * 3", Constant(7)),
        ("1 + 2 + a", 3 + a),
        ("a | b & c", a | b & c),
        ("1 | 2", union(1, 2)),
        ("mix(0.3 * a, 0.7 * b)", mix(0.3 * a, 0.7 * b)),
        ("within(a, top_k=5, min_p=.1)", within(a, top_k=5, min_p=0.1)),
        ("(1 - ramp(0, 1, tokens=20)) * a", (1 - ramp(0, 1, tokens=20)) * a),
        ("a + decay(start=1, half_life=1e1) * b", a + decay(1, half_life=10) * b),
        ("- - -a", Scale(-1, a)),
        ("+a", a),
        ("é + ü2", Sum((Term("é"), Term("ü2")))),
    ],
)
def test_text_and_operators_agree(text, formula):
    assert parse(text) == formula


@given(any_formulas(), any_formulas())
def test_operators_equal_text(x, y):
    for symbol, value in (("+", x + y), ("-", x - y), ("|", x | y), ("&", x & y)):
        assert parse(f"({x}) {symbol} ({y})", TERMS) == value
    assert parse(f"-({x})", TERMS) == -x


def test_names_become_the_given_terms():
    assert parse("bias", TERMS).description is TERMS["bias"].description
    assert parse("bias").description is None


def test_an_unknown_name_is_shown_with_the_closest():
    assert shown("base + fromal", {"base": Term("base"), "formal": Term("formal")}) == (
        "`fromal` is not a term.\n  base + fromal\n         ^^^^^^ Did you mean `formal`? Known terms: base, formal."
    )
    assert shown("a", {}).endswith("^ No terms are known.")


def test_carets_after_line_breaks_and_wide_characters():
    assert shown("a\n+ é * b") == (
        "`é` * `b` multiplies two formulas, which has no meaning here.\n"
        "  a + é * b\n"
        "      ^^^^^ Only numbers and schedules multiply; add the formulas, or take their intersection(...)."
    )


def test_a_long_formula_is_shown_around_the_mistake():
    message, line, carets = shown(" + ".join(["a"] * 90) + " + a.b + " + " + ".join(["c"] * 90)).split("\n")
    assert message == "A dot is part of a number only."
    start, end = carets.index("^"), carets.rindex("^")
    assert line[start : end + 1] == "a.b"
    assert len(line) < 110
    assert line.startswith("  …")
    assert line.endswith("…")


@pytest.mark.parametrize("text", ["", "  \n\t "])
def test_an_empty_formula(text):
    assert shown(text) == "The formula is empty. Write one such as `base + 0.6 * (formal - base)`."


def test_a_formula_that_is_no_text():
    assert shown(3) == 'A formula is text, not int. Write one such as "base + formal".'


@pytest.mark.parametrize(
    ("text", "marked", "message"),
    [
        ("a +", "+", "The formula cannot be read here."),
        ("a b", "a", "The formula cannot be read here."),
        ("a = 1", "a", "The formula cannot be read here."),
        ("()", "()", "A comma belongs inside a function."),
        ("a, b", "a, b", "A comma belongs inside a function."),
        ("(a", "(", "This bracket is never closed."),
        ("a) + (b", ")", "This bracket was never opened."),
        ("a ** 2", "**", "`**` is not part of formulas."),
        ("a // 2", "a // 2", "This operator is not part of formulas."),
        ("a.b", "a.b", "A dot is part of a number only."),
        ("a[0]", "[", "The character '[' is not part of formulas."),
        ("a @ b", "@", "The character '@' is not part of formulas."),
        ("~a", "~", "The character '~' is not part of formulas."),
        ("a # b", "#", "The character '#' is not part of formulas."),
        ("a \x00", "\x00", "The character '\\x00' is not part of formulas."),
        ("a + 'b'", "'", "Formulas hold no quoted text."),
        ('f"{a}"', '"', "Formulas hold no quoted text."),
        ("lambda: a", "lambda", "`lambda` is a word of Python, which formulas do not use."),
        ("a if b else c", "if", "`if` is a word of Python, which formulas do not use."),
        ("a and b", "and", "`and` is a word of Python, which formulas do not use."),
        ("True * a", "True", "`True` is a word of Python, which formulas do not use."),
        ("0x10 * a", "0x10", "`0x10` is not a number."),
        ("1_000 * a", "1_000", "`1_000` is not a number."),
        ("2j * a", "2j", "`2j` is not a number."),
        ("1e999 * a", "1e999", "This number is too large."),
        ("1e308 * 10 * a", "1e308 * 10", "This number is too large."),
        ("9" * 400 + " * a", "9" * 100, "This number is too large."),
        ("a / 0", "a / 0", "A formula cannot be divided by 0."),
        ("a + 1 / 0", "1 / 0", "This divides by 0."),
        ("a * b", "a * b", "`a` * `b` multiplies two formulas, which has no meaning here."),
        ("2 / a", "2 / a", "2 / `a` divides by a formula, which has no meaning here."),
        ("a + union", "union", "`union` is a function."),
        ("a + unoin(b)", "unoin", "`unoin` is not a function."),
        ("2(a)", "2", "Only a function's name can stand before brackets."),
        ("union(*a)", "*a", "This is not part of formulas."),
        ("union()", "union()", "union() has no operands."),
        ("union(a, b=c)", "b=c", "`union` has no argument `b=`."),
        ("tilt(a, b)", "b", "`tilt` takes no argument here."),
        ("probability()", "probability()", "`probability` lacks an argument."),
        ("posterior(a)", "posterior(a)", "`posterior` lacks an argument."),
        ("posterior(a, b, scael=2)", "scael=2", "`posterior` has no argument `scael=`."),
        ("power(a)", "power(a)", "`power` lacks an argument."),
        ("power(a, 2, exponent=2)", "power(a, 2, exponent=2)", "`power` is given one argument twice."),
        ("ramp(0, start=1, tokens=2) * a", "ramp(0, start=1, tokens=2)", "`ramp` is given one argument twice."),
        ("ramp(0, 1) * a", "ramp(0, 1)", "`ramp` lacks an argument."),
        (
            "ramp(a, 1, tokens=2)",
            "ramp(a, 1, tokens=2)",
            "Term('a') is not a number, so it cannot be the start of ramp.",
        ),
        ("within(a, topk=3)", "topk=3", "`within` has no argument `topk=`."),
        ("within(a)", "within(a)", "within has no limit."),
        ("within(a, top_k=1.5)", "within(a, top_k=1.5)", "top_k=1.5 of within is not a whole number of at least 1."),
        ("mix(a, -b)", "mix(a, -b)", "mix gives `b` the negative weight -1."),
    ],
)
def test_refused_texts(text, marked, message):
    first, line, rest = shown(text).split("\n")
    assert first == message
    start, end = rest.index("^"), len(rest) - len(rest[rest.index("^") :].lstrip("^"))
    assert line[start:end].rstrip("…") == marked
    assert rest[end:].strip(), "there is a hint"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(" * 10_000 + "a" + ")" * 10_000, "The formula nests more than 120 brackets."),
        ("-(" * 10_000 + "a" + ")" * 10_000, "The formula nests more than 120 brackets."),
        ("union(" * 10_000 + "a" + ")" * 10_000, "The formula nests more than 120 brackets."),
        ("union(" * 110 + "a" + ")" * 110, "The formula nests 101 levels deep; at most 100 are allowed."),
        ("-" * 10_000 + "a", "The formula has more than 1000 operators."),
        (" + ".join(["a"] * 10_000), "The formula has more than 1000 operators."),
        ("a" * 100_001, "The formula has 100001 characters; at most 100000 are read."),
    ],
)
def test_huge_texts_are_refused_in_one_sentence(text, message):
    first, *_ = shown(text).split("\n")
    assert first.startswith(message)


def test_the_largest_texts_are_read():
    assert parse(" + ".join(["a"] * 1000)).mass() == 1000
    assert parse("-" * 1000 + "a") == Scale(1, a)
    assert parse("(" * 120 + "a" + ")" * 120) == a
    assert parse("union(" * 99 + "a" + ")" * 99).depth == 100
    assert parse("-(1 - " * 99 + "a" + ")" * 99).depth == 100


def test_known_words_do_not_shadow_terms():
    assert parse("match + c", {"match": Term("match"), "c": c}) == Term("match") + c
    assert parse("b_2", {"b_2": Term("b_2")}) != b
