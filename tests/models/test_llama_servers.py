"""Remotes behind real servers of llama.cpp, beside the session that reads the same file here."""

from pathlib import Path

import pytest
import torch

import lmalgebra as la
from llama_servers import SERVERS, missing_for
from lmalgebra.errors import ModelError
from lmalgebra.models.catalog import gguf_path
from lmalgebra.models.loading import load
from lmalgebra.models.remote import open_remote
from tiny_gguf import write_half_gguf, write_tiny_gguf

NATIVE = "llama.cpp"


def _address(server: str, file: Path, context: int):
    pytest.importorskip("llama_cpp")
    if missing := missing_for(server):
        pytest.skip(f"the server of {server} needs {', '.join(missing)}")
    return SERVERS[server][0](file, context)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="module", params=list(SERVERS))
def served(request, tiny) -> tuple[str, str]:
    """A server of the tiny file, by name, and its address."""
    with _address(request.param, tiny, 256) as address:
        yield request.param, address


def test_what_is_told_is_what_the_session_here_gives(served, tiny):
    """Within 1e-4. Of the bytes that are no characters llama-cpp-python's server cannot tell."""
    server, address = served
    here = load(str(tiny), engine="llamacpp")
    tokens = here.tokenizer.encode(["The cat sat."])
    expected = here.session.extend({here.session.open(): tokens}).popitem()[1].log_softmax(-1)
    there = open_remote(la.model(address, tokenizer=str(tiny), top_logprobs=len(here.tokenizer.vocabulary)))
    assert there.summary.endswith("prompts as token ids" if server == NATIVE else "prompts as text")
    found = there.session.extend({there.session.open(): tokens}).popitem()[1]
    size = found.shape[1]
    plain = [token for token in range(size) if (piece := here.tokenizer.piece(token)) and piece.isascii()]
    told = list(range(size)) if server == NATIVE else plain
    torch.testing.assert_close(found[:, told], expected[:, told], rtol=0, atol=1e-4)
    assert (there.session.seen.mean > 1 - 1e-6) == (server == NATIVE)
    assert there.session.context_length == 128


def test_a_prompt_that_is_too_long_for_the_server(served, tiny):
    _, address = served
    there = open_remote(la.model(address, tokenizer=str(tiny)))
    there.session.context_length = 1000  # as if nobody had said
    row = there.session.open(there.tokenizer.encode(["a b" * 200]))
    with pytest.raises(ModelError, match=r"refuses the question \(400\): .*context"):
        there.session.extend({row: [5]})


@pytest.mark.parametrize("server", [NATIVE])
def test_a_real_model_there_and_here(server, smollm2, tmp_path):
    """In 16 bits: of the 15 likeliest tokens the log-probabilities differ by 0.05 at most, and greedy texts are equal,
    of the remote alone and mixed with terms that run here.
    """
    file = write_half_gguf(gguf_path("smollm2-135m"), tmp_path / "half.gguf")
    models = la.Models()
    with _address(server, file, 512) as address:
        here, there = la.model(str(file), engine="llamacpp"), la.model(address, tokenizer="smollm2-135m")
        near, far = models(here), models(there)
        tokens = near.tokenizer.encode(["The capital of France is Paris, and that of"])
        expected = near.session.extend({near.session.open(): tokens}).popitem()[1].log_softmax(-1)
        found = far.session.extend({far.session.open(): tokens}).popitem()[1]
        told = expected.topk(15).indices
        assert (expected - found).gather(1, told).abs().max() < 0.05
        pirate, plain = (here.term(name=name, system=f"You are a {name}.") for name in ("pirate", "person"))
        for prompt in ("What is the moon?", "Say hello."):
            texts = []
            for model in (here, there):
                base = model.term(name="base", system="You are a helpful assistant.")
                for formula in (base, base + 0.5 * (pirate - plain)):
                    voice = la.voice(formula, models=models, temperature=0, max_new_tokens=16)
                    texts.append(voice.generate(prompt).text)
            assert texts[:2] == texts[2:]
