"""Every recipe against its paper's equation, on exact toys in many contexts; and that a wrong parameter is noticed."""

import math
from collections.abc import Callable

import papers
import pytest
import torch
from outcomes import scores_along, voice_over

from lmalgebra.algebra import Model, Term, Voice, classifier, recipes
from lmalgebra.api import Models
from lmalgebra.decoding import ComposedVoice, Plan
from lmalgebra.errors import FormulaError
from lmalgebra.models.table import TableModel

EXACT = 1e-9
CONTEXTS = range(25)
NAMES = ("one", "two", "three", "four")
TABLES = {name: TableModel(seed=seed) for seed, name in enumerate(NAMES)}
SIZE = len(TABLES["one"].pieces)


def judged(texts: list[str]) -> list[float]:
    """A classifier of single letters."""
    return [(1 + ord(text[-1]) % 7) / 9 if text else 0.5 for text in texts]


one, two, three, four = (Term(name) for name in NAMES)
c = classifier(judged, top_k=SIZE, name="c")
ATTRIBUTE = judged(list(TABLES["one"].pieces))

Laws = dict[str, list[float]]
Case = tuple[Callable[..., object], Callable[[Laws], list[float]]]

CASES: dict[str, Case] = {
    "cfg": (lambda: recipes.cfg(one, two), lambda p: papers.cfg(p["one"], p["two"], 1.5)),
    "cfg, gamma 3": (lambda: recipes.cfg(one, two, gamma=3), lambda p: papers.cfg(p["one"], p["two"], 3)),
    "cfg of many": (
        lambda: recipes.cfg([one, two], [three, four, one]),
        lambda p: papers.cfg_of_many([p["one"], p["two"]], [p["three"], p["four"], p["one"]], 1.5),
    ),
    "dexperts": (
        lambda: recipes.dexperts(one, two, three),
        lambda p: papers.dexperts(p["one"], p["two"], p["three"], 2, 0.9),
    ),
    "dexperts, uncut": (
        lambda: recipes.dexperts(one, two, three, alpha=-3.2, top_p=1),
        lambda p: papers.dexperts(p["one"], p["two"], p["three"], -3.2, 1),
    ),
    "preadd": (lambda: recipes.preadd(one, two), lambda p: papers.preadd(p["one"], p["two"], -1)),
    "preadd, alpha 2": (lambda: recipes.preadd(one, two, alpha=2), lambda p: papers.preadd(p["one"], p["two"], 2)),
    "self-debias": (
        lambda: recipes.self_debias(one, two),
        lambda p: papers.self_debias(p["one"], [p["two"]], 50, 0.01),
    ),
    "self-debias of many": (
        lambda: recipes.self_debias(one, [two, three], decay=10, floor=0),
        lambda p: papers.self_debias(p["one"], [p["two"], p["three"]], 10, 0),
    ),
    "gedi": (lambda: recipes.gedi(one, two, three), lambda p: papers.gedi(p["one"], [p["two"]], [p["three"]], [], 30)),
    "contrastive": (lambda: recipes.contrastive(one, two), lambda p: papers.contrastive(p["one"], p["two"], 0.1, 1)),
    "contrastive, cool": (
        lambda: recipes.contrastive(one, two, alpha=0.3, temperature=0.5),
        lambda p: papers.contrastive(p["one"], p["two"], 0.3, 0.5),
    ),
    "proxy-tuning": (
        lambda: recipes.proxy_tuning(one, two, three),
        lambda p: papers.proxy_tuning(p["one"], p["two"], p["three"]),
    ),
    "context-aware": (
        lambda: recipes.context_aware(one, two),
        lambda p: papers.context_aware(p["one"], p["two"], 0.5),
    ),
    "union-detox": (lambda: recipes.union_detox(one, two), lambda p: papers.union_detox(p["one"], p["two"], 0.96)),
    "union-detox-classifier": (
        lambda: recipes.union_detox_classifier(one, two, c),
        lambda p: papers.union_detox(p["one"], p["two"], 0.96, ATTRIBUTE, 0.04),
    ),
    "product-of-experts": (
        lambda: recipes.product_of_experts(one, two, weight=0.8),
        lambda p: papers.product_of_experts(p["one"], p["two"], 0.8),
    ),
    "fudge": (lambda: recipes.fudge(one, c, top_k=20), lambda p: papers.fudge(p["one"], ATTRIBUTE, 20)),
}


def difference(formula, law: Callable[[Laws], list[float]]) -> float:
    """The largest difference of any token's probability, over all contexts."""
    scores = {
        Term(name): torch.stack([table.logprobs([context, context]) for context in CONTEXTS])
        for name, table in TABLES.items()
    }
    biases = {c: torch.tensor(ATTRIBUTE, dtype=torch.float64).log().expand(len(CONTEXTS), -1)}
    plan = Plan(formula)
    nothing_said = dict.fromkeys(plan.evidences, torch.zeros(len(CONTEXTS), 1, dtype=torch.float64))
    found = plan.logprobs(scores | biases | nothing_said, [0] * len(CONTEXTS)).exp().tolist()
    rows = [{leaf.name: score[row].exp().tolist() for leaf, score in scores.items()} for row in CONTEXTS]
    return max(
        abs(mine - theirs)
        for row, laws in zip(found, rows, strict=True)
        for mine, theirs in zip(row, law(laws), strict=True)
    )


