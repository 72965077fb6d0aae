"""One server's life: its voices change while it runs, its log says what it may, and its end loses nothing."""

import os
import signal
import threading

import pytest

from serving.conftest import TOY, running

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("life") / "voices"
    folder.mkdir()
    (folder / "one.toml").write_text(TOY)
    return folder


@pytest.fixture(scope="module")
def living(folder):
    """A server of a folder of voices, which the last test ends."""
    settings = folder.parent / "server.toml"
    settings.write_text(f'voices = ["{folder}"]\nreload_seconds = 0.1\nlog_prompts = true\n')
    with running("--settings", settings) as server:
        yield server


def test_voices_are_read_again_when_they_change(living, folder):
    def names():
        return [model["id"] for model in living.request("GET", "/v1/models")[1]["data"]]

    def formula():
        return living.request("GET", "/v1/models/one")[1]["lmalgebra"]["formula"]

    def fingerprint():
        return living.post("/v1/completions", model="one", prompt="hi", max_tokens=1)["system_fingerprint"]

    assert names() == ["one"]
    before = fingerprint()
    (folder / "two.toml").write_text(TOY)
    living.wait_for(lambda: names() == ["one", "two"])
    (folder / "one.toml").write_text(TOY.replace("0.6", "0.9"))
    living.wait_for(lambda: formula() == "base + 0.9 * (formal - base)")
    assert fingerprint() != before
    (folder / "one.toml").write_text(TOY.replace("0.6", "0.9").replace("dear sir", "dear madam"))
    before = fingerprint()
    living.wait_for(lambda: fingerprint() != before)
    (folder / "one.toml").write_text("formula = 7")
    living.wait_for(lambda: living.logged("voice not reloaded"))
    assert formula() == "base + 0.9 * (formal - base)"  # what cannot be used changes nothing
    (folder / "two.toml").unlink()
    living.wait_for(lambda: names() == ["one"])
    (folder / "one.toml").write_text(TOY.replace("0.6", "0.3"))
    os.kill(living.process.pid, signal.SIGHUP)
    living.wait_for(lambda: formula() == "base + 0.3 * (formal - base)")
    assert living.request("GET", "/v1/models/two")[0] == 404
    assert living.metric("lmalgebra_reloads_total") >= 3


def test_logs_can_repeat_what_is_said_where_the_operator_wants(living):
    answer = living.post("/v1/completions", model="one", prompt="zebra crossing")
    asked = ["zebra crossing"]
    (entry,) = living.wait_for(lambda: [each for each in living.logged("request") if each.get("prompts") == asked])
    assert entry["said"] == [answer["choices"][0]["text"]]


def test_an_end_waits_for_what_runs(living):
    found = []

    def ask():
        with living.client() as client:
            settings = {"stream": True, "extra_body": {"min_tokens": 400}, "max_tokens": 400}
            chunks = list(client.chat.completions.create(model="one", messages=HELLO, **settings))
            found.append(sum(len(chunk.choices[0].delta.content or "") for chunk in chunks))

    asking = threading.Thread(target=ask)
    asking.start()
    living.wait_for(lambda: living.metric("lmalgebra_requests_in_hand") == 1)
    assert living.stop() == 0
    asking.join()
    assert found == [400]
    assert living.logged("ending")[0]["in_hand"] == 1
