"""What an operator relies on: keys, origins, metrics, logs, reloading, and an end that loses nothing."""

import hmac
import http.client
import json
import logging
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from typer.testing import CliRunner

from lmalgebra.cli import app, serve
from lmalgebra.serving import ServerSettings
from lmalgebra.serving.keys import VARIABLE, load_keys
from serving.conftest import TOY, running

HELLO = [{"role": "user", "content": "hello"}]
LONG = {"max_tokens": 3000, "min_tokens": 3000}
"""Takes seconds."""

KEY, OTHER = "a-key-of-some-length", "another-key-of-some-length"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server with keys, an origin, few places and little allowed."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "toy.toml").write_text(TOY)
    (folder / "keys").write_text(f"# who\nalice:{KEY}\n\n")
    settings = folder / "server.toml"
    settings.write_text(
        f'voices = ["{folder}/toy.toml"]\nkeys_file = "{folder}/keys"\norigins = ["https://page.example"]\n'
        "max_running = 1\nmax_waiting = 1\nmax_connections = 20\nallow = []\nrequest_seconds = 30\n"
    )
    with running("--settings", settings, LMALGEBRA_API_KEYS=f"bob:{OTHER}") as server:
        yield server


def auth(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    "header", ["", "Bearer ", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Basic {KEY}", KEY, "Bearer é"]
)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/metrics", "/openapi.json", "/nothing"])
def test_nothing_is_told_without_a_key(guarded, header, path):
    status, content, headers = guarded.request("GET", path, Authorization=header.encode("latin-1"))
    assert (status, content["error"]["code"]) == (401, "invalid_api_key")
    assert headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("given", ["", "wrong", KEY, OTHER])
def test_a_key_is_compared_with_every_known_one(given, monkeypatch):
    compared = []
    monkeypatch.setenv(VARIABLE, f"alice:{KEY},bob:{OTHER}")
    known = load_keys(ServerSettings(("x",)))
    monkeypatch.setattr(hmac, "compare_digest", lambda *both: compared.append(both) or both[0] == both[1])
    assert known.owner(f"Bearer {given}") == {KEY: "alice", OTHER: "bob"}.get(given)
    assert [len(one) for both in compared for one in both] == [32] * 4
    assert KEY not in repr(known)


def test_a_missing_package_is_told_with_how_to_install_it(monkeypatch):
    monkeypatch.setattr(serve, "EXTRA", ("fastapi", "no_such_package"))
    done = CliRunner().invoke(app, ["serve", "toy.toml"])
    assert done.exit_code == 2
    assert "Serving needs no_such_package, which is not installed. Install it: pip install" in done.stderr


def test_each_key_opens_and_is_named_in_the_log(guarded):
    for key in (KEY, OTHER):
        assert guarded.request("GET", "/v1/models", **auth(key))[0] == 200
    guarded.wait_for(
        lambda: {entry["key"] for entry in guarded.logged("request") if entry["status"] == 200} >= {"alice", "bob"}
    )
    assert not any(KEY in line or OTHER in line for line in guarded.lines)


def test_health_needs_no_key(guarded):
    assert guarded.request("GET", "/health")[:2] == (200, {"status": "ok"})
    assert guarded.request("GET", "/ready")[:2] == (200, {"status": "ready"})


def test_the_client_is_told_of_a_wrong_key(guarded):
    with guarded.client(api_key="wrong") as client, pytest.raises(openai.AuthenticationError):
        client.models.list()
    with guarded.client(api_key=KEY) as client:
        assert client.chat.completions.create(model="toy", messages=HELLO).choices


@pytest.mark.parametrize(
    "body",
    [
        {"formula": "base"},
        {"terms": {"x": {"system": "x", "weight": 1}}},
        {"guidance_scale": 2, "negative_prompt": "x"},
        {"explain": True},
    ],
    ids=str,
)
def test_what_the_operator_does_not_allow_is_refused(guarded, body):
    status, error = guarded.refusal("/v1/chat/completions", {"model": "toy", "messages": HELLO} | body, **auth(KEY))
    assert (status, error["code"]) == (403, "not_allowed")


def test_scores_can_be_forbidden(guarded):
    body = {"model": "toy", "prompt": "a", "continuation": "b"}
    assert guarded.refusal("/v1/score", body, **auth(KEY))[0] == 403


def test_only_the_given_origin_may_call(guarded, served):
    asks = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization,content-type"}
    for server, origin, let_in in (
        (guarded, "https://page.example", True),
        (guarded, "https://evil.example", False),
        (served, "https://page.example", False),
    ):
        headers = server.request("OPTIONS", "/v1/chat/completions", Origin=origin, **asks)[2]
        assert (headers.get("access-control-allow-origin") == origin) is let_in


def test_too_much_at_once_is_told_to_come_later(guarded):
    body = {"model": "toy", "messages": HELLO, "max_tokens": 500, "min_tokens": 500}
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(guarded.request, "POST", "/v1/chat/completions", body, **auth(KEY)) for _ in range(4)]
        found = [each.result() for each in asked]
    assert sorted(status for status, _, _ in found) == [200, 200, 429, 429]
    for status, content, headers in found:
        if status == 429:
            assert content["error"]["code"] == "rate_limit_exceeded"
            assert 1 <= int(headers["retry-after"]) <= 60
    with guarded.client(api_key=KEY) as client:
        assert client.chat.completions.create(model="toy", messages=HELLO).choices


