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
def exact(smollm2):
    return load(str(smollm2), dtype="float32", engine="torch")


def divergence(exact, session) -> float:
    """KL(float32 || session), nats, the mean over the tokens of all prompts."""
    found = []
    for prompt in PROMPTS:
        tokens = exact.tokenizer.encode([exact.tokenizer.chat([{"role": "user", "content": prompt}])], start=False)
        both = [each.extend({each.open(tokens[:1]): tokens[1:]}).popitem()[1] for each in (exact.session, session)]
        expected, ours = (logits.double().log_softmax(-1) for logits in both)
        found.append((expected.exp() * (expected - ours)).sum(-1))
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
