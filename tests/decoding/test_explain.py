"""Explanations: parts that add up, hand-worked values, what the reference would have said, and what is refused."""

import json
import math

import pytest
from voices import open_rows, prompted_network, sessions, toys

import lmalgebra as la
from lmalgebra.algebra import GenerationSettings, Model, Voice, classifier, forbid, parse, regex, require
from lmalgebra.api import Models
from lmalgebra.decoding import ComposedVoice, Explanation
from lmalgebra.decoding.explain import LEAST
from lmalgebra.decoding.explanation import explain_in_parts
from lmalgebra.decoding.parts import finished
from lmalgebra.decoding.score import text_tokens
from lmalgebra.errors import DecodingError, PromptError
from lmalgebra.models.table import TableModel
from tiny_gguf import write_tiny_gguf

EXACT = 1e-9
NAMES = "abcdefgh"
TABLES = {name: TableModel(seed=seed) for seed, name in enumerate(NAMES, 1)}
SEVEN, EIGHT = "(a + b + c + d + e + f + g) / 7", "(a + b + c + d + e + f + g + h) / 8"
FORMULAS = [
    "a",
    "a + 0.6 * (b - a)",
    "a + 1.5 * (b - a)",
    "c + 0.5 * a + 0.5 * b - c",
    "a + 2 * (b - c) + within(a, top_p=0.9)",
    "a - 0.96 * union(b, a)",
    "a - 0.5 * union(b, c, a) + 0.3 * intersection(b, c)",
    "mix(0.3 * a, 0.7 * b)",
    "a + 0.8 * tilt(b + c)",
    "power(a + 0.5 * (b - c), 2)",
    "a + ramp(0, 1, tokens=4) * (b - a)",
    "a + 2 * liked - 0.5 * disliked",
    "a + 0.5 * (b - a) + liked",
    "a + union(-4, intersection(0, 50 * (probability(a) - probability(b))))",
    "a + 2 * (tilt(b) - tilt(mix(b, c)))",
    SEVEN,
    EIGHT,
    "a - tilt(b) + within(a, min_p=0.1)",
    "a + (tilt(b) & tilt(c))",
    "a + follow(b - a, liked)",
    "a + hold(b - a, liked, target=0.9)",
    "a + hold(b, liked, target=0.2, least=-1) - 0.5 * hold(c - a, disliked, target=0.9)",
    "power(a + hold(b - a, liked, target=0.9, gain=0.5), 2) + 2 * liked",
    "a + 0.6 * (b - a) + word",
    "a + 2 * (b - c) + (word | polite) + words",
    "a + ramp(0, 2, tokens=6) * (b - a) + decay(3, half_life=4) * liked - 0.5 * disliked + polite + words",
    "0.5 * (a + b) + follow(c - a, liked) + ramp(0, 1, tokens=5) * tilt(b) + liked + word + within(a, top_p=0.99)",
]


def vowels(texts: list[str]) -> list[float]:
    return [(1 + sum(text.count(vowel) for vowel in "aeiou")) / (2 + len(text)) for text in texts]


def speaker(formula: str, **settings) -> ComposedVoice:
    terms = {name: Model(source=name).term(name=name, prefix="") for name in NAMES}
    terms["liked"] = classifier(vowels, top_k=30, name="liked")
    terms["disliked"] = classifier(lambda texts: [min(1, len(text) / 9) for text in texts], top_k=20, name="disliked")
    terms |= {"word": regex("[a-z]{3,12}", name="word"), "polite": forbid(["a", "my", "q"], name="polite")}
    terms["words"] = require(["go"], name="words")
    models = toys(TABLES)
    voice = Voice(parse(formula, terms), GenerationSettings(**{"max_new_tokens": 12} | settings))
    return ComposedVoice(voice, lambda model: models[model.source], open_scorer=Models().scorer)


