"""Opening a remote: what is found out of its server, a real one over the toy table, and what is refused."""

import pytest
import torch

import lmalgebra as la
from lmalgebra.errors import ModelError, VocabularyError, VoiceError
from lmalgebra.models import connection
from lmalgebra.models.loading import load
from lmalgebra.models.remote import PROBE, open_remote
from lmalgebra.models.table import TOY_PIECES, TableModel, TableTokenizer
from toy_server import CONTENT, IDS, TEXT, ToyServer, serving

EVERY = len(TOY_PIECES)


@pytest.fixture
def toy():
    with serving(ToyServer()) as server:
        yield server


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.01)


def remote(toy: ToyServer, **more) -> la.Model:
    return la.model(toy.address, **{"tokenizer": "toy", "top_logprobs": EVERY} | more)


@pytest.mark.parametrize(
    ("names", "takes_ids", "prompts"),
    [(CONTENT, True, "token ids"), (IDS, True, "token ids"), (TEXT, True, "token ids"), (TEXT, False, "text")],
)
def test_the_best_way_to_ask_is_found(toy, names, takes_ids, prompts):
    toy.names, toy.takes_ids = names, takes_ids
    told = []
    opened = open_remote(remote(toy), told.append)
    assert told == [f"Asking {toy.address} ..."]
    assert opened.summary == f"'toy' at {toy.address}, {EVERY} log-probabilities a position, prompts as {prompts}"
    tokens = opened.tokenizer.encode(["hello. "])
    toy.asked.clear()
    found = opened.session.extend({opened.session.open(): tokens}).popitem()[1]
    expected = torch.stack([toy.table.logprobs(tokens[: end + 1]) for end in range(len(tokens))])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5, check_dtype=False)
    assert {type(question["prompt"]) for question in toy.asked} == {list if takes_ids else str}
    assert opened.session.seen.reworded == 0
    assert opened.session.notes == ()


def test_a_server_that_knows_only_openais_keys_is_asked_with_these(toy, monkeypatch):
    toy.names = TEXT
    complete = ToyServer.complete

    def strict(server, question):
        unknown = set(question) - {"model", "prompt", "max_tokens", "temperature", "logprobs", "logit_bias"}
        return (400, {"error": f"Unrecognized: {unknown}"}) if unknown else complete(server, question)

    monkeypatch.setattr(ToyServer, "complete", strict)
    assert open_remote(remote(toy)).summary.endswith("prompts as token ids")


def test_a_server_that_takes_ids_for_several_prompts_is_sent_text(toy, monkeypatch):
    complete = ToyServer.complete

    def several(server, question):
        status, answer = complete(server, question)
        if isinstance(question["prompt"], list):
            answer["choices"] *= len(question["prompt"])
        return status, answer

    monkeypatch.setattr(ToyServer, "complete", several)
    assert open_remote(remote(toy)).summary.endswith("prompts as text")


def test_the_context_is_the_smaller_one(toy):
    assert open_remote(remote(toy)).session.context_length == 4096
    llama_cpp = {"meta": {"n_ctx": 300, "n_ctx_train": 1000}}
    for facts in ({"max_model_len": 300}, llama_cpp, {"max_model_len": 300, "meta": None}):
        toy.facts = facts
        assert open_remote(remote(toy)).session.context_length == 300


def test_what_is_not_told_is_noted(toy, caplog):
    opened = open_remote(remote(toy, top_logprobs=3))
    assert "tells the 3 likeliest tokens of each position" in caplog.text
    assert opened.session.notes[0] in caplog.text


# the served model


def test_the_only_model_needs_no_name(toy):
    toy.models = ("org/only",)
    open_remote(remote(toy))
    assert {question["model"] for question in toy.asked} == {"org/only"}


def test_a_server_without_a_list_is_asked_without_a_name(toy):
    toy.models = ()
    opened = open_remote(remote(toy))
    assert all("model" not in question for question in toy.asked)
    assert opened.summary.startswith(f"a model at {toy.address}")


def test_of_several_models_one_is_named(toy):
    toy.models = ("one", "two")
    with pytest.raises(ModelError) as refusal:
        open_remote(remote(toy))
    assert str(refusal.value) == f"The server at {toy.address} has 2 models. Name one in `served`: 'one', 'two'."
    open_remote(remote(toy, served="two"))
    assert {question["model"] for question in toy.asked} == {"two"}


def test_a_model_that_is_not_served(toy):
    with pytest.raises(ModelError) as refusal:
        open_remote(remote(toy, served="gpt"))
    assert str(refusal.value) == f"The server at {toy.address} has no model 'gpt'. It has: 'toy'."


# what is refused


def test_a_key_that_is_refused_is_told_at_once(toy, monkeypatch):
    toy.key = "right"
    monkeypatch.setenv("SOME_KEY", "wrong")
    with pytest.raises(ModelError, match=r"does not let us in \(401\)\. Check the key in SOME_KEY\.$"):
        open_remote(remote(toy, key_env="SOME_KEY"))
    with pytest.raises(ModelError, match=r"does not let us in \(401\)\. Name the environment variable of a key"):
        open_remote(remote(toy))
    assert toy.asked == []


