"""Hostile and mistaken requests: each gets one clear error in OpenAI's shape, and the server goes on."""

import json
import socket
import time

import jsonschema
import pytest

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "hello"}]
DEEP = b'{"model": "toy", "messages": ' + b"[" * 9000 + b"]" * 9000 + b"}"


def nested(levels):
    schema = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


FIELDS = [
    ({"temperature": 3}, "invalid_value", "temperature"),
    ({"temperature": "0.5"}, "invalid_value", "temperature"),
    ({"temperature": True}, "invalid_value", "temperature"),
    ({"top_p": 0}, "invalid_value", "top_p"),
    ({"n": 0}, "invalid_value", "n"),
    ({"n": 5}, "invalid_value", "n"),
    ({"n": 1.5}, "invalid_value", "n"),
    ({"max_tokens": 0}, "invalid_value", "max_tokens"),
    ({"max_tokens": 3901}, "invalid_value", "max_tokens"),
    ({"max_tokens": 10**40}, "invalid_value", "max_tokens"),
    ({"max_tokens": 5, "max_completion_tokens": 6}, "invalid_value", "max_tokens"),
    ({"min_tokens": 13}, "invalid_value", None),
    ({"seed": 2**63}, "invalid_value", "seed"),
    ({"stop": ""}, "invalid_value", "stop"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "invalid_value", "stop"),
    ({"stop": ["a", ""]}, "invalid_value", "stop.1"),
    ({"presence_penalty": 2.5}, "invalid_value", "presence_penalty"),
    ({"logit_bias": {"hello": 1}}, "invalid_value", "logit_bias"),
    ({"logit_bias": {"-1": 1}}, "invalid_value", "logit_bias"),
    ({"logit_bias": {"50": 1}}, "invalid_value", None),
    ({"logit_bias": {"999999": 1}}, "invalid_value", None),
    ({"logit_bias": {"4": 101}}, "invalid_value", "logit_bias.4"),
    ({"top_logprobs": 2}, "invalid_value", "top_logprobs"),
    ({"top_logprobs": 21, "logprobs": True}, "invalid_value", "top_logprobs"),
    ({"stream_options": {"include_usage": True}}, "invalid_value", "stream_options"),
    (
        {"stream": True, "stream_options": {"include_obfuscation": True}},
        "invalid_value",
        "stream_options.include_obfuscation",
    ),
    ({"stream": "yes"}, "invalid_value", "stream"),
    ({"tool_choice": "auto"}, "unsupported_parameter", "tool_choice"),
    ({"modalities": ["text", "audio"]}, "unsupported_parameter", "modalities"),
    ({"reasoning_effort": "low"}, "unsupported_parameter", "reasoning_effort"),
    ({"store": True}, "unsupported_parameter", "store"),
    ({"store": 0}, "unsupported_parameter", "store"),
    ({"temprature": 1}, "unknown_parameter", "temprature"),
    ({"model": "../../etc/passwd"}, "model_not_found", "model"),
    ({"model": ""}, "invalid_value", "model"),
    ({"model": None}, "invalid_value", "model"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///x"}}]}]},
        "invalid_value",
        "messages.0.content.0.type",
    ),
    ({"messages": []}, "invalid_value", "messages"),
    ({"messages": "hello"}, "invalid_value", "messages"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "invalid_value", "messages.0.role"),
    ({"messages": [{"role": "user"}]}, "missing_required_parameter", "messages.0.content"),
    ({"messages": [{"role": "user", "content": "x", "name": "bob"}]}, "unknown_parameter", "messages.0.name"),
    ({"messages": [{"role": "user", "content": ""}]}, "invalid_prompt", None),
    ({"messages": [*HELLO, {"role": "assistant", "content": "x"}]}, "invalid_prompt", None),
    ({"messages": [{"role": "user", "content": "é"}]}, "invalid_prompt", None),
    ({"messages": HELLO * 3000}, "request_too_large", None),
    ({"messages": [{"role": "user", "content": "x" * 5001}]}, "context_length_exceeded", "messages"),
    ({"messages": [{"role": "user", "content": "x" * 4999}]}, "invalid_prompt", None),
    ({"response_format": {"type": "xml"}}, "invalid_value", "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "invalid_value", "response_format.json_schema"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": 7}}}},
        "invalid_term",
        None,
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": nested(190)}}},
        "invalid_term",
        None,
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["x" * 8000]}}}},
        "invalid_value",
        "response_format.json_schema.schema",
    ),
    (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"$ref": "file:///etc/passwd"}},
            }
        },
        "invalid_term",
        None,
    ),
]


@pytest.mark.parametrize(("body", "code", "param"), FIELDS, ids=[str(case[0])[:60] for case in FIELDS])
def test_a_field_that_cannot_be_honoured_is_refused(served, body, code, param):
    status, error = served.refusal(CHAT, {"model": "toy", "messages": HELLO} | body)
    assert (error["code"], error["param"]) == (code, param), error
    assert status == {"model_not_found": 404, "request_too_large": 413}.get(code, 400)


