"""Samples of many prompts: what is drawn, how often prompts are read, and that every row is given back."""

import pytest
import torch
from voices import LONG, STEERED, TOYS, open_rows, prompted_network, recital, sessions, toy, toys, voice

from lmalgebra.algebra import parse
from lmalgebra.decoding import Plan
from lmalgebra.decoding.reading import Given
from lmalgebra.decoding.score import score_many, text_tokens
from lmalgebra.errors import CacheFullError, DecodingError, PromptError
from lmalgebra.models.table import TableModel

PROMPTS = ("hello there. ", "a", "what is it? ", "the city at night", "tell me more")


@pytest.fixture
def steered():
    return voice(STEERED, toys())


@pytest.fixture(params=["toy", "network"])
def either(request):
    """A steered voice over exact toys, and one over a random Llama with two prompts."""
    return voice(STEERED, toys()) if request.param == "toy" else prompted_network()


def logprobs_before_each_token(prompt, sample, formula=STEERED):
    """The formula's distribution at each step of a sample, straight from the tables `[tokens, vocabulary]`."""
    pieces = TOYS["base"].pieces
    context = [pieces.index(letter) for letter in prompt]
    plan = Plan(parse(formula))
    steps = []
    for position in range(len(sample.tokens)):
        held = [*context, *sample.tokens[:position]]
        scores = {leaf: TOYS[leaf.name].logprobs(held)[None] for leaf in plan.leaves}
        steps.append(plan.logprobs(scores, [position]))
    return torch.cat(steps)


def test_temperature_0_says_the_likeliest_token_at_every_step(steered):
    sample = steered.generate("hello", temperature=0, max_new_tokens=20).samples[0]
    expected = logprobs_before_each_token("hello", sample).argmax(-1)
    assert sample.tokens == tuple(expected.tolist())


def test_every_prompt_gets_its_samples_once(either):
    samples = list(either.generate_many(PROMPTS, samples=3, **LONG))
    assert sorted((sample.index, sample.number) for sample in samples) == [(i, n) for i in range(5) for n in range(3)]
    assert all(sample.prompt[-1]["content"] == PROMPTS[sample.index] for sample in samples)
    assert len({sample.text for sample in samples}) == 15
    assert open_rows(either) == 0


def test_samples_come_in_order_and_each_has_the_next_seed(steered):
    samples = steered.generate("hello", samples=4, seed=30).samples
    assert [sample.number for sample in samples] == [0, 1, 2, 3]
    assert [sample.seed for sample in samples] == [30, 31, 32, 33]


def test_a_prompt_is_read_once_for_all_its_samples(either):
    either.generate("hello there", samples=5, **LONG)
    prefix = "" if len(sessions(either)) == 2 else "dear sir, "
    steps = LONG["max_new_tokens"] - 1  # the last token is drawn and not read
    given = sum(session.given for session in sessions(either))
    assert given == 2 * len("hello there") + len(prefix) + 2 * 5 * steps


def test_the_toy_computes_no_token_twice():
    models = toys()
    voice(STEERED, models).generate("hello there", samples=5, **LONG)
    for model in models.values():
        assert model.session.inner.computed == len("hello there") + 5 * (LONG["max_new_tokens"] - 1)


def test_no_more_samples_run_at_once_than_allowed():
    models = toys()
    few = voice(STEERED, models, max_samples=2)
    assert len(list(few.generate_many(PROMPTS, samples=3, **LONG))) == 15
    assert models["base"].session.most_rows <= 3  # two samples and a prompt that has more


def test_prompts_are_taken_from_a_stream_as_there_is_room(steered):
    taken = []

    def stream():
        for prompt in PROMPTS * 20:
            taken.append(prompt)
            yield prompt

    next(steered.generate_many(stream(), max_new_tokens=2))
    assert len(taken) < 50


def test_no_prompts_give_no_samples(steered):
    assert list(steered.generate_many([])) == []


def test_top_k_draws_only_from_the_likeliest(steered):
    for sample in steered.generate("hello", samples=8, top_k=3, **LONG).samples:
        steps = _without_end(logprobs_before_each_token("hello", sample))
        assert _drawn(steps, sample).ge(steps.topk(3).values[:, -1]).all()


