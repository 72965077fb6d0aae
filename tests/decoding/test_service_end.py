"""How a service ends, and what it does about failures that nobody foresaw."""

import threading

import pytest
from test_service import LONG, SOON, Gate, texts, wait_until
from together import alone, rows_open, speaker

from lmalgebra.decoding import Service
from lmalgebra.decoding.scheduler import Scheduler
from lmalgebra.errors import BusyError, DecodingError
from lmalgebra.models.table import TableTokenizer


def test_closing_waits_until_all_is_answered(models, steered):
    service = Service(max_samples=2)
    tickets = [service.submit(steered, "hello", seed=seed, max_new_tokens=9) for seed in range(8)]
    service.close()
    assert all(ticket.done for ticket in tickets)
    assert not service._thread.is_alive()
    assert rows_open(models) == 0
    assert [texts(ticket.result()) for ticket in tickets] == [
        alone(steered, "hello", seed=seed, max_new_tokens=9) for seed in range(8)
    ]


def test_closing_without_finishing_cancels_all(models, steered):
    service = Service(max_samples=2)
    tickets = [service.submit(steered, "hello", seed=seed, **LONG) for seed in range(5)]
    next(iter(tickets[0]))
    service.close(finish=False)
    for ticket in tickets:
        with pytest.raises(DecodingError, match="The request was cancelled"):
            ticket.result(timeout=0)
    assert not service._thread.is_alive()
    assert rows_open(models) == 0


def test_closing_at_once_or_twice_is_no_harm():
    service = Service()
    service.close()
    service.close(finish=False)
    assert not service._thread.is_alive()


def test_a_closed_service_takes_no_more_requests(steered):
    service = Service()
    service.close()
    with pytest.raises(BusyError, match=r"^The service is closed and takes no more requests.$"):
        service.submit(steered, "hello")


def test_while_a_service_closes_it_takes_no_more_requests(models):
    base = speaker("base", models)
    gate = Gate(models["base"].session)
    service = Service()
    ticket = service.submit(base, "hello", max_new_tokens=2)
    closing = threading.Thread(target=service.close)
    closing.start()
    wait_until(lambda: service._closing)
    with pytest.raises(BusyError, match="closed"):
        service.submit(base, "hello")
    gate.open()
    closing.join(SOON)
    assert ticket.result(timeout=0)


def test_cancelling_after_the_end_is_no_harm(steered):
    with Service() as service:
        ticket = service.submit(steered, "hello", max_new_tokens=2)
    ticket.cancel()
    assert ticket.result(timeout=0)


def test_leaving_the_block_waits_for_the_answers(steered):
    with Service() as service:
        ticket = service.submit(steered, "hello", max_new_tokens=4)
    assert ticket.done


def test_leaving_the_block_with_an_error_cancels_what_runs(models, steered):
    service = Service()
    ticket = service.submit(steered, "hello", **LONG)
    with pytest.raises(ZeroDivisionError), service:
        raise ZeroDivisionError
    with pytest.raises(DecodingError, match="The request was cancelled"):
        ticket.result(timeout=0)
    assert not service._thread.is_alive()
    assert rows_open(models) == 0


@pytest.mark.parametrize("place", ["_admit", "_pass", "_settle"])
def test_a_failure_that_nobody_foresaw_ends_what_runs_and_not_the_service(models, steered, monkeypatch, caplog, place):
    original, calls = getattr(Scheduler, place), []

    def fail(scheduler, *given):
        calls.append(place)
        if len(calls) == 4:
            raise RuntimeError("out of luck")
        return original(scheduler, *given)

    monkeypatch.setattr(Scheduler, place, fail)
    gate = Gate(models["base"].session)
    with Service() as service:
        tickets = [service.submit(steered, "hello", seed=seed, samples=2, **LONG) for seed in range(3)]
        gate.open()  # all are submitted before the failure
        for ticket in tickets:
            with pytest.raises(DecodingError) as lost:
                ticket.result(SOON)
            assert str(lost.value) == "The request was lost to a failure: RuntimeError('out of luck'). Submit it again."
        again = texts(service.submit(steered, "hello", max_new_tokens=5).result(SOON))
    assert "A step of the service failed." in caplog.text
    assert again == alone(steered, "hello", max_new_tokens=5)
    assert rows_open(models) == 0


