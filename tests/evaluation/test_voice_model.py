"""A voice as a model of lm-evaluation-harness: what it is asked, and what it answers, worked out with exact toys."""

import math

import pytest

import lmalgebra as la
from lmalgebra.algebra import Formula
from lmalgebra.api import Models
from lmalgebra.decoding import ComposedVoice
from lmalgebra.errors import EvaluationError

pytest.importorskip("lm_eval")
from lm_eval.api.instance import Instance

from lmalgebra.evaluation.utility.voice_model import VoiceLM

pytestmark = pytest.mark.filterwarnings("default")  # of the packages that the harness brings

TOY, OTHER = la.model("toy"), la.model("toy:7")
BASE = TOY.term(name="base", prefix="")
OPPOSITE = OTHER.term(name="other", prefix="as always, ")
QUESTION = "question: what do bees make?\nanswer:"
PAIRS = [(QUESTION, " honey"), (QUESTION, " a glass"), ("hello", " you"), (QUESTION, " x")]


def voice(formula: Formula = BASE, **settings) -> ComposedVoice:
    return la.voice(formula, models=Models(), **settings)


def asked(kind: str, *arguments: tuple) -> list[Instance]:
    return [Instance(kind, {}, each, 0) for each in arguments]


def likelihoods(model: VoiceLM, *pairs: tuple[str, str]) -> list[tuple[float, bool]]:
    return model.loglikelihood(asked("loglikelihood", *pairs))


def said(model: VoiceLM, *wishes: tuple[str, dict]) -> list[str]:
    return model.generate_until(asked("generate_until", *wishes))


def read(model: la.Model, context: str, text: str) -> float:
    """The log-probability of a text after a context, which may be empty, token by token."""
    toy = Models()(model)
    tokens = toy.tokenizer.encode([context]) or [min(toy.tokenizer.end_tokens)]
    total = 0.0
    for token in toy.tokenizer.encode([text]):
        row = toy.session.open()
        total += float(toy.session.extend({row: tokens})[row][-1].log_softmax(-1)[token])
        tokens = [*tokens, token]
    return total


@pytest.mark.parametrize("formula", [BASE, BASE + 0.6 * (OPPOSITE - BASE), la.mix(0.5 * BASE, 0.5 * OPPOSITE)])
def test_a_continuation_gets_the_formulas_score(formula):
    speaker = voice(formula)
    found = likelihoods(VoiceLM(speaker), *PAIRS)
    assert [value for value, _ in found] == pytest.approx([speaker.score(*pair).total for pair in PAIRS], abs=1e-5)


def test_one_term_reads_context_and_continuation_as_one_text():
    assert likelihoods(VoiceLM(voice()), ("hello", " you"))[0][0] == pytest.approx(read(TOY, "hello", " you"), abs=1e-5)


def test_spaces_at_the_end_of_a_context_count_to_the_continuation():
    ours, theirs = likelihoods(VoiceLM(voice()), ("hello  ", "you"), ("hello", "  you"))
    assert ours == theirs


def test_what_greedy_decoding_would_say_is_told():
    speaker = voice()
    text = speaker.generate("hello", temperature=0, max_new_tokens=5).text
    found = likelihoods(VoiceLM(speaker), ("hello", text), ("hello", "q" * 5))
    assert [is_greedy for _, is_greedy in found] == [True, False]


def test_after_nothing_stands_the_token_for_it():
    assert likelihoods(VoiceLM(voice()), ("", "hello"))[0][0] == pytest.approx(read(TOY, "", "hello"), abs=1e-5)


def test_contexts_that_are_too_long_lose_their_beginning():
    speaker = voice()
    speaker.loaded.sessions[speaker.plan.speakers[0]].context_length = 20
    (value, _), (cut, _) = likelihoods(VoiceLM(speaker), (QUESTION, " honey"), (QUESTION[-15:], " honey"))
    assert value == cut
    with pytest.raises(
        EvaluationError, match="A continuation of 30 tokens is longer than a term of the voice can read"
    ):
        likelihoods(VoiceLM(speaker), ("a", "b" * 30))


