"""Requests from many threads: each gets what it would get alone, or one clear error, and the service goes on."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from together import alone, recorded_toys, rows_open, said, speaker
from voices import STEERED

import lmalgebra as la
from lmalgebra.decoding import Piece, Refusal, Sample, Service
from lmalgebra.errors import BusyError, CacheFullError, DecodingError, PromptError
from lmalgebra.models import loading

SOON = 20
"""Seconds after which something that should come is taken to be lost."""

LONG = {"min_new_tokens": 3000, "max_new_tokens": 3000}


class Gate:
    """Lets a session's passes through one by one, or all once it is open."""

    def __init__(self, session):
        self._extend, self._passes, self._open = session.extend, threading.Semaphore(0), False
        self.waits = threading.Event()
        session.extend = self

    def __call__(self, tokens, wanted=None):
        if not self._open:
            self.waits.set()
            assert self._passes.acquire(timeout=SOON)
        return self._extend(tokens, wanted)

    def open(self):
        self._open = True
        self._passes.release()


@pytest.fixture
def service():
    with Service() as running:
        yield running


def texts(generation):
    return {sample.number: said(sample) for sample in generation.samples}


def wait_until(condition):
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_requests_of_many_threads_get_their_own_texts(service, models):
    voices = [speaker(formula, models) for formula in (STEERED, "base", "mix(0.5 * base, 0.5 * formal)")]
    asked = [(voices[i % 3], "hello" * (1 + i % 4), {"seed": i, "samples": 1 + i % 2}) for i in range(36)]

    def ask(one):
        spoken, prompt, settings = one
        return texts(service.submit(spoken, prompt, max_new_tokens=8, **settings).result(SOON))

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(ask, asked))
    service.close()
    assert found == [alone(spoken, prompt, max_new_tokens=8, **settings) for spoken, prompt, settings in asked]


def test_a_ticket_gives_the_text_in_pieces_as_it_comes(models):
    base = speaker("base", models)
    expected = base.generate("hello", min_new_tokens=20, max_new_tokens=20).text
    gate = Gate(models["base"].session)
    with Service() as service:
        pieces = iter(service.submit(base, "hello", min_new_tokens=20, max_new_tokens=20))
        gate._passes.release(3)  # the prompt, and two tokens of which each gives the next
        first = [next(pieces), next(pieces), next(pieces)]
        gate.open()
        assert "".join([*first, *pieces]) == expected


def test_events_say_whose_each_piece_is(service, steered):
    ticket = service.submit(steered, "hello", samples=3, max_new_tokens=9, min_new_tokens=9)
    events = list(ticket.events())
    samples = {event.number: event for event in events if isinstance(event, Sample)}
    for number, sample in samples.items():
        pieces = [event.text for event in events if isinstance(event, Piece) and event.number == number]
        assert "".join(pieces) == sample.text
    assert ticket.done
    assert texts(ticket.result()) == {number: said(sample) for number, sample in samples.items()}
    assert len(samples) == 3


def test_samples_of_one_ticket_cannot_be_iterated_as_one_text(service, steered):
    ticket = service.submit(steered, "hello", samples=2, max_new_tokens=2)
    with pytest.raises(DecodingError, match=r"samples=2 cannot be spoken at once. Use events\(\), which says whose"):
        iter(ticket)
    assert len(ticket.result(SOON).samples) == 2


def test_a_result_that_takes_too_long_can_be_waited_for_again(models):
    base = speaker("base", models)
    gate = Gate(models["base"].session)
    with Service() as service:
        ticket = service.submit(base, "hello", max_new_tokens=3)
        with pytest.raises(TimeoutError, match=r"The request is not answered after 0.05 seconds."):
            ticket.result(timeout=0.05)
        assert not ticket.done
        gate.open()
        assert ticket.result(SOON).text == "".join(ticket)


def test_what_a_request_is_refused_for_is_raised_everywhere(service, models):
    blocked = speaker("base + within(base, top_k=1) + within(formal, top_k=1)", models)
    heard = []
    ticket = service.submit(blocked, "hello", heard.append)
    for use in (lambda: ticket.result(SOON), lambda: list(ticket.events())):
        with pytest.raises(DecodingError, match="No token is possible"):
            use()
    assert isinstance(heard[-1], Refusal)
    assert ticket.done


