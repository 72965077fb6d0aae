"""The official client's ordinary calls, against a real server process."""

import math

import openai
import pytest

import lmalgebra as la
from serving.conftest import TOY

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def client(served):
    with served.client() as client:
        yield client


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    """The same voice, here."""
    path = tmp_path_factory.mktemp("here") / "toy.toml"
    path.write_text(TOY)
    return la.load(path)


def chat(client, **changes):
    return client.chat.completions.create(**{"model": "toy", "messages": HELLO, "seed": 3} | changes)


def test_the_models_are_the_voices(client):
    assert [model.id for model in client.models.list()] == ["second", "toy"]
    model = client.models.retrieve("toy")
    assert (model.object, model.owned_by) == ("model", "lmalgebra")
    assert model.lmalgebra["terms"] == ["base", "formal", "short"]


def test_a_chat_says_what_the_voice_says(client, voice):
    answer = chat(client)
    (sample,) = voice.generate("hello", seed=3).samples
    choice = answer.choices[0]
    assert (choice.message.role, choice.message.content) == ("assistant", sample.text)
    assert choice.finish_reason == {"end": "stop", "length": "length"}[sample.finish_reason]
    assert answer.object == "chat.completion"
    assert answer.usage.completion_tokens == len(sample.tokens)
    assert answer.usage.prompt_tokens == len("hello\n")  # as its first term reads it
    assert answer.lmalgebra == {"formula": "base + 0.6 * (formal - base)", "seed": 3}
    assert choice.logprobs is None


def test_a_conversation_is_told_to_every_term(client, voice):
    messages = [
        *HELLO,
        {"role": "assistant", "content": "you"},
        {"role": "user", "content": [{"type": "text", "text": "who?"}]},
    ]
    told = [*HELLO, {"role": "assistant", "content": "you"}, {"role": "user", "content": "who?"}]
    assert chat(client, messages=messages).choices[0].message.content == voice.generate(told, seed=3).text


def test_an_answer_can_be_sent_back(client):
    message = chat(client).choices[0].message
    again = [*HELLO, message.model_dump(), {"role": "user", "content": "and?"}]
    assert chat(client, messages=again).choices[0].message.content


@pytest.mark.parametrize("settings", [{}, {"n": 3}, {"stop": ["e", ", "], "max_tokens": 40}], ids=str)
def test_a_stream_says_the_same(client, settings):
    whole = chat(client, logprobs=True, top_logprobs=2, **settings)
    texts, tokens, reasons, usage = {}, {}, {}, None
    asked = {"stream": True, "stream_options": {"include_usage": True}, "logprobs": True, "top_logprobs": 2}
    for chunk in chat(client, **asked, **settings):
        assert chunk.object == "chat.completion.chunk"
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
            tokens.setdefault(choice.index, []).extend(choice.logprobs.content if choice.logprobs else [])
            reasons[choice.index] = choice.finish_reason or reasons.get(choice.index)
    assert usage == whole.usage
    for choice in whole.choices:
        assert texts[choice.index] == choice.message.content
        assert reasons[choice.index] == choice.finish_reason
        assert tokens[choice.index] == choice.logprobs.content


def test_log_probabilities_are_the_formulas(client, voice):
    content = chat(client, logprobs=True, top_logprobs=5, temperature=0.5, stop="e").choices[0].logprobs.content
    (sample,) = voice.generate("hello", seed=3, temperature=0.5, stop=["e"], top_logprobs=5).samples
    assert "".join(token.token for token in content) == sample.text
    for told, logprob, best in zip(content, sample.logprobs, sample.likeliest, strict=False):
        assert told.logprob == logprob
        assert [each.logprob for each in told.top_logprobs] == [nats for _, nats in best]
        assert bytes(told.bytes).decode() == told.token


def test_seeds_reproduce_and_others_differ(client):
    texts = [chat(client, seed=seed).choices[0].message.content for seed in (7, 7, -7, 8)]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3
    assert len({chat(client, seed=None).choices[0].message.content for _ in range(3)}) > 1
    told = chat(client, seed=None)
    assert chat(client, seed=told.lmalgebra["seed"]).choices[0].message.content == told.choices[0].message.content