def test_a_whole_text_is_read_in_windows():
    speaker, text = voice(), "once upon a time, there was a voice."
    (whole,) = VoiceLM(speaker).loglikelihood_rolling(asked("loglikelihood_rolling", (text,)))
    assert whole == pytest.approx(read(TOY, "", text), abs=1e-4)
    speaker.loaded.sessions[speaker.plan.speakers[0]].context_length = 20
    (windows,) = VoiceLM(speaker).loglikelihood_rolling(asked("loglikelihood_rolling", (text,)))
    assert windows == pytest.approx(read(TOY, "", text[:20]) + read(TOY, text[15:20], text[20:]), abs=1e-4)


def test_a_term_reads_what_is_its_own_before_a_whole_text():
    (whole,) = VoiceLM(voice(OPPOSITE)).loglikelihood_rolling(asked("loglikelihood_rolling", ("so it is.",)))
    assert whole == pytest.approx(read(OTHER, "as always, ", "so it is."), abs=1e-5)


def test_each_term_tells_a_conversation_in_its_own_way():
    speaker = voice(TOY.term(name="kind", system="be kind.") + OPPOSITE - OPPOSITE)
    model = VoiceLM(speaker)
    history = [{"role": "user", "content": "hello"}]
    context = model.apply_chat_template(history)
    assert likelihoods(model, (context, "you"))[0][0] == pytest.approx(speaker.score(history, "you").total, abs=1e-5)
    begun = model.apply_chat_template([*history, {"role": "assistant", "content": "to "}], add_generation_prompt=False)
    expected = speaker.score(history, "to you").total - speaker.score(history, "to ").total
    assert likelihoods(model, (begun, "you"))[0][0] == pytest.approx(expected, abs=1e-5)
    with pytest.raises(EvaluationError, match="cannot go on with an answer that the task has begun"):
        said(model, (begun, {}))


def test_what_is_said_stops_where_the_task_wants_it():
    speaker = voice(max_new_tokens=7)
    greedy = speaker.generate("hello", temperature=0, max_new_tokens=40).text
    stop = greedy[10:12]
    wishes = {"until": [stop, ""], "max_gen_toks": 40, "do_sample": False}
    (whole, cut) = said(VoiceLM(speaker), ("hello", {"max_gen_toks": 40}), ("hello", wishes))
    assert whole == greedy
    assert cut == greedy.partition(stop)[0]


def test_repeats_of_a_sampled_request_differ_and_come_again():
    wishes = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 0.9, "max_gen_toks": 12}
    first, second = (said(VoiceLM(voice()), *[("hello", wishes)] * 3) for _ in range(2))
    assert first == second
    assert len(set(first)) == 3


def test_wishes_that_voices_do_not_know_are_refused():
    with pytest.raises(
        EvaluationError, match=r"The task asks for num_beams when it generates, which voices do not know"
    ):
        said(VoiceLM(voice()), ("hello", {"num_beams": 4}))


def test_a_prompt_without_an_answer_is_noted_and_counts_as_empty(tmp_path):
    model = VoiceLM(voice(), tmp_path)
    assert said(model, ("", {}), ("hello", {"max_gen_toks": 3}))[0] == ""
    assert model.notes == ["A prompt got no answer, which counts as an empty one: The prompt is empty."]


def test_what_is_impossible_has_no_likelihood(tmp_path):
    speaker = voice(BASE + la.forbid(["honey"], name="shape"))
    for _ in range(2):
        (bees, glass) = likelihoods(VoiceLM(speaker, tmp_path), *PAIRS[:2])
        assert bees == (-math.inf, False)
        assert glass[0] > -math.inf


def test_what_is_known_is_not_computed_again(tmp_path):
    heard = []

    def begin(what, total):
        return lambda done: heard.append((what, done))

    first = VoiceLM(voice(), tmp_path, begin)
    before = likelihoods(first, *PAIRS[:3]), said(first, ("hello", {"max_gen_toks": 3}))
    again = VoiceLM(voice(), tmp_path, begin)
    session = again.voice.loaded.sessions[again.voice.plan.speakers[0]]
    assert (likelihoods(again, *PAIRS[:3]), said(again, ("hello", {"max_gen_toks": 3}))) == before
    assert session.computed == 0
    assert len(likelihoods(again, *PAIRS)) == 4
    assert session.computed > 0
    assert sum(done for what, done in heard if what == "likelihoods") == 3 + 3 + 4
