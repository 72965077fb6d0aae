"""Random formulas over a real model's logits in float32, against the reference in float64."""

import random

import pytest
import torch
from random_formulas import RandomFormula
from reference import NoTokenLeft, evaluate

from lmalgebra.algebra import Term, parse
from lmalgebra.decoding.plan import Plan
from lmalgebra.errors import DecodingError
from lmalgebra.models.loading import load

CONTEXTS = {
    "base": "The city at night is",
    "formal": "In formal, objective language: the city at night is",
    "casual": "hey so like, the city at night is",
    "story": "Once upon a time, the city at night was",
}


@pytest.fixture(scope="module")
def scores(smollm2) -> dict[str, torch.Tensor]:
    """Each term's log-probabilities, float32 `[1, vocabulary]`."""
    model = load(str(smollm2), dtype="float32")
    rows = {name: model.session.open() for name in CONTEXTS}
    work = {rows[name]: model.tokenizer.encode([text]) for name, text in CONTEXTS.items()}
    logits = model.session.extend(work, dict.fromkeys(work, 1))
    return {name: logits[row].log_softmax(-1).clone() for name, row in rows.items()}


@pytest.mark.parametrize("seed", range(50))
def test_formulas_over_real_logits_agree_with_the_reference(seed, scores):
    names = tuple(CONTEXTS)[: 3 + seed % 2]
    text = RandomFormula(1000 + seed, names).text()
    position = random.Random(seed).choice((0, 1, 3, 20))
    try:
        expected = evaluate(text, {name: scores[name][0].tolist() for name in names}, position)
    except NoTokenLeft:
        with pytest.raises(DecodingError, match="No token is possible"):
            _probabilities(text, scores, position)
        return
    found = _probabilities(text, scores, position)
    distance = (found - torch.tensor(expected, dtype=torch.float64).exp()).abs().sum() / 2
    assert distance < 1e-5


def _probabilities(text: str, scores: dict[str, torch.Tensor], position: int) -> torch.Tensor:
    terms = {Term(name): score for name, score in scores.items()}
    found = Plan(parse(text)).logprobs(terms, [position])
    assert found.dtype == torch.float32
    return found[0].double().exp()