def test_a_request_that_costs_too_much(served):
    status, error = served.refusal(COMPLETION, {"model": "toy", "prompt": ["a", "b", "c"], "n": 4, "max_tokens": 3000})
    assert (status, error["code"]) == (400, "request_too_expensive")
    assert "at most 40,000 are allowed" in error["message"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"suffix": "x"}, "unsupported_parameter"),
        ({"echo": True}, "unsupported_parameter"),
        ({"best_of": 3}, "invalid_value"),
        ({"prompt": [1, 2, 3]}, "invalid_value"),
        ({"prompt": ["a", "b", "c", "d"]}, "invalid_value"),
        ({"prompt": []}, "invalid_value"),
        ({"logprobs": True}, "invalid_value"),
    ],
    ids=str,
)
def test_completions_that_are_refused(served, body, code):
    assert served.refusal(COMPLETION, {"model": "toy", "prompt": "hello"} | body)[1]["code"] == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_body"),
        (b"{", "invalid_body"),
        (b"[]", "invalid_body"),
        (b"null", "invalid_body"),
        (b"\xff\xfe", "invalid_body"),
        (b'{"model": "toy", "temperature": NaN}', "invalid_body"),
        (b'{"model": "\\ud800", "prompt": "x"}', "invalid_body"),
        (b'{"model": "toy", "n": ' + b"9" * 5000 + b"}", "invalid_body"),
        (DEEP, "invalid_body"),
        (b'{"model": "toy", "temperature": Infinity}', "invalid_body"),
        (b'{"model": "toy", "n": 1' + b"0" * 4400 + b"}", "invalid_body"),
        (b'{"model": "toy", "\\udfff": 1}', "invalid_body"),
        ('{"model": "toy", "prompt": "x"}'.encode("utf-16"), "invalid_body"),
        (b'{"model": "toy", "model": "second"}', "duplicate_parameter"),
        (b'{"model": "toy", "terms": {"formal": {"weight": 1}, "formal": {"weight": 2}}}', "duplicate_parameter"),
        (b"x" * 20001, "request_too_large"),
    ],
    ids=lambda body: repr(body)[:40],
)
def test_a_body_that_is_none_is_refused(served, body, code):
    for path in (CHAT, COMPLETION, "/v1/score"):
        assert served.refusal(path, body)[1]["code"] == code


def test_a_body_must_be_called_json(served):
    status, error = served.refusal(CHAT, b'{"model": "toy"}', Content_Type="text/plain")
    assert (status, error["code"]) == (415, "invalid_content_type")


@pytest.mark.parametrize(
    "path",
    ["/v1/models/../../etc/passwd", "/v1/models/..%2f..%2fetc%2fpasswd", "/v1/models/%00", "/v1/nothing", "/nothing"],
)
def test_there_is_nothing_at_other_places(served, path):
    status, content, _ = served.request("GET", path)
    assert (status, set(content["error"])) == (404, {"message", "type", "param", "code"})
    assert "root:" not in json.dumps(content)


def test_other_methods_are_refused(served):
    assert served.request("GET", CHAT)[0] == 405
    assert served.request("DELETE", "/v1/models/toy")[0] == 405


def test_a_body_that_lies_about_its_size_is_cut(served):
    answer = sent(
        served,
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + (b"1000\r\n" + b" " * 4096 + b"\r\n") * 6,
    )
    assert b"413" in answer.split(b"\r\n")[0]


def test_what_is_no_http_is_refused(served):
    assert b"400" in sent(served, b"\x16\x03\x01 hello\r\n\r\n").split(b"\r\n")[0]


def test_slow_clients_are_let_go(served):
    started = time.monotonic()
    assert sent(served, b"POST /v1/completions HTTP/1.1\r\nHost: lo") == b""
    assert time.monotonic() - started < 5
    started = time.monotonic()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: 90\r\n\r\n{"
    assert b"408" in sent(served, head).split(b"\r\n")[0]
    assert time.monotonic() - started < 5


def test_a_client_that_does_not_read_is_let_go(served):
    body = {"model": "toy", "messages": HELLO, "stream": True, "logprobs": True, "top_logprobs": 20}
    content = json.dumps(body | {"max_tokens": 3900, "min_tokens": 3900}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", served.port))
        connection.sendall(head.encode() + f"Content-Length: {len(content)}\r\n\r\n".encode() + content)
        served.wait_for(lambda: served.metric("lmalgebra_requests_in_hand") == 1)
        served.wait_for(lambda: served.metric("lmalgebra_requests_in_hand") == 0)
        entries = served.wait_for(lambda: [each for each in served.logged("request") if each["status"] == 499])
    assert entries[-1]["completion_tokens"] < 3900


def test_a_page_elsewhere_cannot_make_up_a_name_for_this_machine(served):
    status, error = served.refusal(CHAT, {"model": "toy", "messages": HELLO}, Host="evil.example:8000")
    assert (status, error["code"]) == (403, "wrong_host")


def sent(served, data):
    """What comes back for raw bytes, until the server closes or falls silent."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=8) as connection:
        connection.sendall(data)
        found = b""
        try:
            while part := connection.recv(65536):
                found += part
                if b"\r\n\r\n" in found:
                    return found
        except (TimeoutError, ConnectionResetError):
            pass
        return found


def test_the_published_schema_holds_what_is_taken(served):
    found = served.request("GET", "/openapi.json")[1]
    schemas = found["components"]["schemas"]
    for path, body in (
        (CHAT, {"model": "toy", "messages": HELLO, "stop": ["e"], "terms": {"formal": {"weight": 0.5}}}),
        (COMPLETION, {"model": "toy", "prompt": ["a", "b"], "logit_bias": {"3": 1}}),
        ("/v1/score", {"model": "toy", "prompt": "a", "continuation": "b"}),
    ):
        reference = found["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        schema = schemas[reference.rpartition("/")[2]] | {"components": {"schemas": schemas}}
        jsonschema.validate(body, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(body | {"temprature": 1}, schema)
        assert served.request("POST", path, body)[0] == 200


def test_after_all_this_it_still_answers(served):
    assert served.request("GET", "/health")[1] == {"status": "ok"}
    assert served.post(COMPLETION, prompt="hello")["choices"]
    assert served.metric("lmalgebra_requests_in_hand") == 0
    assert served.metric("lmalgebra_requests_waiting") == 0
    assert not served.logged("failure")
