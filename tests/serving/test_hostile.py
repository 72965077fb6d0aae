"""Requests that are made to hurt: each is answered or refused soon, a stream goes on meanwhile, and nothing is left."""

import contextlib
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.conftest import PATIENCE
from serving.test_refused import COMPLETION

HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BODY = json.dumps({"model": "toy", "prompt": "hello", "max_tokens": 4}).encode()
SIZED = b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
LAST = b"Connection: close\r\n"

PATTERNS = {
    "alternatives that are one": "^(a|a)*b$",
    "repeated repetition": "^(a+)+b$",
    "repetition of repetition": "^((a{1,50}){1,50}){1,50}$",
    "a million letters": "^a{1000000}$",
    "a billion letters": "^a{0,1000000000}$",
    "states that double": "^[ab]*a[ab]{30}$",
    "states that double, of any letter": "^(.*a.{40})$",
    "a class of many letters": "^\\p{L}{1,500}$",
    "many words": f"^({'|'.join(f'w{i}x{i * 7}' for i in range(700))})$",
    "what went before": "^(a)\\1$",
    "what comes": "^(?=.*a)(?=.*b).*$",
}
SCHEMAS = {
    "a billion items": {"type": "array", "items": {"type": "integer"}, "minItems": 10**9},
    "a billion letters": {"type": "string", "minLength": 10**9},
    "many values": {"enum": list(range(1200))},
    "products of choices": {
        "allOf": [
            {"anyOf": [{"properties": {f"p{i}": {"type": kind}}} for kind in ("string", "integer")]} for i in range(30)
        ]
    },
    "itself": {"$ref": "#"},
    "a ring": {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    "twice the next": {
        "$defs": {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(30)}
        | {"d30": {"type": "integer"}},
        "$ref": "#/$defs/d0",
    },
    "many fields": {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(200)}},
}
SHAPES = SCHEMAS | {f"pattern: {name}": {"type": "string", "pattern": each} for name, each in PATTERNS.items()}


@pytest.mark.parametrize("schema", SHAPES.values(), ids=SHAPES)
def test_a_shape_of_exponential_kind_holds_nobody_up(served, schema):
    shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body = {"model": "toy", "prompt": "hello", "max_tokens": 20, "response_format": shape}
    with ThreadPoolExecutor(2) as pool:
        hostile = pool.submit(served.request, "POST", COMPLETION, body)
        plain = pool.submit(served.post, COMPLETION, prompt="hello")
        assert plain.result()["choices"]
        status, content, _ = hostile.result(PATIENCE / 4)
    assert status == 200 or (status == 400 and content["error"]["message"])


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (CHUNKED + b"zz\r\nabc\r\n", 400),
        (CHUNKED + b"-5\r\nabc\r\n", 400),
        (CHUNKED + b"3\r\nabcdef\r\n0\r\n\r\n", 400),
        (CHUNKED + b"fffffffffffffffff\r\nabc\r\n", 408),
        (CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY), 200),
        (HEAD + b"Transfer-Encoding: chunked\r\n" + SIZED[:-5] + b"0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Content-Length: 5\r\n" + SIZED, 400),
        (HEAD + b"Content-Length: -5\r\n\r\n", 400),
        (HEAD + b"Content-Length: 99999999999999999999\r\n\r\n", 413),
        (HEAD + b"Content-Length: \xb2\r\n\r\n", 400),
        (HEAD + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (GET + b"Host: evil.example\r\n\r\n", 400),
        (GET + b"X: a\0b\r\n\r\n", 400),
        (GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 200),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 403),
        (b"GET /v1/models/%ed%a0%80%ff HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /v1/models/%E2%80%AEyot HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (GET + b"Authorization: Bearer \xff\xfe\r\n\r\n", 200),
    ],
    ids=lambda each: repr(each)[-60:],
)
def test_bytes_that_are_made_to_confuse(served, data, status):
    assert int(first(served, data).split()[1]) == status


@pytest.mark.parametrize(
    "data",
    [
        CHUNKED + b"3;" + b"a" * 200_000,
        CHUNKED + b"0\r\n" + b"A: b\r\n" * 40_000,
        GET + b"X: " + b"a" * 300_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=["extension", "trailers", "header", "address"],
)
def test_floods_are_cut(served, data):
    assert first(served, data)[:12] in (b"HTTP/1.1 400", b"")
    assert served.request("GET", "/health")[0] == 200


def first(served, data):
    """The first line of what comes back; nothing where the server has closed before it was all said."""
    with (
        socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE) as connection,
        contextlib.suppress(ConnectionError),
    ):
        connection.sendall(data)
        return connection.makefile("rb").readline()
    return b""


def test_requests_that_come_at_once_are_answered_in_turn(served):
    with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE) as connection:
        connection.sendall((HEAD + SIZED) * 5 + (GET + b"\r\n") * 100 + GET + LAST + b"\r\n")
        found = b"".join(iter(lambda: connection.recv(65536), b""))
    assert found.count(b"HTTP/1.1 200 OK") == 106
    assert found.index(b"text_completion") < found.index(b'{"status":"ok"}')


@pytest.mark.parametrize("data", [HEAD + SIZED, HEAD + SIZED[:-5], HEAD[:30]], ids=["whole", "body", "head"])
def test_a_client_that_says_no_more_has_left(served, data):
    with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(65536)
    served.wait_for(lambda: served.metric("lmalgebra_requests_in_hand") == 0)


def test_those_who_say_little_are_let_go_together(served):
    started = time.monotonic()
    heads = [socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE) for _ in range(60)]
    try:
        for each in heads[::2]:
            each.sendall(GET)
        for each in heads[1::2]:
            each.sendall(HEAD + b"Content-Length: 90\r\n\r\n{")
        assert served.post(COMPLETION, prompt="hello")["choices"]
        answers = [each.recv(4096) for each in heads]
    finally:
        for each in heads:
            each.close()
    assert all(answer == b"" for answer in answers[::2])
    assert all(b"408" in answer.split(b"\r\n")[0] for answer in answers[1::2])
    assert time.monotonic() - started < PATIENCE


def test_a_log_line_stays_one(served):
    said = 'x\n{"event": "made up"}\u2028\x1b[31m'
    served.post(COMPLETION, prompt="hello", max_tokens=1, user=said)
    entries = served.wait_for(lambda: [each for each in served.logged("request") if each.get("user") == said])
    assert len(entries) == 1
    assert not served.logged("made up")
    assert not any("\x1b" in line for line in served.lines)


def test_after_all_this_it_still_answers(served):
    assert served.post(COMPLETION, prompt="hello")["choices"]
    served.wait_for(lambda: served.metric("lmalgebra_requests_in_hand") == 0)
    assert served.metric("lmalgebra_requests_waiting") == 0
    assert not served.logged("failure")
