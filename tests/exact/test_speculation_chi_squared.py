"""The law of sampled texts under speculation, by counting; wrong rules must be caught by the same count."""

from collections import Counter

import pytest
import torch
from chi_squared import FALSE_ALARM, p_value
from outcomes import Law, expected_law, voice_over

from lmalgebra.decoding import step
from lmalgebra.distributions import accept_probability
from lmalgebra.models.table import TableModel

PROMPT = "abab"
LENGTH = 3
SAMPLES = 5_000
"""Enough for the wrong rules and the other formula below to be caught."""
FORMULA = "base + 0.4 * tilt(formal) + ramp(0.2, 0.8, tokens=2) * tilt(terse)"
DIFFERENT = "base + 0.4 * tilt(formal) + ramp(0.2, 0.4, tokens=2) * tilt(terse)"
NAMES = ("base", "formal", "terse", "other")
TABLES = {name: TableModel(("a", "b", "c", "<end>"), seed=seed) for seed, name in enumerate(NAMES, 21)}


def slow(*chains: str) -> list:
    """Chains that are left to `-m slow`."""
    return [pytest.param(chain, marks=pytest.mark.slow) for chain in chains]


def generated(speculate: str, formula: str = FORMULA, **settings) -> Counter:
    """How often each text was said, and why it ended."""
    draft = "other + 0.5 * base" if speculate in ("auto", "draft:2") else None
    voice = voice_over(TABLES, formula, speculate, draft)
    said = voice.generate(PROMPT, samples=SAMPLES, seed=5, max_new_tokens=LENGTH, **settings).samples
    return Counter((sample.text, sample.finish_reason) for sample in said)


@pytest.fixture(scope="module")
def law() -> Law:
    return expected_law(TABLES, FORMULA, PROMPT, max_new_tokens=LENGTH)


@pytest.mark.parametrize("speculate", ["base:2", *slow("base:1 > base,formal:2", "prompt:2", "draft:2", "auto")])
def test_texts_follow_the_law(speculate, law):
    assert p_value(generated(speculate), law) > FALSE_ALARM


@pytest.mark.slow
@pytest.mark.parametrize("speculate", ["base:2", "prompt:2 > base:1"])
def test_texts_follow_the_law_of_their_settings(speculate):
    settings = {"temperature": 0.7, "top_p": 0.9, "repetition_penalty": 1.2, "min_new_tokens": 2}
    expected = expected_law(TABLES, FORMULA, PROMPT, max_new_tokens=LENGTH, **settings)
    assert p_value(generated(speculate, **settings), expected) > FALSE_ALARM


@pytest.mark.slow
@pytest.mark.parametrize("speculate", ["base:2", "base:1 > base,formal:2", "prompt:2"])
def test_another_formula_is_caught(speculate, law):
    assert p_value(generated(speculate, DIFFERENT), law) < FALSE_ALARM


def a_little_too_kindly(target: torch.Tensor, draft: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return (accept_probability(target, draft, tokens) * 1.15).clamp(max=1)


@pytest.mark.parametrize("speculate", ["base:2", *slow("base:1 > base,formal:2")])
@pytest.mark.parametrize("broken", ["accept_probability", "residual"])
def test_a_wrong_rule_is_caught(broken, speculate, law, monkeypatch):
    wrong = a_little_too_kindly if broken == "accept_probability" else lambda target, draft: target
    monkeypatch.setattr(step, broken, wrong)
    assert p_value(generated(speculate), law) < FALSE_ALARM
