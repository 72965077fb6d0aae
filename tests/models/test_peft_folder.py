"""Reading a LoRA adapter from a folder, and one sentence for each folder that holds none."""

import json

import pytest
import torch
from safetensors.torch import save_file

from lmalgebra.errors import ModelError
from lmalgebra.models.peft_folder import read_adapter

LAYERS = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj")
PLAIN = {"peft_type": "LORA", "r": 2, "lora_alpha": 8}
AGAIN = "Fetch or save it again."
PLAINLY = "Train a plain LoRA, or merge it into its base with PEFT's merge_and_unload and load that as a model."


def matrices(*layers, rank=2):
    found = {}
    for layer in layers:
        found[f"base_model.model.{layer}.lora_A.weight"] = torch.full((rank, 6), 2.0)
        found[f"base_model.model.{layer}.lora_B.weight"] = torch.full((4, rank), 3.0)
    return found


@pytest.fixture
def folder(tmp_path):
    """A folder as PEFT saves it, which a test may spoil."""
    write(tmp_path, PLAIN)
    return tmp_path


def write(folder, config, tensors=None):
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(matrices(*LAYERS) if tensors is None else tensors, folder / "adapter_model.safetensors")
    return str(folder)


def refusal_of(source) -> str:
    with pytest.raises(ModelError) as refusal:
        read_adapter(str(source))
    message = str(refusal.value)
    beginning = f"The adapter '{source}' cannot be used: "
    assert message.startswith(beginning)
    return message.removeprefix(beginning)


def test_each_layer_has_its_matrices_and_its_scale(folder):
    changes = read_adapter(str(folder))
    assert set(changes) == set(LAYERS)
    for change in changes.values():
        assert (tuple(change.down.shape), tuple(change.up.shape)) == ((2, 6), (4, 2))
        assert change.scale == 4


@pytest.mark.parametrize(
    ("settings", "scales"),
    [
        ({"use_rslora": True}, [8 / 2**0.5] * 2),
        ({"alpha_pattern": {"up_proj": 3}}, [4, 1.5]),
        ({"alpha_pattern": {"layers.0.self_attn.q_proj": 3, r".*proj": 6}}, [1.5, 3]),
        ({"alpha_pattern": {"proj": 3, "q": 1}}, [4, 4]),
        ({"r": 16, "rank_pattern": {"q_proj|up_proj": 2}}, [4, 4]),
        ({"lora_alpha": 0.5}, [0.25, 0.25]),
        ({"target_modules": r".*\.q_proj|.*up_proj", "lora_dropout": 0.3, "fan_in_fan_out": True}, [4, 4]),
        ({"init_lora_weights": "gaussian", "bias": "none", "modules_to_save": None, "use_dora": False}, [4, 4]),
    ],
)
def test_scales_are_read_from_the_configuration(tmp_path, settings, scales):
    changes = read_adapter(write(tmp_path, PLAIN | settings))
    assert [changes[layer].scale for layer in LAYERS] == pytest.approx(scales)


@pytest.mark.parametrize("source", ["./missing", "/missing/folder", "~/missing-folder", "a/b/c", "missing"])
def test_a_folder_that_is_missing(source):
    assert refusal_of(source) == "there is no such folder. Give a folder that PEFT has saved, or a hub id."


def test_a_file_is_no_folder(folder):
    assert refusal_of(folder / "adapter_model.safetensors").startswith("there is no such folder.")


def test_a_folder_without_a_configuration(folder):
    (folder / "adapter_config.json").unlink()
    expected = "the folder holds no adapter_config.json. Give a folder that PEFT's save_pretrained has made."
    assert refusal_of(folder) == expected


def test_a_folder_without_weights(folder):
    (folder / "adapter_model.safetensors").unlink()
    assert refusal_of(folder) == ("the folder holds no adapter_model.safetensors. Save it with PEFT's save_pretrained.")


def test_pickled_weights_are_not_loaded(folder):
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    assert refusal_of(folder) == (
        "the folder holds no adapter_model.safetensors; its pickled weights (*.bin) are not loaded. "
        "Save it with PEFT's save_pretrained."
    )


@pytest.mark.parametrize("text", ["{ no json", "\x00", "[" * 99_999])
def test_a_configuration_that_is_damaged(folder, text):
    (folder / "adapter_config.json").write_text(text)
    message = refusal_of(folder)
    assert message.startswith("its adapter_config.json cannot be read (")
    assert message.endswith(AGAIN)


def test_a_configuration_that_is_no_table(folder):
    (folder / "adapter_config.json").write_text("[1, 2]")
    assert refusal_of(folder) == f"its adapter_config.json holds no table. {AGAIN}"