@pytest.mark.parametrize("case", CASES)
def test_a_recipe_is_its_papers_equation(case):
    make, law = CASES[case]
    assert difference(make(), law) < EXACT


def test_every_recipe_is_tested():
    assert {case.partition(",")[0].partition(" of ")[0] for case in CASES} == set(recipes.RECIPES)


@pytest.mark.parametrize(
    ("formula", "case"),
    [
        (recipes.cfg(one, two, gamma=1.51), "cfg"),
        (recipes.dexperts(one, two, three, top_p=1), "dexperts"),
        (recipes.self_debias(one, two, floor=0), "self-debias"),
        (recipes.self_debias(one, two, decay=49), "self-debias"),
        (one + 50 * (one - two), "self-debias"),
        (recipes.contrastive(one, two, alpha=0.11), "contrastive"),
        (2 * one - two, "contrastive"),
        (recipes.fudge(one, c, top_k=21), "fudge"),
    ],
    ids=str,
)
def test_a_wrong_formula_is_noticed(formula, case):
    assert difference(formula, CASES[case][1]) > 1e-6


GEDI_SETTINGS = ({}, {"omega": 2, "scale": 3.0}, {"omega": 5, "scale": 0.5, "prior": 0.2})


def by_gedis_equation(text: str, omega: float = 30, scale: float = 1, prior: float = 0.5) -> list[float]:
    """The log-probability of each letter after the prompt "ab"."""
    tokens = [TABLES["one"].pieces.index(letter) for letter in text]
    laws = [
        {name: [math.exp(x) for x in row] for name, row in each.items()} for each in scores_along(TABLES, "ab", text)
    ]
    found = []
    for end, token in enumerate(tokens):
        two, three = ([law[name] for law in laws[: end + 1]] for name in ("two", "three"))
        law = papers.gedi(laws[end]["one"], two, three, tokens[:end], omega, scale, prior)
        found.append(math.log(law[token]))
    return found


@pytest.mark.parametrize("text", ["c", "hello there", "gedi judges all that was said. "])
@pytest.mark.parametrize("settings", GEDI_SETTINGS, ids=str)
def test_gedi_judges_the_whole_text(text, settings):
    """The whole engine: what was said before counts for each token."""
    voice = voice_over(TABLES, str(recipes.gedi(one, two, three, **settings)), "off")
    assert voice.score("ab", text).logprobs == pytest.approx(by_gedis_equation(text, **settings), abs=EXACT)


def test_gedi_token_by_token_is_another_law():
    formula = "one + 30 * (tilt(two) - tilt(mix(two, three)))"
    assert voice_over(TABLES, formula, "off").score("ab", "c").logprobs == pytest.approx(
        by_gedis_equation("c"), abs=EXACT
    )
    found = voice_over(TABLES, formula, "off").score("ab", "hello").logprobs
    assert all(abs(mine - theirs) > 0.1 for mine, theirs in zip(found[1:], by_gedis_equation("hello")[1:], strict=True))


def test_fudge_with_a_classifier_that_reads_texts():
    """The whole engine: p(x) P(a | text and x) over the two likeliest tokens, multiplied out for a text."""

    def likes_x(texts: list[str]) -> list[float]:
        return [(1 + text.count("x")) / (2 + len(text)) for text in texts]

    rows = {"x": (0.5, 0.3, 0.2, 0.0), "y": (0.1, 0.35, 0.55, 0.0), "z": (0.45, 0.15, 0.4, 0.0)}
    table = TableModel(("x", "y", "z", "<end>"), order=1, rows={(letter,): row for letter, row in rows.items()})
    base = Model("toy").term(name="base", prefix="")
    formula = recipes.fudge(base, classifier(likes_x, top_k=2, name="likes"), top_k=2)
    voice = ComposedVoice(Voice(formula), lambda _: table.language_model(), open_scorer=Models().scorer)
    for text in ("zxy", "yyz", "zzx", "yzz"):  # after y come z and y, after x come x and y, after z come x and z
        expected = []
        for end, letter in enumerate(text):
            attribute = [*likes_x([text[:end] + each for each in "xyz"]), 0.0]
            expected.append(math.log(papers.fudge(rows[("y" + text)[end]], attribute, 2)["xyz".index(letter)]))
        assert voice.score("xy", text).logprobs == pytest.approx(expected, abs=1e-5)


def test_fudge_wants_a_classifier_that_scores_enough():
    with pytest.raises(FormulaError) as caught:
        recipes.fudge(one, classifier(judged, name="c"))
    assert str(caught.value) == (
        "The classifier `c` scores 50 tokens, and top_k=200 of fudge leaves more. "
        "Give the classifier top_k=200, or fudge top_k=50."
    )
