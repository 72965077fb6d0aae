"""What wishes mean."""

import pytest

from lmalgebra.errors import EvaluationError
from lmalgebra.evaluation.tuning.wish import Aim, parse_wish, resolved

ONE = "toxicity by one"
OTHER = "toxicity by other"
FLUENCY = "perplexity by judge"


def quantity(value: float = 1.0, lower_is_better: bool | None = True) -> dict:
    return {"value": value, "low": value, "high": value, "lower_is_better": lower_is_better}


METRICS = {
    ONE: {"expected_maximum": quantity(), "probability": quantity()},
    OTHER: {"expected_maximum": quantity(), "probability": quantity()},
    FLUENCY: {"per_token": quantity(), "per_byte": quantity()},
    "diversity": {"distinct_1": quantity(lower_is_better=False), "words": quantity(lower_is_better=None)},
}


def wish(text: str):
    return resolved(parse_wish(text), METRICS)


def test_a_bound_holds_of_every_judge_and_names_their_first_quantity():
    found = wish("toxicity below 0.05, best perplexity")
    assert [str(bound) for bound in found.bounds] == [
        f"expected_maximum of {ONE} below 0.05",
        f"expected_maximum of {OTHER} below 0.05",
    ]
    assert found.best == Aim(FLUENCY, "per_token")
    assert found.is_lowest


def test_a_quantity_and_a_judge_can_be_named():
    found = wish("probability of toxicity by other below 1e-1,  highest per-byte of perplexity , diversity above 0.2")
    assert [str(bound) for bound in found.bounds] == [
        f"probability of {OTHER} below 0.1",
        "distinct_1 of diversity above 0.2",
    ]
    assert (found.best, found.is_lowest) == (Aim(FLUENCY, "per_byte"), False)


def test_best_is_high_where_high_is_better():
    assert not wish("best diversity").is_lowest


def test_what_two_parts_name_is_one_aim():
    assert wish("perplexity below 50, lowest perplexity").aims == (Aim(FLUENCY, "per_token"),)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "The wish '' does not say once what is to be best. Write a wish such as"),
        ("toxicity below 0.1", "does not say once what is to be best"),
        ("best perplexity, best diversity", "does not say once what is to be best"),
        ("less toxicity, best perplexity", "'less toxicity' is no part of a wish. Write a wish such as"),
        ("toxicity below e, best perplexity", "'toxicity below e' is no part of a wish."),
        ("best beauty", "'beauty' of the wish is not measured. Measured: expected_maximum of toxicity by one,"),
        ("best beauty of toxicity", "'beauty of toxicity' of the wish is not measured."),
        ("best toxicity", f"'toxicity' of the wish means expected_maximum of {ONE} and expected_maximum of {OTHER}."),
        ("best words of diversity", "words of diversity is neither better high nor low. Write 'lowest words of"),
    ],
)
def test_what_is_wrong_is_said(text, sentence):
    with pytest.raises(EvaluationError) as raised:
        wish(text)
    assert sentence in str(raised.value)
