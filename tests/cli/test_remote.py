"""A remote on the command line: what is said of it before and after, and that a key stays unsaid."""

import pytest

from cli.conftest import samples
from lmalgebra.models import connection
from toy_server import ToyServer, serving

KEY = "sk-very-secret-1234"


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.01)
    with serving(ToyServer(key=KEY)) as server:
        yield server


@pytest.fixture
def voice(tmp_path, toy):
    """A voice over a remote and the same toy here."""
    file = tmp_path / "voice.toml"
    file.write_text(
        'formula = "there + 0.5 * (here - there)"\n'
        f'[models.far]\nsource = "{toy.address}"\ntokenizer = "toy"\nkey_env = "TOY_KEY"\ntop_logprobs = 30\n'
        '[models.near]\nsource = "toy"\n'
        '[terms.there]\nmodel = "far"\nprefix = ""\n[terms.here]\nmodel = "near"\nprefix = ""\n'
        "[generation]\nmax_new_tokens = 8\n"
    )
    return file


def test_check_says_what_a_remote_is_and_asks_nothing(lm, voice, toy, monkeypatch):
    line = (
        "far: {}; engine remote (the server at this address), tokenizer toy, top_logprobs 30; asked when first used, "
    )
    shown = lm("check", voice).stdout
    assert line.format(toy.address) + "with the key in TOY_KEY, which is not set" in shown
    monkeypatch.setenv("TOY_KEY", KEY)
    shown = lm("check", voice).stdout
    assert "with the key in TOY_KEY, which is set" in shown
    assert KEY not in shown
    assert toy.headers == []


def test_check_load_asks_it(lm, voice, toy, monkeypatch):
    monkeypatch.setenv("TOY_KEY", KEY)
    done = lm("check", voice, "--load")
    assert f"far: 'toy' at {toy.address}, 30 log-probabilities a position, prompts as token ids" in done.stdout
    assert "note: The remote at" in done.stdout
    assert "the same for every term" in done.stdout
    assert KEY not in done.stdout + done.stderr


def test_a_run_says_how_much_of_the_probability_was_told(lm, voice, toy, monkeypatch):
    monkeypatch.setenv("TOY_KEY", KEY)
    done = lm("run", voice, "--prompt", "hello. ", "--json")
    (sample,) = samples(done.stdout)
    assert len(sample["tokens"]) == 8
    lines = done.stderr.splitlines()
    assert lines[0] == f"Asking {toy.address} ..."
    assert lines[1].startswith(f"note: The remote at {toy.address} tells the 30 likeliest tokens of each position, and")
    assert lines[-1].startswith(f"{toy.address} told 9")
    assert "of the probability on average and" in lines[-1]
    assert lines[-1].endswith(
        "at 8 positions; what is left is spread over the other tokens, so the formula's law is approximate."
    )
    assert KEY not in done.stdout + done.stderr


def test_a_server_that_refuses_ends_a_run_with_a_sentence(lm, voice, toy, monkeypatch):
    assert (
        lm("run", voice, "--prompt", "a", code=2)
        .stderr.splitlines()[-1]
        .startswith("error: The environment variable 'TOY_KEY', which is to hold the key for http://127.0.0.1")
    )
    monkeypatch.setenv("TOY_KEY", "wrong")
    refused = lm("run", voice, "--prompt", "a", code=2)
    assert refused.stderr.splitlines()[-1] == (
        f"error: The server at {toy.address} does not let us in (401). Check the key in TOY_KEY."
    )


def test_options_of_computing_are_for_what_runs_here(lm, voice):
    shown = lm("check", voice, "--dtype", "float64").stdout
    assert "near: toy; engine auto, dtype float64" in shown
    refused = lm("check", voice, "--formula", "there", "--model", "toy", code=2)
    assert "cannot say which of the voice's models it replaces" in refused.stderr


def test_a_voice_of_remotes_only_refuses_them(lm, voice):
    only = voice.read_text().replace('[models.near]\nsource = "toy"\n', "").replace('model = "near"', 'model = "far"')
    voice.write_text(only)
    refused = lm("check", voice, "--dtype", "float64", code=2)
    assert "dtype='float64' is given for a remote, which has none. Leave it out: its server decides." in refused.stderr
    refused = lm("check", voice, "--model", "toy", code=2)
    assert "tokenizer='toy' is given for a model that is no remote" in refused.stderr


def test_an_address_needs_a_voice_file(lm):
    refused = lm("run", "--model", "http://127.0.0.1:1/v1", "--prompt", "a", code=2)
    assert refused.stderr.startswith("error: A remote needs a tokenizer. Give tokenizer = ")


LINE = "of the probability on average and"


def test_explaining_says_how_much_was_told(lm, voice, monkeypatch):
    monkeypatch.setenv("TOY_KEY", KEY)
    assert LINE in lm("explain", voice, "--prompt", "hello. ", "--json").stderr.splitlines()[-1]


def test_a_chat_says_at_its_end_how_much_was_told(lm, voice, toy, monkeypatch):
    monkeypatch.setenv("TOY_KEY", KEY)
    lines = lm("chat", voice, input="hello. \nhello. \n").stderr.splitlines()
    assert [line for line in lines if LINE in line] == lines[-1:]
    assert lines[-1].startswith(f"{toy.address} told 9")
    assert "at 16 positions; what is left is spread" in lines[-1]


def test_a_chat_that_leaves_a_remote_tells_of_it_then(lm, voice, monkeypatch):
    monkeypatch.setenv("TOY_KEY", KEY)
    lines = lm("chat", voice, input="hello. \n/formula here\nhello. \n").stderr.splitlines()
    assert [index for index, line in enumerate(lines) if LINE in line] == [len(lines) - 2]
    assert lines[-1] == "here"


def test_a_remote_that_was_not_asked_is_not_spoken_of(lm, voice, monkeypatch):
    monkeypatch.setenv("TOY_KEY", KEY)
    assert "positions" not in lm("chat", voice, input="/quit\n").stderr.replace("of each position", "")


@pytest.fixture
def dying(toy, monkeypatch):
    """The server answers some questions, and then no more."""
    monkeypatch.setenv("TOY_KEY", KEY)
    complete = toy.complete
    gone = (503, {"error": {"message": "going down"}})
    monkeypatch.setattr(toy, "complete", lambda question: complete(question) if len(toy.asked) < 9 else gone)
    return toy


def test_a_remote_that_dies_in_a_sentence_ends_a_run_with_one(lm, voice, dying):
    done = lm("run", voice, "--prompt", "hello. ", "--min-new-tokens", 8, code=2)
    assert 2 <= len(done.stdout) <= 8
    assert done.stdout.endswith("\n")  # so that the error has a line of its own
    assert done.stderr.splitlines()[-1].startswith(f"error: The server at {dying.address} ")
    assert done.stderr.count("error:") == 1
    assert "told 9" in done.stderr


def test_a_remote_that_dies_leaves_no_half_sample(lm, voice, dying):
    assert lm("run", voice, "--prompt", "hello. ", "--min-new-tokens", 8, "--json", code=2).stdout == ""


def test_a_chat_outlives_a_remote_that_dies(lm, voice, dying):
    done = lm("chat", voice, "--min-new-tokens", 8, input="hello. \n/formula here\nhello. \n")
    assert 2 + 9 <= len(done.stdout) < 9 + 9  # a beginning, and an answer of 8 letters, each with a line's end
    assert f"error: The server at {dying.address} " in done.stderr
