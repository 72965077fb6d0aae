"""Which models are served from a cache, which are read anew at every step, and which are refused.

First that the tiny models of this suite could tell a wrong attention from a right one.
"""

import pytest
import torch
from backends import CONFIGS, CONTEXT, NAMES, RECOMPUTED, VOCABULARY, WINDOW, backend, tiny_model, with_own_attention
from followed import TOLERANCE, some_tokens
from transformers import BertConfig, LlamaConfig, MambaConfig, Phi3Config, T5Config, T5ForConditionalGeneration

from lmalgebra.errors import ModelError
from lmalgebra.models.loading import session_of
from lmalgebra.models.transformers import VERIFIED, RecomputeSession, TransformersSession, plain_logits

LARGE = 1000 * TOLERANCE
TINY = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2}
TINY_LLAMA = TINY | {"intermediate_size": 48, "num_attention_heads": 4, "max_position_embeddings": CONTEXT}


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_tokens_changes_the_logits_far_beyond_the_tolerance(name):
    tokens = some_tokens(20)
    swapped = [*tokens[:15], tokens[16], tokens[15], *tokens[17:]]
    logits = backend(name).logits
    assert (logits(tokens)[17] - logits(swapped)[17]).abs().max() > LARGE


@pytest.mark.parametrize("name", ["qwen2 sliding", "gemma2", "gemma3", "mistral"])
def test_the_sliding_window_changes_the_logits_far_beyond_the_tolerance(name):
    tokens = some_tokens(30)
    difference = backend(name).logits(tokens) - _logits_with(name, tokens, sliding_window=CONTEXT)
    assert difference[WINDOW + 1 :].abs().max() > LARGE


def test_the_soft_cap_changes_the_logits_far_beyond_the_tolerance():
    tokens = some_tokens(30)
    difference = backend("gemma2").logits(tokens) - _logits_with("gemma2", tokens, attn_logit_softcapping=None)
    assert difference.abs().max() > LARGE


def _logits_with(name, tokens, **changes):
    """What the same weights say under a changed configuration."""
    config = CONFIGS[name]()
    for key, value in changes.items():
        setattr(config, key, value)
    model = with_own_attention(tiny_model(config))
    return plain_logits(model, tokens)


@pytest.mark.parametrize("name", CONFIGS)
def test_architectures_with_pluggable_attention_are_served_from_a_cache(name):
    session = backend(name).new_session()
    assert isinstance(session, TransformersSession)
    assert session.notes == ()


def test_every_architecture_that_loading_trusts_is_in_the_contract():
    assert {CONFIGS[name]().model_type for name in CONFIGS} == VERIFIED


@pytest.mark.parametrize(
    ("name", "config", "reason"),
    [
        ("bloom", RECOMPUTED["bloom"](), "its packed rows disagree with its own forward pass"),
        ("mamba", MambaConfig(**TINY), "it has layers of type linear_attention"),
        (
            "dynamic",
            LlamaConfig(**TINY_LLAMA, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}),
            "its rotary positions depend on the longest row of a pass",
        ),
        (
            "long",
            Phi3Config(
                **TINY_LLAMA,
                pad_token_id=0,
                original_max_position_embeddings=CONTEXT // 2,
                rope_parameters={
                    "rope_type": "longrope",
                    "rope_theta": 1e4,
                    "short_factor": [1.0] * 4,
                    "long_factor": [2.0] * 4,
                },
            ),
            "its rotary positions depend on the longest row of a pass",
        ),
    ],
)
def test_other_causal_models_are_read_anew_at_every_step_and_say_so(name, config, reason):
    model = tiny_model(config)
    session, tokens = session_of(model, name), some_tokens(12)
    assert isinstance(session, RecomputeSession)
    assert session.notes == (f"'{name}' is read anew at every step, which is exact but slow: {reason}.",)
    row = session.open(tokens[:5])
    found = session.extend({row: tokens[5:]})[row]
    torch.testing.assert_close(found, plain_logits(model, tokens)[5:], rtol=0, atol=TOLERANCE)


def test_a_model_that_looks_ahead_is_refused():
    heads = {"num_attention_heads": 4, "intermediate_size": 48, "initializer_range": 0.3}
    model = tiny_model(BertConfig(**TINY, **heads))
    message = "This model looks ahead: a token's logits depend on later tokens, so it cannot generate text."
    with pytest.raises(ModelError) as refusal:
        session_of(model, "bert")
    assert str(refusal.value) == message


def test_an_encoder_decoder_is_refused():
    model = T5ForConditionalGeneration(T5Config(vocab_size=40, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2))
    with pytest.raises(ModelError, match=r"'t5' is an encoder-decoder, which cannot be served. Use a decoder-only"):
        session_of(model, "t5")