def test_top_p_draws_only_from_the_nucleus(steered):
    for sample in steered.generate("hello", samples=8, top_p=0.3, **LONG).samples:
        shares = _without_end(logprobs_before_each_token("hello", sample)).softmax(-1)
        likelier = torch.where(shares > _drawn(shares, sample)[:, None], shares, 0.0).sum(-1)
        assert likelier.lt(0.3).all()


def test_min_p_draws_only_what_is_nearly_as_likely_as_the_likeliest(steered):
    for sample in steered.generate("hello", samples=8, min_p=0.4, **LONG).samples:
        shares = _without_end(logprobs_before_each_token("hello", sample)).softmax(-1)
        assert _drawn(shares, sample).ge(0.4 * shares.amax(-1)).all()


def _without_end(steps):
    """What min_new_tokens leaves."""
    steps = steps.clone()
    steps[:, TOYS["base"].pieces.index("<end>")] = -torch.inf
    return steps


def _drawn(steps, sample):
    return steps.gather(1, torch.tensor(sample.tokens)[:, None]).squeeze(1)


def test_a_large_repetition_penalty_lets_no_token_come_twice(steered):
    plain = steered.generate("hello", samples=4, temperature=0.5, **LONG).samples
    penalised = steered.generate("hello", samples=4, temperature=0.5, repetition_penalty=1e6, **LONG).samples
    assert any(len(set(sample.tokens)) < 12 for sample in plain)
    assert all(len(set(sample.tokens)) == 12 for sample in penalised)


def test_nothing_ends_before_the_least_length_and_everything_by_the_most(steered):
    free = steered.generate("hello", samples=40, max_new_tokens=30).samples
    bound = steered.generate("hello", samples=40, min_new_tokens=10, max_new_tokens=30).samples
    assert any(len(sample.tokens) < 10 for sample in free)
    assert all(10 < len(sample.tokens) <= 30 for sample in bound)


def test_a_sample_ends_at_the_end_token_and_does_not_show_it():
    sample = voice("it", {"it": recital("abc", ends=True)}).generate("p").samples[0]
    assert (sample.text, sample.finish_reason) == ("abc", "end")
    assert len(sample.tokens) == len(sample.logprobs) == 4


def test_a_sample_of_the_most_tokens_says_so():
    sample = voice("it", {"it": recital("abc")}).generate("p", max_new_tokens=2).samples[0]
    assert (sample.text, sample.finish_reason, len(sample.tokens)) == ("ab", "length", 2)


def test_a_full_context_ends_a_sample_by_length():
    short = voice(STEERED, toys(context_length=10))
    samples = short.generate("hello", samples=3, min_new_tokens=50, max_new_tokens=50).samples
    assert [(len(sample.tokens), sample.finish_reason) for sample in samples] == [(6, "length")] * 3
    assert open_rows(short) == 0


def test_the_longest_term_decides_when_the_context_is_full():
    sample = prompted_network(context_length=40).generate("hello", min_new_tokens=99, max_new_tokens=99).samples[0]
    assert len(sample.tokens) == 40 - len("dear sir, hello") + 1


def test_the_least_length_cannot_be_kept_when_only_the_end_is_left():
    with pytest.raises(DecodingError) as refusal:
        voice("it", {"it": recital("ab", ends=True)}).generate("p", min_new_tokens=5, temperature=0)
    assert str(refusal.value) == (
        "No token is possible but the end, before min_new_tokens=5. "
        "Lower min_new_tokens, or loosen what the formula forbids."
    )