def test_connections_that_are_there_go_on_when_too_many_come(guarded):
    first = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=20)
    first.request("GET", "/health")
    assert first.getresponse().read()
    idle = [socket.create_connection(("127.0.0.1", guarded.port), timeout=20) for _ in range(24)]
    try:
        assert b"503 Service Unavailable" in idle[-1].recv(4096).split(b"\r\n")[0]
        first.request("GET", "/health")
        assert first.getresponse().read() == b'{"status":"ok"}'
    finally:
        for each in (first, *idle):
            each.close()
    guarded.wait_for(lambda: guarded.request("GET", "/health")[0] == 200)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_place(served, stream):
    before = served.metric('lmalgebra_cancelled_total{voice="toy"}')
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    body = json.dumps({"model": "toy", "messages": HELLO, "stream": stream, **LONG})
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    if stream:
        answer = connection.getresponse()
        assert answer.read(40)
        answer.close()
    else:
        served.wait_for(lambda: served.metric("lmalgebra_requests_in_hand") == 1)
    connection.close()
    served.wait_for(lambda: served.metric("lmalgebra_requests_in_hand") == 0)
    assert served.metric('lmalgebra_cancelled_total{voice="toy"}') == before + 1
    entries = served.wait_for(lambda: [each for each in served.logged("request") if each["status"] == 499])
    assert entries[-1].get("completion_tokens", 0) < 3000


def test_a_stream_goes_on_while_a_long_score_is_computed(served):
    """Pieces are counted, not seconds: 4,800 tokens of two terms are at least 75 parts, with a step after each."""
    with served.client(timeout=60) as client:
        stream = client.chat.completions.create(
            model="toy", messages=HELLO, stream=True, max_tokens=3900, extra_body={"min_tokens": 3900}
        )
        assert next(stream)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(served.post, "/v1/score", prompt="hello", continuation=["dear sir, " * 160] * 3)
            pieces = 0
            while not asked.done() and next(stream, None):
                pieces += 1
        stream.close()
    assert asked.result()
    assert pieces >= 30


def test_an_end_does_not_wait_for_ever(toy_file, tmp_path):
    settings = tmp_path / "server.toml"
    settings.write_text(f'voices = ["{toy_file}"]\nshutdown_seconds = 0.5\nmax_tokens = 4000\n')
    with running("--settings", settings) as server, server.client() as client:
        stream = client.chat.completions.create(
            model="toy", messages=HELLO, stream=True, max_tokens=4000, extra_body={"min_tokens": 4000}
        )
        assert next(stream)
        server.process.send_signal(signal.SIGINT)
        with pytest.raises(openai.APIError, match="The server ends, and could not finish this in time"):
            list(stream)
        assert server.end() == 0


def test_metrics_count_what_was_said(served):
    label = '{voice="second"}'
    names = ("lmalgebra_generated_tokens_total", "lmalgebra_prompt_tokens_total", "lmalgebra_request_seconds_count")
    before = [served.metric(name + label) for name in names]
    answer = served.post("/v1/chat/completions", model="second", messages=HELLO, n=2)
    after = [served.metric(name + label) for name in names]
    usage = answer["usage"]
    assert [b - a for a, b in zip(before, after, strict=True)] == [
        usage["completion_tokens"],
        usage["prompt_tokens"],
        1,
    ]
    assert served.metric('lmalgebra_calls_per_token{term="formal",voice="second"}') > 0
    labelled = 'lmalgebra_requests_total{route="/v1/chat/completions",status="200",voice="second"}'
    assert served.metric(labelled) >= 1