def test_what_is_wrong_with_a_request_is_raised_where_it_is_submitted(service, steered):
    with pytest.raises(PromptError, match="The prompt is empty"):
        service.submit(steered, "")
    with pytest.raises(DecodingError, match="temperature=-1 is out of range"):
        service.submit(steered, "hello", temperature=-1)
    assert service.submit(steered, "hello", max_new_tokens=2).result(SOON)


def test_a_cancelled_request_says_so_and_gives_its_rows_back(service, models, steered):
    ticket = service.submit(steered, "hello", **LONG)
    pieces = ticket.events()
    first = next(pieces)
    ticket.cancel()
    ticket.cancel()
    with pytest.raises(DecodingError, match=r"^The request was cancelled.$"):
        ticket.result(SOON)
    assert isinstance(first, Piece)
    assert all(isinstance(piece, Piece) for piece in pieces)  # what was said stays, and then it ends
    ticket.cancel()
    assert service.submit(steered, "hello", max_new_tokens=2).result(SOON)
    wait_until(lambda: not service._tickets)
    service._scheduler._kept.close()
    assert rows_open(models) == 0


def test_cancelling_what_is_done_changes_nothing(service, steered):
    ticket = service.submit(steered, "hello", max_new_tokens=2)
    text = ticket.result(SOON).text
    ticket.cancel()
    assert service.submit(steered, "hello", max_new_tokens=2).result(SOON).text == text
    assert ticket.result().text == text


def test_a_request_that_waits_can_be_cancelled(models):
    base = speaker("base", models)
    gate = Gate(models["base"].session)
    with Service(max_samples=1) as service:
        running, waiting, last = (service.submit(base, "hello", seed=seed, max_new_tokens=3) for seed in range(3))
        waiting.cancel()
        gate.open()
        with pytest.raises(DecodingError, match="The request was cancelled"):
            waiting.result(SOON)
        assert list(waiting.events()) == []
        found = [texts(ticket.result(SOON)) for ticket in (running, last)]
    assert found == [alone(base, "hello", seed=seed, max_new_tokens=3) for seed in (0, 2)]


def test_a_request_can_be_cancelled_from_its_own_listener(service, steered):
    tickets = []
    submitted = threading.Event()

    def stop(event):
        assert submitted.wait(SOON)
        tickets[0].cancel()

    tickets.append(service.submit(steered, "hello", stop, **LONG))
    submitted.set()
    with pytest.raises(DecodingError, match="The request was cancelled"):
        tickets[0].result(SOON)


def test_a_listener_hears_everything_in_order(service, steered):
    heard = []
    ticket = service.submit(steered, "hello", heard.append, samples=2, max_new_tokens=5, min_new_tokens=5)
    ticket.result(SOON)
    assert heard == list(ticket.events())
    assert sum(isinstance(event, Sample) for event in heard) == 2


def test_a_listener_that_fails_stops_nobody(service, steered, caplog):
    def fail(event):
        raise ValueError("a bad listener")

    tickets = [service.submit(steered, "hello", each, max_new_tokens=5) for each in (fail, None)]
    first, second = (ticket.result(SOON).text for ticket in tickets)
    assert first == second
    assert "A listener failed; its request goes on." in caplog.text


def test_too_many_waiting_requests_are_refused_until_there_is_room(models):
    base = speaker("base", models)
    gate = Gate(models["base"].session)
    with Service(max_samples=1, max_waiting=3) as service:
        tickets = [service.submit(base, "hello", max_new_tokens=2)]
        assert gate.waits.wait(SOON)
        tickets += [service.submit(base, "hello", max_new_tokens=2) for _ in range(3)]
        with pytest.raises(BusyError, match=r"^3 requests are waiting already. Try again in a moment.$"):
            service.submit(base, "hello")
        gate.open()
        assert all(ticket.result(SOON) for ticket in tickets)
        assert service.submit(base, "hello", max_new_tokens=2).result(SOON)


def test_a_voice_is_loaded_once_whoever_asks_first():
    opened = []
    models = recorded_toys()
    spoken = speaker(STEERED, models)
    load = spoken._open_model

    def slowly(model):
        opened.append(model.source)
        time.sleep(0.05)
        return load(model)

    spoken._open_model = slowly
    with Service() as service, ThreadPoolExecutor(6) as pool:
        tickets = list(pool.map(lambda seed: service.submit(spoken, "hello", seed=seed, max_new_tokens=2), range(6)))
        assert all(ticket.result(SOON) for ticket in tickets)
    assert sorted(opened) == ["base", "formal"]