def residue(explanation: Explanation) -> float:
    """How far the parts are from adding up, in the worst token."""
    return max(abs(math.fsum(token.parts.values()) - token.change) for token in explanation.tokens)


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_parts_add_up_to_the_change(formula):
    voice = speaker(formula)
    explanation = voice.explain("hello. ", seed=3)
    assert residue(explanation) < EXACT
    sample = voice.generate("hello. ", seed=3).samples[0]
    assert tuple(token.token for token in explanation.tokens) == sample.tokens
    assert [token.logprob for token in explanation.tokens] == pytest.approx(list(sample.logprobs), abs=EXACT)
    assert open_rows(voice) == 0


@pytest.mark.parametrize("formula", [each for each in FORMULAS if "within" not in each and "power" not in each])
def test_the_change_is_from_what_the_reference_says_to_what_the_formula_does(formula):
    voice = speaker(formula)
    tokens = voice.explain("hello. ", "and so on").tokens
    alone, whole = speaker("a").score("hello. ", "and so on"), voice.score("hello. ", "and so on")
    assert [token.reference_logprob for token in tokens] == pytest.approx(alone.logprobs, abs=EXACT)
    possible = [max(logprob, LEAST) for logprob in whole.logprobs]
    assert [token.logprob for token in tokens] == pytest.approx(possible, abs=EXACT)


@pytest.mark.parametrize("block", [1, 2, 64])
def test_a_given_text_may_be_one_that_a_constraint_forbids(block):
    loaded = speaker("a + 0.6 * (b - a) + word").loaded
    tokens = text_tokens(loaded, "an 12")
    explanation = finished(explain_in_parts(loaded, "hi", tokens, len(tokens), block=block, chunk=block))
    first, second, *later = explanation.tokens
    assert min(first.logprob, second.logprob) > LEAST
    assert [token.logprob for token in later] == [LEAST] * 3
    assert all(token.parts["word"] < -50 for token in later)
    assert residue(explanation) < EXACT


def test_a_formula_without_a_token_is_told_while_the_text_is_possible():
    with pytest.raises(DecodingError, match="No token is possible"):
        speaker("a + within(a, top_k=1) + within(b, top_k=1) + polite").explain("hi", "aaa")


def test_a_sum_of_two_worked_by_hand():
    """`a + 2 * (b - c)`: each value is a softmax over the letters of one known context."""
    explanation = speaker("a + 2 * (b - c)").explain("x", "y")
    context = [TABLES["a"].pieces.index("x")]
    token = TABLES["a"].pieces.index("y")
    laws = {name: TABLES[name].logprobs(context).tolist() for name in "abc"}

    def value(b: str, c: str) -> float:
        scores = [laws["a"][v] + 2 * (laws[b][v] - laws[c][v]) for v in range(len(laws["a"]))]
        return scores[token] - math.log(math.fsum(map(math.exp, scores)))

    none, only_b, only_c, both = value("a", "a"), value("b", "a"), value("a", "c"), value("b", "c")
    expected = {
        "b": ((only_b - none) + (both - only_c)) / 2,
        "c": ((only_c - none) + (both - only_b)) / 2,
    }
    (found,) = explanation.tokens
    assert found.parts == pytest.approx(expected, abs=EXACT)
    assert found.change == pytest.approx(both - none, abs=EXACT)
    assert found.reference_rank == 1 + sum(each > laws["a"][token] for each in laws["a"])
    best = sorted(range(len(laws["a"])), key=lambda v: -laws["a"][v])[:3]
    assert [each.token for each in found.reference_top] == best
    assert [each.probability for each in found.reference_top] == pytest.approx([math.exp(laws["a"][v]) for v in best])


def test_a_weight_that_follows_the_text_worked_by_hand():
    """The weight is what the gauge says of the text so far, whichever terms are there; of no text it is 1/2."""
    explanation = speaker("a + follow(b - a, liked)").explain("x", "yet")
    pieces, context = TABLES["a"].pieces, "x"
    for token, weight in zip(explanation.tokens, [0.5, *vowels(["y", "ye"])], strict=True):
        before = [pieces.index(letter) for letter in context]
        a, b = (TABLES[name].logprobs(before) for name in "ab")
        law = (a + weight * (b - a)).log_softmax(-1)
        assert token.parts == {"b": pytest.approx(float(law[token.token] - a[token.token]), abs=EXACT)}
        context += token.text


