"""Fused layers give what Transformers' own give; whole models are compared in the contract suite."""

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from lmalgebra.models.fused import FAMILIES, FusedLayer, Norm, fuse_layers, joined
from lmalgebra.models.transformers import VERIFIED

SMALL = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def made(config):
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("scale", [1e-3, 1, 100])
def test_the_norm_is_the_models_own(dtype, tolerance, scale):
    torch.manual_seed(0)
    norm = LlamaRMSNorm(48, eps=1e-5).to(dtype)
    norm.weight.data.normal_()
    inputs = (scale * (torch.randn(2, 5, 48) + 0.7)).to(dtype)  # a layer norm would take the 0.7 away
    torch.testing.assert_close(Norm(norm)(inputs), norm(inputs), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("bias", [True, False])
def test_joined_layers_give_their_outputs_side_by_side(bias):
    parts = [torch.nn.Linear(8, outputs, bias=bias) for outputs in (5, 3, 4)]
    one, inputs = joined(*parts), torch.randn(6, 8)
    assert one.out_features == 12
    torch.testing.assert_close(one(inputs), torch.cat([part(inputs) for part in parts], dim=-1))


def test_every_family_is_one_that_the_contract_compares():
    assert FAMILIES <= VERIFIED


@pytest.mark.parametrize(
    ("config", "windows"),
    [
        (LlamaConfig(**SMALL), [None, None]),
        (MistralConfig(**SMALL, sliding_window=9), [9, 9]),
        (MistralConfig(**SMALL, sliding_window=None), [None, None]),
        (Qwen2Config(**SMALL, use_sliding_window=True, sliding_window=9, max_window_layers=1), [None, 9]),
        (Qwen3Config(**SMALL, head_dim=8), [None, None]),
    ],
    ids=lambda each: getattr(each, "model_type", None),
)
def test_each_layer_of_the_families_is_fused_once_and_keeps_its_window(config, windows):
    model = made(config)
    fuse_layers(model)
    layers = list(model.model.layers)
    assert all(type(layer) is FusedLayer for layer in layers)
    assert [layer.window for layer in layers] == windows
    assert [layer.index for layer in layers] == [0, 1]
    fuse_layers(model)
    assert list(model.model.layers) == layers


def test_other_models_stay_as_they_are():
    model = made(Gemma3TextConfig(**SMALL, head_dim=8))
    before = list(model.modules())
    fuse_layers(model)
    assert list(model.modules()) == before