@pytest.mark.parametrize("left", [0, 10, -8])
def test_weights_that_are_cut_short(folder, left):
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:left])
    message = refusal_of(folder)
    assert message.startswith("its adapter_model.safetensors cannot be read (")
    assert message.endswith(AGAIN)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"peft_type": "IA3"}, "it is of the kind 'IA3' of PEFT's, and only 'LORA' is computed here"),
        ({"peft_type": None}, "it is of the kind None of PEFT's, and only 'LORA' is computed here"),
        ({"bias": "lora_only"}, "it changes biases too (bias='lora_only')"),
        ({"use_dora": True}, "it changes the weights' magnitudes too (DoRA)"),
        ({"modules_to_save": ["lm_head"]}, "it brings whole layers of its own (modules_to_save)"),
        ({"lora_bias": True}, "it has biases (lora_bias)"),
        ({"layer_replication": [[0, 2], [1, 3]]}, "it repeats layers of the model (layer_replication)"),
        (
            {"target_parameters": ["experts"]},
            "it changes parameters that are no linear layer's (target_parameters)",
        ),
        ({"trainable_token_indices": [1]}, "it changes the embeddings of tokens (trainable_token_indices)"),
        ({"alora_invocation_tokens": [1, 2]}, "it begins in the middle of a text (aLoRA)"),
        (
            {"init_lora_weights": "pissa_niter_4"},
            "it is for weights that were changed first (init_lora_weights='pissa_niter_4')",
        ),
        ({"use_tomorrow": "a lot"}, "it asks for use_tomorrow='a lot', which is not known here"),
    ],
)
def test_what_is_more_than_low_rank_is_refused(tmp_path, settings, reason):
    write(tmp_path, PLAIN | settings)
    assert refusal_of(tmp_path) == f"{reason}. {PLAINLY}"


@pytest.mark.parametrize(
    "name",
    [
        "base_model.model.lm_head.weight",
        "base_model.model.model.embed_tokens.lora_embedding_A",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_B.bias",
        "model.layers.0.self_attn.q_proj.lora_A.weight",
    ],
)
def test_tensors_that_belong_to_no_low_rank_change(tmp_path, name):
    write(tmp_path, PLAIN, matrices(*LAYERS) | {name: torch.ones(2, 6)})
    expected = f"its adapter_model.safetensors holds '{name}', which is no matrix of a LoRA. {PLAINLY}"
    assert refusal_of(tmp_path) == expected


def test_a_tensor_that_is_no_matrix(tmp_path):
    name = f"base_model.model.{LAYERS[0]}.lora_A.weight"
    write(tmp_path, PLAIN, matrices(*LAYERS) | {name: torch.ones(2, 6, 1)})
    assert refusal_of(tmp_path).startswith(f"its adapter_model.safetensors holds '{name}', which is no matrix")


def test_half_of_a_change(tmp_path):
    tensors = matrices(*LAYERS)
    del tensors[f"base_model.model.{LAYERS[1]}.lora_B.weight"]
    write(tmp_path, PLAIN, tensors)
    assert refusal_of(tmp_path) == f"half of the matrices for '{LAYERS[1]}' is missing. {AGAIN}"


def test_an_adapter_of_nothing(tmp_path):
    write(tmp_path, PLAIN, {})
    assert refusal_of(tmp_path) == f"it changes nothing. {AGAIN}"


@pytest.mark.parametrize("settings", [{"r": 16}, {"rank_pattern": {"q_proj": 3}}])
def test_a_rank_that_is_not_that_of_the_matrices(tmp_path, settings):
    write(tmp_path, PLAIN | settings)
    rank = settings.get("r", 3)
    expected = f"the matrices for '{LAYERS[0]}' are [2, 6] and [4, 2], and its rank is {rank}. {AGAIN}"
    assert refusal_of(tmp_path) == expected


@pytest.mark.parametrize(
    ("settings", "which"),
    [
        ({"r": 0}, "r"),
        ({"r": "two"}, "r"),
        ({"rank_pattern": {"(": 2}}, "r"),
        ({"rank_pattern": [2]}, "r"),
        ({"lora_alpha": None}, "lora_alpha"),
        ({"lora_alpha": float("nan")}, "lora_alpha"),
        ({"alpha_pattern": {"q_proj": "much"}}, "lora_alpha"),
    ],
)
def test_numbers_that_are_none(tmp_path, settings, which):
    write(tmp_path, PLAIN | settings)
    assert refusal_of(tmp_path).startswith(f"its adapter_config.json has no usable {which} for '{LAYERS[0]}' (")


@pytest.mark.parametrize("number", [float("nan"), -float("inf")])
def test_numbers_that_are_not_finite(tmp_path, number):
    tensors = matrices(*LAYERS)
    tensors[f"base_model.model.{LAYERS[1]}.lora_B.weight"][2, 1] = number
    write(tmp_path, PLAIN, tensors)
    assert refusal_of(tmp_path) == f"the matrices for '{LAYERS[1]}' hold numbers that are not finite. {AGAIN}"


def test_a_hub_id_without_a_network(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("transformers.utils.hub.is_offline_mode", lambda: True)
    message = refusal_of("someone/no-such-adapter-7d1f")
    assert message.endswith("Check the name and the network, or give a folder.")
    assert "\n" not in message