def test_terms_that_do_the_same_have_the_same_part():
    models = toys({"a": TABLES["a"], "b": TABLES["b"], "c": TABLES["b"]})
    terms = {name: Model(source=name).term(name=name, prefix="") for name in models}
    voice = ComposedVoice(Voice(parse("a + 0.4 * (b + c - 2 * a)", terms)), lambda model: models[model.source])
    for token in voice.explain("hi", "there").tokens:
        assert token.parts["b"] == pytest.approx(token.parts["c"], abs=EXACT)


def test_many_terms_join_in_their_order():
    few, many = (speaker(formula).explain("hi", "there") for formula in (SEVEN, EIGHT))
    assert (few.method, many.method) == ("shapley", "in order")
    assert many.terms == tuple("bcdefgh")
    first = speaker("(a + b + a + a + a + a + a + a) / 8").explain("hi", "there")
    assert [token.parts["b"] for token in many.tokens] == pytest.approx([token.change for token in first.tokens])


@pytest.mark.parametrize("reference", ["a", "b", "c"])
def test_any_language_model_can_be_the_reference(reference):
    explanation = speaker("a + 2 * (b - c)").explain("hi", "there", reference=reference)
    assert explanation.reference == reference
    assert sorted([reference, *explanation.terms]) == ["a", "b", "c"]
    assert residue(explanation) < EXACT


def test_what_a_term_finds_impossible_counts_as_the_least():
    certain = TableModel(("x", "y", "<end>"), order=0, rows={(): (1.0, 0.0, 0.0)})
    even = TableModel(("x", "y", "<end>"), order=0, rows={(): (0.4, 0.4, 0.2)})
    terms = {name: Model(source=name).term(name=name, prefix="") for name in ("certain", "even")}
    models = {"certain": certain.language_model(), "even": even.language_model()}
    voice = ComposedVoice(Voice(parse("mix(certain, even)", terms)), lambda model: models[model.source])
    (token,) = voice.explain("x", "y").tokens
    assert token.reference_logprob == LEAST
    assert token.parts == {"even": pytest.approx(math.log(0.2) - LEAST)}
    assert token.reference_rank == 2


def test_a_part_that_leaves_no_token_counts_as_the_least():
    """Without `b` the formula allows no token at all where `a` and `c` disagree on the likeliest."""
    voice = speaker("(a + within(a, top_k=1) + within(c, top_k=1)) | b")
    assert residue(voice.explain("hi", "there", reference="b")) < EXACT


def test_classifiers_take_part_and_change_only_candidates():
    voice = speaker("a + 3 * liked")
    explanation = voice.explain("x", "aeq")
    assert explanation.terms == ("liked",)
    assert explanation.tokens[0].parts["liked"] > 0
    assert residue(explanation) < EXACT


@pytest.mark.parametrize("block", [1, 2, 64])
def test_long_texts_are_read_in_blocks(block):
    text = "the quick brown fox jumps over the lazy dog. " * 2
    voice = speaker(FORMULAS[3])
    tokens = text_tokens(voice.loaded, text)
    parts = explain_in_parts(voice.loaded, "hi", tokens, len(tokens), block=block, chunk=block)
    assert finished(parts).tokens == voice.explain("hi", text).tokens


def test_terms_of_one_network_are_explained_within_its_rounding():
    voice = prompted_network("base + 0.6 * (formal - base)")
    explanation = voice.explain("hello. ", max_new_tokens=8)
    assert residue(explanation) < EXACT
    sample = voice.generate("hello. ", max_new_tokens=8).samples[0]
    assert [token.logprob for token in explanation.tokens] == pytest.approx(list(sample.logprobs), abs=1e-4)
    assert all(not session.open_rows for session in sessions(voice))


