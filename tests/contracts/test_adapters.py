"""Laying adapters over models: what fits, what does not, and that PEFT computes the same from the same settings."""

import json
from copy import deepcopy

import pytest
import torch
from backends import CONFIGS, tiny_model, with_own_attention
from followed import TOLERANCE, some_tokens
from lora_files import merged, save_adapter
from safetensors.torch import load_file, save_file

from lmalgebra.errors import ModelError
from lmalgebra.models.adapters import Adapters, linear_layers
from lmalgebra.models.loading import session_of
from lmalgebra.models.transformers import plain_logits

TOKENS = some_tokens(20)
FITTING = "Use it with the model that it was trained for."


def made(name="llama", **changes):
    """A tiny model that is as Transformers has it."""
    config = CONFIGS[name]()
    for key, value in changes.items():
        setattr(config, key, value)
    return with_own_attention(tiny_model(config))


def logits(model, adapter):
    session = session_of(deepcopy(model), "tiny", 1 << 12)
    row = session.open(adapter=adapter)
    return session.extend({row: TOKENS})[row]


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj", "v_proj"]},
        {"target_modules": r"model\.layers\.1\..*(up_proj|k_proj)"},
        {"target_modules": ["down_proj", "o_proj"], "layers_to_transform": [1]},
        {"use_rslora": True},
        {
            "rank_pattern": {"k_proj": 2, r"layers\.1\.mlp\..*": 7},
            "alpha_pattern": {"up_proj": 1, "layers.0.*q_proj": 20},
        },
        {"target_modules": ["gate_proj", "v_proj"], "rank_pattern": {"^model.layers.1.mlp.gate_proj": 3}},
    ],
)
def test_peft_computes_the_same_from_the_same_settings(tmp_path, settings):
    model = made()
    place = save_adapter(model, tmp_path / "adapter", **settings)
    expected = plain_logits(merged(model, place), TOKENS)
    found = logits(model, place)
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)
    assert (found - plain_logits(model, TOKENS)).abs().max() > 0.1


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.bfloat16, 0.06), (torch.float16, 0.01)])
def test_adapters_are_computed_in_the_numbers_of_the_model(tmp_path, dtype, tolerance):
    model = made()
    place = save_adapter(model, tmp_path / "adapter")
    exact = plain_logits(merged(deepcopy(model).double(), place), TOKENS)
    found = logits(model.to(dtype), place).double()
    assert (found - exact).abs().mean() < tolerance * exact.abs().max()


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_layers_of_a_model_keep_their_names_when_they_are_joined_and_packed(name):
    model = made(name)
    before = {name: (layer.inputs, layer.last - layer.first) for name, layer in linear_layers(model).items()}
    after = linear_layers(session_of(model, "tiny", 1 << 12).network)
    assert before == {name: (layer.inputs, layer.last - layer.first) for name, layer in after.items()}


def refusal_of(model, place) -> str:
    session = session_of(model, "tiny", 1 << 12)
    with pytest.raises(ModelError) as refusal:
        session.open(adapter=place)
    assert not session.adapters._places
    assert not any(module._forward_hooks for module in session.network.modules())
    return str(refusal.value).removeprefix(f"The adapter '{place}' cannot be used: ")


def test_an_adapter_of_a_longer_model(tmp_path):
    place = save_adapter(made(num_hidden_layers=3), tmp_path / "adapter")
    expected = f"it changes 'model.layers.2.mlp.down_proj', and this model has no such linear layer. {FITTING}"
    assert refusal_of(made(), place) == expected


def test_an_adapter_of_another_architecture(tmp_path):
    place = save_adapter(made("gpt2"), tmp_path / "adapter")
    expected = f"it changes 'transformer.h.0.attn.c_attn', and this model has no such linear layer. {FITTING}"
    assert refusal_of(made(), place) == expected


@pytest.mark.parametrize(
    ("change", "sizes"),
    [
        ({"hidden_size": 64}, "48 inputs and 64 outputs, and this model's has 48 and 32"),
        ({"intermediate_size": 1024}, "1,024 inputs and 32 outputs, and this model's has 48 and 32"),
    ],
)
def test_an_adapter_of_a_wider_model(tmp_path, change, sizes):
    place = save_adapter(made(**change), tmp_path / "adapter")
    assert refusal_of(made(), place) == f"it is for a 'model.layers.0.mlp.down_proj' of {sizes}. {FITTING}"


def test_an_adapter_of_the_output_layer(tmp_path):
    place = save_adapter(made(), tmp_path / "adapter", target_modules=["lm_head"])
    assert refusal_of(made(), place) == "it changes the output layer 'lm_head'. Train it without that layer."


def test_matrices_whose_rank_is_not_that_of_the_configuration(tmp_path):
    place = save_adapter(made(), tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"r": 8}))
    assert "and its rank is 8. Fetch or save it again." in refusal_of(made(), place)


def test_an_adapter_without_a_layer_of_those_it_is_for(tmp_path):
    """PEFT, too, leaves a layer as it is for which there are no matrices."""
    model = made()
    place = save_adapter(model, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = {name: tensor for name, tensor in load_file(file).items() if ".layers.1." not in name}
    save_file(tensors, file)
    other = save_adapter(model, tmp_path / "other", exclude_modules=r".*\.1\..*")
    torch.testing.assert_close(logits(model, place), plain_logits(merged(model, other), TOKENS), rtol=0, atol=TOLERANCE)


def test_a_sum_is_loaded_whole_or_its_parts_stay_unused(tmp_path):
    model = made()
    place = save_adapter(model, tmp_path / "adapter")
    session = session_of(model, "tiny", 1 << 12)
    before = session.extend({session.open(): TOKENS})[0].clone()
    with pytest.raises(ModelError, match=r"The adapter '\./missing' cannot be used"):
        session.open(adapter=((place, 0.5), ("./missing", 0.5)))
    row = session.open()
    torch.testing.assert_close(session.extend({row: TOKENS})[row], before, rtol=0, atol=1e-6)


def test_an_adapter_is_read_once(tmp_path, monkeypatch):
    model = made()
    place = save_adapter(model, tmp_path / "adapter")
    adapters = Adapters(model)
    adapters.load(place)
    monkeypatch.setattr("lmalgebra.models.adapters.read_adapter", lambda place: pytest.fail("it is there"))
    adapters.load(place)
    adapters.load(((place, 0.5),))
