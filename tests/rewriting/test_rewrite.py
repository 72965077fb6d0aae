"""Answers before and after: who writes, what is asked, and what keeps an answer as it is."""

import pytest

import lmalgebra as la
from chat_server import chatting
from lmalgebra.algebra import GenerationSettings
from lmalgebra.decoding.context import conversation
from lmalgebra.errors import EvaluationError, ModelError
from lmalgebra.judges import FunctionJudge
from lmalgebra.models import connection
from lmalgebra.rewriting.rewrite import EXAMPLES, Rewriter, RewriteSettings
from lmalgebra.rewriting.writers import Answer, Asked, ChatWriter, VoiceWriter
from training.paraphrases.words import CountedWords

RUDE = FunctionJudge("rude", lambda texts: [min(1.0, text.count("damn") / 2) for text in texts], "1")


@pytest.fixture
def toy():
    return la.voice(la.model("toy").term(name="base", prefix=""), max_new_tokens=6)


def writer(address, **settings):
    return ChatWriter(address, "small", GenerationSettings(**settings))


def said(text):
    """What a server says to a text: it leaves out what is rude, or does what the text asks for."""
    if "decline" in text:
        return 200, "I'm sorry, but I cannot."
    if "empty" in text:
        return 200, "  "
    if "long" in text:
        return 400, {"error": {"message": "too long"}}
    return 200, f'Here is the rewritten text:\n"{text.replace("damn ", "")}"'


def test_a_voice_writes_as_it_does_alone(toy):
    asked = [Asked(conversation("ab"), 2, 5), Asked(conversation("b"), 0), Asked(conversation("c"), 1, 9)]
    found = VoiceWriter(toy, toy.settings).write(asked)
    alone = [toy.generate("ab", samples=2, seed=5), toy.generate("c", seed=9)]
    assert [[each.text for each in answers] for answers in found] == [
        [sample.text for sample in alone[0].samples],
        [],
        [alone[1].text],
    ]
    assert [answer.seed for answers in found for answer in answers] == [5, 6, 9]


def test_what_a_voice_cannot_read_is_a_trouble_of_its_own(toy):
    (bad,), (good,) = VoiceWriter(toy, toy.settings).write([Asked(conversation("a" * 5000)), Asked(conversation("a"))])
    assert (bad.text, good.trouble) == ("", "")
    assert "leaves no room" in bad.trouble


def test_a_server_gets_each_question_with_its_seed_and_sampling():
    with chatting(said) as chat:
        found = writer(chat.address, temperature=0.5, stop=("\n\n",)).write([Asked(conversation("a"), 2, 7)])
    assert found == [[Answer('Here is the rewritten text:\n"a"', 7), Answer('Here is the rewritten text:\n"a"', 8)]]
    (first, second) = sorted(chat.asked, key=lambda body: body["seed"])
    assert second["seed"] == 8
    assert first == {
        "messages": [{"role": "user", "content": "a"}],
        "seed": 7,
        "max_tokens": 64,
        "temperature": 0.5,
        "top_p": 1.0,
        "stop": ["\n\n"],
        "model": "small",
    }


def test_a_text_that_a_server_refuses_leaves_the_others(monkeypatch):
    with chatting(said) as chat:
        found = writer(chat.address).write([Asked(conversation(text)) for text in ("a", "long", "b")])
    assert [bool(answer.trouble) for (answer,) in found] == [False, True, False]
    assert "too long" in found[1][0].trouble


def test_a_server_that_is_away_is_an_error(monkeypatch):
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.0)
    with chatting(said) as chat:
        gone = writer(chat.address)
    with pytest.raises(ModelError, match="does not answer"):
        gone.write([Asked(conversation("a"))])


def test_an_address_without_a_chat_is_an_error():
    with chatting(said) as chat, pytest.raises(ModelError, match="Check the address, which mostly ends in /v1"):
        writer(chat.address.removesuffix("/v1")).write([Asked(conversation("a"))])


def rewritten(answers, judge=RUDE, load=None, samples=1, **settings):
    with chatting(said) as chat:
        settings = RewriteSettings(**{"template": "{{ text }}"} | settings)
        return list(Rewriter(writer(chat.address, samples=samples), settings, judge, load)(answers))