def test_rows_of_llama_cpp_are_explained_within_its_rounding(tmp_path):
    pytest.importorskip("llama_cpp")
    model = la.model(str(write_tiny_gguf(tmp_path / "tiny.gguf")), engine="llamacpp")
    base, formal = model.term(name="base", prefix=""), model.term(name="formal", prefix="dear sir, ")
    liked, word = classifier(vowels, top_k=30, name="liked"), regex("[a-z ]+", name="word")
    voice = la.voice(base + 0.6 * (formal - base) + liked + word, models=Models(), max_new_tokens=8)
    sample = voice.generate("hello. ").samples[0]
    (session,) = dict.fromkeys(voice.loaded.sessions.values())
    room = session.room_left
    explanation = voice.explain("hello. ")
    assert tuple(token.token for token in explanation.tokens) == sample.tokens
    assert [token.logprob for token in explanation.tokens] == pytest.approx(list(sample.logprobs), abs=1e-3)
    assert residue(explanation) < EXACT
    assert session.room_left == room


def test_the_text_and_the_names_of_its_tokens():
    voice = speaker("a + 0.6 * (b - a)", max_new_tokens=400, seed=1)
    explanation, sample = voice.explain("hello. "), voice.generate("hello. ").samples[0]
    assert explanation.text == sample.text
    assert sample.finish_reason == "end"
    last = explanation.tokens[-1]
    assert (last.text, last.name) == ("", "<end>")
    assert explanation.totals()["b"] == pytest.approx(sum(token.change for token in explanation.tokens))


def test_sampling_is_told_apart():
    voice = speaker("a + 0.6 * (b - a)")
    sampling = voice.explain("hi", temperature=0, top_k=3, seed=5).sampling
    assert sampling == {
        "temperature": 0.0,
        "top_k": 3,
        "top_p": 1.0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "logit_bias": (),
        "min_new_tokens": 0,
        "seed": 5,
    }
    assert voice.explain("hi", "there").sampling is None


def test_json_has_exactly_these_keys():
    plain = json.loads(json.dumps(speaker("a + 0.6 * (b - a)").explain("hi", "yo").to_json(), allow_nan=False))
    assert list(plain) == ["prompt", "text", "formula", "reference", "terms", "method", "sampling", "tokens"]
    assert (plain["prompt"], plain["text"], plain["formula"]) == ("hi", "yo", "a + 0.6 * (b - a)")
    assert (plain["reference"], plain["terms"], plain["method"], plain["sampling"]) == ("a", ["b"], "shapley", None)
    for token in plain["tokens"]:
        assert list(token) == [
            "token",
            "text",
            "name",
            "logprob",
            "reference_logprob",
            "change",
            "parts",
            "reference_rank",
            "reference_top",
        ]
        assert list(token["parts"]) == ["b"]
        assert [list(each) for each in token["reference_top"]] == [["token", "text", "probability"]] * 3


@pytest.mark.parametrize(
    ("formula", "reference", "told"),
    [
        ("a + b", "bas", "The reference `bas` is not a term of `a + b`. Language models of the formula: a, b."),
        (
            "a + liked",
            "liked",
            "`liked` is not a language model, so it cannot be the reference. Language models of the formula: a.",
        ),
        (
            "a + 1 * (b - a)",
            "a",
            "The reference `a` has no effect in `a + 1 * (b - a)`: its weight cancels. "
            "Language models of the formula: b.",
        ),
    ],
)
def test_a_reference_that_is_none_is_refused(formula, reference, told):
    with pytest.raises(DecodingError) as refusal:
        speaker(formula).explain("hi", reference=reference)
    assert str(refusal.value) == told


def test_other_mistakes_are_told():
    voice = speaker("a + b")
    with pytest.raises(PromptError, match="The continuation is empty"):
        voice.explain("hi", "")
    with pytest.raises(
        DecodingError, match="A continuation that is given is not sampled, so seed would change nothing"
    ):
        voice.explain("hi", "there", seed=3)
    with pytest.raises(DecodingError, match="samples=3 cannot be spoken at once"):
        voice.explain("hi", samples=3)