def test_too_many_log_probabilities(toy):
    toy.most_logprobs = 5
    with pytest.raises(
        ModelError, match=r"refuses the question \(400\): logprobs must be at most 5\. It may give fewer"
    ):
        open_remote(remote(toy, top_logprobs=20))
    open_remote(remote(toy, top_logprobs=5))


def test_a_server_that_only_chats(toy):
    toy.address = toy.address.replace("/v1", "/v2")
    with pytest.raises(ModelError, match=r"has no completions \(404\): Not Found\. .*a server that only chats"):
        open_remote(remote(toy, served="toy"))


def test_a_server_of_another_tokenizer(toy, monkeypatch):
    plain = TableTokenizer.encode
    monkeypatch.setattr(ToyServer, "_completion", _with_count(ToyServer._completion, 4))
    with pytest.raises(VocabularyError) as refusal:
        open_remote(remote(toy))
    reads = len(plain(TableTokenizer(TableModel()), [PROBE]))
    assert str(refusal.value) == (
        f"The server at {toy.address} has another vocabulary than 'toy': it reads {reads + 4} tokens where this one "
        f"reads {reads}. Give as `tokenizer` the model that it serves, or one of the same family."
    )


def _with_count(complete, more):
    def changed(server, tokens, question):
        answer = complete(server, tokens, question)
        answer["usage"]["prompt_tokens"] += more
        return answer

    return changed


def test_a_server_whose_ids_mean_something_else(toy):
    """It has the same pieces in another order, so that text is read alike."""
    toy.table = TableModel(pieces=TOY_PIECES[::-1])
    with pytest.raises(VocabularyError, match=r"has another vocabulary than 'toy': its token \d+ is '.*'\. Give as"):
        open_remote(remote(toy))
    toy.names = TEXT
    with pytest.raises(VocabularyError, match="token ids and text give different answers"):
        open_remote(remote(toy, top_logprobs=3))


def test_a_server_that_tells_of_strange_tokens(toy):
    toy.names, toy.takes_ids = TEXT, False
    toy.table = TableModel(pieces=(*TOY_PIECES, *(f"~{number}" for number in range(100))))
    with pytest.raises(VocabularyError, match=r"it tells of tokens such as '.*'\."):
        open_remote(remote(toy, top_logprobs=100))


def test_a_tokenizer_that_there_is_not(toy):
    for source, message in (
        ("smollm3", "The catalogue has no model 'smollm3'"),
        ("./nowhere", "There is no model at './nowhere'"),
        ("./nowhere.gguf", "There is no file './nowhere.gguf'"),
        ("toy:x", "'toy:x' names no toy model"),
    ):
        with pytest.raises(ModelError, match=message):
            open_remote(remote(toy, tokenizer=source))
    assert toy.headers == []


def test_an_address_alone_is_not_loaded():
    with pytest.raises(ModelError, match=r"^The remote 'http://x/v1' has no weights to load\."):
        load("http://x/v1")
    with pytest.raises(VoiceError, match=r"^A remote needs a tokenizer\. Give tokenizer = "):
        la.model("http://x/v1")


# in a formula


@pytest.mark.parametrize("speculate", ["off", "there:3", "prompt:3"])
def test_a_remote_speaks_as_the_same_model_here_does(toy, speculate):
    """Every token is told, so that each seed's text is the same, and each score."""
    other = la.model("toy:7").term(name="expert", prefix="")
    said = []
    for model in (la.model("toy"), remote(toy)):
        base = model.term(name="there", prefix="")
        voice = la.voice(base + 0.5 * (other - base), speculate=speculate, max_new_tokens=12, temperature=0.7)
        texts = [voice.generate("hello. ", seed=seed).text for seed in range(3)]
        said.append((texts, voice.score("hello. ", "so it is").total))
    assert said[0][0] == said[1][0]
    assert said[0][1] == pytest.approx(said[1][1], abs=1e-4)
    assert voice.seen[toy.address].mean == pytest.approx(1)


def test_terms_of_one_remote_share_its_connection(toy):
    models = la.Models()
    assert models(remote(toy)) is models(remote(toy, name="again"))
    assert models(remote(toy)) is not models(remote(toy, top_logprobs=3))


def test_a_voice_without_remotes_has_seen_all():
    assert la.voice(la.model("toy").term(prefix="")).seen == {}


def test_a_server_that_dies_in_the_middle_of_a_text_is_one_error(toy):
    voice = la.voice(remote(toy).term(prefix=""), models=la.Models(), max_new_tokens=20)
    pieces = voice.stream("hello. ")
    next(pieces)
    toy.troubles.extend([lambda handler: handler.break_off()] * 99)
    with pytest.raises(ModelError, match=r"does not answer: it broke off \(asked 5 times\)"):
        list(pieces)
    toy.troubles.clear()
    assert voice.generate("hello. ").text  # the rows of the text that failed are closed
