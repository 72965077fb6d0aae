"""Asking a server that fails: what is tried again, what is said, and that the key is never shown."""

import os
import signal
import socket
import threading
import time
from email.utils import formatdate

import pytest

from lmalgebra.errors import ModelError
from lmalgebra.models import connection
from lmalgebra.models.connection import ATTEMPTS, Connection, RefusedError
from toy_server import ToyServer, serving

KEY = "sk-very-secret-1234"
QUESTION = {"prompt": [0], "logprobs": 1}


@pytest.fixture
def toy():
    with serving(ToyServer()) as server:
        yield server


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.01)


def ask(toy: ToyServer, count: int = 1, key_env: str = "", attempts: int = ATTEMPTS) -> list:
    return Connection(toy.address, key_env).post("/completions", [QUESTION] * count, attempts)


def answers(status: int, content: object = "", **headers: str):
    """A trouble: this answer."""
    return lambda handler: handler.answer(status, content, **headers)


def breaks_off(handler) -> None:
    handler.break_off()


def hangs_up(handler) -> None:
    handler.close_connection = True


# what passes


@pytest.mark.parametrize(
    "trouble", [breaks_off, hangs_up, answers(429), answers(500), answers(502, "<html>"), answers(503), answers(504)]
)
def test_a_failure_that_passes_is_not_noticed(toy, trouble):
    toy.troubles.extend([trouble] * (ATTEMPTS - 1))
    (answer,) = ask(toy)
    assert answer["choices"][0]["logprobs"]
    assert len(toy.asked) == ATTEMPTS


def test_many_questions_fail_and_pass_each_by_itself(toy):
    toy.troubles.extend([breaks_off, answers(500), answers(429)] * 5)
    assert len(ask(toy, 40)) == 40
    assert len(toy.asked) == 55


def test_waits_double_and_differ(monkeypatch):
    monkeypatch.setattr(connection, "FIRST_WAIT", 1.0)
    for attempt, longest in ((1, 1), (2, 2), (3, 4), (9, connection.LONGEST_WAIT)):
        waits = [connection._backoff(attempt) for _ in range(50)]
        assert longest / 2 <= min(waits) < max(waits) <= longest


def test_a_server_that_asks_to_wait_is_not_asked_before(toy):
    toy.troubles.append(answers(429, Retry_After="1"))
    started = time.monotonic()
    ask(toy)
    assert 1 <= time.monotonic() - started < 3


def test_a_wait_that_is_too_long_is_told_instead(toy):
    toy.troubles.append(answers(429, {"error": {"message": "Slow down."}}, Retry_After="3600"))
    with pytest.raises(ModelError) as refusal:
        ask(toy)
    assert str(refusal.value) == (
        f"The server at {toy.address} does not answer: it answers 429: Slow down and asks to wait 3,600 s (asked once)."
        " Check the address and that the server runs, or try again later."
    )


def test_a_date_to_wait_for():
    assert 8 < connection._retry_after(formatdate(time.time() + 10, usegmt=True)) < 11
    assert connection._retry_after(formatdate(0, usegmt=True)) == 0
    assert connection._retry_after("soon") == 0
    assert connection._retry_after("-3") == 0


# what does not pass


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (breaks_off, "it broke off"),
        (hangs_up, "it broke off"),
        (answers(503, {"error": {"code": 503, "message": "Loading model"}}), "it answers 503: Loading model"),
        (answers(500, "Internal\nServer Error"), "it answers 500: Internal Server Error"),
        (answers(502, "<html><body>Bad gateway</body></html>"), "it answers 502"),
    ],
)
def test_a_failure_that_stays_is_one_sentence(toy, trouble, why):
    toy.troubles.extend([trouble] * ATTEMPTS)
    with pytest.raises(ModelError) as refusal:
        ask(toy)
    assert refusal.value.message == f"The server at {toy.address} does not answer: {why} (asked {ATTEMPTS} times)."
    assert len(toy.asked) == ATTEMPTS


def test_a_server_that_is_slow_is_asked_again_and_then_told(toy, monkeypatch):
    monkeypatch.setattr(connection, "TIMEOUT", 0.2)
    toy.troubles.extend([lambda handler: time.sleep(1)] * 2)
    with pytest.raises(ModelError, match=r"does not answer: nothing came for 0\.2 s \(asked 2 times\)"):
        ask(toy, attempts=2)


def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(ModelError, match=rf"The server at {address} does not answer: there is no connection \(asked 2"):
        Connection(address).get("/models", attempts=2)


def test_no_address():
    with pytest.raises(ModelError, match=r"^'http://\[::1/v1' is no address of a server: "):
        Connection("http://[::1/v1")


