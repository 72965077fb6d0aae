"""Terms of one model under different adapters: exact toys, whose adapters are other toys."""

import pytest
from together import Recorded, Together, alone
from voices import LONG

from lmalgebra.algebra import Model, Voice, parse
from lmalgebra.decoding import ComposedVoice
from lmalgebra.errors import ModelError
from lmalgebra.models.base import LanguageModel
from lmalgebra.models.table import TableModel, TableSession, TableTokenizer

TABLE = TableModel(seed=1)
ADAPTERS = {"base": None, "formal": "toy:5", "short": {"toy:5": 0.4, "toy:6": -0.7}, "same": {"toy:5": 1.0}}
STEERED = "base + 0.6 * (formal - base) + 0.3 * (short - base)"
SHARED = "once upon a time, there was a voice that spoke by a formula. " * 2
SHORT = {"min_new_tokens": 3, "max_new_tokens": 3}


@pytest.fixture
def toy() -> LanguageModel:
    return LanguageModel("toy", Recorded(TableSession(TABLE)), TableTokenizer(TABLE))


def speaker(toy, formula, speculate="off") -> ComposedVoice:
    """A voice whose terms have the same prompt and differ in their adapters only."""
    model = Model("toy")
    terms = {name: model.term(name=name, prefix="", adapter=adapter) for name, adapter in ADAPTERS.items()}
    return ComposedVoice(Voice(parse(formula, terms)), lambda model: toy, speculate=speculate)


def logprobs(context, **weights):
    """Of the table with others laid over it, each of a seed and with a weight."""
    tokens = TableTokenizer(TABLE).encode([context])
    scores = TABLE.logprobs(tokens)
    for seed, weight in weights.items():
        scores = scores + weight * TableModel(seed=int(seed[4:])).logprobs(tokens)
    return scores.log_softmax(-1)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("formal", lambda: logprobs("hello", seed5=1)),
        ("short", lambda: logprobs("hello", seed5=0.4, seed6=-0.7)),
        ("base + 0.5 * (formal - base)", lambda: (logprobs("hello") + logprobs("hello", seed5=1)).mul(0.5)),
    ],
)
def test_terms_speak_under_their_adapters(toy, formula, expected):
    scored = speaker(toy, formula).score("hello", "x").logprobs[0]
    token = TableTokenizer(TABLE).vocabulary["x"]
    assert scored == pytest.approx(float(expected().log_softmax(-1)[token]), abs=1e-12)


def test_all_terms_and_samples_share_each_pass(toy):
    steered = speaker(toy, STEERED)
    steered.generate("hello", samples=2, **SHORT)
    assert {len(call) for call in toy.session.calls[1:]} == {6}


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"samples": 3, "seed": 5}])
def test_drafts_of_the_base_change_no_text(toy, settings):
    drafted = speaker(toy, "base + 0.2 * (formal - base)", "base:4")
    plain = speaker(toy, "base + 0.2 * (formal - base)")
    if settings.get("temperature") == 0:
        assert alone(drafted, SHARED, **settings, **LONG) == alone(plain, SHARED, **settings, **LONG)
    else:
        assert len(drafted.generate(SHARED, **settings, **LONG).samples) == 3
    assert drafted.speculation.calls["formal"] < 1
    assert not toy.session.open_rows


def test_rows_of_different_adapters_never_copy_from_each_other(toy):
    for name in ("base", "formal", "short"):
        running = Together(kept_rows=9)
        running.add(speaker(toy, name), SHARED, **SHORT)
        running.steps_of(2)
        before = toy.session.given
        others = [other for other in ("base", "formal", "short") if other != name]
        for other in others:
            running.add(speaker(toy, other), SHARED, **SHORT)
        running.finish()
        assert toy.session.given - before >= 2 * len(SHARED)
        for other in others:  # from what is kept, each finds its own
            running.add(speaker(toy, other), SHARED, **SHORT)
        running.finish()
        said = [running.samples[index] for index in running.samples]
        assert said == [alone(speaker(toy, each), SHARED, **SHORT) for each in (name, *others, *others)]
        running.scheduler.close()


def test_rows_under_one_adapter_copy_from_each_other_however_it_was_given(toy):
    running = Together(kept_rows=9)
    for name in ("formal", "same"):
        running.add(speaker(toy, name), SHARED, **SHORT)
        running.finish()
    assert toy.session.given == len(SHARED) + 2 + 1 + 2
    assert running.samples[0] == running.samples[1]
    running.scheduler.close()


def test_a_prompt_does_not_wait_for_one_under_another_adapter(toy):
    running = Together(read_tokens=10)
    running.add(speaker(toy, "base"), "z", min_new_tokens=40, max_new_tokens=40)  # while it speaks, little is read
    running.steps_of(2)
    for name in ("base", "formal", "base"):
        running.add(speaker(toy, name), SHARED, **SHORT)
        running.steps_of(2)
    assert len(toy.session.open_rows) == 3  # `formal` reads beside the first, and `base` waits for it
    running.finish()


def test_a_chat_goes_on_under_its_adapters(toy):
    spoken = speaker(toy, STEERED)
    chat = spoken.chat(**SHORT)
    first = chat.say(SHARED)
    before = toy.session.given
    chat.say("and then?")
    assert toy.session.given - before < len(SHARED)
    assert first == spoken.generate(SHARED, **SHORT).text
    chat.forget()
    assert not toy.session.open_rows


def test_an_adapter_that_cannot_be_had_is_refused_when_the_models_load(toy):
    spoken = ComposedVoice(Voice(Model("toy").term(name="t", prefix="", adapter="./formal")), lambda model: toy)
    with pytest.raises(ModelError) as refusal:
        spoken.generate("hello")
    assert str(refusal.value) == (
        "The adapter './formal' cannot be used: this model is a toy. A toy's adapter is another toy, such as 'toy:7'."
    )
    assert not spoken.is_loaded
