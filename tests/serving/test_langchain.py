"""LangChain's ordinary calls: a second client than the official one, against a real server process."""

import asyncio
from contextlib import asynccontextmanager

import openai
import pytest

langchain_openai = pytest.importorskip("langchain_openai")

SETTINGS = {"api_key": "none", "model": "toy", "max_retries": 0, "seed": 3, "temperature": 0.7}
CHOICE = {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": {"enum": ["yes", "no", 7]}}}


@pytest.fixture(scope="module")
def address(served):
    return f"http://127.0.0.1:{served.port}/v1"


@pytest.fixture(scope="module")
def model(address):
    with openai.DefaultHttpxClient() as client:
        yield langchain_openai.ChatOpenAI(base_url=address, http_client=client, stream_usage=True, **SETTINGS)


@asynccontextmanager
async def asynchronous(address):
    """A model for one event loop."""
    async with openai.DefaultAsyncHttpxClient() as client:
        yield langchain_openai.ChatOpenAI(base_url=address, http_async_client=client, **SETTINGS)


@pytest.fixture(scope="module")
def said(served):
    """What the server says to each text, by a plain request."""

    def said(text, **changes):
        body = {"messages": [{"role": "user", "content": text}], "seed": 3, "temperature": 0.7} | changes
        return served.post("/v1/chat/completions", **body)

    return said


def test_a_model_is_invoked(model, said):
    message, expected = model.invoke("hello"), said("hello")
    assert message.content == expected["choices"][0]["message"]["content"]
    assert message.usage_metadata["output_tokens"] == expected["usage"]["completion_tokens"]
    assert message.response_metadata["finish_reason"] == expected["choices"][0]["finish_reason"]


def test_a_conversation_is_told(model, said):
    turns = [("human", "hello"), ("ai", "you"), ("human", "who?")]
    messages = [{"role": {"human": "user", "ai": "assistant"}[role], "content": text} for role, text in turns]
    assert model.invoke(turns).content == said("", messages=messages)["choices"][0]["message"]["content"]


def test_a_stream_adds_up(model, said):
    pieces = list(model.stream("hello"))
    assert len(pieces) > 3
    whole = sum(pieces[1:], pieces[0])
    assert whole.content == said("hello")["choices"][0]["message"]["content"]
    assert whole.usage_metadata["total_tokens"] == said("hello")["usage"]["total_tokens"]


def test_a_batch_runs_together(model, said):
    texts = [f"hello {number}" for number in range(5)]
    found = [message.content for message in model.batch(texts)]
    assert found == [said(text)["choices"][0]["message"]["content"] for text in texts]


def test_settings_are_bound(model, said):
    bound = model.bind(stop=["e"], max_tokens=20, extra_body={"formula": "formal"})
    expected = said("hello", stop=["e"], max_tokens=20, formula="formal")
    assert bound.invoke("hello").content == expected["choices"][0]["message"]["content"]


def test_log_probabilities_are_told(model, said):
    told = model.bind(logprobs=True, top_logprobs=2).invoke("hello").response_metadata["logprobs"]["content"]
    assert told == said("hello", logprobs=True, top_logprobs=2)["choices"][0]["logprobs"]["content"]


def test_asynchronous_calls(address, said):
    async def calls():
        async with asynchronous(address) as model:
            whole = await model.ainvoke("hello")
            pieces = [piece.content async for piece in model.astream("hello")]
            several = await model.abatch(["hello", "you"])
        return whole.content, "".join(pieces), [each.content for each in several]

    texts = [said(text)["choices"][0]["message"]["content"] for text in ("hello", "you")]
    assert asyncio.run(calls()) == (texts[0], texts[0], texts)


def test_an_answer_has_the_shape_that_is_asked_for(model):
    found = {model.bind(response_format=CHOICE, seed=seed).invoke("hello").content for seed in range(6)}
    assert found <= {'"yes"', '"no"', "7"}
    assert len(found) > 1


def test_completions(address, served):
    with openai.DefaultHttpxClient() as client:
        model = langchain_openai.OpenAI(base_url=address, http_client=client, **SETTINGS | {"max_tokens": 12})
        expected = served.post("/v1/completions", prompt="hello", seed=3, temperature=0.7)["choices"][0]["text"]
        assert model.invoke("hello") == expected
        assert "".join(model.stream("hello")) == expected


def test_errors_are_the_clients_own(model):
    with pytest.raises(openai.NotFoundError, match="The model 'nobody' does not exist"):
        model.bind(model="nobody").invoke("hello")
    with pytest.raises(openai.BadRequestError, match="tools cannot be honoured"):
        model.bind_tools([{"type": "function", "function": {"name": "f", "parameters": {}}}]).invoke("hello")