def test_several_choices_are_the_samples(client, voice):
    answer = chat(client, n=3)
    assert [choice.message.content for choice in answer.choices] == [
        sample.text for sample in voice.generate("hello", seed=3, samples=3).samples
    ]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ({"max_tokens": 5}, {"max_new_tokens": 5}),
        ({"max_completion_tokens": 5}, {"max_new_tokens": 5}),
        ({"temperature": 0}, {"temperature": 0}),
        ({"top_p": 0.3}, {"top_p": 0.3}),
        ({"presence_penalty": 1.5}, {"presence_penalty": 1.5}),
        ({"frequency_penalty": -1.5}, {"frequency_penalty": -1.5}),
        ({"logit_bias": {"4": 5, "7": -100}}, {"logit_bias": [[4, 5], [7, -100]]}),
        ({"stop": "e"}, {"stop": ["e"]}),
        ({"extra_body": {"top_k": 3}}, {"top_k": 3}),
        ({"extra_body": {"min_p": 0.4}}, {"min_p": 0.4}),
        ({"extra_body": {"repetition_penalty": 3.0}}, {"repetition_penalty": 3.0}),
        ({"extra_body": {"min_tokens": 12}}, {"min_new_tokens": 12}),
        ({"user": "someone", "store": False, "tools": [], "tool_choice": "none"}, {}),
    ],
    ids=str,
)
def test_a_field_means_what_it_says(client, voice, asked, meant):
    found = [chat(client, seed=seed, **asked).choices[0].message.content for seed in range(4)]
    assert found == [voice.generate("hello", seed=seed, **meant).text for seed in range(4)]


def test_completions_of_several_prompts(client, voice):
    answer = client.completions.create(model="toy", prompt=["hello", "you"], n=2, seed=5, logprobs=1, stop="e")
    expected = [
        *voice.generate("hello", seed=5, samples=2, stop=["e"]).samples,
        *voice.generate("you", seed=7, samples=2, stop=["e"]).samples,
    ]
    assert [choice.text for choice in answer.choices] == [sample.text for sample in expected]
    for choice, sample in zip(answer.choices, expected, strict=True):
        told = choice.logprobs
        assert "".join(told.tokens) == sample.text
        assert told.token_logprobs == list(sample.logprobs[: len(told.tokens)])
        assert told.text_offset == list(range(len(told.tokens)))
        assert all(token in best for token, best in zip(told.tokens, told.top_logprobs, strict=True))
        assert all(1 <= len(best) <= 2 for best in told.top_logprobs)


def test_a_completion_streams(client):
    whole = client.completions.create(model="toy", prompt="hello", seed=2)
    streamed = list(client.completions.create(model="toy", prompt="hello", seed=2, stream=True))
    assert "".join(chunk.choices[0].text for chunk in streamed) == whole.choices[0].text
    assert streamed[-1].choices[0].finish_reason == whole.choices[0].finish_reason


def test_a_response_format_is_kept(client):
    shape = {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": {"enum": ["yes", "no", 7]}}}
    found = [chat(client, response_format=shape, seed=seed).choices[0] for seed in range(6)]
    assert {choice.message.content for choice in found} == {'"yes"', '"no"', "7"}
    assert all(choice.finish_reason == "stop" for choice in found)
    assert chat(client, response_format={"type": "text"}).choices == chat(client).choices


def test_errors_are_the_clients_own(client):
    with pytest.raises(openai.NotFoundError, match="The model 'nobody' does not exist") as missing:
        chat(client, model="nobody")
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError, match="tools cannot be honoured: a voice calls no tools"):
        chat(client, tools=[{"type": "function", "function": {"name": "f"}}])
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="toy", input="x")


def test_an_error_while_a_stream_speaks_is_its_last_event(client):
    formula = "base + within(base, top_k=1) + within(formal, top_k=1)"
    with pytest.raises(openai.APIError, match="No token is possible"):
        list(chat(client, stream=True, extra_body={"formula": formula}, max_tokens=50))


def test_an_explanation_comes_with_the_text(client):
    choice = chat(client, n=2, extra_body={"explain": True}).choices[1]
    told = choice.explanation
    assert told["text"] == choice.message.content
    assert (told["reference"], told["terms"]) == ("base", ["formal"])
    for token in told["tokens"]:
        assert math.isclose(sum(token["parts"].values()), token["change"], abs_tol=1e-6)