def test_names_that_nobody_has_given_make_no_metrics(served):
    served.refusal("/v1/chat/completions", {"model": "made-up-by-a-client", "messages": HELLO})
    served.request("GET", "/made/up/place")
    assert "made" not in served.request("GET", "/metrics")[1]


def test_logs_do_not_repeat_what_users_say(served):
    secret = "zebra crossing"
    answer = served.post("/v1/chat/completions", messages=[{"role": "user", "content": secret}], user="u-7")
    served.refusal("/v1/chat/completions", {"model": "toy", "messages": [{"role": "user", "content": f"{secret} é"}]})
    served.refusal("/v1/completions", {"model": "toy", "prompt": secret, "formula": "zebra"})
    served.wait_for(lambda: any(entry.get("user") == "u-7" for entry in served.logged("request")))
    assert not any("zebra" in line for line in served.lines)
    entry = next(entry for entry in served.logged("request") if entry.get("user") == "u-7")
    assert entry["completion_tokens"] == answer["usage"]["completion_tokens"]
    assert {"time", "request", "route", "voice", "status", "seconds"} <= set(entry)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "No voice is given."),
        (["nothing.toml"], "There is no voice file 'nothing.toml'."),
        (["toy.toml", "toy.toml"], "Two voices are named 'toy'."),
        (["../x=toy.toml"], "'../x' cannot be the name of a voice."),
        (["toy.toml", "--allow", "everything"], "allow names 'everything'."),
        (["toy.toml", "--host", "0.0.0.0"], "Others can reach 0.0.0.0, and no keys are given."),
        (["toy.toml", "--port", "70000"], "port = 70000 is out of range."),
        (["toy.toml", "--keys-file", "nowhere"], "The file of keys 'nowhere' cannot be read"),
        (["toy.toml", "--keys-file", "short"], "Key 1 of short is shorter than 16 characters."),
        (["--settings", "odd.toml"], "odd.toml has no setting 'voice'."),
        (["--settings", "asks.toml"], "rewriters of the voice 'toy' asks 'again', of which nothing is filled in."),
        (
            ["--settings", "names.toml"],
            "rewriters of the voice 'toy' asks '{{ text }} {{ name }}', of which name, text",
        ),
        (["--settings", "voice.toml"], "rewriters names 'tony', which is no voice. There are toy."),
        (["--settings", "judge.toml"], "There is no judge 'toxicty'."),
        (["--settings", "terms.toml"], "allowed_terms of the voice 'toy' names 'poet'"),
    ],
    ids=str,
)
def test_what_cannot_be_served_is_one_sentence(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.toml").write_text(TOY)
    (tmp_path / "short").write_text("bob:short")
    (tmp_path / "odd.toml").write_text('voice = "toy.toml"')
    (tmp_path / "asks.toml").write_text('voices = ["toy.toml"]\n[rewriters]\ntoy = "again"\n')
    (tmp_path / "names.toml").write_text('voices = ["toy.toml"]\n[rewriters]\ntoy = "{{ text }} {{ name }}"\n')
    (tmp_path / "voice.toml").write_text('voices = ["toy.toml"]\n[rewriters]\ntony = ""\n')
    (tmp_path / "judge.toml").write_text('voices = ["toy.toml"]\nrewrite_judge = "toxicty"\n')
    (tmp_path / "terms.toml").write_text('voices = ["toy.toml"]\n[allowed_terms]\ntoy = "base, poet"\n')
    done = CliRunner().invoke(app, ["serve", *arguments])
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_voice_whose_model_is_missing_ends_the_server(tmp_path):
    path = tmp_path / "lost.toml"
    path.write_text(TOY.replace('source = "toy"', f'source = "{tmp_path}/nowhere.gguf"'))
    done = CliRunner().invoke(app, ["serve", str(path), "--port", "0"])
    assert done.exit_code == 2
    assert "nowhere.gguf" in done.stderr
    assert logging.getLogger("lmalgebra").propagate  # what the process does next tells of it as before
