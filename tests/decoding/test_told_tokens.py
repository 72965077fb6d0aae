"""What is told of each token as it comes: its id, its log-probability, and what else was likely."""

import math

import pytest
from together import speaker
from voices import STEERED

from lmalgebra.decoding import Piece, Sample, Service
from lmalgebra.errors import BusyError, DecodingError

SOON = 20
LONG = {"min_new_tokens": 20, "max_new_tokens": 20}


@pytest.fixture
def service():
    with Service() as running:
        yield running


@pytest.mark.parametrize("speculate", ["off", "base:3"])
@pytest.mark.parametrize("stop", [[], ["e", "th"]])
def test_pieces_and_the_rest_of_the_sample_are_all_tokens(service, models, speculate, stop):
    voice = speaker(STEERED, models, speculate)
    events = list(service.submit(voice, "hello", top_logprobs=3, stop=stop, seed=4, **LONG).events())
    (sample,) = (event for event in events if isinstance(event, Sample))
    pieces = [event for event in events if isinstance(event, Piece)]
    for told in ("tokens", "logprobs", "likeliest"):
        joined = tuple(each for piece in pieces for each in getattr(piece, told))
        assert joined == getattr(sample, told)[: len(joined)]
    assert len(sample.tokens) == len(sample.logprobs) == len(sample.likeliest)


@pytest.mark.parametrize("speculate", ["off", "base:3"])
def test_the_likeliest_are_the_formulas_own(models, speculate):
    voice = speaker(STEERED, models, speculate)
    settings = {"temperature": 0.5, "presence_penalty": 2.0, "logit_bias": [[3, 4.0]], "seed": 2, **LONG}
    (sample,) = voice.generate("hello", top_logprobs=5, **settings).samples
    assert sample.tokens == voice.generate("hello", **settings).samples[0].tokens
    size = voice.loaded.vocabulary_size
    (whole,) = voice.generate("hello", top_logprobs=10**6, **settings).samples
    for token, logprob, best, everything in zip(
        sample.tokens, sample.logprobs, sample.likeliest, whole.likeliest, strict=True
    ):
        assert best == everything[:5]
        assert len(everything) == size
        assert dict(everything)[token] == logprob
        assert math.fsum(math.exp(nats) for _, nats in everything) == pytest.approx(1)
        assert [nats for _, nats in everything] == sorted((nats for _, nats in everything), reverse=True)


def test_nothing_is_told_unless_it_is_asked_for(steered):
    assert steered.generate("hello", **LONG).samples[0].likeliest == ()


def test_samples_of_other_settings_in_one_step_get_their_own(service, steered):
    tickets = [service.submit(steered, "hello", top_logprobs=count, **LONG) for count in (0, 2, 5)]
    found = [ticket.result(SOON).samples[0].likeliest for ticket in tickets]
    assert [{len(each) for each in likeliest} for likeliest in found] == [set(), {2}, {5}]


def test_a_bias_to_a_token_that_there_is_not_is_refused(steered):
    size = steered.loaded.vocabulary_size
    with pytest.raises(DecodingError, match=f"logit_bias names the token {size}, and the vocabulary has {size}."):
        steered.generate("hello", logit_bias=[[size, 1.0]])


def test_a_large_bias_forces_and_a_low_one_forbids(steered):
    wanted = steered.loaded.tokenizer.encode(["z"], start=False)[0]
    assert steered.generate("hello", logit_bias=[[wanted, 100]], max_new_tokens=5).text == "zzzzz"
    texts = [steered.generate("hello", logit_bias=[[wanted, -100]], seed=seed, **LONG).text for seed in range(8)]
    assert not any("z" in text for text in texts)


def test_work_is_done_between_steps_and_its_errors_come_back(service, steered):
    ticket = service.submit(steered, "hello", **LONG)
    assert service.perform(lambda: len(steered.loaded.models)).result(SOON) == 2
    with pytest.raises(ZeroDivisionError):
        service.perform(lambda: 1 // 0).result(SOON)
    assert ticket.result(SOON)
    assert service.is_alive
    assert service.waiting == 0


def test_a_closed_service_performs_nothing():
    service = Service()
    service.close()
    assert not service.is_alive
    with pytest.raises(BusyError, match="The service is closed"):
        service.perform(lambda: 1)
