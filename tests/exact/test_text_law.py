"""The law of whole texts, on a model small enough to list them all: scoring and generating agree with the sum."""

import itertools
import math
from collections import Counter
from dataclasses import replace

import pytest
from chi_squared import FALSE_ALARM, p_value

from lmalgebra.algebra import GenerationSettings, Model, Term, Voice, parse
from lmalgebra.decoding import ComposedVoice, Plan
from lmalgebra.models.table import TableModel

LETTERS = ("a", "b", "c")
PROMPT = "ab"
LENGTH = 3
FORMULA = "base + ramp(0.2, 0.8, tokens=2) * (formal - base)"
SLIGHTLY_DIFFERENT = "base + ramp(0.2, 0.6, tokens=2) * (formal - base)"
SAMPLES = 4_000
"""Of the texts of the slightly different formula, so many are expected to give a statistic of 520 (noncentral
chi-squared, deviation 45) where 85 raises the alarm: missing them is as good as impossible.
"""
TABLES = {"base": TableModel((*LETTERS, "<end>"), seed=1), "formal": TableModel((*LETTERS, "<end>"), seed=2)}
ENDLESS = {
    name: replace(
        table, order=1, rows={(letter,): (*weights, 0.0) for letter, weights in zip(LETTERS, rows, strict=True)}
    )
    for (name, table), rows in zip(
        TABLES.items(),
        (
            ((0.5, 0.25, 0.25), (0.125, 0.75, 0.125), (0.3, 0.3, 0.4)),
            ((0.1, 0.2, 0.7), (0.4, 0.4, 0.2), (0.8, 0.15, 0.05)),
        ),
        strict=True,
    )
}
"""The same without an end: every text of three letters is a whole one."""


def voice_over(tables: dict[str, TableModel], formula: str = FORMULA) -> ComposedVoice:
    """A voice whose terms are plain completions by `tables`."""
    terms = {name: Model(source=name).term(name=name, prefix="") for name in tables}
    return ComposedVoice(
        Voice(parse(formula, terms), GenerationSettings(max_new_tokens=LENGTH)),
        lambda model: tables[model.source].language_model(model.source),
        max_samples=2000,
    )


def step(tables: dict[str, TableModel], text: str) -> dict[str, float]:
    """The probability of each next piece after the prompt and `text`, by the plan."""
    pieces = next(iter(tables.values())).pieces
    context = [pieces.index(letter) for letter in PROMPT + text]
    scores = {Term(name): table.logprobs(context)[None] for name, table in tables.items()}
    logprobs = Plan(parse(FORMULA)).logprobs(scores, [len(text)])[0]
    return dict(zip(pieces, logprobs.exp().tolist(), strict=True))


def law(tables: dict[str, TableModel]) -> dict[tuple[str, str], float]:
    """The probability of every text and why it ends, multiplied out token by token."""
    found: dict[tuple[str, str], float] = {}
    growing = {"": 1.0}
    for length in range(1, LENGTH + 1):
        grown = {}
        for text, probability in growing.items():
            for piece, share in step(tables, text).items():
                if piece == "<end>":
                    found[text, "end"] = probability * share
                elif length == LENGTH:
                    found[text + piece, "length"] = probability * share
                else:
                    grown[text + piece] = probability * share
        growing = grown
    return {outcome: probability for outcome, probability in found.items() if probability > 0}


def test_the_law_of_all_texts_sums_to_1():
    whole = law(TABLES)
    assert len(whole) == 1 + 3 + 9 + 27
    assert math.fsum(whole.values()) == pytest.approx(1, abs=1e-12)


def test_the_scores_of_all_texts_sum_to_1():
    voice = voice_over(ENDLESS)
    texts = ["".join(letters) for letters in itertools.product(LETTERS, repeat=LENGTH)]
    assert math.fsum(math.exp(voice.score(PROMPT, text).total) for text in texts) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("tables", [TABLES, ENDLESS], ids=["with an end", "endless"])
def test_a_text_scores_what_it_is_drawn_with(tables):
    voice, whole = voice_over(tables), law(tables)
    for (text, reason), probability in whole.items():
        if reason == "length":
            assert voice.score(PROMPT, text).total == pytest.approx(math.log(probability), abs=1e-12)


def test_generated_texts_follow_the_law():
    assert p_value(generated(voice_over(TABLES)), law(TABLES)) > FALSE_ALARM


def test_texts_of_a_slightly_different_formula_are_caught():
    assert p_value(generated(voice_over(TABLES, SLIGHTLY_DIFFERENT)), law(TABLES)) < FALSE_ALARM


def generated(voice: ComposedVoice) -> Counter:
    samples = voice.generate(PROMPT, samples=SAMPLES, seed=5).samples
    return Counter((sample.text, sample.finish_reason) for sample in samples)


def test_every_sample_carries_the_probability_of_its_text():
    whole = law(TABLES)
    for sample in voice_over(TABLES).generate(PROMPT, samples=200).samples:
        expected = math.log(whole[sample.text, sample.finish_reason])
        assert sum(sample.logprobs) == pytest.approx(expected, abs=1e-12)


def test_temperature_and_truncation_change_what_is_drawn_as_they_say():
    voice = voice_over(TABLES)
    samples = voice.generate(PROMPT, samples=4000, max_new_tokens=1, temperature=0.7, top_k=3, seed=11).samples
    likeliest = sorted(step(TABLES, "").items(), key=lambda item: -item[1])[:3]
    weights = {piece: probability ** (1 / 0.7) for piece, probability in likeliest}
    expected = {piece: weight / math.fsum(weights.values()) for piece, weight in weights.items()}
    pieces = TABLES["base"].pieces
    assert p_value(Counter(pieces[sample.tokens[0]] for sample in samples), expected) > FALSE_ALARM