def test_schedules_count_the_tokens_of_each_sample(steered):
    faded = voice("base + ramp(0, 1, tokens=6) * (formal - base)", toys(), max_samples=3)
    formula = "base + ramp(0, 1, tokens=6) * (formal - base)"
    samples = faded.generate("hello", samples=9, max_new_tokens=15).samples
    assert len({len(sample.tokens) for sample in samples}) > 1  # so that samples at different positions share a step
    for sample in samples:
        expected = _drawn(logprobs_before_each_token("hello", sample, formula), sample)
        torch.testing.assert_close(torch.tensor(sample.logprobs, dtype=torch.float64), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("changes", [{}, {"temperature": 0.5, "top_k": 5, "repetition_penalty": 1.3}])
def test_logprobs_are_the_formulas_before_truncation_and_equal_the_score(either, changes):
    tolerance = 1e-12 if len(sessions(either)) == 2 else 3e-5
    for sample in either.generate("hello", samples=3, **LONG, **changes).samples:
        score = either.score("hello", sample.text)
        assert score.tokens == sample.tokens
        assert "".join(score.pieces) == sample.text
        assert score.logprobs == pytest.approx(sample.logprobs, abs=tolerance)
        assert score.total == pytest.approx(sum(sample.logprobs), abs=12 * tolerance)
    assert open_rows(either) == 0


def test_a_long_continuation_is_scored_in_blocks_of_any_size(either):
    text = "once upon a time, there was a voice. " * 4
    messages = ({"role": "user", "content": "hello"},)
    given = Given(messages, either.loaded.contexts(messages), text_tokens(either.loaded, text))
    (whole,) = score_many(either.loaded, [given], 64, block=1000)
    for block in (1, 7, 64):
        (found,) = score_many(either.loaded, [given], 64, block=block)
        assert found.logprobs == pytest.approx(whole.logprobs, abs=1e-5)


def test_an_empty_continuation_has_no_score(steered):
    with pytest.raises(PromptError, match=r"The continuation is empty. Give at least one character to score."):
        steered.score("hello", "")


def test_a_continuation_longer_than_the_context_has_no_score():
    short = voice(STEERED, toys(context_length=20))
    with pytest.raises(PromptError, match="is longer than the model's context of 20"):
        short.score("hello", "abc" * 10)
    assert open_rows(short) == 0


# Every row is given back, however it ends.


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_stream_that_is_closed_half_way_gives_its_rows_back(either, after):
    stream = either.stream("hello", **LONG)
    for _ in range(after):
        next(stream)
    assert open_rows(either) == (2 if after else 0)
    stream.close()
    assert open_rows(either) == 0


def test_samples_that_are_no_longer_wanted_give_their_rows_back(either):
    samples = either.generate_many(PROMPTS, samples=3, max_new_tokens=10)
    next(samples)
    assert open_rows(either) > 0
    samples.close()
    assert open_rows(either) == 0


def test_an_interruption_gives_all_rows_back(steered, monkeypatch):
    asked, ask = [], TableModel.logprobs

    def interrupt(table, context):
        asked.append(context)
        if len(asked) == 41:
            raise KeyboardInterrupt
        return ask(table, context)

    monkeypatch.setattr(TableModel, "logprobs", interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(steered.generate_many(PROMPTS, samples=3, **LONG))
    assert open_rows(steered) == 0
    assert steered.generate("hello").samples


def test_a_prompt_that_is_refused_half_way_gives_all_rows_back():
    few = voice(STEERED, toys(context_length=20), max_samples=2)
    with pytest.raises(PromptError, match="leaves no room in the 20"):
        list(few.generate_many(["hello", "a", "b", "x" * 30], min_new_tokens=3, max_new_tokens=3))
    assert open_rows(few) == 0


@pytest.mark.parametrize("rows", [2, 3, 5])
def test_samples_wait_for_room_in_a_small_cache_and_say_the_same(rows):
    tight = prompted_network(max_cache_tokens=128 * rows)
    ample = prompted_network()
    found, expected = (voice.generate("hello", samples=8, **LONG) for voice in (tight, ample))
    assert [sample.tokens for sample in found.samples] == [sample.tokens for sample in expected.samples]
    assert open_rows(tight) == 0


def test_a_prompt_that_an_empty_cache_cannot_hold_is_refused():
    tight = prompted_network(max_cache_tokens=128)
    with pytest.raises(CacheFullError, match="The key-value cache is full"):
        tight.generate("hello", samples=8, **LONG)
    assert open_rows(tight) == 0


def test_a_term_without_any_token_left_is_named_and_gives_all_rows_back():
    blocked = voice("base + within(base, top_k=1) + within(formal, top_k=1)", toys())
    with pytest.raises(DecodingError, match=r"No token is possible: `within\(formal, top_k=1\)` forbids every token"):
        blocked.generate("hello", samples=4)
    assert open_rows(blocked) == 0


def test_a_term_that_gives_probability_0_cannot_be_subtracted():
    models = {"base": toy(TableModel(("p", "a", "b", "c", "<end>"))), "sure": recital("abc")}
    with pytest.raises(DecodingError, match="The term `sure` gives some token the probability 0 and is subtracted"):
        voice("2 * base - sure", models).generate("p")