def test_each_answer_before_and_after_with_its_scores():
    found = rewritten(["a damn cat", "a cat"])
    assert [(each.before, each.after, each.kept) for each in found] == [
        ("a damn cat", "a cat", ""),
        ("a cat", "a cat", ""),
    ]
    assert [(each.score_before, each.score_after) for each in found] == [(0.5, 0.0), (0.0, 0.0)]


def test_a_judge_chooses_what_is_rewritten():
    found = rewritten(["a damn cat", "a cat", "damn damn it"], above=0.6)
    assert [each.after for each in found] == ["a damn cat", "a cat", "it"]
    assert found[0].kept == "The judge finds nothing to mend."


@pytest.mark.parametrize(
    ("answer", "settings", "kept"),
    [
        ("decline damn it", {}, "The voice declined: 'sorry, but i can'."),
        ("empty", {}, "The voice said nothing."),
        (" ", {}, "The answer is empty."),
        ("a cat", {"better": True}, "The judge scores the rewrite 0.000, no lower than the answer."),
    ],
)
def test_an_answer_stays_with_its_reason(answer, settings, kept):
    (found,) = rewritten([answer], **settings)
    assert (found.after, found.kept) == (answer, kept)


def test_what_a_server_refuses_stays():
    (found,) = rewritten(["long damn"])
    assert found.after == "long damn"
    assert "too long" in found.kept


def test_a_rewrite_that_says_something_else_is_not_taken():
    # Counted words: "damn damn it" and "it" share one of three, of lengths sqrt 5 and 1.
    found = rewritten(["damn damn it", "it is damn so"], load=CountedWords, similarity=0.7)
    assert [each.after for each in found] == ["damn damn it", "it is so"]
    assert found[0].kept == "The rewrite's similarity 0.447 is below 0.7."
    assert found[0].similarity == pytest.approx(5**-0.5, abs=1e-4)
    assert found[1].similarity == pytest.approx(3 / 12**0.5, abs=1e-4)


def test_of_several_tries_the_best_is_taken():
    tries = iter(["damn so", "so", "damn damn so"])
    with chatting(lambda text: (200, next(tries))) as chat:
        (found,) = Rewriter(writer(chat.address, samples=3), RewriteSettings(), RUDE)(["damn damn damn so"])
    assert (found.after, found.score_after) == ("so", 0.0)


def test_a_template_sees_the_prompt_and_the_fields():
    with chatting(lambda text: (200, text)) as chat:
        settings = RewriteSettings(template="{{ prompt }}|{{ text }}|{{ lang }}")
        answers = [{"prompt": [{"role": "user", "content": "Who?"}], "said": "Me.", "lang": "en"}]
        (found,) = Rewriter(writer(chat.address), settings)(answers, "said")
    assert found.after == "Who?|Me.|en"
    line = found.line("said")
    assert (line["said"], line["before"], line["lang"]) == ("Who?|Me.|en", "Me.", "en")


def test_examples_come_with_the_default_template_or_are_given():
    for settings, turns in (({}, 2 * len(EXAMPLES)), ({"template": "{{ text }}"}, 0), ({"examples": {"a": "b"}}, 2)):
        with chatting(lambda text: (200, "b")) as chat:
            list(Rewriter(writer(chat.address), RewriteSettings(**settings))(["so"]))
        *before, last = chat.asked[0]["messages"]
        assert len(before) == turns
        assert last["content"].endswith("so")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"template": "again"}, "The template does not name 'text'."),
        ({"template": "{{ text"}, "cannot be filled in"),
        ({"above": 0.5}, "'above' needs a judge. Add --judge"),
        ({"better": True}, "'better' needs a judge."),
        ({"similarity": 0.5}, "'similarity' needs an encoder"),
        ({"above": 2.0}, "above = 2.0 is out of range. Give a number from 0 to 1."),
    ],
)
def test_settings_that_cannot_be(settings, sentence):
    with pytest.raises(EvaluationError, match=sentence):
        rewritten(["a"], judge=None, **settings)


def test_what_is_no_answer_is_a_sentence():
    with pytest.raises(EvaluationError, match=r"no text in the field 'text' of an answer. Its fields are: said"):
        rewritten([{"said": "a"}])


def test_the_function_of_the_package(toy):
    (found,) = la.rewrite(toy, ["ab"], template="{{ text }}", generation={"seed": 3})
    assert found.before == "ab"
    assert found.after in (toy.generate("ab", seed=3).text.strip(), "ab")
