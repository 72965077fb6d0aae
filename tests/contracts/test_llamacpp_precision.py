"""What llama.cpp's arithmetic costs beside float32 on the same weights, on a real model."""

import pytest
import torch
from backends import LLAMA_CPP
from gguf_file import write_llama_gguf
from transformers import AutoModelForCausalLM

from lmalgebra.models.llamacpp import GGUFModel, LlamaCppSession
from lmalgebra.models.loading import load

SUBJECTS = ("the moon", "bread", "a lost dog", "winter", "chess", "trains", "rain", "a lighthouse", "the sea", "tea")
PROMPTS = [f"{ask} about {it}." for ask in ("Tell me a story", "Write a short, formal letter") for it in SUBJECTS]


@pytest.fixture(scope="module")
def exact(smollm2) -> list[tuple[list[int], torch.Tensor]]:
    """The tokens of each prompt with what float32 says of all but the first."""
    model = load(str(smollm2), dtype="float32", engine="torch")
    told = [model.tokenizer.chat([{"role": "user", "content": prompt}]) for prompt in PROMPTS]
    texts = [model.tokenizer.encode([each], start=False) for each in told]
    return [(tokens, said(model.session, tokens)) for tokens in texts]


def said(session, tokens) -> torch.Tensor:
    row = session.open(tokens[:1])
    logprobs = session.extend({row: tokens[1:]})[row].double().log_softmax(-1)
    session.close(row)
    return logprobs


def divergence(exact, session) -> float:
    """KL(float32 || session), nats, the mean over the tokens of all prompts."""
    found = [(expected.exp() * (expected - said(session, tokens))).sum(-1) for tokens, expected in exact]
    return float(torch.cat(found).mean())


@pytest.mark.skipif(not LLAMA_CPP, reason="llama-cpp-python is not installed")
def test_a_file_of_16_bits_costs_a_ten_thousandth_at_most(exact, smollm2, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    file = write_llama_gguf(model, tmp_path / "half.gguf", half=True)
    assert divergence(exact, LlamaCppSession(GGUFModel(file), 8192)) < 1e-4


@pytest.mark.skipif(not LLAMA_CPP, reason="llama-cpp-python is not installed")
def test_four_bits_cost_a_hundredth_at_most(exact):
    """The weights are the same; what is multiplied with them is rounded to 8 bits."""
    session = load("smollm2-135m", engine="llamacpp", max_cache_tokens=8192).session
    assert 1e-4 < divergence(exact, session) < 0.01