@pytest.mark.parametrize(
    ("status", "content", "message"),
    [
        (400, {"error": {"message": "logprobs must be at most 5."}}, "refuses the question (400): logprobs must be at"),
        (422, {"detail": [{"msg": "wrong"}]}, "refuses the question (422): [{'msg': 'wrong'}]. It may give fewer"),
        (404, {"detail": "Not Found"}, "has no completions (404): Not Found. Check the address, which mostly ends in"),
        (405, "", "has no completions (405). Check the address, which mostly ends in /v1; a server that only chats"),
        (
            404,
            {"error": "The model `x` does not exist"},
            "does not serve this model (404): The model `x` does not exist",
        ),
        (404, {"error": {"message": "This is a chat model"}}, "does not serve this model (404): This is a chat model."),
        (
            301,
            "",
            "sends us elsewhere (301), where no question or key is sent. Give the address that it is to be found",
        ),
        (200, {"error": {"message": "busy"}}, "refuses the question (200): busy. It may give fewer log-probabilities"),
        (400, "null", "refuses the question (400). It may give fewer log-probabilities"),
        (403, {"error": "no"}, "does not let us in (403). Name the environment variable of a key in key_env."),
    ],
)
def test_a_refusal_is_told_and_not_tried_again(toy, status, content, message):
    toy.troubles.append(answers(status, content))
    with pytest.raises(RefusedError) as refusal:
        ask(toy)
    assert str(refusal.value).startswith(f"The server at {toy.address} {message}")
    assert refusal.value.status == status
    assert len(toy.asked) == 1


@pytest.mark.parametrize("content", ["<!doctype html>\n<title>Welcome</title>", "", "{"])
def test_what_is_no_json(toy, content):
    toy.troubles.append(answers(200, content))
    with pytest.raises(ModelError, match=rf"The server at {toy.address} answers with something that is not JSON: "):
        ask(toy)


def test_one_refusal_ends_all_questions(toy):
    toy.troubles.extend([answers(400)] * 60)
    with pytest.raises(RefusedError):
        ask(toy, 60)
    assert len(toy.asked) < 60


# the key


def test_the_key_is_sent_and_read_at_each_call(toy, monkeypatch):
    toy.key = KEY
    asking = Connection(toy.address, "SOME_KEY")
    monkeypatch.setenv("SOME_KEY", "another")
    with pytest.raises(RefusedError, match=r"does not let us in \(401\)\. Check the key in SOME_KEY\.$"):
        asking.get("/models")
    monkeypatch.setenv("SOME_KEY", f" {KEY}\n")
    assert asking.get("/models")["data"]


def test_without_a_key_none_is_sent(toy):
    ask(toy)
    assert "Authorization" not in toy.headers[0]


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_key_that_is_not_there(toy, monkeypatch, value):
    monkeypatch.delenv("SOME_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("SOME_KEY", value)
    with pytest.raises(
        ModelError, match=r"^The environment variable 'SOME_KEY', which is to hold the key for .* not set"
    ):
        ask(toy, key_env="SOME_KEY")
    assert toy.headers == []


def test_a_key_that_no_header_can_hold(toy, monkeypatch):
    monkeypatch.setenv("SOME_KEY", f"{KEY}\nX-Other: 1")
    with pytest.raises(ModelError) as refusal:
        ask(toy, key_env="SOME_KEY")
    assert str(refusal.value) == "The environment variable 'SOME_KEY' holds no key: it has characters of no key."


@pytest.mark.parametrize("status", [200, 302, 400, 401, 404, 500])
def test_no_error_holds_the_key(toy, monkeypatch, status, caplog):
    caplog.set_level("DEBUG")
    monkeypatch.setenv("SOME_KEY", KEY)
    content = f"Wrong: {KEY}" if status == 200 else {"error": {"message": f"{KEY} is wrong for this model"}}
    toy.troubles.extend([answers(status, content)] * ATTEMPTS)
    asking = Connection(toy.address, "SOME_KEY")
    with pytest.raises(ModelError) as refusal:
        asking.post("/completions", [QUESTION])
    shown, error = [repr(asking), str(vars(asking))], refusal.value
    while error is not None:
        shown += [str(error), repr(error), str(vars(error))]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert KEY not in "\n".join([*shown, caplog.text])
    assert toy.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_a_redirect_does_not_take_the_key_along(toy, monkeypatch):
    monkeypatch.setenv("SOME_KEY", KEY)
    with serving(ToyServer()) as other:
        toy.troubles.append(answers(307, "", Location=f"{other.address}/completions"))
        with pytest.raises(RefusedError, match="sends us elsewhere"):
            ask(toy, key_env="SOME_KEY")
        assert other.headers == []


# ends


@pytest.fixture
def interruptible():
    """Ctrl-C as Python has it, also where whoever started the tests has it ignored, as a shell's background jobs do."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interruption_ends_the_wait_at_once(toy, interruptible):
    asked, free = threading.Event(), threading.Event()
    toy.troubles.extend([lambda handler: asked.set() or free.wait(60)] * 30)
    asking = Connection(toy.address)

    def interrupt() -> None:
        asked.wait()
        time.sleep(0.3)  # by then nothing is computed, and who asked waits
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        asking.post("/completions", [QUESTION] * 30)
    assert time.monotonic() - started < 30
    free.set()
    toy.troubles.clear()
    assert asking.post("/completions", [QUESTION])  # it can be used again


def test_a_connection_that_nobody_uses_ends_its_thread(toy):
    before = set(threading.enumerate())
    asking = Connection(toy.address)
    asking.get("/models")
    (mine,) = [thread for thread in set(threading.enumerate()) - before if thread.name == "lmalgebra remote"]
    del asking
    assert not mine.is_alive()