def test_a_model_that_runs_out_of_memory_ends_what_runs_and_not_the_service(models, steered):
    with Service() as service:
        Exploding(models["formal"].session, "extend", after=5)
        ticket = service.submit(steered, "hello", samples=3, **LONG)
        with pytest.raises(DecodingError, match="lost to a failure: MemoryError"):
            ticket.result(SOON)
        assert service.submit(steered, "hello", max_new_tokens=5).result(SOON)
    assert rows_open(models) == 0


class Exploding:
    """A session's method that raises MemoryError once, after so many calls."""

    def __init__(self, session, name, after=0):
        self.left, self.method = after, getattr(session, name)
        setattr(session, name, self)

    def __call__(self, *given, **named):
        self.left -= 1
        if self.left == -1:
            raise MemoryError
        return self.method(*given, **named)


def error_of(ticket):
    """What a ticket is refused for, in words; empty when it is answered."""
    try:
        ticket.result(SOON)
    except DecodingError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["open", "fork", "close", "park"])
def test_the_service_outlives_a_failure_of_any_call_of_a_session(models, steered, name):
    with Service(kept_rows=2) as service:
        Exploding(models["base"].session, name)
        tickets = [service.submit(steered, "hello", seed=seed, samples=2, max_new_tokens=9) for seed in range(3)]
        lost = [error for error in map(error_of, tickets) if error]
        assert lost
        assert all("lost to a failure: MemoryError" in error for error in lost)
        assert service.submit(steered, "hello", max_new_tokens=5).result(SOON)
    assert not service._thread.is_alive()


def test_a_prompt_on_which_a_tokenizer_breaks_is_the_only_one_lost(models, steered, monkeypatch):
    encode = TableTokenizer.encode

    def break_on_x(tokenizer, parts, start=True):
        if "x" in "".join(parts):
            raise TypeError("no such text")
        return encode(tokenizer, parts, start)

    monkeypatch.setattr(TableTokenizer, "encode", break_on_x)
    with Service() as service:
        first = service.submit(steered, "hello", min_new_tokens=90, max_new_tokens=90)
        broken = service.submit(steered, "x")
        with pytest.raises(DecodingError, match=r"The request was lost to a failure: TypeError\('no such text'\)."):
            broken.result(SOON)
        assert len(first.result(SOON).samples) == 1
        assert service.submit(steered, "hello", max_new_tokens=5).result(SOON)


def test_a_request_that_arrives_while_a_step_fails_is_answered(models):
    base = speaker("base", models)
    service = Service()
    submitted = []

    def submit_and_fail(tokens, wanted=None):
        del models["base"].session.extend
        submitted.append(service.submit(base, "hello", max_new_tokens=3))
        raise RuntimeError("out of luck")

    models["base"].session.extend = submit_and_fail
    with service:
        with pytest.raises(DecodingError, match="lost to a failure"):
            service.submit(base, "hello", max_new_tokens=3).result(SOON)
        found = texts(submitted[0].result(SOON))
    assert found == alone(base, "hello", max_new_tokens=3)
    assert rows_open(models) == 0


def test_a_session_that_cannot_even_close_rows_does_not_keep_the_service_from_going_on(models):
    base, formal = speaker("base", models), speaker("formal", models)

    def refuse(*given):
        raise RuntimeError("out of luck")

    with Service() as service:
        models["base"].session.close = refuse
        with pytest.raises(DecodingError, match="lost to a failure"):
            service.submit(base, "hello", samples=9, max_new_tokens=9).result(SOON)
        assert service.submit(formal, "hello", max_new_tokens=3).result(SOON)
        del models["base"].session.close


def test_a_storm_of_requests_and_cancellations_ends_well(models, steered):
    """Every ticket is finished, whatever thread cancelled it and when."""
    tickets = []

    def storm(number):
        for turn in range(15):
            try:
                ticket = service.submit(steered, "hello", seed=turn, samples=1 + turn % 2, max_new_tokens=1 + turn % 6)
            except BusyError:
                continue
            tickets.append(ticket)
            if (turn + number) % 3 == 0:
                ticket.cancel()

    with Service(max_samples=5, max_waiting=20) as service:
        threads = [threading.Thread(target=storm, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)
    assert all(ticket.done for ticket in tickets)
    assert len(tickets) >= 20  # so many may wait, even where the service's thread never gets its turn meanwhile
    assert rows_open(models) == 0