def test_weights_are_loaded_once_for_all_voices_whoever_asks_first(monkeypatch):
    opened = []
    load = loading.load

    def slowly(source, **options):
        opened.append(source)
        time.sleep(0.05)
        return load(source, **options)

    monkeypatch.setattr(loading, "load", slowly)
    models = la.Models()
    voices = [la.voice(la.model("toy").term(name="base", prefix="p" * i), models=models) for i in range(6)]
    with ThreadPoolExecutor(6) as pool:
        sessions = list(pool.map(lambda voice: next(voice.loaded.distinct_sessions()), voices))
    assert len(set(sessions)) == len(opened) == 1


def interrupted(wait):
    """Wait, and be interrupted soon."""
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    wait()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that signals")
def test_an_interruption_of_who_waits_leaves_the_service_usable(models):
    base = speaker("base", models)
    gate = Gate(models["base"].session)
    before = signal.signal(signal.SIGALRM, lambda *_: signal.default_int_handler(signal.SIGINT, None))
    try:
        with Service() as service:
            ticket = service.submit(base, "hello", max_new_tokens=3)
            for wait in (ticket.result, lambda: list(ticket)):
                with pytest.raises(KeyboardInterrupt):
                    interrupted(wait)
            gate.open()
            assert texts(ticket.result(SOON)) == texts(service.submit(base, "hello", max_new_tokens=3).result(SOON))
    finally:
        signal.signal(signal.SIGALRM, before)


def parts_of(count, done):
    """So many parts of work; notes in `done` what has been done."""
    try:
        for part in range(count):
            done.append(part)
            yield
        return "all"
    finally:
        done.append("end")


def test_long_work_is_done_in_parts_while_others_speak(service, models):
    heard, done, spoke = [], [], []
    ticket = service.submit(speaker(STEERED, models), "hello", heard.append, **LONG)
    wait_until(lambda: heard)

    def work():
        for _ in parts_of(50, done):
            spoke.append(len(heard))
            yield

    assert service.perform_in_parts(work).result(SOON) is None
    assert len(set(spoke)) == 50  # something was said between any two parts
    ticket.cancel()


def test_work_in_parts_takes_turns_and_gives_what_it_returns(service):
    done = [], []
    both = [service.perform_in_parts(lambda each=each: parts_of(400, each)) for each in done]
    assert [each.result(SOON) for each in both] == ["all", "all"]

    def broken():
        yield
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        service.perform_in_parts(broken).result(SOON)
    assert service.perform(lambda: "alive").result(SOON) == "alive"


def test_work_in_parts_ends_when_nobody_waits(service):
    done = []
    future = service.perform_in_parts(lambda: parts_of(10**9, done))
    wait_until(lambda: done)
    assert future.cancel()
    wait_until(lambda: done[-1] == "end")


def test_work_in_parts_ends_with_the_service():
    done = []
    with Service() as running:
        future = running.perform_in_parts(lambda: parts_of(10**9, done))
        wait_until(lambda: done)
        running.close(finish=False)
    assert done[-1] == "end"
    with pytest.raises(DecodingError, match="cancelled"):
        future.result(SOON)


def test_work_that_finds_no_room_begins_again(service, models):
    begun = []
    ticket = service.submit(speaker(STEERED, models), "hello", **LONG)

    def work():
        begun.append(ticket.done)
        yield
        if not ticket.done:
            raise CacheFullError("full", "wait")
        return "done"

    future = service.perform_in_parts(work)
    wait_until(lambda: len(begun) > 3)
    ticket.cancel()
    assert future.result(SOON) == "done"

    def never():
        yield
        raise CacheFullError("full", "wait")

    with pytest.raises(CacheFullError):
        service.perform_in_parts(never).result(SOON)


def test_scores_in_parts_are_the_scores(service, models):
    voice = speaker(STEERED, models)
    pairs = [("hello", "you and me, or else"), ("hello", "nobody"), ("who?", "x")]
    found = service.perform_in_parts(lambda: voice.score_in_parts(pairs, block=3, chunk=2)).result(SOON)
    assert rows_open(models) == 0
    for score, expected in zip(found, voice.score_many(pairs), strict=True):
        assert score.logprobs == pytest.approx(expected.logprobs)
